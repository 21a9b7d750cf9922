// The slices on a canvas: what is shown, how hands and keys change it, marks and pointers over it.

import { Pixels, loadFrames, paint } from "./together-pixels.js";

const COLOURS = ["#ffd166", "#5cc8d6", "#ff8fa3", "#9be37f"];
const SHAPES = ["line", "arrow", "ellipse"];
const AHEAD = 12; // slices on either side that are fetched before they are asked for
const clamp = (value, least, most) => Math.min(most, Math.max(least, value));

/** Tells by events what its person did: `move` (see `state`), `point` (detail: a point of the image or null), `draw` (a mark). */
export class Viewer extends EventTarget {
  #root;
  #study;
  #canvas;
  #words;
  #pixels = new Pixels();
  #series = new Map(); // uid: promise of frames
  #frames = [];
  #index = 0;
  #look = { centre: -600, width: 1500, zoom: 1, x: 0, y: 0 };
  #shown = null; // the frame on the screen, which may lag behind the one that is wanted
  #picture = document.createElement("canvas");
  #painted = "";
  #drag = null;
  #touches = new Map();
  #drawing = null;
  #showing = false;
  #fault = "";
  #wanted = 0; // counts moves: what takes its time may be out of date when it is there
  #unknown = new Set();
  #due = false;
  tool = "look";
  colour = 0;
  marks = new Map();
  pointers = new Map();

