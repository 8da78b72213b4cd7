// The page: its views by the address's hash, what is fetched for them and when, and the overview.

import { Pages, failed, listed, opened } from "./calls.js";
import { Chart, mark } from "./charts.js";
import { figures as costs, plots } from "./economics.js";
import { badge, dollars, el, number, percent, said, seconds, show, table } from "./elements.js";
import { rated } from "./feedback.js";
import { Playground } from "./playground.js";
import { Refused, Silent, get, key } from "./server.js";
import { Versions } from "./versions.js";

const LIVE_MS = 2000; // between looks at what is under way
const FIGURES_MS = 5000; // between looks at figures, which a database sums up
const LONG_MS = 30_000; // the same, of more than six hours
const WAIT_MS = [1000, 2000, 4000, 8000, 15_000]; // after nothing came, again and again

const by = (id) => document.getElementById(id);
const KEYS = {
  invalid_api_key: "This key is not known here, or was revoked.",
  operators_only: "This key is good, but not an operator's.",
};
const VIEWS = ["overview", "calls", "call", "economics", "playground"];

const state = { view: "", call: 0, isPaused: false, failures: 0, due: 0, timer: 0, turn: 0, newest: null };

const charts = [
  new Chart({ title: "Calls", of: (p) => p.calls, write: number, isSum: true, isWhole: true }),
  new Chart({
    title: "Valid",
    of: (p) => (p.calls ? p.valid / p.calls : null),
    write: (v) => percent(v, 1),
    isSum: false,
    most: 1,
  }),
  new Chart({ title: "Re-asks", of: (p) => p.re_asks, write: number, isSum: true, isWhole: true }),
  new Chart({ title: "Escalations", of: (p) => p.escalated, write: number, isSum: true, isWhole: true }),
  new Chart({
    title: "Latency",
    note: "mean, up to the longest",
    of: (p) => p.mean_seconds,
    peak: (p) => p.max_seconds,
    write: seconds,
    tick: (v) => (v < 1 ? `${Math.round(v * 1000)} ms` : `${Number(v.toPrecision(3))} s`),
    isSum: false,
  }),
  new Chart({ title: "Cost", note: "where prices are known", of: (p) => p.usd, write: dollars, isSum: true }),
];

const pages = {
  overview: new Pages({
    box: by("failures"),
    path: "guard/failures/kinds",
    name: "failures",
    make: failed,
    empty: "No call has failed.",
    changed: now,
  }),
  calls: new Pages({
    box: by("list"),
    path: "guard/traces",
    size: 25,
    name: "calls",
    make: listed,
    empty: "There is no call on record yet.",
    changed: now,
  }),
  economics: new Versions({ box: by("versions"), changed: now }),
};

const playground = new Playground({ failed: (error) => error instanceof Refused && error.wantsKey && troubled(error) });

// -- What is fetched, and when ----------------------------------------------------------------------------------------

/** Fetch what the view shows; `isWhole` does not wait for what is due later. */
async function look(isWhole) {
  const turn = ++state.turn;
  clearTimeout(state.timer);
  try {
    const live = await get("guard/live");
    playground.models(live.models);
    if (isWhole || performance.now() >= state.due) {
      state.due = performance.now() + (minutes() > 360 ? LONG_MS : FIGURES_MS);
      const [path, shows] = SHOWN[state.view] ?? [null, null];
      const figures = path ? await get(path()) : null;
      if (turn !== state.turn) return; // another look has begun, of what was chosen since
      if (figures) shows(live, figures);
      const shown = await pages[state.view]?.refresh();
      if (turn !== state.turn) return;
      if (state.view === "overview") announce(shown);
    }
    if (state.view === "overview") underWay(live);
    if (turn === state.turn) calm();
  } catch (error) {
    if (!(error instanceof Refused || error instanceof Silent)) throw error;
    if (turn === state.turn) troubled(error);
  }
  if (turn !== state.turn || !by("gate").hidden || document.hidden) return;
  const isSilent = state.failures > 0;
  if (state.isPaused && !isSilent) return;
  state.timer = setTimeout(look, isSilent ? WAIT_MS[Math.min(state.failures, WAIT_MS.length) - 1] : LIVE_MS, isSilent);
}

function now() {
  return look(true);
}

const minutes = () => Number(by(state.view === "economics" ? "days" : "minutes").value);

const SHOWN = {
  overview: [() => `guard/stats?minutes=${minutes()}`, overview],
  economics: [() => `guard/economics?minutes=${minutes()}`, economics],
};

function calm() {
  if (state.failures) by("told").textContent = "The sidecar answers again.";
  state.failures = 0;
  show(by("trouble"), "", () => null);
  by("gate").hidden = true;
  by("forget").hidden = !key.get();
  status(state.isPaused ? "Paused" : "Live", state.isPaused ? "wait" : "good");
}

