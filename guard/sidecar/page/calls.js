// Calls on record: the list of all, that of failures with what was found, and one call with its tokens.

import { badge, dollars, el, findings, moment, number, said, seconds, show, table } from "./elements.js";
import { get } from "./server.js";

const FINDINGS = 5; // of a failure in the list; the call's page has all
const DAMAGED = 3; // calls that are left out and named

/** A list of calls, a page of it at a time. Its newest page is kept up to date, an older one stands still. */
export class Pages {
  constructor({ box, path, size, name, make, empty, changed }) {
    Object.assign(this, { box, path, size, make, changed });
    this.before = []; // for each page that was gone back, the number that it ends before
    this.content = el("div");
    this.damaged = el("div");
    this.empty = empty;
    this.newer = el("button", { type: "button" }, "Newer");
    this.older = el("button", { type: "button" }, "Older");
    this.where = el("span", { class: "quiet small" });
    this.nav = el("nav", { class: "line pages", "aria-label": `Pages of ${name}` }, this.newer, this.older, this.where);
    box.append(this.damaged, this.content, this.nav);
    this.newer.addEventListener("click", () => this.#turn(() => this.before.pop()));
    this.older.addEventListener("click", () => this.#turn(() => this.before.push(this.last)));
    this.nav.hidden = true;
  }

  async refresh() {
    const before = this.before.at(-1);
    // One more than is shown tells whether there is an older page; where there is no size, the answer itself does.
    const parts = [this.size ? `limit=${this.size + 1}` : null, before ? `before=${before}` : null];
    const { calls, damaged, next } = await get(`${this.path}?${parts.filter(Boolean).join("&")}`);
    if (before !== this.before.at(-1)) return; // the page was turned meanwhile
    const shown = this.size ? calls.slice(0, this.size) : calls;
    this.last = this.size ? shown.at(-1)?.call : next;
    const [isFirst, isLast] = [!this.before.length, this.size ? calls.length <= this.size : !next];
    this.nav.hidden = isFirst && isLast;
    disable(this.newer, isFirst);
    disable(this.older, isLast);
    this.where.textContent = shown.length ? `${number(shown.at(-1).call)} to ${number(shown[0].call)}` : "";
    show(this.damaged, damaged, () => (damaged.length ? left(damaged) : null));
    show(this.content, shown, () => (shown.length ? this.make(shown) : el("p", { class: "empty" }, this.empty)));
    return shown;
  }

  #turn(step) {
    step();
    this.changed();
  }
}

/** Say which calls are left out, since they can't be read. */
function left(damaged) {
  const more = damaged.length > DAMAGED ? [`and ${number(damaged.length - DAMAGED)} more`] : [];
  return el("p", { class: "notice bad" }, said(`Left out: ${[...damaged.slice(0, DAMAGED), ...more].join("; ")}.`));
}

/** Disable a button without taking the focus from it. */
function disable(button, isOff) {
  if (isOff && document.activeElement === button) button.parentElement.querySelector("button:not([disabled])")?.focus();
  button.disabled = isOff;
}

const link = (call, words = number(call.call), name = `call ${call.call}`) =>
  el("a", { href: `#call/${call.call}`, "data-name": name }, words);

const outcome = (call) => badge(call.verdict, call.outcome === "valid" ? "good" : "bad");

/** Return the list of calls. */
export function listed(calls) {
  return table(
    "Calls",
    [
      { name: "Call", kind: "num", of: (call) => link(call) },
      { name: "Began", of: (call) => moment(call.started) },
      { name: "Outcome", kind: "wide", of: outcome },
      { name: "Model", kind: "wide", of: (call) => said(call.served || call.model) },
      { name: "Path", kind: "wide", of: (call) => said(call.path || call.target) },
      { name: "Attempts", kind: "num", of: (call) => `${call.attempts}${call.tier ? `, tier ${call.tier}` : ""}` },
      { name: "Took", kind: "num", of: (call) => seconds(call.seconds) },
      { name: "Tokens", kind: "num", of: (call) => number(call.tokens) },
      { name: "Cost", kind: "num", of: (call) => dollars(call.usd) },
    ],
    calls,
  );
}

/** Return kinds of failures, each with what was found in the last answer of its newest call. */
export function failed(calls) {
  return calls.map((call) => {
    const [name, kind] = [`failure-${call.call}`, `failures since ${call.since}`];
    return el(
      "article",
      { class: "failure", "aria-labelledby": name },
      el("h3", { id: name }, link(call, `Call ${number(call.call)}`, kind), " ", outcome(call)),
      el(
        "p",
        { class: "quiet small facts" },
        moment(call.started),
        said(call.model, "span"),
        said(call.path || call.target, "span"),
        el("span", {}, `${call.attempts} attempt${call.attempts === 1 ? "" : "s"}`),
        el("span", {}, seconds(call.seconds)),
        call.count > 1 ? el("span", { class: "count" }, `${number(call.count)} times since `, moment(call.since)) : null,
      ),
      call.findings.length ? findings(call.findings, FINDINGS) : said(call.error || "It says no more.", "p"),
    );
  });
}

// The server writes a call's page with all texts escaped. It is shown in a frame in which no script runs.
const trusted = window.trustedTypes?.createPolicy("call", { createHTML: (page) => page }) ?? {
  createHTML: (page) => page,
};

/** Show a call's page in a box; returns a function that saves it. */
export async function opened(box, call) {
  const page = await get(`guard/traces/${call}/page`, true);
  const frame = el("iframe", {
    title: `Call ${call}, its attempts and tokens`,
    sandbox: "allow-same-origin",
    class: "call",
  });
  frame.srcdoc = trusted.createHTML(page);
  frame.addEventListener("load", () => {
    const inside = frame.contentDocument;
    const fit = () =>
      (frame.style.height = `${Math.ceil(inside.documentElement.getBoundingClientRect().height) + 2}px`);
    new ResizeObserver(fit).observe(inside.documentElement);
    fit();
    // Such a link would lead the frame to this page.
    for (const each of inside.querySelectorAll('a[href^="#"]')) {
      each.addEventListener("click", (event) => {
        event.preventDefault();
        const place = inside.getElementById(each.hash.slice(1));
        place?.setAttribute("tabindex", "-1");
        place?.focus();
        place?.scrollIntoView();
      });
    }
  });
  box.replaceChildren(frame);
  return () => {
    const at = URL.createObjectURL(new Blob([page], { type: "text/html" }));
    el("a", { href: at, download: `call-${call}.html` }).click();
    setTimeout(() => URL.revokeObjectURL(at), 60_000);
  };
}
