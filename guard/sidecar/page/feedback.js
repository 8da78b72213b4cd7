// What a person says of a call's answer: a form over the value, by its schema. The sidecar checks what is sent.

import { el, said } from "./elements.js";
import { Refused, Silent, post } from "./server.js";

const DEPTH = 4; // of objects inside of objects that have fields of their own; deeper ones are JSON
const LONG = 60; // characters of a text that has several lines to be written in
const ABSENT = ""; // of a select: the member is left out

/** Show the form for a call as /guard/traces/N gives it; returns nothing where there is no value to speak of. */
export function rated(box, call) {
  box.replaceChildren();
  const value = parsed(call.answer);
  if (call.outcome !== "valid" || value === undefined) return;
  const field = made(
    "",
    call.feedback?.value ? parsed(call.feedback.value) : value,
    call.schema ?? {},
    call.schema ?? {},
    true,
    0,
    call.probabilities,
  );
  const told = el("p", { role: "status", class: "small" }, verdict(call.feedback));
  const wrong = el("p", { role: "alert", class: "bad" });
  const [right, bad] = [
    el("button", { type: "button" }, "It is right"),
    el("button", { type: "button" }, "It is wrong"),
  ];
  const form = el(
    "form",
    { class: "card feedback", "aria-labelledby": "feedback-title", novalidate: true },
    el("h2", { id: "feedback-title" }, "Is the answer right?"),
    told,
    el("div", { class: "line" }, right, bad),
    el(
      "details",
      { open: Boolean(call.feedback && !call.feedback.right) },
      el("summary", {}, "Correct it"),
      field.element,
      el("div", { class: "line" }, el("button", { type: "submit", class: "main" }, "Save the correction")),
    ),
    wrong,
  );
  const send = async (words) => {
    wrong.textContent = "";
    const buttons = form.querySelectorAll("button");
    for (const button of buttons) button.disabled = true;
    try {
      const kept = await post("guard/feedback", JSON.stringify({ call: call.call, ...words }));
      told.textContent = verdict({ ...kept, value: "value" in words });
    } catch (error) {
      if (!(error instanceof Refused || error instanceof Silent)) throw error;
      wrong.textContent = `${error.message}.`;
    } finally {
      for (const button of buttons) button.disabled = false;
    }
  };
  right.addEventListener("click", () => send({ right: true }));
  bad.addEventListener("click", () => send({ right: false }));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    try {
      send({ value: field.read() });
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error;
      wrong.textContent = error.message;
      error.control.focus();
    }
  });
  box.append(form);
}

class Unreadable extends Error {
  constructor(control, message) {
    super(message);
    this.control = control;
  }
}

function verdict(feedback) {
  if (!feedback) return "Nobody has said yet.";
  const right = feedback.value ? "Right, and saved" : "Right";
  const wrong = feedback.value ? "Wrong, and corrected" : "Wrong";
  return `${feedback.right ? right : wrong}, says ${feedback.by}.`;
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Return a field for a value: its element, and `read`, which gives what stands there (undefined: it is left out). */
function made(at, value, given, root, isNeeded, depth, probabilities) {
  const schema = followed(given, root);
  const properties = schema.properties ?? {};
  if (value !== null && typeof value === "object" && !Array.isArray(value) && depth < DEPTH) {
    const names = [...new Set([...Object.keys(properties), ...Object.keys(value)])];
    const inner = names.map((name) => {
      const isWanted = !schema.properties || (schema.required ?? []).includes(name); // without a schema none is known to be optional
      const pointer = `${at}/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`;
      return [name, made(pointer, value[name], properties[name] ?? {}, root, isWanted, depth + 1, probabilities)];
    });
    const element = el(
      "div",
      { class: at ? "inside" : null },
      inner.map(([name, field]) => field.labelled(name)),
    );
    const read = () =>
      Object.fromEntries(inner.map(([name, field]) => [name, field.read()]).filter(([, one]) => one !== undefined));
    return { element, read, labelled: (name) => el("fieldset", {}, said(name, "legend"), element) };
  }
  const [control, read] = written(value, schema, isNeeded);
  const labelled = (name) => {
    const sure = probabilities?.[at];
    const note = sure === undefined ? null : el("span", { class: "quiet" }, ` right with ${Math.round(sure * 100)}%`);
    return el("label", {}, said(name), isNeeded ? null : el("span", { class: "quiet" }, " optional"), note, control);
  };
  return { element: el("label", {}, "Value", control), read, labelled };
}

/** Return a control for a value that is no object, and what reads it. */
function written(value, schema, isNeeded) {
  const choices =
    "const" in schema ? [schema.const] : (schema.enum ?? (schema.type === "boolean" ? [true, false] : null));
  if (choices) {
    const texts = choices.map((choice) => JSON.stringify(choice));
    if (value !== undefined && !texts.includes(JSON.stringify(value))) texts.push(JSON.stringify(value));
    const control = el(
      "select",
      {},
      isNeeded ? null : el("option", { value: ABSENT }, "(left out)"),
      texts.map((text) => said(shown(text), "option", { value: text, selected: text === JSON.stringify(value) })),
    );
    return [control, () => (control.value === ABSENT ? undefined : JSON.parse(control.value))];
  }
  if (typeof value === "string" || (value === undefined && schema.type === "string")) {
    const isLong = (value ?? "").length > LONG || (value ?? "").includes("\n");
    const control = el(isLong ? "textarea" : "input", { rows: isLong ? 3 : null, autocomplete: "off" });
    control.value = value ?? "";
    return [control, () => (control.value === "" && !isNeeded && value !== "" ? undefined : control.value)];
  }
  const isNumber = typeof value === "number" || ["number", "integer"].includes(schema.type);
  const control = el(isNumber ? "input" : "textarea", {
    class: isNumber ? null : "code",
    rows: isNumber ? null : 3,
    inputmode: isNumber ? "decimal" : null,
    autocomplete: "off",
    spellcheck: "false",
  });
  control.value = value === undefined ? "" : isNumber ? JSON.stringify(value) : JSON.stringify(value, null, 2);
  const read = () => {
    const text = control.value.trim();
    if (text === "" && !isNeeded) return undefined;
    const found = parsed(text);
    if (found === undefined)
      throw new Unreadable(
        control,
        `${text.slice(0, 40) || "Nothing"} is not JSON: write ${isNumber ? "a number" : "a value as JSON"}.`,
      );
    return found;
  };
  return [control, read];
}

const shown = (text) => (text.startsWith('"') ? JSON.parse(text) : text);

/** Return a schema, or that which it refers to inside of the whole. */
function followed(schema, root) {
  for (let steps = 0; steps < 20 && typeof schema?.$ref === "string" && schema.$ref.startsWith("#"); steps += 1) {
    let at = root;
    for (const part of schema.$ref.slice(1).split("/").filter(Boolean)) {
      at = at?.[decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~")];
    }
    schema = at;
  }
  return schema !== null && typeof schema === "object" ? schema : {};
}
