"""Local servers that speak OpenAI's protocol, by name, with their usual addresses.

The address of `ollama:NAME` is OLLAMA_BASE_URL, if the environment has it, and so on. No credentials of the environment
are sent.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType

SERVERS: Mapping[str, str] = MappingProxyType(
    {
        "ollama": "http://127.0.0.1:11434/v1",
        "vllm": "http://127.0.0.1:8000/v1",
        "lmstudio": "http://127.0.0.1:1234/v1",
    }
)
#: The command that starts each server.
_STARTED_BY = {"ollama": "ollama serve", "vllm": "vllm serve NAME", "lmstudio": "lms server start"}


def started_by(model: str) -> str | None:
    """Return the command that starts the server of a model's name, or None for other models."""
    server, _, name = model.partition(":")
    command = _STARTED_BY.get(server)
    return command and command.replace("NAME", name)


def url_of(server: str) -> str:
    """Return the address of a server: the environment's, else the usual one."""
    return os.environ.get(server_variable(server)) or SERVERS[server]


def server_variable(model: str) -> str:
    """Return the environment variable for the address of a server, or of a model's server."""
    return f"{model.partition(':')[0].upper()}_BASE_URL"
