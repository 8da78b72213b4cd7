"""haystack, by responses."""

from haystack.components.generators.chat import OpenAIResponsesChatGenerator
from haystack_generator import run

run(OpenAIResponsesChatGenerator, "max_output_tokens")
