// Shared by the pages of a lesson: their data, pictures and charts, and one section shown of several.
// Classic scripts without modules or fetch, which pages opened from a disk may not use.

"use strict";

const lesson = (() => {
  const { page, config } = JSON.parse(document.getElementById("data").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let printing = false;
  const theme = () => (dark.matches && !printing ? "dark" : "light");
  const heard = [];

  // Called now, and whenever the theme changes.
  function onTheme(show) {
    heard.push(show);
    show(theme());
  }

  const changed = () => heard.forEach(show => show(theme()));
  const print = began => () => {
    printing = began;
    changed();
  };
  dark.addEventListener("change", changed);
  addEventListener("beforeprint", print(true));
  addEventListener("afterprint", print(false));

  // A picture of the dashboard inside its element, apart from the page's style; returns what tells it its data.
  // As in Streamlit, `moved` hears of what somebody moved, and telling it again is how it is drawn anew.
  function picture(name, moved = () => {}) {
    const host = document.querySelector(`[data-picture="${name}"]`), parentElement = host.attachShadow({ mode: "open" });
    parentElement.append(document.getElementById(`picture-${name}`).content.cloneNode(true));
    return data => window.mounts[name]({ parentElement, data, setStateValue: (_, value) => moved(value) });
  }

  // The figure of a chart in the present theme, a copy that a script may add to: in the dark some values are others.
  function figure(key) {
    const { figure, dark } = structuredClone(page.charts[key]);
    if (theme() === "dark")
      for (const [path, value] of dark) {
        const last = path.pop();
        path.reduce((part, name) => part[name], figure)[last] = value;
      }
    return figure;
  }

  // Draw a chart. `add`: changes its figure first.
  function draw(element, add = () => {}) {
    const { data, layout } = figure(element.dataset.chart), made = { data, layout };
    add(made);
    const { height, ...rest } = made.layout;
    return Plotly.react(element, made.data, { ...rest, height, template: page.templates[theme()] }, { ...config, responsive: true });
  }

  const shown = element => element.getClientRects().length > 0;
  const later = new Map(); // charts that are hidden yet -> what draws them

  // Draw a chart as soon as it can be seen, and again in the other theme.
  function chart(element, add) {
    later.set(element, () => draw(element, add));
    element.style.minHeight = `${element.dataset.height}px`;
  }

  function look() {
    for (const [element, show] of later)
      if (shown(element)) {
        later.delete(element);
        onTheme(() => (shown(element) ? show() : later.set(element, show)));
      }
  }

  // One part of several, by a list; its name is in the address, so that a link leads to it.
  function parts() {
    const list = document.querySelector("[data-switch]");
    const show = name => {
      for (const part of document.querySelectorAll("[data-part]")) part.hidden = part.dataset.part !== name;
      if (list) list.value = name;
      look();
    };
    const named = () => {
      const name = location.hash.slice(1), known = list && [...list.options].some(option => option.value === name);
      show(known ? name : "part-1");
    };
    list?.addEventListener("change", () => (location.hash = list.value));
    addEventListener("hashchange", named);
    named();
  }

  return { page, onTheme, theme, picture, chart, look, parts, draw };
})();
