"""pydantic-ai, by chat completions."""

from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai_agent import run
from verdicts import KEY, MODEL, URL

run(OpenAIChatModel(MODEL, provider=OpenAIProvider(base_url=URL, api_key=KEY)))
