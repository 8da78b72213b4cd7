// The AI SDK with its provider for OpenAI, which asks for responses.
import { createOpenAI } from "@ai-sdk/openai";
import { run } from "./ai_sdk.mjs";
import { KEY, MODEL, URL } from "./verdicts.mjs";

await run(createOpenAI({ baseURL: URL, apiKey: KEY })(MODEL));
