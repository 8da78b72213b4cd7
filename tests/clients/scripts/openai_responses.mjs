// openai (Node), responses.
import OpenAI from "openai";
import { ASKED, INVOICE, KEY, MODEL, URL, WEATHER, report, told, weather } from "./verdicts.mjs";

const client = new OpenAI({ baseURL: URL, apiKey: KEY, maxRetries: 0 });
const ask = (input, more = {}) => client.responses.create({ model: MODEL, input, ...more });
const text = { format: { type: "json_schema", name: "invoice", strict: true, schema: INVOICE } };
const tools = [{ type: "function", name: "weather", strict: true, parameters: WEATHER }];
const outputs = (answer) =>
  answer.output
    .filter((item) => item.type === "function_call")
    .map(({ call_id, arguments: given }) => ({
      type: "function_call_output",
      call_id,
      output: String(weather(JSON.parse(given).city)),
    }));

await report({
  plain: async () => (await ask(ASKED.plain)).output_text,
  schema: async () => (await client.responses.parse({ model: MODEL, input: ASKED.schema, text })).output_parsed,
  stream: async () => {
    const pieces = [];
    for await (const event of await ask(ASKED.stream, { stream: true })) {
      if (event.type === "response.output_text.delta") pieces.push(event.delta);
    }
    return { text: pieces.join(""), many: pieces.length > 1 };
  },
  tools: async () => {
    const input = [{ role: "user", content: ASKED.tools }];
    for (let round = 0; round < 4; round++) {
      const answer = await ask(input, { tools });
      const given = outputs(answer);
      if (!given.length) return told(answer.output_text);
      input.push(...answer.output, ...given);
    }
    return null;
  },
  "streamed tools": async () => {
    const stream = client.responses.stream({ model: MODEL, input: ASKED.tools, tools });
    outputs(await stream.finalResponse());
    return told("");
  },
  "second turn": async () => {
    const first = await ask(ASKED["first turn"]);
    const second = await ask(ASKED["second turn"], { previous_response_id: first.id });
    const third = await ask(ASKED.schema, { previous_response_id: second.id, text });
    if (JSON.parse(third.output_text).total !== 3) throw new Error(`the typed turn is ${third.output_text}`);
    return second.output_text;
  },
  refusal: async () =>
    (await ask(ASKED.refusal, { text })).output.flatMap((item) => item.content).find((part) => part.type === "refusal")
      .refusal,
  truncation: async () => {
    const answer = await ask(ASKED.truncation, { max_output_tokens: 16 });
    return [answer.output_text, { max_output_tokens: "length" }[answer.incomplete_details?.reason]];
  },
});
