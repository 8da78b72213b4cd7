// The AI SDK with its provider for Anthropic.
import { createAnthropic } from "@ai-sdk/anthropic";
import { run } from "./ai_sdk.mjs";
import { KEY, MODEL, URL } from "./verdicts.mjs";

await run(createAnthropic({ baseURL: URL, apiKey: KEY })(MODEL));
