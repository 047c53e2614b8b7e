// A fine-tune as a film: the plane with every layer's path, the score of each term, play, step and scrub.
// Positions between two checkpoints are drawn on the straight line between them.

const WIDTH = 460, HEIGHT = 400, MARGIN = { left: 46, right: 92, top: 26, bottom: 40 };
const LEVELS = [0.1, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75];
const MS_PER_FILM = 6000;
const players = new WeakMap();

const mix = (values, at) => {
  const i = Math.min(Math.floor(at), values.length - 1), rest = at - i;
  return rest ? values[i] + rest * (values[i + 1] - values[i]) : values[i];
};

class Player {
  constructor(root) {
    this.root = root;
    this.plane = root.querySelector(".plane");
    this.curves = root.querySelector(".curves");
    this.range = root.querySelector("input");
    this.output = root.querySelector("output");
    this.playing = root.querySelector(".play");
    this.at = null;
    this.range.oninput = () => {
      this.stop();
      this.show(+this.range.value);
    };
    this.range.onchange = () => this.rest(Math.round(this.at));
    this.range.onkeydown = event => {
      const by = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
      if (!by) return;
      event.preventDefault();
      this.step(by);
    };
    root.querySelector(".back").onclick = () => this.step(-1);
    root.querySelector(".on").onclick = () => this.step(1);
    this.playing.onclick = () => (this.frame ? this.rest(Math.round(this.at)) : this.play());
  }

  // Draws what does not move; `data` as in geometry_training.film.
  receive(data) {
    const film = JSON.stringify(data.film);
    if (film !== this.film) {
      this.stop();
      this.film = film;
      this.data = data.film;
      this.last = data.film.steps.length - 1;
      this.range.max = this.last;
      this.drawPlane();
      this.drawCurves();
      this.show(data.at);
    } else if (data.at !== this.sent && !this.frame) {
      this.show(data.at);
    }
    this.sent = data.at;
  }

  stop() {
    cancelAnimationFrame(this.frame);
    clearTimeout(this.later);
    this.frame = 0;
    this.playing.textContent = "▶";
    this.playing.setAttribute("aria-label", "Play");
  }

  rest(at) {
    this.stop();
    this.show(at);
    if (at === this.sent) return;
    clearTimeout(this.later); // one message for a held key
    this.later = setTimeout(() => {
      this.sent = at;
      this.emit(at);
    }, 250);
  }

  step(by) {
    this.rest(Math.min(this.last, Math.max(0, Math.round(this.at) + by)));
  }

  play() {
    const from = this.at >= this.last ? 0 : this.at, began = performance.now();
    const tick = now => {
      const at = from + (Math.max(0, now - began) / MS_PER_FILM) * this.last;
      if (at >= this.last) {
        this.rest(this.last);
        return;
      }
      this.show(at);
      this.frame = requestAnimationFrame(tick);
    };
    this.stop();
    this.playing.textContent = "❚❚";
    this.playing.setAttribute("aria-label", "Pause");
    this.frame = requestAnimationFrame(tick);
  }

  drawPlane() {
    const { left, right, top } = this.data.frame, svg = this.plane;
    svg.replaceChildren();
    set(svg, { viewBox: `${px(left)} ${px(-top)} ${px(right - left)} ${px(top + this.data.frame.bottom)}` });
    const scale = Math.max((right - left) / WIDTH, (top + this.data.frame.bottom) / HEIGHT) * UNIT;
    this.scale = scale; // SVG units per pixel of the picture, so that type and lines keep their size
    const text = (x, y, cls, words) => draw(svg, "text", { x: px(x), y: px(-y), class: cls, style: `font-size:${12 * scale}px;stroke-width:${3 * scale}px` }, words);
    const wide = { "stroke-width": scale };
    for (let r = this.data.frame.circles; r <= Math.hypot(Math.max(right, -left), top); r += this.data.frame.circles) {
      draw(svg, "circle", { class: "faint", r: px(r), ...wide });
      if (r < right) text(r, -0.13 * scale, "quiet", `×${+r.toFixed(2)}`);
    }
    for (const level of LEVELS) draw(svg, "path", { class: "level", d: isoPath(level, 1, 2 * (top + right - left)), ...wide });
    for (const [x, y, level] of this.data.labels) text(x, y, "level-label", level);
    draw(svg, "line", { class: "before", x1: 0, y1: 0, x2: 100 - 8 * scale, y2: 0, "stroke-width": 3 * scale });
    draw(svg, "path", { class: "before-head", d: "M0,0 L-12,-5 L-12,5 Z", transform: `translate(100,0) scale(${scale})` });
    text(0.36, 0.08 * scale, "", "before");
    this.moving = this.data.terms.flatMap(term => term.x.map((x, i) => {
      const layer = term.layers[i];
      const colour = `--colour:${term.colour};--inside:${term.inside}`;
      const path = draw(svg, "polyline", { class: "path", style: colour, "stroke-width": 2 * scale });
      return { x, y: term.y[i], path, layer, colour, name: `${term.name}, layer ${layer}` };
    }));
    const small = this.moving.length > 64;
    for (const one of this.moving) { // dots above all paths
      one.dot = draw(svg, "circle", { class: "dot", style: one.colour, r: (small ? 4 : 8) * scale, "stroke-width": scale });
      draw(one.dot, "title", {}, one.name);
      one.number = small ? null : draw(svg, "text", { class: "number", style: `${one.colour};font-size:${9.5 * scale}px` }, one.layer);
    }
  }