function troubled(error) {
  by("forget").hidden = !key.get();
  if (error instanceof Refused && error.wantsKey) {
    status("Locked", "wait");
    show(by("trouble"), "", () => null);
    by("gate-wrong").textContent = key.get() ? KEYS[error.code] : "";
    if (by("gate").hidden) {
      by("gate").hidden = false;
      by("key").focus();
    }
    for (const view of VIEWS) by(view).hidden = true;
    return;
  }
  state.failures += 1;
  const isGone = !(error instanceof Refused);
  status(isGone ? "No answer" : "Trouble", "bad");
  const words = isGone ? `The sidecar does not answer: ${error.message}.` : `The sidecar says: ${error.message}.`;
  const what = "What is shown is what it said last. It is asked again and again.";
  show(by("trouble"), words, () =>
    el("p", { class: "notice bad" }, said(words), " ", el("span", { class: "quiet" }, what)),
  );
}

function status(word, kind) {
  by("state").textContent = word;
  by("state").className = `state ${kind}`;
}

/** Say that calls have failed, to those who do not see it. */
function announce(shown) {
  if (!shown || pages.overview.before.length) return;
  const newest = shown[0]?.call ?? 0;
  const fresh = state.newest === null ? 0 : shown.filter((call) => call.call > state.newest).length;
  if (fresh) by("told").textContent = `${fresh} new failure${fresh === 1 ? "" : "s"}.`;
  state.newest = newest;
}

// -- The overview -----------------------------------------------------------------------------------------------------

function overview(live, figures) {
  const names = Object.keys(figures.models).sort();
  const lines = names.map((name, place) => ({ name, place, ...summed(figures.models[name]) }));
  const all = summed(figures.total);
  show(by("totals"), all, () => [
    tile("Calls", number(all.calls)),
    tile(
      "Valid",
      percent(all.valid, all.calls),
      all.calls - all.valid ? `${number(all.calls - all.valid)} without a value` : null,
    ),
    tile("Re-asks", number(all.re_asks), all.calls ? `${(all.re_asks / all.calls).toFixed(2)} a call` : null),
    tile("Escalated", number(all.escalated), all.calls ? percent(all.escalated, all.calls) : null),
    tile(
      "Mean time",
      all.calls ? seconds(all.mean_seconds) : "–",
      all.calls ? `longest ${seconds(all.max_seconds)}` : null,
    ),
    tile("Cost", dollars(all.usd, all.unpriced), all.unpriced ? `${number(all.unpriced)} without a price` : null),
  ]);
  show(by("models"), [live.models, lines], () => models(live.models, lines));
  show(by("legend"), names, () => names.map((name, place) => el("li", {}, swatch(place), said(name))));
  for (const chart of charts) chart.show(figures, names);
}

function economics(_, { functions, curves }) {
  show(by("costs"), functions, () => costs(functions));
  show(by("shares"), curves, () => plots(curves));
}

function summed(points) {
  const all = {
    calls: 0,
    ended: 0,
    valid: 0,
    re_asks: 0,
    escalated: 0,
    tokens: 0,
    usd: 0,
    unpriced: 0,
    max_seconds: 0,
    mean_seconds: 0,
  };
  for (const point of points) {
    for (const name of ["calls", "valid", "re_asks", "escalated", "tokens", "usd", "unpriced"])
      all[name] += point[name];
    all.max_seconds = Math.max(all.max_seconds, point.max_seconds);
    all.ended += point.ended;
    all.mean_seconds += (point.mean_seconds ?? 0) * point.ended;
  }
  if (all.ended) all.mean_seconds /= all.ended;
  return all;
}

const tile = (name, value, note) =>
  el("div", {}, el("dt", {}, name), el("dd", {}, value), note ? el("dd", { class: "quiet small" }, note) : null);

const swatch = (place) => el("span", { class: `swatch ${mark(place)}`, "aria-hidden": "true" });

const BREAKERS = {
  closed: ["answers", "good"],
  open: ["left alone: it fails", "bad"],
  trying: ["tried again", "wait"],
};

function models(served, lines) {
  const asked = served.map((model) => model.model);
  const silent = [...new Set(asked)].filter((name) => !lines.some((line) => line.name === name));
  const rows = [...lines, ...silent.map((name) => ({ name, place: null, calls: 0 }))];
  const figure = (name, kind, of) => ({ name, kind, of: (line) => (line.calls ? of(line) : "–") });
  return table(
    "Models, in the time that is chosen",
    [
      {
        name: "Model",
        kind: "wide",
        of: (line) => el("span", {}, line.place === null ? null : swatch(line.place), said(line.name)),
      },
      { name: "Served as", kind: "wide", of: (line) => names(served.filter((model) => model.model === line.name)) },
      { name: "Calls", kind: "num", of: (line) => number(line.calls) },
      figure("Valid", "num", (line) => percent(line.valid, line.calls)),
      figure("Re-asks", "num", (line) => number(line.re_asks)),
      figure("Escalated", "num", (line) => number(line.escalated)),
      figure("Mean", "num", (line) => (line.ended ? seconds(line.mean_seconds) : "–")),
      figure("Longest", "num", (line) => (line.ended ? seconds(line.max_seconds) : "–")),
      figure("Tokens", "num", (line) => number(line.tokens)),
      figure("Cost", "num", (line) => dollars(line.usd, line.unpriced)),
    ],
    rows,
  );
}

