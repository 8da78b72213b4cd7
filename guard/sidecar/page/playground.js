// The playground: a prompt and a schema, asked of a model that is served.

import { dollars, el, findings, number, said, seconds, show } from "./elements.js";
import { faultOf, indented } from "./json.js";
import { placed } from "./places.js";
import { Refused, post } from "./server.js";

const EXAMPLE = {
  prompt: "Read this order: two large pizzas for Ada, please, at 9.50 each.",
  schema: `{
  "type": "object",
  "properties": {
    "customer": {"type": "string"},
    "product": {"type": "string"},
    "size": {"enum": ["small", "large"]},
    "count": {"type": "integer", "minimum": 1},
    "price": {"type": "number", "minimum": 0}
  },
  "required": ["customer", "product", "count"],
  "additionalProperties": false
}`,
};
const OPTIONS = {
  max_tokens: { pattern: /^[1-9]\d{0,8}$/, words: "Most tokens: a whole number from 1." },
  temperature: { pattern: /^(?:[01](?:\.\d+)?|2(?:\.0+)?)$/, words: "Temperature: a number from 0 to 2." },
  seed: { pattern: /^-?\d{1,15}$/, words: "Seed: a whole number." },
};

const by = (id) => document.getElementById(id);

export class Playground {
  /** `failed` is told of an error that is not the playground's own. */
  constructor({ failed }) {
    this.failed = failed;
    by("prompt").value = EXAMPLE.prompt;
    by("schema").value = EXAMPLE.schema;
    by("try").addEventListener("submit", (event) => {
      event.preventDefault();
      if (!this.running) this.#ask();
    });
    by("try").addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) by("try").requestSubmit();
    });
    by("schema").addEventListener("input", () => this.#schema());
    by("try").addEventListener("input", () => this.#edited());
    by("stop").addEventListener("click", () => this.running?.abort());
    by("answer").append(el("p", { class: "empty" }, "Nothing was asked yet."));
  }

  /** Offer the models that are served. */
  models(served) {
    show(
      by("model"),
      served.map(({ name, model }) => [name, model]),
      () =>
        served.map(({ name, model }) =>
          el(
            "option",
            { value: name, selected: name === by("model").value },
            name === model ? name : `${name} (${model})`,
          ),
        ),
    );
  }

  /** Take a verdict back: it was of what stood there before. The answer stays, under what it is now. */
  #edited() {
    this.isEdited = true;
    if (!this.running && by("progress").textContent) progress("Edited since the last answer: ask again.", "quiet");
  }

  /** Check the schema as it is written; returns whether it is JSON. */
  #schema() {
    const text = by("schema").value;
    const found = text.trim() ? faultOf(text) : null;
    wrong("schema", found?.message);
    if (found) {
      by("schema-wrong").append(el("pre", { class: "excerpt" }, excerpt(found)));
      this.fault = found;
    }
    return !found;
  }

  /** Return the body to send, or null where something is wrong, with the focus there. */
  #body() {
    const prompt = by("prompt").value;
    wrong("prompt", prompt.trim() ? null : "Say what the model is to do.");
    if (!prompt.trim()) {
      by("prompt").focus();
      return null;
    }
    this.prompt = prompt;
    if (!this.#schema()) {
      by("schema").focus();
      by("schema").setSelectionRange(this.fault.at, this.fault.at + 1);
      return null;
    }
    const parts = [`"model": ${JSON.stringify(by("model").value)}`, `"prompt": ${JSON.stringify(prompt)}`];
    // As it was written: a browser's own reading would round numbers and merge names that stand twice.
    if (by("schema").value.trim()) parts.push(`"schema": ${by("schema").value}`);
    wrong("more", null);
    for (const [name, { pattern, words }] of Object.entries(OPTIONS)) {
      const given = by(name).value.trim();
      by(name).removeAttribute("aria-invalid");
      if (!given) continue;
      if (!pattern.test(given)) {
        by("more-wrong").textContent = words;
        by(name).setAttribute("aria-invalid", "true");
        by(name).closest("details").open = true;
        by(name).focus();
        return null;
      }
      parts.push(`"${name}": ${given}`);
    }
    return `{${parts.join(", ")}}`;
  }

  async #ask() {
    const body = this.#body();
    if (body === null) return;
    this.running = new AbortController();
    this.isEdited = false;
    const began = performance.now();
    const elapsed = () => `${Math.floor((performance.now() - began) / 1000)} s`;
    by("stop").hidden = false;
    by("ask").disabled = true;
    by("stop").focus();
    by("answer").replaceChildren(
      el(
        "p",
        { class: "busy" },
        el("span", { class: "spinner", "aria-hidden": "true" }),
        el("span", { class: "elapsed", "aria-hidden": "true" }, "0 s"),
      ),
    );
    progress(`Asking ${by("model").value}.`, "quiet");
    const ticking = setInterval(() => (by("answer").querySelector(".elapsed").textContent = elapsed()), 250);
    try {
      const answer = await post("guard/playground", body, this.running.signal);
      progress(...verdict(answer));
      by("answer").replaceChildren(...answered(answer, this.prompt));
    } catch (error) {
      const isStopped = error.name === "AbortError";
      progress(isStopped ? "Stopped." : "There is no valid answer.", isStopped ? "quiet" : "bad");
      by("answer").replaceChildren(...(isStopped ? [] : refused(error)));
      if (!isStopped) this.failed(error);
    } finally {
      clearInterval(ticking);
      by("answer").scrollIntoView({ block: "nearest" }); // on a telephone it is far below
      this.running = null;
      if (this.isEdited) this.#edited();
      by("ask").disabled = false;
      const hadFocus = document.activeElement === by("stop");
      by("stop").hidden = true;
      if (hadFocus) by("ask").focus();
    }
  }
}

