// The plane of two changes: its point, dragged or by two sliders.

"use strict";

{
  const { scene } = lesson.page;
  const sliders = ["alpha", "beta"].map(name => document.querySelector(`[data-share="${name}"]`));
  const write = () => sliders.forEach(slider => {
    const text = (+slider.value).toFixed(2);
    slider.setAttribute("aria-valuetext", text);
    document.querySelector(`[data-share-of="${slider.dataset.share}"]`).textContent = text;
  });
  const tell = lesson.picture("plane", ({ alpha, beta }) => {
    [sliders[0].value, sliders[1].value] = [alpha, beta];
    write();
  });
  const show = () => {
    tell({ ...scene, at: sliders.map(slider => +slider.value) });
    write();
  };
  sliders.forEach(slider => slider.addEventListener("input", show));
  show();
}