function names(served) {
  if (!served.length) return el("span", { class: "quiet" }, "not now");
  return el(
    "ul",
    { class: "names" },
    served.map(({ name, tiers, breaker }) => {
      const [word, kind] = BREAKERS[breaker] ?? [breaker, "wait"];
      const further =
        tiers.length > 1 ? el("small", { class: "quiet" }, " then ", said(tiers.slice(1).join(", then "))) : null;
      return el("li", {}, said(name), further, " ", badge(word, kind));
    }),
  );
}

function underWay(live) {
  show(by("live"), [live.requests, live.workers], () => [
    live.requests.length
      ? table(
          "Requests under way",
          [
            { name: "Request", kind: "wide", of: (visit) => said(visit.id) },
            { name: "Path", kind: "wide", of: (visit) => said(visit.path) },
            { name: "Model", kind: "wide", of: (visit) => said(visit.model || "–") },
            { name: "Key", of: (visit) => said(visit.key ?? "none") },
            { name: "Stream", of: (visit) => visit.stream ?? "no" },
            { name: "Sent", kind: "num", of: (visit) => `${number(visit.bytes)} B` },
            { name: "For", kind: "num", of: (visit) => seconds(visit.seconds) },
          ],
          live.requests,
        )
      : el("p", { class: "empty" }, "No request is under way."),
    live.workers > 1
      ? el("p", { class: "quiet small" }, `In one of ${live.workers} processes, whichever answers.`)
      : null,
  ]);
}

// -- Views ------------------------------------------------------------------------------------------------------------

async function route() {
  const [name, rest] = location.hash.slice(1).split("/");
  const call = name === "call" && /^\d{1,18}$/.test(rest ?? "") ? rest : null;
  const view = VIEWS.includes(name) && (name !== "call" || call) ? name : "overview";
  const isFirst = state.view === "";
  Object.assign(state, { view, call });
  for (const each of VIEWS) by(each).hidden = each !== view;
  for (const link of document.querySelectorAll(".top nav a")) {
    const isHere = link.hash === `#${view}` || (view === "call" && link.hash === "#calls");
    link.toggleAttribute("aria-current", isHere);
    if (isHere) link.setAttribute("aria-current", "page");
  }
  const title = by(`${view}-title`);
  if (view === "call") title.textContent = `Call ${Number(call).toLocaleString("en")}`;
  document.title = `${title.textContent} · Guard`;
  if (!isFirst) {
    title.focus();
    scrollTo(0, 0);
  }
  const looked = now();
  if (view === "call") await open(call);
  await looked;
}

/** Show a call, which never changes once it is on record. */
async function open(call) {
  by("save").hidden = true;
  by("frame").replaceChildren(el("p", { class: "empty" }, "Fetching it."));
  by("feedback").replaceChildren();
  try {
    const [save, facts] = await Promise.all([opened(by("frame"), call), get(`guard/traces/${call}`)]);
    if (state.call !== call) return;
    rated(by("feedback"), facts);
    by("save").onclick = save;
    by("save").hidden = false;
  } catch (error) {
    if (state.call !== call) return;
    by("frame").replaceChildren(said(`${error.message}.`, "p", { class: "notice bad", role: "alert" }));
  }
}

by("place").textContent = location.host;
by("charts").append(...charts.map((chart) => chart.element));
by("skip").addEventListener("click", (event) => {
  event.preventDefault();
  by("main").focus();
});
for (const id of ["minutes", "days"]) by(id).addEventListener("change", now);
by("refresh").addEventListener("click", async () => {
  await now();
  by("told").textContent = "Refreshed.";
});
by("pause").addEventListener("click", () => {
  state.isPaused = !state.isPaused;
  by("pause").textContent = state.isPaused ? "Resume" : "Pause";
  by("told").textContent = state.isPaused ? "Refreshing is paused." : "Refreshing goes on.";
  if (!state.isPaused) now();
  else if (!state.failures) {
    clearTimeout(state.timer);
    status("Paused", "wait");
  }
});
by("gate").addEventListener("submit", (event) => {
  event.preventDefault();
  const given = by("key").value.trim();
  if (!/^[\x21-\x7e]+$/.test(given)) {
    by("gate-wrong").textContent = "A key has letters, digits and dashes only.";
    return;
  }
  key.set(given);
  by("key").value = "";
  by("gate").hidden = true;
  route();
});
by("forget").addEventListener("click", () => {
  key.forget();
  location.reload(); // so that nothing of what was shown stays
});
document.addEventListener("visibilitychange", () => document.hidden || state.isPaused || now());
addEventListener("hashchange", route);
route();
