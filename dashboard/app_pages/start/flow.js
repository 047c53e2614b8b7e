// Attention on the learner's own words: one token asks, all answer, their values are handed on into the residual stream.
// A scheme without numbers: it shows where the three biases act. Words of strangers are only ever set as text.

const LEFT = 122, RIGHT = 388, WIDTH = 420, HEIGHT = 258;
const ROWS = { top: 12, plus: 54, query: 98, value: 150, key: 188, fork: 212, foot: 228, token: 248 };
const MS_PER_STEP = 1150; // the four end within five seconds, so they need no pause
const flows = new WeakMap();

class Flow {
  constructor(root) {
    this.root = root;
    this.svg = root.querySelector("svg");
    this.words = root.querySelector("p");
    set(this.svg, { viewBox: `0 0 ${WIDTH} ${HEIGHT}` });
  }

  // `data` as in flow.py. Drawn anew only where the words or the look changed.
  receive(data) {
    const same = JSON.stringify(data);
    if (same === this.same) return;
    const first = !this.same;
    this.same = same;
    this.data = data;
    for (const [term, { colour, ink }] of Object.entries(data.look)) {
      this.root.style.setProperty(`--${term}`, colour);
      this.root.style.setProperty(`--ink-${term}`, ink);
    }
    const box = this.root.querySelector(".steps");
    box.replaceChildren();
    this.buttons = data.steps.map(({ name }, at) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = `${at + 1} ${name}`;
      button.onclick = () => this.step(at);
      box.append(button);
      return button;
    });
    this.asking = data.asking;
    this.scene();
    if (first && !calm()) this.film();
    else this.rest();
  }

  scene() {
    const { tokens, look } = this.data, svg = this.svg;
    svg.replaceChildren();
    set(svg, { "aria-label": this.data.alt });
    const x = tokens.map((_, at) => (tokens.length > 1 ? LEFT + (at * (RIGHT - LEFT)) / (tokens.length - 1) : (LEFT + RIGHT) / 2));
    const f = x[this.asking], half = Math.min(30, x.length > 1 ? (x[1] - x[0]) / 2 - 1 : 30);
    for (const [row, term] of [["query", "q"], ["value", "v"], ["key", "k"]])
    {
      const { name, symbol: [head, index] } = look[term];
      const label = draw(svg, "text", { class: `where ${term}`, x: 0, y: ROWS[row] + 5 }, `${name} + ${head}`);
      draw(label, "tspan", { dy: 3, "font-size": 10 }, index);
    }
    draw(svg, "text", { class: "where", x: 0, y: ROWS.top + 16 }, "residual stream");
    this.lines = [[], [], [], []]; // of each step
    x.forEach((at, i) => {
      draw(svg, "path", { class: "stream", d: `M${at},${ROWS.foot} V${ROWS.top + 8}` });
      draw(svg, "path", { class: "stream-head", d: `M${at},${ROWS.top - 2} l-7,12 h14 Z` });
      draw(svg, "path", { class: "branch", d: `M${at},${ROWS.fork} Q${at - 12},${ROWS.fork} ${at - 12},${ROWS.key}` });
      draw(svg, "path", { class: "branch", d: `M${at},${ROWS.fork} Q${at + 12},${ROWS.fork} ${at + 12},${ROWS.value}` });
      const token = draw(svg, "g", { class: `ask${i === this.asking ? " asking" : ""}`, tabindex: 0, role: "button", "aria-label": `Let ${tokens[i]} ask` });
      draw(token, "rect", { x: at - half, y: ROWS.token - 15, width: 2 * half, height: 21, rx: 4 });
      draw(token, "text", { class: "token", x: at, y: ROWS.token }, tokens[i]);
      token.onclick = () => this.ask(i);
      token.onkeydown = event => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        this.ask(i);
        this.svg.querySelectorAll(".ask")[i].focus();
      };
    });
    draw(svg, "path", { class: "branch", d: `M${f},${ROWS.fork} Q${f - 22},${ROWS.fork} ${f - 22},${ROWS.query + 8}` });
    const line = (step, term, d) => this.lines[step].push(draw(svg, "path", { class: `line ${term}`, d }));
    x.forEach(at => {
      const middle = (ROWS.query + ROWS.key) / 2;
      line(0, "q", `M${f - 22},${ROWS.query} C${f - 22},${middle} ${at - 12},${middle} ${at - 12},${ROWS.key - 6}`);
      line(1, "k", `M${at - 12},${ROWS.key} C${at - 8},${middle} ${f - 16},${middle} ${f - 16},${ROWS.query + 4}`);
      line(2, "v", `M${at + 12},${ROWS.value} C${at + 12},${ROWS.plus + 26} ${f + 20},${ROWS.plus + 60} ${f + 8},${ROWS.plus + 6}`);
    });
    line(3, "v", `M${f},${ROWS.plus} V${ROWS.top + 6}`);
    x.forEach(at => {
      draw(svg, "rect", { class: "node k", x: at - 17, y: ROWS.key - 5, width: 10, height: 10 });
      draw(svg, "path", { class: "node v", d: `M${at + 12},${ROWS.value - 7} l7,12 h-14 Z` });
    });
    draw(svg, "circle", { class: "node q", cx: f - 22, cy: ROWS.query, r: 7 });
    draw(svg, "circle", { class: "plus", cx: f, cy: ROWS.plus, r: 9 });
    draw(svg, "path", { class: "plus-sign", d: `M${f - 5},${ROWS.plus} h10 M${f},${ROWS.plus - 5} v10` });
  }

  ask(i) {
    this.stop();
    this.asking = i;
    this.scene();
    this.step(0);
  }

  // All lines at once, as they stand without motion.
  rest() {
    this.show(null);
    this.words.textContent = this.data.whole;
  }

  show(at) {
    this.lines.forEach((lines, step) => lines.forEach(line => line.classList.toggle("on", at === null || step === at)));
    this.buttons.forEach((button, step) => button.setAttribute("aria-pressed", String(step === at)));
    if (at !== null) this.words.textContent = this.data.steps[at].words.replaceAll("{token}", this.data.tokens[this.asking]);
  }

  step(at, then = () => {}) {
    this.stop();
    this.show(at);
    if (calm()) return;
    const pulses = this.lines[at].map(line => [line, line.getTotalLength(), draw(this.svg, "circle", { class: `pulse node ${line.classList[1]}`, r: 5 })]);
    this.pulses = pulses.map(([, , dot]) => dot);
    const began = performance.now();
    const tick = now => {
      const t = Math.min(1, Math.max(0, now - began) / MS_PER_STEP);
      for (const [line, size, dot] of pulses) {
        const { x, y } = line.getPointAtLength(size * t);
        set(dot, { cx: x, cy: y });
      }
      if (t < 1) this.frame = requestAnimationFrame(tick);
      else {
        this.stop();
        then();
      }
    };
    tick(began);
  }

  film() {
    const next = at => (at < this.lines.length ? this.step(at, () => next(at + 1)) : this.rest());
    next(0);
  }

  stop() {
    cancelAnimationFrame(this.frame);
    for (const dot of this.pulses ?? []) dot.remove();
    this.pulses = [];
  }
}

function mount({ parentElement, data }) {
  const root = parentElement.querySelector(".flow");
  let flow = flows.get(parentElement);
  if (!flow || flow.root !== root) {
    flow = new Flow(root);
    flows.set(parentElement, flow);
  }
  flow.receive(data);
  return () => flow.stop();
}