  constructor(canvas, { root, study, words }) {
    super();
    [this.#root, this.#study, this.#canvas, this.#words] = [root, study, canvas, words];
    this.output = document.getElementById("view-state");
    this.slider = document.getElementById("slider");
    this.#listen();
    new ResizeObserver(() => this.#redraw()).observe(canvas);
  }

  get series() {
    return this.#frames[0]?.series ?? "";
  }

  /** What others need to see the same; null before there is an image. */
  get state() {
    const frame = this.#frames[this.#index];
    return frame ? { series: frame.series, instance: frame.instance, frame: frame.frame, ...this.#look } : null;
  }

  /** Show a series from its middle; false where it has nothing to show. */
  async open(series) {
    const wanted = (this.#wanted += 1);
    const frames = await this.#load(series);
    if (wanted !== this.#wanted) return true; // a later one is under way
    if (!frames.length) return false;
    this.#frames = frames;
    this.#index = frames.length >> 1;
    const { rows, columns, window, modality } = frames[this.#index];
    Object.assign(this.#look, { zoom: 1, x: columns / 2, y: rows / 2 });
    // CT begins with the lung's window, all else with its own
    if (modality !== "CT" && window.every(Number.isFinite)) Object.assign(this.#look, bounded({ centre: window[0], width: window[1] }));
    this.#show();
    return true;
  }

  /** Show what someone else looks at, where there is such an image here. */
  async follow({ series, instance, frame, centre, width, zoom, x, y }) {
    const wanted = (this.#wanted += 1);
    const isIt = (found) => found.instance === instance && found.frame === frame;
    let frames = await this.#load(series);
    const key = `${instance}/${frame}`;
    if (!frames.some(isIt) && !this.#unknown.has(key)) {
      this.#unknown.add(key); // it has come since, or there is none
      this.#series.delete(series);
      frames = await this.#load(series);
    }
    const index = frames.findIndex(isIt);
    if (wanted !== this.#wanted || index < 0) return;
    [this.#frames, this.#index] = [frames, index];
    this.#look = { centre, width, zoom, x, y };
    this.#show();
  }

  setWindow(centre, width) {
    this.#change({ centre, width });
  }

  fit() {
    const frame = this.#frames[this.#index];
    if (frame) this.#change({ zoom: 1, x: frame.columns / 2, y: frame.rows / 2 });
  }

  redraw() {
    this.#redraw();
  }

  #load(series) {
    if (!this.#series.has(series)) {
      const coming = loadFrames(this.#root, this.#study, series);
      this.#series.set(series, coming);
      coming.catch(() => this.#series.delete(series));
    }
    return this.#series.get(series);
  }

  #change(look) {
    this.#wanted += 1; // what was still coming from others is out of date
    Object.assign(this.#look, bounded(look));
    this.#redraw();
    this.dispatchEvent(new Event("move"));
  }

  #step(by) {
    this.#go(this.#index + by);
  }

  #go(index) {
    const next = clamp(index, 0, this.#frames.length - 1);
    if (!this.#frames.length || next === this.#index) return;
    this.#wanted += 1;
    this.#index = next;
    this.#show();
    this.dispatchEvent(new Event("move"));
  }

  /** Fetch what is wanted and draw it; of slices that are gone through fast, as many as come in time. */
  async #show() {
    Object.assign(this.slider, { max: String(this.#frames.length), value: String(this.#index + 1) });
    this.#describe();
    if (this.#showing) return;
    this.#showing = true;
    let frame;
    do {
      frame = this.#frames[this.#index];
      try {
        const coming = this.#pixels.get(frame);
        const around = Array.from({ length: AHEAD }, (_, n) => [this.#index + n + 1, this.#index - n - 1]).flat();
        this.#pixels.expect(around.map((index) => this.#frames[index]).filter(Boolean));
        this.#shown = { frame, values: await coming };
        this.#fault = "";
      } catch {
        [this.#shown, this.#fault] = [null, this.#words.noPixels];
      }
      this.#redraw();
    } while (frame !== this.#frames[this.#index]);
    this.#showing = false;
  }

  #describe() {
    const frame = this.#frames[this.#index];
    if (!frame) return;
    const { centre, width } = this.#look;
    const place = `${this.#words.slice} ${this.#index + 1}/${this.#frames.length}`;
    const coming = this.#fault ? ` (${this.#fault})` : this.#shown?.frame === frame ? "" : ` (${this.#words.loading})`;
    this.output.textContent = `${place}${coming} · C ${Math.round(centre)} W ${Math.round(width)}`;
  }

  #redraw() {
    if (this.#due) return;
    this.#due = true;
    requestAnimationFrame(() => {
      this.#due = false;
      this.#draw();
    });
  }

  #draw() {
    const canvas = this.#canvas;
    const ratio = globalThis.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth * ratio, canvas.clientHeight * ratio].map(Math.round);
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, width, height);
    this.#describe();
    if (!this.#shown) return;
    const { frame, values } = this.#shown;
    this.#paint(frame, values);
    const { a, d, e, f } = this.#transform(frame);
    context.setTransform(a, 0, 0, d, e, f);
    context.imageSmoothingEnabled = a < 6 * ratio;
    context.drawImage(this.#picture, 0, 0);
    context.setTransform(1, 0, 0, 1, 0, 0);
    const at = (x, y) => [a * x + e, d * y + f];
    drawSides(context, frame, ratio);
    const own = this.#drawing ? [this.#drawing] : [];
    for (const mark of [...this.marks.values(), ...own]) if (isOn(mark, frame)) this.#drawMark(context, mark, frame, at, ratio);
    for (const pointer of this.pointers.values()) if (isOn(pointer, frame)) drawPointer(context, pointer, at(pointer.x, pointer.y), ratio);
  }

  #paint(frame, values) {
    const { centre, width } = this.#look;
    const painted = `${frame.key} ${centre} ${width}`;
    if (painted === this.#painted) return;
    Object.assign(this.#picture, { width: frame.columns, height: frame.rows });
    const context = this.#picture.getContext("2d");
    const image = context.createImageData(frame.columns, frame.rows);
    paint(image, frame, values, { centre, width });
    context.putImageData(image, 0, 0);
    this.#painted = painted;
  }

  /** From pixels of the image to those of the canvas; pixels that are not square keep their shape. */
  #transform(frame) {
    const { zoom, x, y } = this.#look;
    const tall = frame.spacing.length === 2 && frame.spacing[1] > 0 ? frame.spacing[0] / frame.spacing[1] : 1;
    const fitting = Math.min(this.#canvas.width / frame.columns, this.#canvas.height / (frame.rows * tall));
    const [a, d] = [fitting * zoom, fitting * zoom * tall];
    return { a, d, e: this.#canvas.width / 2 - a * x, f: this.#canvas.height / 2 - d * y };
  }

  /** Where on the image an event is; null without one. */
  #point(event) {
    if (!this.#shown) return null;
    const box = this.#canvas.getBoundingClientRect();
    const { a, d, e, f } = this.#transform(this.#shown.frame);
    const ratio = this.#canvas.width / box.width;
    return { x: ((event.clientX - box.left) * ratio - e) / a, y: ((event.clientY - box.top) * ratio - f) / d };
  }

  #drawMark(context, mark, frame, at, ratio) {
    const [x1, y1] = at(mark.x1, mark.y1);
    const [x2, y2] = at(mark.x2, mark.y2);
    Object.assign(context, { strokeStyle: COLOURS[mark.colour], fillStyle: COLOURS[mark.colour], lineWidth: 2 * ratio });
    context.beginPath();
    if (mark.shape === "ellipse") {
      context.ellipse((x1 + x2) / 2, (y1 + y2) / 2, Math.abs(x2 - x1) / 2, Math.abs(y2 - y1) / 2, 0, 0, 2 * Math.PI);
    } else {
      context.moveTo(x1, y1);
      context.lineTo(x2, y2);
      if (mark.shape === "arrow") arrowhead(context, [x1, y1, x2, y2], 12 * ratio);
    }
    context.stroke();
    const length = mark.shape === "line" && frame.spacing.length === 2
      ? `${Math.hypot((mark.x2 - mark.x1) * frame.spacing[1], (mark.y2 - mark.y1) * frame.spacing[0]).toFixed(1)} mm`
      : "";
    // an arrow points with its head: words stand at its tail
    const [x, y] = mark.shape === "arrow" ? [x1, y1] : [Math.max(x1, x2), Math.max(y1, y2)];
    write(context, [mark.text, length].filter(Boolean).join(" · "), [x, y], ratio);
  }

  #listen() {
    const canvas = this.#canvas;
    canvas.addEventListener("wheel", (event) => this.#onWheel(event), { passive: false });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("pointerdown", (event) => this.#onDown(event));
    canvas.addEventListener("pointermove", (event) => this.#onMove(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => this.#onUp(event));
    canvas.addEventListener("pointerleave", () => this.#tell("point", null));
    canvas.addEventListener("keydown", (event) => this.#onKey(event));
    this.slider.addEventListener("input", () => this.#go(Number(this.slider.value) - 1));
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  #onWheel(event) {
    event.preventDefault();
    if (event.ctrlKey) this.#change({ zoom: this.#look.zoom * (event.deltaY < 0 ? 1.15 : 1 / 1.15) });
    else this.#step(event.deltaY < 0 ? 1 : -1);
  }

  #onDown(event) {
    const point = this.#point(event);
    if (!point) return;
    this.#canvas.focus({ preventScroll: true });
    this.#canvas.setPointerCapture(event.pointerId);
    this.#touches.set(event.pointerId, event);
    if (this.#touches.size > 1) this.#drawing = null;
    else if (event.button === 0 && SHAPES.includes(this.tool)) {
      const { instance, frame } = this.#shown.frame;
      this.#drawing = { shape: this.tool, instance, frame, x1: point.x, y1: point.y, x2: point.x, y2: point.y, text: "", colour: this.colour };
    }
    this.#drag = { event, left: 0, look: { ...this.#look }, how: this.#meaning(event) };
  }

  #meaning(event) {
    if (event.button === 2 || this.tool === "window") return "window";
    return event.pointerType === "touch" ? "slices" : "move";
  }

  #onMove(event) {
    const point = this.#point(event);
    if (!point) return;
    if (!this.#touches.has(event.pointerId)) {
      this.#tell("point", point);
      return;
    }
    const before = this.#touches.get(event.pointerId);
    const [other] = [...this.#touches.values()].filter(({ pointerId }) => pointerId !== event.pointerId);
    this.#touches.set(event.pointerId, event);
    if (other) this.#pinch(before, event, other);
    else if (this.#drawing) {
      Object.assign(this.#drawing, { x2: point.x, y2: point.y });
      this.#redraw();
      this.#tell("point", point);
    } else if (this.#drag) this.#onDrag(event);
  }

  #onDrag(event) {
    const [right, down] = [event.clientX - this.#drag.event.clientX, event.clientY - this.#drag.event.clientY];
    const { look, how } = this.#drag;
    if (how === "window") this.#change({ centre: look.centre + 2 * down, width: look.width + 4 * right });
    else if (how === "move") {
      const { a, d } = this.#transform(this.#shown.frame);
      const ratio = globalThis.devicePixelRatio || 1;
      this.#change({ x: look.x - (right * ratio) / a, y: look.y - (down * ratio) / d });
    } else {
      const steps = Math.trunc(down / 12);
      if (steps !== this.#drag.left) this.#step(this.#drag.left - steps);
      this.#drag.left = steps;
    }
  }

  #pinch(before, event, other) {
    const apart = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
    const { a, d } = this.#transform(this.#shown.frame);
    const ratio = globalThis.devicePixelRatio || 1;
    this.#change({
      zoom: (this.#look.zoom * apart(event)) / Math.max(1, apart(before)),
      x: this.#look.x - ((event.clientX - before.clientX) * ratio) / 2 / a,
      y: this.#look.y - ((event.clientY - before.clientY) * ratio) / 2 / d,
    });
    this.#drag = null;
  }

  #onUp(event) {
    this.#touches.delete(event.pointerId);
    const drawing = this.#drawing;
    [this.#drag, this.#drawing] = [null, null];
    if (!drawing || event.type === "pointercancel") return;
    const { a, d } = this.#transform(this.#shown.frame);
    const isSeen = Math.hypot((drawing.x2 - drawing.x1) * a, (drawing.y2 - drawing.y1) * d) > 5;
    if (isSeen) this.#tell("draw", drawing);
    this.#redraw();
  }

  #onKey(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const last = this.#frames.length;
    const steps = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 10, PageDown: -10, Home: -last, End: last };
    if (event.key in steps) this.#step(steps[event.key]);
    else if ("123".includes(event.key)) document.querySelectorAll("[data-window]")[Number(event.key) - 1].click();
    else return;
    event.preventDefault();
  }
}

/** What others can be told of, and an image can be found with. */
const LIMITS = { centre: [-32_768, 65_535], width: [1, 65_535], zoom: [0.2, 30], x: [-10_000, 20_000], y: [-10_000, 20_000] };

function bounded(look) {
  return Object.fromEntries(Object.entries(look).map(([name, value]) => [name, clamp(value, ...LIMITS[name])]));
}

const isOn = (thing, frame) => thing.instance === frame.instance && thing.frame === frame.frame;

function arrowhead(context, [x1, y1, x2, y2], size) {
  const angle = Math.atan2(y2 - y1, x2 - x1);
  for (const turn of [-0.45, 0.45]) {
    context.moveTo(x2, y2);
    context.lineTo(x2 - size * Math.cos(angle + turn), y2 - size * Math.sin(angle + turn));
  }
}

function write(context, text, [x, y], ratio) {
  if (!text) return;
  context.font = `600 ${14 * ratio}px system-ui, sans-serif`;
  Object.assign(context, { lineWidth: 4 * ratio, lineJoin: "round" });
  const colour = context.strokeStyle;
  context.strokeStyle = "#000";
  context.strokeText(text, x + 6 * ratio, y + 16 * ratio);
  context.strokeStyle = colour;
  context.fillText(text, x + 6 * ratio, y + 16 * ratio);
}

function drawSides(context, { sides: [left, top] }, ratio) {
  const { width, height } = context.canvas;
  Object.assign(context, { strokeStyle: "#000", fillStyle: "#e6ebef", lineWidth: 4 * ratio, font: `650 ${17 * ratio}px system-ui, sans-serif` });
  Object.assign(context, { textAlign: "center", textBaseline: "middle" });
  for (const [letter, x, y] of [[left, 20 * ratio, height / 2], [top, width / 2, 18 * ratio]]) {
    context.strokeText(letter, x, y);
    context.fillText(letter, x, y);
  }
  Object.assign(context, { textAlign: "start", textBaseline: "alphabetic" });
}

function drawPointer(context, pointer, [x, y], ratio) {
  Object.assign(context, { strokeStyle: COLOURS[pointer.colour], fillStyle: COLOURS[pointer.colour], lineWidth: 2 * ratio });
  context.beginPath();
  context.arc(x, y, 7 * ratio, 0, 2 * Math.PI);
  context.moveTo(x - 12 * ratio, y);
  context.lineTo(x + 12 * ratio, y);
  context.moveTo(x, y - 12 * ratio);
  context.lineTo(x, y + 12 * ratio);
  context.stroke();
  write(context, pointer.name, [x, y], ratio);
}
