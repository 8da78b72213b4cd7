// Charts over time, drawn as SVG: bars for what adds up, lines for what does not. A chart is read with the pointer or,
// like a slider, with the arrow keys; what it says of a step stands below it as text.

import { el, said, svg } from "./elements.js";

const HEIGHT = 168;
const EDGE = { top: 10, right: 10, bottom: 24 };
const LETTER = 7.2; // the width of a digit on an axis
const COLOURS = 6; // of app.css; further models have the same ones, with dashes
const MINUTE = 60;
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440].map((minutes) => minutes * MINUTE); // of the time axis

const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const exact = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { weekday: "short", day: "numeric" });

/** Return the classes of a model's marks by its place among all models. */
export const mark = (place) => `s${place % COLOURS}${place >= COLOURS ? " dashed" : ""}`;

/** One figure of all models over time. */
export class Chart {
  /**
   * `of` gives a point's figure, or null; `write` makes a text of one, `tick` of one on the axis; `isSum` draws bars that stand on each other;
   * `most` is a figure's upper end where it has one; `peak` gives the highest of what the figure is the mean of.
   */
  constructor({ title, note, of, write, tick = write, isSum, most = null, isWhole = false, peak = null }) {
    Object.assign(this, { title, of, write, tick, isSum, most, isWhole, peak });
    this.step = null; // that is read
    this.plot = el("div", {
      class: "plot",
      tabindex: 0,
      role: "slider",
      "aria-label": title,
      "aria-valuemin": 0,
      "data-name": title,
    });
    this.read = el("p", { class: "read" });
    this.element = el(
      "figure",
      { class: "chart" },
      el("figcaption", {}, el("b", {}, title), note ? el("small", { class: "quiet" }, ` ${note}`) : null),
      this.plot,
      this.read,
    );
    this.plot.addEventListener("keydown", (event) => this.#key(event));
    this.plot.addEventListener("pointermove", (event) => this.#point(event));
    this.plot.addEventListener("pointerdown", (event) => this.#point(event));
    this.plot.addEventListener("pointerleave", () => this.#go(null));
    this.plot.addEventListener("blur", () => this.#go(null));
    new ResizeObserver(() => this.#draw()).observe(this.plot);
  }

  /** Show figures as /guard/stats gives them. */
  show(figures, names) {
    this.figures = figures;
    this.names = names;
    this.steps = Math.round((figures.until - figures.since) / figures.step_seconds);
    this.values = names.map((name) => this.#row(figures.models[name] ?? [], this.of));
    this.peaks = this.peak && names.map((name) => this.#row(figures.models[name] ?? [], this.peak));
    this.#draw();
  }

  #row(points, of) {
    const row = Array(this.steps).fill(null);
    for (const point of points) {
      const step = Math.round((point.started - this.figures.since) / this.figures.step_seconds);
      if (step >= 0 && step < this.steps) row[step] = of(point);
    }
    return row;
  }

  #draw() {
    const width = this.plot.clientWidth;
    if (!this.figures || !width) return;
    const ticks = axis(this.#highest(), this.most, this.isWhole);
    const top = ticks.at(-1);
    const left = 14 + LETTER * Math.max(4, ...ticks.map((tick) => this.tick(tick).length));
    const area = { x: left, y: EDGE.top, width: width - left - EDGE.right, height: HEIGHT - EDGE.top - EDGE.bottom };
    const x = (step) => area.x + (step / this.steps) * area.width;
    const y = (value) => area.y + area.height - (value / top) * area.height;
    this.area = area;
    const drawing = svg("svg", { width, height: HEIGHT, "aria-hidden": "true", focusable: "false" });
    for (const tick of ticks) {
      drawing.append(
        svg("line", { class: tick ? "grid" : "base", x1: area.x, x2: area.x + area.width, y1: y(tick), y2: y(tick) }),
        svg("text", { class: "axis", x: area.x - 8, y: y(tick) + 4, "text-anchor": "end" }, this.tick(tick)),
      );
    }
    drawing.append(...this.#times(x, area));
    if (this.step !== null) {
      drawing.append(
        svg("rect", {
          class: "cursor",
          x: x(this.step),
          y: area.y,
          width: area.width / this.steps,
          height: area.height,
        }),
      );
    }
    drawing.append(...(this.isSum ? this.#bars(x, y) : this.#lines(x, y)));
    if (!this.#highest() && !this.values.some((row) => row.some((value) => value !== null))) {
      drawing.append(
        svg(
          "text",
          { class: "axis", x: area.x + area.width / 2, y: area.y + area.height * 0.3, "text-anchor": "middle" },
          "no calls in this time",
        ),
      );
    }
    this.plot.replaceChildren(drawing);
    this.#tell();
  }

  #highest() {
    const rows = this.peaks ? [...this.values, ...this.peaks] : this.values;
    if (!this.isSum) return Math.max(0, ...rows.flat().filter((value) => value !== null));
    return Math.max(
      0,
      ...Array.from({ length: this.steps }, (_, step) => rows.reduce((sum, row) => sum + (row[step] ?? 0), 0)),
    );
  }

  #bars(x, y) {
    const base = Array(this.steps).fill(0);
    return this.values.flatMap((row, place) =>
      row.flatMap((value, step) => {
        if (!value) return [];
        const from = base[step];
        base[step] += value;
        const height = Math.max(1, y(from) - y(base[step]));
        return [
          svg("rect", {
            class: `column ${mark(place)}`,
            x: x(step) + 0.5,
            y: y(base[step]),
            width: Math.max(1, x(1) - x(0) - 1),
            height,
          }),
        ];
      }),
    );
  }

  #lines(x, y) {
    const marks = [];
    this.values.forEach((row, place) => {
      let [path, gaps, last] = ["", "", null]; // over steps without calls a line is only hinted at
      row.forEach((value, step) => {
        if (value === null) return;
        const spot = `${x(step + 0.5).toFixed(1)} ${y(value).toFixed(1)}`;
        const isNext = step > 0 && row[step - 1] !== null;
        path += `${isNext ? "L" : "M"}${spot}`;
        if (last && !isNext) gaps += `M${last}L${spot}`;
        last = spot;
        marks.push(svg("circle", { class: `dot ${mark(place)}`, cx: x(step + 0.5), cy: y(value), r: 2.5 }));
        const peak = this.peaks?.[place][step] ?? value;
        if (peak > value)
          marks.unshift(
            svg("line", {
              class: `peak ${mark(place)}`,
              x1: x(step + 0.5),
              x2: x(step + 0.5),
              y1: y(value),
              y2: y(peak),
            }),
          );
      });
      marks.unshift(
        svg("path", { class: `curve ${mark(place)}`, d: path }),
        svg("path", { class: `gap ${mark(place)}`, d: gaps }),
      );
    });
    return marks;
  }

  #times(x, area) {
    const { since, until } = this.figures;
    const room = Math.max(2, Math.floor(area.width / 64)); // labels that fit
    const step =
      STEPS.find((each) => (until - since) / each <= room) ??
      STEPS.at(-1) * Math.ceil((until - since) / STEPS.at(-1) / room);
    const offset = new Date(since * 1000).getTimezoneOffset() * MINUTE; // ticks are round in local time
    const marks = [];
    for (let at = Math.ceil((since - offset) / step) * step + offset; at < until; at += step) {
      const place = x(((at - since) / (until - since)) * this.steps);
      if (place < area.x + 14 || place > area.x + area.width - 10) continue;
      const words = (step >= STEPS.at(-1) ? day : clock).format(at * 1000);
      marks.push(
        svg("line", { class: "base", x1: place, x2: place, y1: area.y + area.height, y2: area.y + area.height + 4 }),
        svg("text", { class: "axis", x: place, y: HEIGHT - 6, "text-anchor": "middle" }, words),
      );
    }
    return marks;
  }

  /** Say what the figures are at the step that is read. */
  #tell() {
    const at = this.step ?? this.steps - 1;
    const from = this.figures.since + at * this.figures.step_seconds;
    const when = `${this.figures.step_seconds >= 3600 ? `${day.format(from * 1000)}, ` : ""}${(this.figures.step_seconds < 60 ? exact : clock).format(from * 1000)}`;
    const known = this.values.flatMap((row, place) => {
      if (row[at] === null) return [];
      const peak = this.peaks?.[place][at];
      return [
        {
          place,
          text: `${this.names[place]} ${this.write(row[at])}${peak > row[at] ? `, at most ${this.write(peak)}` : ""}`,
        },
      ];
    });
    const words = `${when}: ${known.map(({ text }) => text).join("; ") || "no calls"}`;
    this.plot.setAttribute("aria-valuemax", this.steps - 1);
    this.plot.setAttribute("aria-valuenow", at);
    this.plot.setAttribute("aria-valuetext", words);
    this.read.replaceChildren(this.step === null ? "" : said(words));
  }

  #go(step) {
    if (step === this.step) return;
    this.step = step === null ? null : Math.min(this.steps - 1, Math.max(0, step));
    this.#draw();
  }

  #key(event) {
    const at = this.step ?? this.steps;
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: this.steps - 1, Escape: null }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.#go(to);
  }

  #point(event) {
    if (!this.area) return;
    const share = (event.clientX - this.plot.getBoundingClientRect().left - this.area.x) / this.area.width;
    this.#go(share < 0 || share > 1 ? null : Math.floor(share * this.steps));
  }
}

/** Return round numbers from 0 to at least the highest figure. */
function axis(highest, most, isWhole) {
  if (most !== null) return [0, most / 2, most];
  if (!highest) return [0, 1];
  const raw = highest / 3;
  const power = 10 ** Math.floor(Math.log10(raw));
  let step = [1, 2, 5, 10].find((each) => each * power >= raw * 0.999) * power;
  if (isWhole) step = Math.max(1, Math.round(step));
  return Array.from({ length: Math.ceil((highest / step) * 0.999) + 1 }, (_, at) => Number((at * step).toPrecision(6)));
}
