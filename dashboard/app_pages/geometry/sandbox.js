// Fig. 2 and Fig. 3 of the paper, by hand. Python owns the position; this moves it while somebody drags or walks.

const FAMILY = [0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75];
const NUMBERS = [
  ["projection_ratio", "● Projection ratio", "same score: solid line"],
  ["magnitude", "■ Magnitude (L1)", "same score: dashed rhombus"],
  ["l2", "Distance (L2)", "same distance: pale circle"],
  ["fisher", "▲ Fisher", "of the gradient at b; never looks at b′"],
];
// What each picture shows, its score, and what to read in it: three small ones as in Fig. 3, or all in one.
const PANELS = [
  ["magnitude l2", "magnitude", "(a) ■ Magnitude", "every b′ on the rhombus has this score"],
  ["fisher", "fisher", "(b) ▲ Fisher", "every gradient on the circle has it, wherever b′ is"],
  ["ratio", "projection_ratio", "(c) ● Projection ratio", "what the shadow of one on the other leaves out"],
];
const OVERLAY = [["ratio magnitude l2 fisher", null, "", ""]];
const WALK_MS = 1800, MOVE_MS = 350;
const LEAST = { left: -1.05, right: 2.2, up: 1.3 }; // what it always shows, in units of the plane
const instances = new WeakMap();

const radians = degrees => (degrees * Math.PI) / 180;
const degrees = (x, y) => (Math.atan2(y, x) * 180) / Math.PI;
const tip = p => [p.length * p.ratio * Math.cos(radians(p.angle)), p.length * p.ratio * Math.sin(radians(p.angle))];
const pull = p => [p.gradient * Math.cos(radians(p.direction)), p.gradient * Math.sin(radians(p.direction))];

// beft_core.scores.table in two dimensions; pre is (length, 0).
function scores(p) {
  const [x, y] = tip(p), dx = x - p.length, dy = y;
  const longer = Math.max(p.length * p.length, x * x + y * y);
  return {
    projection_ratio: dx === 0 && dy === 0 ? 0 : 1 - (p.length * x) / longer,
    magnitude: Math.abs(dx) + Math.abs(dy),
    l2: Math.hypot(dx, dy),
    fisher: p.gradient * p.gradient,
  };
}

// What one sees, in a sentence or two.
function seen(p) {
  const now = scores(p), score = now.projection_ratio, angle = Math.abs(p.angle);
  if (score === 0) return "b′ equals b: nothing changed, so the projection ratio and Magnitude are 0. <b>Drag the red tip.</b>";
  if (p.ratio === 0) return "b′ is zero: nothing of b is left, so the projection ratio is 1.";
  const which = p.ratio > 1 ? "b′ is longer than b, so b is projected onto b′" : "b′ is not longer, so it is projected onto b";
  let rest = `the shadow covers ${(100 * (1 - score)).toFixed(0)}% of the longer vector; what is missing, ${short(score)}, ` +
    "is the score";
  if (score > 1 && angle > 90)
    rest = "the shadow falls on the far side of the origin: the vector is <b>reversed</b> and the score is above 1";
  else if (Math.abs(score - 1) < 1e-9) rest = "at a right angle there is no shadow: the score is 1";
  return `${which}; ${rest}. Magnitude adds up how far each coordinate moved, ${short(now.magnitude)}, whether that turned ` +
    `the vector or not. Fisher, ${short(now.fisher)}, is the squared length of the gradient at b: measured before the ` +
    "fine-tune, it cannot see where b′ went.";
}

// One plane with b, b′ and what it shows besides (data-shows, which the style reads). Drags and keys go to the sandbox.
class Picture {
  constructor(parent, owner, [shows, number, title, note]) {
    this.owner = owner;
    const figure = document.createElement("figure");
    this.number = number;
    if (number) {
      const caption = document.createElement("figcaption");
      caption.innerHTML = "<b></b><output></output><small></small>";
      caption.querySelector("b").textContent = title;
      caption.querySelector("small").textContent = note;
      this.output = caption.querySelector("output");
      this.output.dataset.number = number;
      figure.append(caption);
    }
    this.svg = draw(figure, "svg", { class: "picture", role: "group", "data-shows": shows });
    set(this.svg, { "aria-label": `${title} The bias b before the fine-tune, fixed, and b′ after it, to be dragged`.trim() });
    parent.append(figure);
    this.build(title);
  }

