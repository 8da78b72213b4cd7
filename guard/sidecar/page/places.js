// Where a text states the values of an answer: marks in the text, and a list of the values, each of which shows its own.

import { el, number, said } from "./elements.js";

const LONGEST = 60; // characters of a place that the list shows

/** Return elements that show where `text` states values: places are ranges of code points, by JSON Pointer. */
export function placed(text, places) {
  const stated = Object.entries(places).filter(([, ranges]) => ranges.length);
  if (!stated.length) return [];
  const letters = [...text];
  const source = el("pre", { class: "source", tabindex: 0, role: "region", "aria-label": "The prompt, marked" });
  source.append(...marked(letters, stated));
  const light = (pointer, isOn) => {
    const own = [...source.querySelectorAll("mark")].filter((mark) => mark.pointers.includes(pointer));
    for (const mark of own) mark.classList.toggle("lit", isOn);
    if (!isOn || !own.length) return;
    const [box, first] = [source.getBoundingClientRect(), own[0].getBoundingClientRect()];
    if (first.top < box.top || first.bottom > box.bottom) source.scrollTop += first.top - box.top - 48;
  };
  const items = stated.map(([pointer, ranges]) => {
    const count = ranges.length === 1 ? "1 place" : `${number(ranges.length)} places`;
    const [start, end] = ranges[0];
    const first = letters.slice(start, Math.min(end, start + LONGEST)).join("") + (end > start + LONGEST ? "…" : "");
    const name = said(pointer || "(root)", "b");
    const button = el("button", { type: "button" }, name, " ", said(first, "code"), ` in ${count}`);
    for (const [event, isOn] of [
      ["mouseenter", true],
      ["focus", true],
      ["mouseleave", false],
      ["blur", false],
    ])
      button.addEventListener(event, () => light(pointer, isOn || document.activeElement === button));
    return el("li", {}, button);
  });
  return [el("h3", {}, "Where it stands"), el("ul", { class: "places" }, items), source];
}

/** Return a text with a mark wherever it states a value; of places that overlap, each part says all that it is of. */
function marked(letters, stated) {
  const ranges = stated.flatMap(([pointer, each]) => each.map(([start, end]) => ({ pointer, start, end })));
  const cuts = [...new Set([0, letters.length, ...ranges.flatMap(({ start, end }) => [start, end])])].sort(
    (a, b) => a - b,
  );
  ranges.sort((a, b) => a.start - b.start);
  let open = [];
  let next = 0;
  return cuts.slice(0, -1).map((start, index) => {
    while (next < ranges.length && ranges[next].start <= start) open.push(ranges[next++]);
    open = open.filter(({ end }) => end > start);
    const part = letters.slice(start, cuts[index + 1]).join("");
    if (!open.length) return said(part, "span");
    const pointers = [...new Set(open.map(({ pointer }) => pointer))];
    const mark = said(part, "mark", { title: pointers.map((pointer) => pointer || "(root)").join(", ") });
    mark.pointers = pointers;
    return mark;
  });
}
