// The AI SDK with its provider for servers that are compatible with OpenAI's, which asks for chat completions.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { run } from "./ai_sdk.mjs";
import { KEY, MODEL, URL } from "./verdicts.mjs";

await run(createOpenAICompatible({ name: "guard", baseURL: URL, apiKey: KEY, supportsStructuredOutputs: true })(MODEL));