  build(title) {
    const g = (name, cls) => draw(this.svg, name, { class: cls });
    draw(this.svg, "line", { class: "axis", x1: -300, x2: 300, y1: 0, y2: 0 });
    draw(this.svg, "line", { class: "axis", y1: -300, y2: 300, x1: 0, x2: 0 });
    this.axisNames = ["u", "v"].map(name => draw(this.svg, "text", {}, name));
    this.family = FAMILY.map(score => [score, g("path", "level"), draw(this.svg, "text", { class: "level-label" }, score)]);
    this.sameLength = g("circle", "same-length");
    this.fisher = g("circle", "line fisher");
    this.l2 = g("circle", "line l2");
    this.rhombus = g("polygon", "line magnitude");
    this.level = g("path", "line ratio");
    this.kept = g("line", "kept");
    this.extension = g("line", "extension");
    this.drop = g("line", "drop");
    this.turn = g("path", "turn");
    this.turnLabel = draw(this.svg, "text", { class: "turn-label" });
    this.marks = ["A", "B"].map(name => this.mark(name));
    this.pre = this.arrow(this.svg, "pre", "b");
    this.foot = draw(this.svg, "circle", { class: "foot", r: 3.2 });
    const here = title ? ` in ${title.slice(0, 3)}` : "";
    this.gradient = this.handle("gradient", "−∇", `Tip of the negative gradient at b${here}`, (x, y) => this.owner.pulled(x, y));
    this.post = this.handle("post", "b′", `Tip of b′, the bias after the fine-tune${here}`, (x, y) => this.owner.moved(x, y));
    this.svg.addEventListener("pointerdown", event => {
      if (event.pointerType === "mouse" && !event.target.closest(".handle, .mark")) this.drag(event, this.post);
    });
  }

  arrow(parent, cls, name) {
    const group = draw(parent, "g", { class: cls });
    return {
      group,
      shaft: draw(group, "line", { class: "arrow" }),
      head: draw(group, "path", { class: "head", d: "M0,0 L-10,-4.6 L-10,4.6 Z" }),
      name: draw(group, "text", { class: "name" }, name),
    };
  }

  handle(cls, name, label, move) {
    const arrow = this.arrow(this.svg, cls, name);
    const group = draw(this.svg, "g", { class: `handle ${cls}`, tabindex: 0, role: "slider", "aria-label": label });
    set(group, { "aria-valuemin": -180, "aria-valuemax": 180 });
    draw(group, "circle", { r: 16, fill: "transparent" });
    draw(group, "circle", { class: "grip", r: cls === "post" ? 9 : 7 });
    const handle = { ...arrow, group, move };
    group.addEventListener("pointerdown", event => this.drag(event, handle));
    group.addEventListener("keydown", event => this.owner.key(event, cls));
    return handle;
  }

  mark(name) {
    const group = draw(this.svg, "g", { class: "mark" });
    const parts = { group, line: draw(group, "line"), dot: draw(group, "circle", { r: 7 }), text: draw(group, "text", {}, name) };
    group.onclick = () => this.owner.jump(name === "A" ? 0 : 1);
    return parts;
  }

  drag(event, handle) {
    event.preventDefault();
    event.stopPropagation();
    this.owner.hold(true);
    const toPlane = e => {
      const point = new DOMPoint(e.clientX, e.clientY).matrixTransform(this.svg.getScreenCTM().inverse());
      return [point.x / UNIT, -point.y / UNIT];
    };
    const follow = e => handle.move(...toPlane(e));
    const release = () => {
      this.svg.removeEventListener("pointermove", follow);
      this.owner.hold(false);
    };
    this.svg.setPointerCapture(event.pointerId);
    this.svg.addEventListener("pointermove", follow);
    this.svg.addEventListener("lostpointercapture", release, { once: true });
    handle.group.focus({ preventScroll: true });
    follow(event);
  }

