// Keys of the deck, and how many screens of 1280 x 720 the window holds. The keys press what the bar has: links and buttons.

const STEPS = {
  ArrowRight: "next", PageDown: "next", ArrowLeft: "previous", PageUp: "previous", Home: "first", End: "last",
};
const CLICKER = ["PageDown", "PageUp"]; // what a clicker sends: these lead on wherever the focus is, except in text
const WRITES = "input:not([type=range], [type=checkbox], [type=radio], [type=button]), textarea, select, [contenteditable=true]";
const MOVES = "input, [role=slider], [role=tab], [role=radio], [role=spinbutton], [role=option], [role=menuitem], .handle";
const OPEN = "[role=dialog], [role=listbox], [data-testid=stPopoverBody]"; // has the keys to itself
const WIDTH = 1280, HEIGHT = 720, LEAST = 0.7, MOST = 4, GRAIN = 0.05;
const SETTLED = 200; // milliseconds without a change of size until the server is told

function scale() {
  const fits = Math.min(innerWidth / WIDTH, innerHeight / HEIGHT);
  return Math.min(MOST, Math.max(LEAST, Math.floor(fits / GRAIN + 1e-6) * GRAIN));
}

function press(name) {
  const found = document.querySelector(`.st-key-deck-${name} :is(a, button):not([disabled], [aria-disabled=true])`);
  found?.click();
  return Boolean(found);
}

function heard(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || event.shiftKey || event.isComposing) return;
  const at = event.composedPath()[0]; // of a control inside of a component too
  const on = selector => at instanceof Element && at.closest(selector) !== null;
  if (document.querySelector(OPEN) || on(WRITES)) return;
  const step = STEPS[event.key];
  if (step && (CLICKER.includes(event.key) || !on(MOVES))) {
    press(step);
    event.preventDefault(); // at the first and the last stop too, where nothing is pressed: no page scrolls
    event.stopPropagation();
  } else if (event.key === "Escape" && press("leave")) event.preventDefault();
}

export default function ({ parentElement, data, setStateValue }) {
  parentElement.querySelector("span").textContent = data.says;
  const ending = new AbortController();
  let waiting = 0, told = data.scale;
  const measure = () => {
    const now = scale();
    if (Math.abs(now - told) < GRAIN / 2) return;
    told = now;
    setStateValue("scale", now);
  };
  const resized = () => {
    clearTimeout(waiting);
    waiting = setTimeout(measure, SETTLED);
  };
  addEventListener("resize", resized, { signal: ending.signal });
  document.addEventListener("keydown", heard, { signal: ending.signal, capture: true });
  measure();
  return () => {
    clearTimeout(waiting);
    ending.abort();
  };
}
