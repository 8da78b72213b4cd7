"""openai-agents, by chat completions."""

from agents import OpenAIChatCompletionsModel
from agents_runner import run
from openai import AsyncOpenAI
from verdicts import KEY, MODEL, URL

run(OpenAIChatCompletionsModel(MODEL, openai_client=AsyncOpenAI(base_url=URL, api_key=KEY, max_retries=0)))
