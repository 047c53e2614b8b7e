// Curves that grow: drawn anew at every tick without losing the reader's zoom (drag over the steps; double-click: all).

const HEIGHT = 220, LABEL = 14, MARGIN = { left: 58, right: 52, top: 10, bottom: 40 };
const charts = new WeakMap();

class Chart {
  constructor(root) {
    this.svg = root.querySelector("svg");
    this.tip = root.querySelector("output");
    this.zoom = null;
    new ResizeObserver(() => this.data && this.from == null && this.draw()).observe(this.svg);
    this.svg.onpointerdown = event => {
      this.from = this.at(event);
      this.svg.setPointerCapture(event.pointerId);
    };
    this.svg.onpointermove = event => this.hover(event);
    this.svg.onpointerleave = () => (this.tip.textContent = "");
    this.svg.onpointerup = event => {
      const [low, high] = [this.from, this.at(event)].sort((a, b) => a - b);
      this.from = null;
      if (high - low > (this.right - this.left) / 50) this.zoom = [low, high];
      this.draw();
    };
    this.svg.ondblclick = () => {
      this.zoom = null;
      this.draw();
    };
  }

  receive(data) {
    const text = JSON.stringify(data);
    if (text === this.text) return;
    this.text = text;
    this.data = data;
    if (this.from == null) this.draw();
  }

  // The step under the pointer.
  at(event) {
    const box = this.svg.getBoundingClientRect();
    const share = (event.clientX - box.left - MARGIN.left) / (box.width - MARGIN.left - MARGIN.right);
    return this.left + Math.min(1, Math.max(0, share)) * (this.right - this.left);
  }

  draw() {
    const { lines, total, title, zero } = this.data;
    [this.left, this.right] = this.zoom ?? [0, total];
    const seen = lines.flatMap(line => line.y.filter((_, i) => line.x[i] >= this.left && line.x[i] <= this.right));
    let low = zero ? 0 : Math.min(...seen), high = Math.max(...seen);
    if (!seen.length) [low, high] = [0, 1];
    if (zero && low === high) high = 1;
    const room = (high - low) * 0.06 || Math.abs(high) * 0.05 || 0.5;
    [low, high] = [zero ? Math.min(0, ...seen) : low - room, high + room];
    const width = this.svg.getBoundingClientRect().width || 460; // pixels of the page: type is as large in every chart
    this.svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    const x = value => MARGIN.left + ((value - this.left) / (this.right - this.left)) * (width - MARGIN.left - MARGIN.right);
    const y = value => HEIGHT - MARGIN.bottom - ((value - low) / (high - low)) * (HEIGHT - MARGIN.top - MARGIN.bottom);
    [this.x, this.y] = [x, y];
    const bottom = HEIGHT - MARGIN.bottom, end = width - MARGIN.right;
    this.svg.replaceChildren();
    const up = ticks(low, high, 4), along = ticks(this.left, this.right, 5);
    tickTexts(up).forEach((words, i) => {
      this.add("line", { class: "grid", x1: MARGIN.left, x2: end, y1: y(up[i]), y2: y(up[i]) });
      this.add("text", { class: "tick", x: MARGIN.left - 6, y: y(up[i]) + 4, "text-anchor": "end" }, words);
    });
    tickTexts(along).forEach((words, i) =>
      this.add("text", { class: "tick", x: x(along[i]), y: bottom + 15, "text-anchor": "middle" }, words));
    this.add("text", { class: "title", x: (MARGIN.left + end) / 2, y: HEIGHT - 4, "text-anchor": "middle" }, "step");
    this.add("text", { class: "title", "text-anchor": "middle", transform: `translate(12 ${bottom / 2}) rotate(-90)` }, title);
    const labels = lines.map(line => this.addLine(line, x, y)).filter(Boolean);
    const heights = apart(labels.map(label => label.y), LABEL, MARGIN.top, bottom);
    labels.forEach(({ x, y, ink, head, index }, i) => {
      const at = heights[i], beside = x + (Math.abs(at - y) < 3 ? 6 : 14);
      if (beside > x + 6) this.add("line", { class: "joint", x1: x + 3, x2: beside - 2, y1: y, y2: at, stroke: ink });
      const text = this.add("text", { class: "name", x: beside, y: at + 4, style: `fill: ${ink}` }, head);
      text.append(Object.assign(this.make("tspan", { dy: 3, "font-size": "70%" }), { textContent: index ?? "" }));
    });
  }

  // Draws a line and says where its label belongs, if it has one.
  addLine(line, x, y) {
    const inside = line.x.map((step, i) => [step, line.y[i]]).filter(([step]) => step >= this.left && step <= this.right);
    const points = inside.map(([step, value]) => `${x(step)},${y(value)}`);
    this.add("polyline", {
      points: points.join(" "), fill: "none", stroke: line.color, "stroke-width": line.width,
      "stroke-dasharray": line.dotted ? "2 3" : "none", "stroke-linejoin": "round",
    });
    if (!inside.length) return null;
    const dots = line.dots ? inside : inside.slice(-1);
    for (const [step, value] of dots) this.add("circle", { cx: x(step), cy: y(value), r: 3, fill: line.color });
    if (!line.label) return null;
    const [step, value] = inside.at(-1), [head, index] = line.label.split("_");
    return { x: x(step), y: y(value), ink: line.ink, head, index };
  }

  hover(event) {
    if (!this.data) return;
    const here = this.at(event);
    if (this.from != null) this.mark(this.from, here);
    const told = this.data.lines.filter(line => line.x.length).map(line => {
      const i = line.x.reduce((best, step, j) => (Math.abs(step - here) < Math.abs(line.x[best] - here) ? j : best), 0);
      return [line.x[i], `${line.name} ${short(line.y[i])}`];
    });
    if (told.length) this.tip.textContent = `step ${told[0][0]}: ${told.map(([, words]) => words).join(", ")}`;
  }

  mark(from, to) {
    this.svg.querySelector(".mark")?.remove();
    const [left, right] = [this.x(from), this.x(to)].sort((a, b) => a - b);
    const tall = HEIGHT - MARGIN.top - MARGIN.bottom;
    this.add("rect", { class: "mark", x: left, y: MARGIN.top, width: right - left, height: tall });
  }

  make(kind, attributes) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", kind);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  }

  add(kind, attributes, text = "") {
    const element = this.make(kind, attributes);
    if (text) element.textContent = text;
    return this.svg.appendChild(element);
  }
}

export default function ({ data, parentElement }) {
  const root = parentElement.querySelector(".live");
  if (!charts.has(root)) charts.set(root, new Chart(root));
  root.querySelector("svg").setAttribute("aria-label", data.alt);
  charts.get(root).receive(data);
}
