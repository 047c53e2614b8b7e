// The plane of two changes: a panel per task with bands of its metric, and the merge as a point to drag.
// Python owns the point (two sliders); this moves it while somebody drags, and says where it was let go. Needs svg.js.

const SIZE = 160; // pixels of the picture of the bands, on each side
const WIDE = 1.25; // a panel: width to height, as its style has it
const instances = new WeakMap();

// As Surface.at of beft_core.merging.plane: linear on both axes between the four points around a place.
function metricAt({ shares, values }, alpha, beta) {
  const place = value => {
    const inside = Math.min(shares.at(-1), Math.max(shares[0], value));
    let low = 0;
    while (low < shares.length - 2 && shares[low + 1] <= inside) low++;
    return [low, (inside - shares[low]) / (shares[low + 1] - shares[low])];
  };
  const [a, u] = place(alpha), [b, v] = place(beta);
  let sum = 0;
  for (const [i, share] of [[a, 1 - u], [a + 1, u]])
    for (const [j, other] of [[b, 1 - v], [b + 1, v]])
      if (share * other > 0) sum += share * other * (values[i][j] ?? NaN);
  return sum;
}

class Plane {
  constructor(root) {
    this.root = root;
    this.panels = [];
  }

  receive(data) {
    this.data = data;
    const drawn = JSON.stringify({ ...data, at: null, seq: null });
    if (drawn !== this.drawn) this.build();
    this.drawn = drawn;
    if (!this.dragging) this.show(...data.at);
  }

  // Where (alpha, beta) lies: the first change to the right, the second at its angle, both to scale.
  spot(alpha, beta) {
    const [[ax, ay], [bx, by]] = this.data.changes;
    return [alpha * ax + beta * bx, -(alpha * ay + beta * by)];
  }

  shares(x, y) {
    const [[ax, ay], [bx, by]] = this.data.changes, det = ax * by - ay * bx;
    return [(x * by + y * bx) / det, (-ax * y - ay * x) / det];
  }

  build() {
    const { low, high } = this.data, holder = this.root.querySelector(".panels");
    holder.replaceChildren();
    const corners = [[low, low], [high, low], [high, high], [low, high]].map(c => this.spot(...c));
    const xs = corners.map(c => c[0]), ys = corners.map(c => c[1]);
    const middle = [(Math.min(...xs) + Math.max(...xs)) / 2, (Math.min(...ys) + Math.max(...ys)) / 2];
    const height = 1.06 * Math.max((Math.max(...xs) - Math.min(...xs)) / WIDE, Math.max(...ys) - Math.min(...ys));
    this.unit = height / 260; // what a pixel is, about
    const box = [middle[0] - (height * WIDE) / 2, middle[1] - height / 2, height * WIDE, height].map(v => v / this.unit);
    this.panels = this.data.panels.map(panel => this.panel(holder, panel, corners, box));
  }

  panel(holder, panel, corners, box) {
    const figure = document.createElement("figure"), caption = document.createElement("figcaption");
    figure.className = "panel";
    const name = document.createElement("span"), output = document.createElement("output");
    name.textContent = panel.title;
    caption.append(name, output);
    figure.append(caption);
    const svg = document.createElementNS(SVG, "svg");
    set(svg, { viewBox: box.join(" "), role: "group", "aria-label": `${panel.title} over the plane of the two changes` });
    figure.append(svg);
    holder.append(figure);
    const at = (alpha, beta) => this.spot(alpha, beta).map(v => v / this.unit);
    const { low, high, labels } = this.data;
    if (panel.values) {
      const [x, y] = at(low, low), [x1, y1] = at(high, low), [x2, y2] = at(low, high);
      // The picture's rows go with the second change, its columns with the first.
      draw(svg, "image", {
        width: 1, height: 1, preserveAspectRatio: "none", href: this.bands(panel),
        transform: `matrix(${x1 - x} ${y1 - y} ${x2 - x} ${y2 - y} ${x} ${y})`,
      });
      const scale = document.createElement("div"), strip = document.createElement("span");
      scale.className = "scale";
      strip.className = "strip";
      const steps = panel.colours.map((c, i) => `${c} ${(100 * i) / panel.colours.length}% ${(100 * (i + 1)) / panel.colours.length}%`);
      strip.style.background = `linear-gradient(to right, ${steps.join(", ")})`;
      scale.append(`${panel.range[0].toFixed(1)} %`, strip, `${panel.range[1].toFixed(1)} %`);
      figure.append(scale);
    }
    draw(svg, "polygon", { class: "edge", points: corners.map(c => c.map(v => v / this.unit).join(",")).join(" ") });
    const zero = at(0, 0);
    labels.forEach((label, which) => {
      const tip = at(1 - which, which), ends = { x1: zero[0], y1: zero[1], x2: tip[0], y2: tip[1] };
      draw(svg, "line", { class: "halo", ...ends });
      draw(svg, "line", { class: "change", ...ends });
      draw(svg, "circle", { class: "tip", cx: tip[0], cy: tip[1], r: 4 });
      draw(svg, "text", { x: tip[0], y: tip[1] + (which ? -8 : 16), "text-anchor": "middle" }, label);
    });
    draw(svg, "circle", { class: "tip", cx: zero[0], cy: zero[1], r: 4 });
    draw(svg, "text", { x: zero[0], y: zero[1] + 16, "text-anchor": "middle" }, "base");
    const handle = draw(svg, "g", { class: "handle", tabindex: 0, role: "slider", "aria-label": `The merge, ${panel.title}` });
    set(handle, { "aria-valuemin": low, "aria-valuemax": high });
    draw(handle, "circle", { r: 18, fill: "transparent" });
    draw(handle, "circle", { class: "grip", r: 8 });
    svg.addEventListener("pointerdown", event => this.drag(event, svg, handle));
    handle.addEventListener("keydown", event => this.key(event));
    return { ...panel, output, handle, svg };
  }

