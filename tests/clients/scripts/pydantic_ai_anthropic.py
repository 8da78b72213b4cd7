"""pydantic-ai, by Anthropic's protocol."""

from anthropic import AsyncAnthropic
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai_agent import run
from verdicts import KEY, MODEL, ROOT

client = AsyncAnthropic(base_url=ROOT, api_key=KEY, max_retries=0)
run(AnthropicModel(MODEL, provider=AnthropicProvider(anthropic_client=client)))
