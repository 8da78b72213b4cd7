// openai (Node), chat completions.
import OpenAI from "openai";
import { ASKED, INVOICE, KEY, MODEL, URL, WEATHER, report, told, weather } from "./verdicts.mjs";

const client = new OpenAI({ baseURL: URL, apiKey: KEY, maxRetries: 0 });
const user = (feature) => [{ role: "user", content: ASKED[feature] }];
const ask = (messages, more = {}) => client.chat.completions.create({ model: MODEL, messages, ...more });
const response_format = { type: "json_schema", json_schema: { name: "invoice", strict: true, schema: INVOICE } };
const tools = [{ type: "function", function: { name: "weather", strict: true, parameters: WEATHER } }];

await report({
  plain: async () => (await ask(user("plain"))).choices[0].message.content,
  schema: async () =>
    (await client.chat.completions.parse({ model: MODEL, messages: user("schema"), response_format })).choices[0]
      .message.parsed,
  stream: async () => {
    const pieces = [];
    for await (const chunk of await ask(user("stream"), { stream: true })) {
      if (chunk.choices[0]?.delta?.content) pieces.push(chunk.choices[0].delta.content);
    }
    return { text: pieces.join(""), many: pieces.length > 1 };
  },
  tools: async () => {
    const run = {
      type: "function",
      function: { name: "weather", parse: JSON.parse, parameters: WEATHER, strict: true, function: (g) => weather(g.city) },
    };
    run.function.function = (given) => String(weather(given.city));
    const runner = client.chat.completions.runTools({ model: MODEL, messages: user("tools"), tools: [run] });
    return told(await runner.finalContent());
  },
  "streamed tools": async () => {
    const stream = client.chat.completions.stream({ model: MODEL, messages: user("tools"), tools });
    const final = await stream.finalChatCompletion();
    for (const call of final.choices[0].message.tool_calls) weather(JSON.parse(call.function.arguments).city);
    return told("");
  },
  "second turn": async () => {
    const first = await ask(user("first turn"));
    const second = await ask([...user("first turn"), first.choices[0].message, ...user("second turn")]);
    return second.choices[0].message.content;
  },
  refusal: async () => (await ask(user("refusal"), { response_format })).choices[0].message.refusal,
  truncation: async () => {
    const [choice] = (await ask(user("truncation"), { max_tokens: 4 })).choices;
    return [choice.message.content, choice.finish_reason];
  },
});
