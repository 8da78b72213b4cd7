// What a service in Node does with its SDK, unchanged but for the base URL; prints what came of it as JSON.
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.argv[2], apiKey: "unused", maxRetries: 0 });
const schema = {
  type: "object",
  properties: { vendor: { type: "string" }, total: { type: "number" } },
  required: ["vendor", "total"],
  additionalProperties: false,
};
const response_format = { type: "json_schema", json_schema: { name: "invoice", strict: true, schema } };
const city = { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false };
const tools = [{ type: "function", function: { name: "weather", strict: true, parameters: city } }];
const ask = { model: "m", messages: [{ role: "user", content: "Read." }] };

const answer = await client.chat.completions.create({ ...ask, response_format });
let streamed = "";
let usage = 0;
for await (const chunk of await client.chat.completions.create({
  ...ask,
  response_format,
  stream: true,
  stream_options: { include_usage: true },
})) {
  streamed += chunk.choices[0]?.delta?.content ?? "";
  usage = chunk.usage?.total_tokens ?? usage;
}
const called = await client.chat.completions.create({ ...ask, tools, tool_choice: "required" });
const call = called.choices[0].message.tool_calls[0].function;
const response = await client.responses.create({
  model: "m",
  input: "Read.",
  text: { format: { type: "json_schema", name: "invoice", strict: true, schema } },
});
let error = null;
try {
  await client.chat.completions.create({ ...ask, model: "nonesuch" });
} catch (raised) {
  error = [raised.status, raised.code];
}
const models = [];
for await (const model of client.models.list()) models.push(model.id);

console.log(
  JSON.stringify({
    answer: JSON.parse(answer.choices[0].message.content),
    streamed: JSON.parse(streamed),
    usage,
    call: [call.name, JSON.parse(call.arguments)],
    response: JSON.parse(response.output_text),
    error,
    models,
  }),
);
