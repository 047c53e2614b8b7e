// The vector to drag, the places to jump to, and every layer of a snapshot.

"use strict";

{
  const { scene, jumps } = lesson.page;
  const pills = [...document.querySelectorAll("[data-jump]")], overlay = document.querySelector("[data-overlay]");
  let position = scene.position, seq = 0, jump = null;
  const tell = lesson.picture("sandbox", moved => {
    ({ seq, ...position } = moved);
  });

  function show() {
    const pair = jump === null ? null : jumps[jump].pair;
    tell({ ...scene, position, pair, seq, overlay: overlay.checked, large: false, hidden: false });
    pills.forEach((pill, number) => pill.setAttribute("aria-pressed", String(number === jump)));
    for (const note of document.querySelectorAll("[data-lesson]")) note.hidden = +note.dataset.lesson !== jump;
  }

  pills.forEach((pill, number) => pill.addEventListener("click", () => {
    jump = number === jump ? null : number;
    if (jump !== null) position = { ...position, ...jumps[jump].position };
    show();
  }));
  overlay.addEventListener("change", show);
  show();
  for (const element of document.querySelectorAll("[data-chart]")) lesson.chart(element);
  lesson.parts();
}
