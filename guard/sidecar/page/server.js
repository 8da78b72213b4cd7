// The sidecar's endpoints, asked with the operator's key where there is one.

const KEY = "guard-operator-key"; // in the tab's own storage, which ends with it
const SECONDS = 20; // for what answers at once

/** What the sidecar answered instead. */
export class Refused extends Error {
  constructor(status, error) {
    super(error.message ?? `the sidecar answered ${status}`);
    this.status = status;
    this.code = error.code ?? "";
    this.findings = error.findings ?? [];
    this.call = error.call ?? null;
  }

  /** Whether another key might be let in. */
  get wantsKey() {
    return this.code === "invalid_api_key" || this.code === "operators_only";
  }
}

/** Nothing came back. */
export class Silent extends Error {}

export const key = {
  get: () => sessionStorage.getItem(KEY),
  set: (text) => sessionStorage.setItem(KEY, text),
  forget: () => sessionStorage.removeItem(KEY),
};

/** Return a page of the sidecar as JSON, as text where `isText`. */
export async function get(path, isText = false) {
  const answer = await ask(path, { signal: AbortSignal.timeout(SECONDS * 1000) });
  return isText ? answer.text() : answer.json();
}

/** Send a JSON text, and return the answer; `signal` gives up. */
export async function post(path, body, signal) {
  const answer = await ask(path, { method: "POST", body, signal, headers: { "content-type": "application/json" } });
  return answer.json();
}

async function ask(path, options) {
  const headers = { ...options.headers };
  if (key.get()) headers.authorization = `Bearer ${key.get()}`;
  let answer;
  try {
    answer = await fetch(path, { ...options, headers, cache: "no-store", redirect: "error" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Silent(error.name === "TimeoutError" ? `nothing came within ${SECONDS} s` : "it can't be reached");
  }
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({}));
  throw new Refused(answer.status, said?.error ?? {});
}
