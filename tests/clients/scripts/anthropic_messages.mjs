// anthropic (Node).
import Anthropic from "@anthropic-ai/sdk";
import { ASKED, INVOICE, KEY, MODEL, ROOT, WEATHER, report, told, weather } from "./verdicts.mjs";

const client = new Anthropic({ baseURL: ROOT, apiKey: KEY, maxRetries: 0 });
const user = (feature) => [{ role: "user", content: ASKED[feature] }];
const base = { model: MODEL, max_tokens: 100 };
const ask = (messages, more = {}) => client.messages.create({ ...base, messages, ...more });
const words = (message) => message.content.map((block) => block.text ?? "").join("");
const tools = [{ name: "weather", strict: true, input_schema: WEATHER }];
const results = (message) =>
  message.content
    .filter((block) => block.type === "tool_use")
    .map((block) => ({ type: "tool_result", tool_use_id: block.id, content: String(weather(block.input.city)) }));

await report({
  plain: async () => words(await ask(user("plain"), { system: "Be kind." })),
  schema: async () => {
    const output_config = { format: { type: "json_schema", schema: INVOICE } };
    return JSON.parse(words(await ask(user("schema"), { output_config })));
  },
  stream: async () => {
    const pieces = [];
    const stream = client.messages.stream({ ...base, messages: user("stream") }).on("text", (text) => pieces.push(text));
    const final = await stream.finalMessage();
    if (words(final) !== pieces.join("")) throw new Error("the pieces are not the message");
    return { text: pieces.join(""), many: pieces.length > 1 };
  },
  tools: async () => {
    const messages = user("tools");
    for (let round = 0; round < 4; round++) {
      const message = await ask(messages, { tools });
      messages.push({ role: "assistant", content: message.content });
      const content = results(message);
      if (!content.length) return told(words(message));
      messages.push({ role: "user", content });
    }
    return null;
  },
  "streamed tools": async () => {
    results(await client.messages.stream({ ...base, messages: user("tools"), tools }).finalMessage());
    return told("");
  },
  "second turn": async () => {
    const { content } = await ask(user("first turn"));
    return words(await ask([...user("first turn"), { role: "assistant", content }, ...user("second turn")]));
  },
  refusal: async () => {
    const message = await ask(user("refusal"));
    return message.stop_reason === "refusal" && words(message);
  },
  truncation: async () => {
    const message = await ask(user("truncation"), { max_tokens: 4 });
    return [words(message), { max_tokens: "length" }[message.stop_reason]];
  },
});
