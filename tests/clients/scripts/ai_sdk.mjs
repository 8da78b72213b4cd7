// Vercel's AI SDK, whichever provider it uses.
import { Output, generateText, jsonSchema, stepCountIs, streamText, tool } from "ai";
import { ASKED, INVOICE, Limit, WEATHER, report, told, weather } from "./verdicts.mjs";

const more = { maxRetries: 0 };
const tools = {
  weather: tool({
    description: "How warm it is in a city.",
    inputSchema: jsonSchema(WEATHER),
    execute: async ({ city }) => weather(city),
  }),
};

async function streamed(options) {
  const errors = [];
  const result = streamText({ ...more, ...options, onError: ({ error }) => errors.push(error) });
  const pieces = [];
  for await (const piece of result.textStream) pieces.push(piece);
  if (errors.length) throw errors[0];
  return { pieces, result };
}

export function features(model, limits = {}) {
  const all = {
    plain: async () => (await generateText({ model, prompt: ASKED.plain, ...more })).text,
    schema: async () => {
      const output = Output.object({ schema: jsonSchema(INVOICE) });
      return (await generateText({ model, prompt: ASKED.schema, output, ...more })).output;
    },
    stream: async () => {
      const { pieces } = await streamed({ model, prompt: ASKED.stream });
      return { text: pieces.join(""), many: pieces.length > 1 };
    },
    tools: async () => {
      const options = { model, prompt: ASKED.tools, tools, stopWhen: stepCountIs(4), ...more };
      return told((await generateText(options)).text);
    },
    "streamed tools": async () => {
      const { pieces } = await streamed({ model, prompt: ASKED.tools, tools, stopWhen: stepCountIs(4) });
      const { called, answer } = told(pieces.join(""));
      if (answer !== "Rome 21, Oslo 9.") throw new Error(`the last word is ${answer}`);
      return { called, answer: "" };
    },
    "second turn": async () => {
      const messages = [{ role: "user", content: ASKED["first turn"] }];
      const first = await generateText({ model, messages, ...more });
      messages.push(...first.response.messages, { role: "user", content: ASKED["second turn"] });
      const second = await generateText({ model, messages, ...more });
      messages.push(...second.response.messages, { role: "user", content: ASKED.schema });
      const output = Output.object({ schema: jsonSchema(INVOICE) });
      const third = (await generateText({ model, messages, output, ...more })).output;
      if (third.total !== 3) throw new Error(`the typed turn is ${JSON.stringify(third)}`);
      return second.text;
    },
    refusal: async () => (await generateText({ model, prompt: ASKED.refusal, ...more })).text,
    truncation: async () => {
      const { text, finishReason } = await generateText({ model, prompt: ASKED.truncation, maxOutputTokens: 16, ...more });
      return [text, finishReason];
    },
  };
  for (const [name, why] of Object.entries(limits)) {
    all[name] = async () => {
      throw new Limit(why);
    };
  }
  return all;
}

export const run = (model, limits) => report(features(model, limits));
