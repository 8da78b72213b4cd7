// The versions of tuned models: which one serves, and shadow runs that measure one beside it.

import { badge, el, moment, number, said, show, table } from "./elements.js";
import { Refused, Silent, get, post } from "./server.js";

const ENDS = {
  done: (run) => (run.passed ? ["passed", "good"] : ["not passed", "bad"]),
  failed: (run) => [`failed: ${run.error}`, "bad"],
  cancelled: () => ["cancelled", "wait"],
  killed: () => ["killed", "bad"],
};

/** A table of versions with a button to measure each, and the run that is under way. */
export class Versions {
  constructor({ box, changed }) {
    this.box = box;
    this.changed = changed;
    this.wrong = el("p", { role: "alert", class: "bad" });
    this.shown = el("div");
    box.append(this.shown, this.wrong);
  }

  /** Fetch and show what there is. */
  async refresh() {
    try {
      const [{ functions }, { run }] = await Promise.all([get("guard/models"), get("guard/models/shadow")]);
      show(this.shown, [functions, run], () => [this.listed(functions, run), run && this.running(run)]);
    } catch (error) {
      if (!(error instanceof Refused) || error.status !== 501) throw error;
      show(this.shown, error.message, () => el("p", { class: "empty" }, said(error.message)));
    }
  }

  listed(functions, run) {
    const rows = functions.flatMap((one) => one.versions);
    if (!rows.length)
      return el("p", { class: "empty" }, "No model was tuned here: ", el("code", {}, "guard tune"), " does it.");
    return table(
      "Versions of tuned models",
      [
        { name: "Function", kind: "wide", of: (row) => said(row.function) },
        { name: "Version", kind: "num row", of: (row) => number(row.version) },
        { name: "State", kind: "row", of: (row) => row.state || "–" },
        { name: "Made (UTC)", kind: "row", of: (row) => row.made || "–" },
        { name: "Shadow run", kind: "row", of: (row) => MEASURED.get(row.shadow) },
        { name: "Measure", kind: "row", of: (row) => this.measure(row, run) },
      ],
      rows,
    );
  }

  measure({ function: name, version }, run) {
    const label = `Measure ${name}, version ${version}`;
    const disabled = run?.state === "running";
    const button = el("button", { type: "button", "aria-label": label, "data-name": label, disabled }, "Measure");
    button.addEventListener("click", () => this.send(button, "guard/models/shadow", { function: name, version }));
    return button;
  }

  running(run) {
    const what = `${run.function}, version ${run.version} beside version ${run.against}`;
    if (run.state !== "running") {
      const [word, kind] = ENDS[run.state](run);
      const ended = run.ended ? [" ", moment(run.ended)] : [];
      return el("p", {}, said(what), ": ", badge(word, kind), ...ended);
    }
    const stop = el("button", { type: "button", "data-name": "end" }, "End the run");
    stop.addEventListener("click", () => this.send(stop, "guard/models/shadow/cancel", {}));
    const far = run.of ? `${run.stage}: ${number(run.done)} of ${number(run.of)}` : run.stage;
    return el("div", { class: "line" }, el("p", { role: "status" }, said(what), " – ", said(far)), stop);
  }

  async send(button, path, body) {
    this.wrong.textContent = "";
    button.disabled = true;
    try {
      await post(path, JSON.stringify(body));
    } catch (error) {
      if (!(error instanceof Refused || error instanceof Silent)) throw error;
      this.wrong.textContent = `${error.message}.`;
      button.disabled = false;
    }
    this.changed();
  }
}

const MEASURED = new Map([
  [true, "passed"],
  [false, "not passed"],
  [null, "none"],
]);
