// What is served alone and what an answer costs; and precision against the share served, as guard shadow measured it.

import { dollars, el, number, percent, said, svg, table } from "./elements.js";

const SIZE = { width: 560, height: 280, left: 52, right: 24, top: 12, bottom: 42 };
const TICKS = [0, 0.25, 0.5, 0.75, 1];

const each = (value) => (value === null ? "not known" : dollars(value));

/** Return the figures of functions as a table. */
export function figures(lines) {
  if (!lines.length) return el("p", { class: "empty" }, "No call in this time.");
  return table(
    "What is served alone, and what an answer costs",
    [
      { name: "Function", kind: "wide", of: (line) => said(line.function) },
      { name: "Calls", kind: "num row", of: (line) => number(line.calls) },
      { name: "Valid", kind: "num row", of: (line) => percent(line.valid, line.calls) },
      { name: "Served alone", kind: "num row", of: (line) => percent(line.alone, line.valid) },
      {
        name: "Of these right",
        kind: "num row",
        of: (line) =>
          line.alone_rated
            ? `${percent(line.alone_right, line.alone_rated)} of ${number(line.alone_rated)}`
            : line.alone
              ? "not rated"
              : "–",
      },
      { name: "A valid answer", kind: "num row", of: (line) => each(line.cost_per_valid) },
      { name: "A right answer", kind: "num row", of: (line) => each(line.cost_per_right) },
      { name: "By the large model", kind: "num row", of: (line) => each(line.large_per_valid) },
    ],
    lines,
  );
}

/** Return a plot for each function whose serving version was measured. */
export function plots(curves) {
  if (!curves.length) {
    return el(
      "p",
      { class: "empty" },
      "No tuned model was measured here: ",
      el("code", {}, "guard shadow"),
      " does it.",
    );
  }
  return curves.map((curve) => {
    const title = `${curve.function}, version ${curve.version}`;
    return el(
      "figure",
      { class: "chart" },
      el("figcaption", {}, said(title, "b")),
      plot(curve),
      el(
        "ul",
        { class: "legend" },
        key("s5", "before"),
        key("s0", "after"),
        key("s2", "what a precision keeps, chosen on other questions"),
      ),
      kept(curve.kept),
    );
  });
}

const key = (mark, words) => el("li", {}, el("span", { class: `swatch ${mark}`, "aria-hidden": "true" }), words);

function plot({ before, after, kept: spots }) {
  const x = (share) => SIZE.left + (SIZE.width - SIZE.left - SIZE.right) * share;
  const y = (precision) => SIZE.height - SIZE.bottom - (SIZE.height - SIZE.top - SIZE.bottom) * precision;
  const share = (value) => `${Math.round(value * 100)}%`;
  const line = (points, mark) =>
    points
      ? [
          svg("path", {
            class: `curve ${mark}`,
            d: points.map(([s, p], at) => `${at ? "L" : "M"}${x(s).toFixed(1)} ${y(p).toFixed(1)}`).join(""),
          }),
        ]
      : [];
  return svg(
    "svg",
    {
      viewBox: `0 0 ${SIZE.width} ${SIZE.height}`,
      class: "shares",
      role: "img",
      "aria-label": "Precision against the share served alone",
    },
    TICKS.flatMap((tick) => [
      svg("line", { class: tick ? "grid" : "base", x1: x(0), x2: x(1), y1: y(tick), y2: y(tick) }),
      svg("line", { class: tick ? "grid" : "base", x1: x(tick), x2: x(tick), y1: y(0), y2: y(1) }),
      svg("text", { class: "axis", x: SIZE.left - 8, y: y(tick) + 4, "text-anchor": "end" }, share(tick)),
      svg("text", { class: "axis", x: x(tick), y: y(0) + 16, "text-anchor": "middle" }, share(tick)),
    ]),
    svg(
      "text",
      { class: "axis", x: (x(0) + x(1)) / 2, y: SIZE.height - 6, "text-anchor": "middle" },
      "share served alone",
    ),
    svg(
      "text",
      { class: "axis", transform: `translate(12 ${(y(0) + y(1)) / 2}) rotate(-90)`, "text-anchor": "middle" },
      "precision",
    ),
    line(before, "s5"),
    line(after, "s0"),
    spots
      .filter((spot) => spot.share)
      .map((spot) => svg("circle", { class: "dot s2", cx: x(spot.share), cy: y(spot.precision), r: 4 })),
  );
}

function kept(spots) {
  if (!spots.length) return el("p", { class: "empty" }, "No precision from 50% up is kept by any threshold.");
  return table(
    "Share served by the precision that is wanted",
    [
      { name: "Precision wanted", kind: "num row", of: (spot) => percent(spot.wanted, 1) },
      { name: "Share served", kind: "num row", of: (spot) => percent(spot.share, 1) },
      { name: "Of these right", kind: "num row", of: (spot) => (spot.share ? percent(spot.precision, 1) : "–") },
    ],
    spots,
  );
}
