"""Stand-ins for models in replays, which need neither weights nor keys.

A stand-in has all that a recorded request's key depends on: the name, whether there are masks, and a provider's
address.
"""

from __future__ import annotations

from guard.errors import ModelError
from guard.models.base import Model, Reply, Request
from guard.models.remote.address import UNUSED_KEY
from guard.models.remote.known_servers import SERVERS


class Absent:
    """A stand-in for a model."""

    is_masked = True

    def __init__(self, name: str) -> None:
        self.name = name

    def generate(self, request: Request) -> Reply:
        """Raise ModelError: a replay never asks."""
        raise ModelError(f"{self.name} was not loaded and can't answer {request.name}")


def stand_in(model: str | Model) -> Model:
    """Return a stand-in for a name, or the object itself."""
    if not isinstance(model, str):
        return model
    kind, _, rest = model.partition(":")
    if kind in SERVERS and rest:
        from guard.models.remote.openai import OpenAIModel

        return OpenAIModel.at_server(kind, rest)
    if kind == "openai" and rest:
        from guard.models.remote.openai import OpenAIModel

        return OpenAIModel(rest, api_key=UNUSED_KEY)
    if kind == "anthropic" and rest:
        from guard.models.remote.anthropic import AnthropicModel

        return AnthropicModel(rest, api_key=UNUSED_KEY)
    return Absent(model)