  look(view) {
    const [middle, half] = [view.middle * UNIT, view.half * UNIT];
    const across = half * this.owner.wide;
    set(this.svg, { viewBox: `${middle - across} ${-half} ${2 * across} ${2 * half}` });
    set(this.axisNames[0], { x: middle + across - 12, y: -6 });
    set(this.axisNames[1], { x: 6, y: 14 - half });
  }

  show(p, now, pair) {
    const [x, y] = tip(p), [gx, gy] = pull(p);
    this.drawLines(p, now);
    this.point(this.pre, 0, 0, p.length, 0, [10, 15]);
    this.point(this.gradient, p.length, 0, p.length + gx, gy, [10, 4]);
    set(this.gradient.group, {
      transform: `translate(${spot(p.length + gx, gy)})`, "aria-valuenow": p.direction,
      "aria-valuetext": `length ${p.gradient.toFixed(2)}, direction ${p.direction.toFixed(0)} degrees`,
    });
    this.point(this.post, 0, 0, x, y, [10, -10]);
    set(this.post.group, {
      transform: `translate(${spot(x, y)})`, "aria-valuenow": p.angle,
      "aria-valuetext": `${p.ratio.toFixed(2)} times the length of b, turned by ${p.angle.toFixed(1)} degrees`,
    });
    this.drawProjection(p, x, y, Math.hypot(x, y));
    this.drawPair(p, pair);
    if (this.output) this.output.textContent = now[this.number].toFixed(3);
  }

  point(arrow, x0, y0, x1, y1, [dx, dy]) {
    const size = Math.hypot(x1 - x0, y1 - y0), shown = size > 0.02;
    const short = Math.max(0, size - 0.08) / (size || 1);
    set(arrow.shaft, {
      x1: px(x0), y1: px(-y0), x2: px(x0 + (x1 - x0) * short), y2: px(-(y0 + (y1 - y0) * short)),
      visibility: shown ? "visible" : "hidden",
    });
    const turn = -degrees(x1 - x0, y1 - y0);
    set(arrow.head, { transform: `translate(${spot(x1, y1)}) rotate(${turn})`, visibility: shown ? "visible" : "hidden" });
    set(arrow.name, { x: +px(x1) + dx, y: +px(-y1) + dy });
  }

  drawLines(p, now) {
    const c = { cx: px(p.length), cy: 0 };
    set(this.sameLength, { r: px(p.length) });
    set(this.fisher, { ...c, r: px(p.gradient) });
    set(this.l2, { ...c, r: px(now.l2) });
    const m = now.magnitude, b = p.length;
    set(this.rhombus, { points: [[b + m, 0], [b, m], [b - m, 0], [b, -m]].map(corner => spot(...corner)).join(" ") });
    set(this.level, { d: isoPath(now.projection_ratio, b) });
    for (const [score, path, label] of this.family) {
      const end = -Math.acos(1 - score);
      set(path, { d: isoPath(score, b) });
      set(label, { x: px(b * 1.09 * Math.cos(end)), y: +px(-b * 1.09 * Math.sin(end)) + 3 });
    }
  }

