// The question: a guess, and the answer in its place.

"use strict";

{
  const tell = lesson.picture("flow");
  lesson.onTheme(theme => tell(lesson.page.flow[theme]));

  const cases = [...document.querySelectorAll("[data-case]")];
  let guess = null, at = 0;

  // Draw what stands in the page now; `focus`: what the keyboard goes on from.
  function show(focus) {
    cases.forEach((one, number) => {
      one.hidden = number !== at;
      one.querySelector(".choices").hidden = guess !== null;
      one.querySelector("[data-pick]").hidden = guess !== null;
      for (const answer of one.querySelectorAll("[data-answer]")) answer.hidden = answer.dataset.answer !== guess;
      for (const button of one.querySelectorAll("[data-next], [data-again]")) button.disabled = guess === null;
    });
    cases[at].querySelector(focus)?.focus();
  }

  document.addEventListener("click", event => {
    const button = event.target.closest("button");
    if (!button) return;
    const { guess: term, next, back, again } = button.dataset;
    if (term !== undefined) guess = term;
    else if (next !== undefined) at = 1;
    else if (back !== undefined) at = 0;
    else if (again !== undefined) [guess, at] = [null, 0];
    else return;
    show(again !== undefined ? "[data-guess]" : back !== undefined || term !== undefined ? "[data-next], [data-again]" : "[data-back]");
  });
}
