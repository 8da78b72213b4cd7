// Elements of the page, and how figures are written. Texts become text nodes: nothing is ever read as markup.

const SVG = "http://www.w3.org/2000/svg";
const count = new Intl.NumberFormat("en");

/** Return an element; `children` are elements, texts, or null for nothing. */
export function el(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** Return an element of a drawing. */
export function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== null && value !== false && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null));
  return element;
}

/** Return a text of a stranger: its direction stays its own, and control characters are shown as symbols. */
export function said(text, name = "bdi", attributes = {}) {
  const shown = String(text).replace(/[\u0000-\u0008\u000b-\u001f\u007f]/g, (c) =>
    c === "\u007f" ? "\u2421" : String.fromCharCode(0x2400 + c.charCodeAt(0)),
  );
  return el(name, attributes, shown);
}

/** Put children into a box where `data` is not what it shows already; what had the focus keeps it. */
export function show(box, data, make) {
  const text = JSON.stringify(data);
  if (box.shown === text) return;
  box.shown = text;
  const focused = box.contains(document.activeElement) ? document.activeElement.dataset.name : null;
  box.replaceChildren(...[make()].flat().filter((child) => child !== null));
  if (focused) box.querySelector(`[data-name="${CSS.escape(focused)}"]`)?.focus();
}

/**
 * Return a table. On a telephone each row becomes a block in which a cell says its column's name, so that roles are
 * given where a browser would forget them with the change of display.
 */
export function table(name, columns, rows) {
  const head = columns.map((column) =>
    el("th", { scope: "col", role: "columnheader", class: column.kind }, column.name),
  );
  const body = rows.map((row) =>
    el(
      "tr",
      { role: "row" },
      columns.map((column) =>
        el("td", { role: "cell", class: column.kind, "data-label": column.name }, column.of(row)),
      ),
    ),
  );
  return el(
    "table",
    { role: "table", "aria-label": name },
    el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, head)),
    el("tbody", { role: "rowgroup" }, body),
  );
}

/** Return findings as a list, `most` of them at most. */
export function findings(found, most = Infinity) {
  const items = found
    .slice(0, most)
    .map((finding) =>
      el(
        "li",
        {},
        said(finding.at || "(root)", "b"),
        ": expected ",
        said(finding.expected),
        ", got ",
        said(finding.got, "code"),
        " ",
        said(`rule ${finding.rule || "(root)"}`, "small", { class: "quiet" }),
      ),
    );
  if (found.length > most) items.push(el("li", { class: "quiet" }, `and ${number(found.length - most)} more`));
  return el("ul", { class: "findings" }, items);
}

/** Return a state as a word with a colour. */
export function badge(word, kind) {
  return said(word, "span", { class: `badge ${kind}` });
}

export const number = (value) => count.format(value);

/** Return a share; 100% is only what is all, and there is none of nothing. */
export function percent(part, whole) {
  if (!whole) return "–";
  const share = Math.floor((part / whole) * 1000) / 10;
  return `${part < whole ? Math.min(share, 99.9) : 100}%`;
}

export function seconds(value) {
  if (value < 0.9995) return `${Math.round(value * 1000)} ms`;
  return value < 99.5 ? `${value.toPrecision(3)} s` : `${count.format(Math.round(value))} s`;
}

/** Return dollars; `unknown` calls are not in the sum, which is then the least that it can be. */
export function dollars(value, unknown = 0) {
  if (value === null) return "not known";
  if (value === 0) return unknown ? "not known" : "$0";
  const text = value >= 0.995 ? value.toFixed(2) : Number(value.toPrecision(3)).toFixed(8).replace(/0+$/, "");
  return `${unknown ? "≥\u00a0" : ""}$${text}`;
}

const today = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
const long = new Intl.DateTimeFormat("en-GB", {
  day: "numeric",
  month: "short",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
});

/** Return a moment, given in seconds since the epoch, as this machine's clock shows it. */
export function moment(at) {
  const date = new Date(at * 1000);
  const isToday = date.toDateString() === new Date().toDateString();
  return el("time", { datetime: date.toISOString() }, (isToday ? today : long).format(date));
}