  drawProjection(p, x, y, size) {
    const cosine = Math.cos(radians(p.angle)), onto = size > p.length ? "post" : "pre";
    const from = onto === "pre" ? [x, y] : [p.length, 0];
    const foot = onto === "pre" ? [x, 0] : [p.length * cosine * Math.cos(radians(p.angle)), p.length * cosine * Math.sin(radians(p.angle))];
    const ends = (a, b) => ({ x1: px(a[0]), y1: px(-a[1]), x2: px(b[0]), y2: px(-b[1]) });
    set(this.drop, ends(from, foot));
    set(this.kept, ends([0, 0], foot));
    set(this.extension, { ...ends([0, 0], foot), visibility: cosine < 0 ? "visible" : "hidden" });
    this.kept.classList.toggle("reversed", cosine < 0);
    set(this.foot, { cx: px(foot[0]), cy: px(-foot[1]) });
    const r = 0.24 * p.length, end = [r * Math.cos(radians(p.angle)), r * Math.sin(radians(p.angle))];
    const flat = Math.abs(p.angle) < 4 || size < 0.02;
    set(this.turn, { d: `M${spot(r, 0)} A${px(r)},${px(r)} 0 0 ${p.angle > 0 ? 0 : 1} ${spot(...end)}`, visibility: flat ? "hidden" : "visible" });
    this.turnLabel.textContent = `${Math.abs(p.angle).toFixed(0)}°`;
    const middle = radians(p.angle / 2);
    set(this.turnLabel, {
      x: +px((r + 0.09) * Math.cos(middle)) - 6, y: +px(-(r + 0.09) * Math.sin(middle)) + 4, visibility: flat ? "hidden" : "visible",
    });
  }

  drawPair(p, pair) {
    this.marks.forEach((mark, i) => {
      const target = pair ? { ...p, ...pair[i] } : null;
      const there = target && ["length", "ratio", "angle"].every(name => Math.abs(target[name] - p[name]) < 1e-6);
      set(mark.group, { visibility: target && !there ? "visible" : "hidden" });
      if (!target) return;
      const [x, y] = tip(target);
      set(mark.line, { x1: 0, y1: 0, x2: px(x), y2: px(-y) });
      set(mark.dot, { cx: px(x), cy: px(-y) });
      set(mark.text, { x: px(x), y: px(-y) });
    });
  }
}

class Sandbox {
  constructor(root) {
    this.root = root;
    this.seq = 0;
    this.position = null;
    this.view = { middle: 0, half: 0 };
    this.pictures = [];
    this.root.querySelector(".walk").onclick = () => this.walk();
    const body = this.root.querySelector("tbody");
    this.cells = {};
    for (const [key, label, note] of NUMBERS) {
      const row = document.createElement("tr");
      row.dataset.line = key;
      row.innerHTML = `<th scope="row">${label}<small>${note}</small></th>` +
        `<td class="now" data-number="${key}"></td><td class="other"></td><td class="other"></td>`;
      body.append(row);
      this.cells[key] = row.querySelectorAll("td");
    }
  }

  // Three small pictures, or all in one: drawn anew where the reader changes between them.
  arrange(overlay) {
    if (this.overlay === overlay) return;
    this.overlay = overlay;
    this.root.classList.toggle("panels", !overlay);
    const place = this.root.querySelector(".pictures");
    place.replaceChildren();
    this.pictures = (overlay ? OVERLAY : PANELS).map(one => new Picture(place, this, one));
    if (this.position === null) return;
    this.look(this.view);
    this.show(this.position);
  }

  // One slider for each number of the position, as Python names them.
  addSliders(sliders) {
    this.sliders = Object.fromEntries(sliders.map(one => [one.name, one]));
    this.inputs = {};
    for (const { name, words, least, most, step } of sliders) {
      const label = document.createElement("label"), input = document.createElement("input");
      const output = document.createElement("output");
      Object.assign(input, { type: "range", min: least, max: most, step });
      label.append(words, output, input);
      input.setAttribute("aria-label", words);
      input.oninput = () => {
        this.stop();
        this.dragging = true;
        this.show({ ...this.position, [name]: +input.value });
      };
      input.onchange = () => {
        this.dragging = false;
        this.send();
      };
      this.root.querySelector(".sliders").append(label);
      this.inputs[name] = { input, output, digits: (String(step).split(".")[1] ?? "").length };
    }
  }

  fit(name, value) {
    const { least, most, step } = this.sliders[name];
    return +Math.min(most, Math.max(least, Math.round(value / step) * step)).toFixed(4);
  }

