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


def url_of(server: str) -> str:
    """Return the address of a server: the environment's, else the usual one."""
    return os.environ.get(f"{server.upper()}_BASE_URL") or SERVERS[server]
