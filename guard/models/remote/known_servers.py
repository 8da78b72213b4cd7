"""Servers on this machine that speak OpenAI's protocol, by name, and where each usually listens.

`ollama:NAME` asks OLLAMA_BASE_URL where the environment has it, and so on; no credential of the environment is sent.
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
#: What starts each.
_STARTED_BY = {"ollama": "ollama serve", "vllm": "vllm serve NAME", "lmstudio": "lms server start"}


def started_by(model: str) -> str | None:
    """Return the command that starts the server of a model's name; None of other models."""
    server, _, name = model.partition(":")
    command = _STARTED_BY.get(server)
    return command and command.replace("NAME", name)


def url_of(server: str) -> str:
    """Return the address of a server: the environment's, else the usual one."""
    return os.environ.get(server_variable(server)) or SERVERS[server]


def server_variable(model: str) -> str:
    """Return the environment's variable for the address of a server, or of that of a model's name."""
    return f"{model.partition(':')[0].upper()}_BASE_URL"