  jump(at) {
    this.stop();
    this.glide(this.pair[at], MOVE_MS, () => this.send());
  }

  // While somebody holds a tip, nothing else moves it; where it is let go, Python hears of it.
  hold(held) {
    this.stop();
    this.dragging = held;
    if (!held) this.send();
  }

  key(event, cls) {
    const by = { ArrowLeft: [0, 1], ArrowRight: [0, -1], ArrowUp: [1, 0], ArrowDown: [-1, 0] }[event.key];
    if (!by) return;
    event.preventDefault();
    this.stop();
    const [size, turn] = cls === "post" ? ["ratio", "angle"] : ["gradient", "direction"];
    const many = event.shiftKey ? 10 : 1;
    const p = { ...this.position };
    p[size] = this.fit(size, p[size] + by[0] * this.sliders[size].step * many);
    p[turn] = this.fit(turn, ((p[turn] + by[1] * this.sliders[turn].step * 2 * many + 540) % 360) - 180);
    this.show(p);
    clearTimeout(this.later); // one message for a held key
    this.later = setTimeout(() => this.send(), 200);
  }

  moved(x, y) {
    const size = Math.hypot(x, y) / this.position.length;
    const angle = size < 0.005 ? this.position.angle : this.fit("angle", degrees(x, y));
    this.show({ ...this.position, ratio: this.fit("ratio", size), angle });
  }

  pulled(x, y) {
    const dx = x - this.position.length;
    const size = Math.hypot(dx, y);
    const direction = size < 0.025 ? this.position.direction : this.fit("direction", degrees(dx, y));
    this.show({ ...this.position, gradient: this.fit("gradient", size), direction });
  }

  // The picture shows what there is to see: wider when a tip is far out, but never while somebody drags.
  settle(duration = MOVE_MS) {
    const tips = [this.position, ...(this.pair ?? []).map(one => ({ ...this.position, ...one }))].map(tip);
    const left = Math.min(LEAST.left, ...tips.map(([x]) => x - 0.3));
    const right = Math.max(LEAST.right, ...tips.map(([x]) => x + 0.3));
    const half = Math.max(LEAST.up, (right - left) / 2 / this.wide, ...tips.map(([, y]) => Math.abs(y) + 0.25));
    const from = this.view, to = { middle: (left + right) / 2, half }, began = performance.now();
    const tick = now => {
      const t = calm() || !duration ? 1 : Math.min(1, Math.max(0, (now - began) / duration));
      this.look({ middle: from.middle + t * (to.middle - from.middle), half: from.half + t * (to.half - from.half) });
      if (t < 1) this.zoom = requestAnimationFrame(tick);
    };
    cancelAnimationFrame(this.zoom);
    if (from.middle !== to.middle || from.half !== to.half) tick(began);
  }

  look(view) {
    this.view = view;
    for (const picture of this.pictures) picture.look(view);
  }

  send() {
    this.settle();
    this.seq += 1;
    this.emit({ ...this.position, seq: this.seq });
  }

  // What Python says: the position, unless it is older than what was sent from here.
  receive({ position, pair, seq, large, wide, sliders, hidden, overlay }) {
    this.pair = pair;
    this.wide = wide;
    this.root.style.setProperty("--wide", wide);
    this.arrange(overlay);
    this.look(this.view); // of another shape, though nothing may move
    if (!this.sliders) this.addSliders(sliders);
    this.root.querySelector(".sliders").classList.toggle("hidden", hidden);
    this.root.classList.toggle("large", large);
    this.root.classList.toggle("paired", Boolean(pair));
    if (this.position === null) {
      this.seq = seq;
      this.show(position);
      this.settle(0);
    } else if (this.dragging || seq < this.seq || this.walking) {
      this.show(this.position);
    } else {
      this.glide(position, MOVE_MS, () => this.settle());
    }
  }

  stop() {
    cancelAnimationFrame(this.frame);
    cancelAnimationFrame(this.zoom);
    clearTimeout(this.later);
    this.walking = false;
  }