  drawCurves() {
    const svg = this.curves, { steps, terms, measure } = this.data;
    svg.replaceChildren();
    set(svg, { viewBox: `0 0 ${WIDTH} ${HEIGHT}` });
    const highest = Math.max(...terms.flatMap(term => term.mean)) || 1;
    const up = ticks(0, highest, 5);
    this.toX = step => MARGIN.left + (step / steps[this.last]) * (WIDTH - MARGIN.left - MARGIN.right);
    this.toY = value => HEIGHT - MARGIN.bottom - (value / highest) * (HEIGHT - MARGIN.top - MARGIN.bottom);
    tickTexts(up).forEach((words, i) => {
      const y = this.toY(up[i]);
      draw(svg, "line", { class: "faint", x1: MARGIN.left, x2: WIDTH - MARGIN.right, y1: y, y2: y });
      draw(svg, "text", { class: "quiet", x: MARGIN.left - 6, y: y + 4, "text-anchor": "end" }, words);
    });
    for (const i of [0, this.last >> 1, this.last]) {
      draw(svg, "text", { class: "quiet", x: this.toX(steps[i]), y: HEIGHT - MARGIN.bottom + 16, "text-anchor": "middle" }, steps[i]);
    }
    draw(svg, "text", { class: "quiet", x: (MARGIN.left + WIDTH - MARGIN.right) / 2, y: HEIGHT - 6, "text-anchor": "middle" }, "step");
    draw(svg, "text", { x: MARGIN.left - 30, y: 14 }, `${measure}, mean over layers`);
    this.cursor = draw(svg, "line", { class: "cursor", y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom });
    this.lines = terms.map(term => {
      const style = `--colour:${term.colour};--ink:${term.ink}`;
      draw(svg, "polyline", { class: "curve", style, points: this.points(term.mean, this.last) });
      return {
        term, done: draw(svg, "polyline", { class: "curve done", style }), joint: draw(svg, "line", { class: "joint", style }),
        value: draw(svg, "text", { class: "value", style }),
      };
    });
  }

  points(mean, at) {
    const { steps } = this.data;
    const whole = mean.slice(0, Math.floor(at) + 1).map((value, i) => [steps[i], value]);
    return [...whole, [mix(steps, at), mix(mean, at)]].map(([s, v]) => `${this.toX(s).toFixed(2)},${this.toY(v).toFixed(2)}`).join(" ");
  }

  show(at) {
    const { steps } = this.data;
    this.at = at;
    this.range.value = at;
    const step = Math.round(mix(steps, at));
    this.output.textContent = `step ${step} of ${steps[this.last]}`;
    set(this.range, { "aria-valuetext": `step ${step}` });
    for (const one of this.moving) {
      const x = mix(one.x, at), y = mix(one.y, at), tip = spot(x, y);
      set(one.path, { points: [...one.x.slice(0, Math.floor(at) + 1).map((v, i) => spot(v, one.y[i])), tip].join(" ") });
      set(one.dot, { cx: px(x), cy: px(-y) });
      if (one.number) set(one.number, { x: px(x), y: px(-y) });
    }
    const x = this.toX(mix(steps, at));
    set(this.cursor, { x1: x, x2: x });
    const ends = this.lines.map(line => this.toY(mix(line.term.mean, at)));
    const places = apart(ends, 14, MARGIN.top, HEIGHT - MARGIN.bottom); // labels never cover each other
    this.lines.forEach(({ term, done, value, joint }, i) => {
      const near = Math.abs(places[i] - ends[i]) < 3, beside = x + (near ? 8 : 16);
      set(done, { points: this.points(term.mean, at) });
      set(value, { x: beside, y: places[i] });
      set(joint, { x1: x + 2, x2: beside - 2, y1: ends[i], y2: places[i], visibility: near ? "hidden" : "visible" });
      value.textContent = `${term.name} ${short(mix(term.mean, at))}`;
    });
  }
}

function mount({ parentElement, data, setStateValue }) {
  const root = parentElement.querySelector(".player");
  let player = players.get(parentElement);
  if (!player || player.root !== root) {
    player = new Player(root);
    players.set(parentElement, player);
  }
  player.emit = at => setStateValue("at", at);
  player.receive(data);
  return () => player.stop();
}