  // Bands of equal metric as a picture, which the browser skews into the plane.
  bands(panel) {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = SIZE;
    const context = canvas.getContext("2d"), { low, high } = this.data, count = panel.colours.length;
    const [least, most] = panel.range, span = most - least || 1;
    for (let i = 0; i < SIZE; i++)
      for (let j = 0; j < SIZE; j++) {
        const share = k => low + ((k + 0.5) / SIZE) * (high - low);
        const value = metricAt(panel, share(i), share(j));
        if (!Number.isFinite(value)) continue;
        context.fillStyle = panel.colours[Math.min(count - 1, Math.floor(((value - least) / span) * count))];
        context.fillRect(i, j, 1, 1);
      }
    return canvas.toDataURL();
  }

  drag(event, svg, handle) {
    event.preventDefault();
    this.dragging = true;
    const follow = e => {
      const point = new DOMPoint(e.clientX, e.clientY).matrixTransform(svg.getScreenCTM().inverse());
      this.show(...this.shares(point.x * this.unit, point.y * this.unit));
    };
    const release = () => {
      svg.removeEventListener("pointermove", follow);
      this.dragging = false;
      this.send();
    };
    svg.setPointerCapture(event.pointerId);
    svg.addEventListener("pointermove", follow);
    svg.addEventListener("lostpointercapture", release, { once: true });
    handle.focus({ preventScroll: true });
    follow(event);
  }

  key(event) {
    const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (!by) return;
    event.preventDefault();
    const step = event.shiftKey ? 0.1 : 0.01;
    this.show(this.alpha + by[0] * step, this.beta + by[1] * step);
    clearTimeout(this.later); // one message for a held key
    this.later = setTimeout(() => this.send(), 200);
  }

  show(alpha, beta) {
    const fit = value => +Math.min(this.data.high, Math.max(this.data.low, value)).toFixed(2);
    [this.alpha, this.beta] = [fit(alpha), fit(beta)];
    const [x, y] = this.spot(this.alpha, this.beta).map(v => v / this.unit);
    for (const panel of this.panels) {
      set(panel.handle, { transform: `translate(${x} ${y})`, "aria-valuenow": this.alpha });
      const words = `${this.alpha.toFixed(2)} of ${this.data.labels[0]}, ${this.beta.toFixed(2)} of ${this.data.labels[1]}`;
      panel.output.textContent = panel.values ? `${metricAt(panel, this.alpha, this.beta).toFixed(1)} %` : "";
      panel.handle.setAttribute("aria-valuetext", `${words}${panel.values ? `: ${panel.output.textContent}` : ""}`);
    }
    const [a, b] = this.data.labels;
    this.root.querySelector(".seen").textContent = `base + ${this.alpha.toFixed(2)} · change of ${a} + ${this.beta.toFixed(2)} · change of ${b}`;
  }

  send() {
    this.emit({ alpha: this.alpha, beta: this.beta });
  }
}

function mount({ parentElement, data, setStateValue }) {
  const root = parentElement.querySelector(".plane");
  let plane = instances.get(parentElement);
  if (!plane || plane.root !== root) {
    plane = new Plane(root);
    instances.set(parentElement, plane);
  }
  plane.emit = moved => setStateValue("moved", moved);
  plane.receive(data);
}
