// The dial: the place on the curve and the number follow the slider, as Python computed them for each of its steps.

"use strict";

for (const dial of document.querySelectorAll("[data-dial]")) {
  const { factors, parts, looks } = lesson.page.turned[dial.dataset.dial];
  const find = name => dial.querySelector(`[data-${name}]`);
  const slider = find("lambda"), list = find("turn");
  const curves = [...dial.querySelectorAll("[data-curve]")];

  const step = () => factors.findIndex(factor => Math.abs(factor - +slider.value) < 1e-6);
  const place = () => parts[+list.value][step()];

  // The place as a trace of the present theme; where the curve has no value there is none.
  const trace = ({ trace, look }) => ({ mode: "markers+text", name: "here", cliponaxis: false, hoverinfo: "skip", ...trace, ...looks[look]?.[lesson.theme()] });

  function turn() {
    const here = place();
    find("label").innerHTML = here.label; // HTML of the lesson's own renderer
    find("number").textContent = here.number;
    find("below").textContent = here.below;
    slider.setAttribute("aria-valuetext", `${slider.value}: ${here.number}, ${here.below}`);
    const chart = curves[+list.value].querySelector("[data-chart]");
    if (chart.data) lesson.draw(chart, add);
  }

  const add = figure => {
    if (place().trace) figure.data.push(trace(place()));
  };

  slider.addEventListener("input", turn);
  list.addEventListener("change", () => {
    curves.forEach(curve => (curve.hidden = curve.dataset.curve !== list.value));
    lesson.look();
    turn();
  });
  for (const radio of dial.querySelectorAll("[type=radio]"))
    radio.addEventListener("change", () => {
      for (const costs of dial.querySelectorAll("[data-rule]")) costs.hidden = costs.dataset.rule !== radio.value;
      lesson.look();
    });
  for (const element of dial.querySelectorAll("[data-chart]")) lesson.chart(element, element.closest("[data-curve]") ? add : undefined);
  turn();
}
lesson.parts();