  // In a straight line, so that a walk along an edge of the rhombus or along a chord keeps that score.
  glide(target, duration, then = () => {}) {
    cancelAnimationFrame(this.frame);
    const from = this.position, to = { ...this.position, ...target };
    const same = Object.keys(to).every(name => Math.abs(from[name] - to[name]) < 1e-9);
    if (same || calm()) {
      this.show(to);
      then();
      return;
    }
    const [ax, ay] = tip(from), [bx, by] = tip(to), began = performance.now();
    const tick = now => {
      const t = Math.min(1, Math.max(0, (now - began) / duration)), s = t * t * (3 - 2 * t);
      const mix = (a, b) => a + s * (b - a);
      const x = mix(ax, bx), y = mix(ay, by), length = mix(from.length, to.length);
      if (t === 1) {
        this.show(to);
        then();
        return;
      }
      this.show({
        length, ratio: Math.hypot(x, y) / length, angle: degrees(x, y),
        gradient: mix(from.gradient, to.gradient), direction: mix(from.direction, to.direction),
      });
      this.frame = requestAnimationFrame(tick);
    };
    this.frame = requestAnimationFrame(tick);
  }

  walk() {
    const [a, b] = this.pair, legs = [[a, MOVE_MS], [b, WALK_MS], [a, WALK_MS]];
    const next = () => {
      const leg = legs.shift();
      if (leg) {
        this.glide(...leg, next);
        return;
      }
      this.walking = false;
      this.send();
    };
    this.stop();
    this.walking = true;
    next();
  }

  show(p) {
    this.position = p;
    const now = scores(p), [x, y] = tip(p);
    for (const picture of this.pictures) picture.show(p, now, this.pair);
    for (const [key, cells] of Object.entries(this.cells)) {
      cells[0].textContent = now[key].toFixed(3);
      for (const i of [0, 1]) cells[i + 1].textContent = this.pair ? scores({ ...p, ...this.pair[i] })[key].toFixed(3) : "";
    }
    this.writeCases(p, now.projection_ratio, Math.hypot(x, y));
    for (const [name, { input, output, digits }] of Object.entries(this.inputs)) {
      input.value = p[name];
      output.textContent = p[name].toFixed(digits) + this.sliders[name].unit;
      input.setAttribute("aria-valuetext", output.textContent);
    }
    const words = seen(p);
    if (words !== this.words) this.root.querySelector(".seen").innerHTML = this.words = words;
  }

  writeCases(p, score, size) {
    const onto = size > p.length ? "post" : "pre", cosine = Math.cos(radians(p.angle));
    for (const box of this.root.querySelectorAll(".case")) {
      const active = box.dataset.onto === onto, ofPre = box.dataset.onto === "pre";
      const [up, down] = ofPre ? ["‖b′‖", "‖b‖"] : ["‖b‖", "‖b′‖"];
      const [above, below] = ofPre ? [size, p.length] : [p.length, size];
      const fraction = (a, b) => `<span class="fraction"><span>${a}</span><span>${b}</span></span>`;
      box.classList.toggle("active", active);
      const sign = cosine < 0 ? "+" : "−", product = `${above.toFixed(2)} × ${Math.abs(cosine).toFixed(3)}`;
      box.querySelector(".formula").innerHTML = `1 − ${fraction(`${up} cos α`, down)}` +
        (active ? ` = 1 ${sign} ${fraction(product, below.toFixed(2))} = <b>${score.toFixed(3)}</b>` : "");
    }
  }
}

function mount({ parentElement, data, setStateValue }) {
  const root = parentElement.querySelector(".sandbox");
  let sandbox = instances.get(parentElement);
  if (!sandbox || sandbox.root !== root) {
    sandbox = new Sandbox(root);
    instances.set(parentElement, sandbox);
  }
  sandbox.emit = position => setStateValue("moved", position);
  sandbox.receive(data);
  return () => sandbox.stop();
}
