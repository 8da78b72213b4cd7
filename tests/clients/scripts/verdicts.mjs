// What every client's script in Node shares: what it asks, the tool it has, and how it tells what it saw. See verdicts.py.
export const URL = process.argv[2];
export const ROOT = URL.replace(/\/v1$/, "");
export const KEY = "unused";
export const MODEL = "m";
export const ASKED = JSON.parse(process.argv[3]);
const WARM = { Rome: 21, Oslo: 9 };
let called = [];

export class Limit extends Error {}

export function weather(city) {
  called.push(city);
  return WARM[city] ?? 0;
}

export const WEATHER = {
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
  additionalProperties: false,
};
export const INVOICE = {
  type: "object",
  properties: { vendor: { type: "string" }, total: { type: "number" } },
  required: ["vendor", "total"],
  additionalProperties: false,
};

export const told = (answer) => ({ called: [...called].sort(), answer: String(answer) });

export async function report(features) {
  const chosen = process.argv.length > 4 ? process.argv.slice(4) : Object.keys(features);
  for (const feature of chosen) {
    called = [];
    let verdict;
    try {
      verdict = { seen: await features[feature]() };
    } catch (error) {
      verdict =
        error instanceof Limit
          ? { limit: error.message }
          : { error: `${error.name}: ${error.message}`.slice(0, 2000), where: String(error.stack).slice(0, 4000) };
    }
    console.log(JSON.stringify({ feature, ...verdict }));
  }
}
