"""pydantic-ai, by responses."""

from pydantic_ai.models.openai import OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai_agent import run
from verdicts import KEY, MODEL, URL

run(OpenAIResponsesModel(MODEL, provider=OpenAIProvider(base_url=URL, api_key=KEY)))
