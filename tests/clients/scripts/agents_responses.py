"""openai-agents, by responses."""

from agents import OpenAIResponsesModel
from agents_runner import run
from openai import AsyncOpenAI
from verdicts import KEY, MODEL, URL

run(OpenAIResponsesModel(MODEL, openai_client=AsyncOpenAI(base_url=URL, api_key=KEY, max_retries=0)))
