"""haystack, by chat completions."""

from haystack.components.generators.chat import OpenAIChatGenerator
from haystack_generator import run

run(OpenAIChatGenerator, "max_completion_tokens")