function progress(words, kind) {
  by("progress").textContent = words;
  by("progress").className = kind;
}

function wrong(id, words) {
  by(`${id}-wrong`).replaceChildren(words ?? "");
  if (id !== "more") by(id).toggleAttribute("aria-invalid", Boolean(words));
}

/** Return the line of a fault, or what is about it of a long one, with a mark below. */
function excerpt({ source, column }) {
  const from = Math.max(0, column - 30);
  return `${source.slice(from, from + 60).replaceAll("\t", " ")}\n${" ".repeat(column - 1 - from)}^`;
}

/** Return what is to be said of an answer, and how it looks. */
function verdict(answer) {
  if (answer.refusal) return ["The model refused.", "bad"];
  const isWhole = !answer.cut_at.length && !answer.repeated_at.length;
  return isWhole ? ["The answer is valid.", "good"] : ["The answer is valid, but not whole.", "bad"];
}

function answered(answer, prompt) {
  const at = (name, places) => (places.length ? [[name, said(places.map((place) => place || "(root)").join(", "))]] : []);
  const facts = [
    ...at("cut at", answer.cut_at),
    ...at("repeats itself at", answer.repeated_at),
    ["answered by", said(answer.served)],
    ["tier", number(answer.tier)],
    ["attempts", number(answer.attempts)],
    ["repairs", number(answer.repairs)],
    ["tokens", number(answer.tokens)],
    ["cost", dollars(answer.usd)],
    ["took", seconds(answer.seconds)],
  ];
  return [
    answer.refusal
      ? said(answer.refusal, "p", { class: "bad" })
      : said(indented(answer.text), "pre", { tabindex: 0, role: "region", "aria-label": "The value" }),
    ...placed(prompt, answer.places),
    el(
      "dl",
      { class: "pairs" },
      facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]),
    ),
    toCall(answer.call),
  ];
}

function refused(error) {
  const isOurs = error instanceof Refused;
  return [
    said(error.message, "p"),
    isOurs && error.code ? el("p", { class: "quiet small" }, `${error.status}, `, said(error.code)) : null,
    isOurs && error.findings.length ? el("h3", {}, "Findings in the last answer") : null,
    isOurs && error.findings.length ? findings(error.findings) : null,
    isOurs ? toCall(error.call) : null,
  ].filter((part) => part !== null);
}

const toCall = (call) =>
  call === null
    ? ""
    : el("p", { class: "to" }, el("a", { href: `#call/${call}` }, `Call ${number(call)}: attempts and tokens`));
