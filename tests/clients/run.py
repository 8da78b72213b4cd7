"""Real clients against a sidecar: each in an environment of its own, with one function per feature.

A client is a script in scripts/, what it needs, and how it runs. `tried` starts a sidecar before the strict upstream,
runs the script, and says for each feature whether what the client saw is what should be seen.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sidecars
from clients.upstream import ASKED, INVOICE, REFUSAL, Upstream

from guard.testing import fake_server

HERE = Path(__file__).parent
SCRIPTS = HERE / "scripts"
BUILT = HERE.parents[1] / "build" / "clients"  #: Environments are kept here.
NAMES = ("m", "gpt-4o")  #: Of the model; clients that look up what a model can do know the second.
SCRIPT_S = 300.0  #: Longest run of one client.
INSTALL_S = 1800.0  #: Longest installation of one client's environment.

_CALLED = ["Oslo", "Rome"]
#: What a client should see, by feature.
SEEN: dict[str, Any] = {
    "plain": "Hello there.",
    "schema": INVOICE,
    "stream": {"text": "one two three", "many": True},
    "tools": {"called": _CALLED, "answer": "Rome 21, Oslo 9."},
    "streamed tools": {"called": _CALLED, "answer": ""},
    "second turn": "Ada.",
    "refusal": REFUSAL,
    "truncation": ["Once upon a time", "length"],
}


def _is_invoice(seen: Any) -> bool:
    return isinstance(seen, dict) and isinstance(seen.get("vendor"), str) and isinstance(seen.get("total"), int | float)


#: The same of a model that decodes here, which says what it likes: what must hold of it, by feature.
HOLDS: dict[str, Callable[[Any], bool]] = {
    "plain": lambda seen: isinstance(seen, str) and bool(seen.strip()),
    "schema": _is_invoice,
    "stream": lambda seen: bool(seen["text"]) and seen["many"],
    "tools": lambda seen: seen is None or all(isinstance(city, str) for city in seen["called"]),
    "truncation": lambda seen: isinstance(seen[0], str) and seen[1] == "length",
}
#: How clients say that an answer was cut by its budget.
_CUT = re.compile(r"length limit|max_?tokens|truncat|finish_reason.{0,9}length|incomplete", re.IGNORECASE)
#: How they say that the words are not as they themselves told the model to write them; and what that is called.
_UNLIKE = re.compile("AdapterParseError")
_UNLIKE_LIMIT = "DSPy streams fields that it finds in words, which so small a model does not write as it is told"
HERE_TOKENS = 48  #: Of an answer of such a model, where a client does not say it.


@dataclass(frozen=True)
class Client:
    """One client: how it is called, its script, and the packages that its environment needs."""

    name: str
    script: str
    packages: tuple[str, ...]
    environment: str  # the folder of its environment; several clients may share one
    shown: str = ""  # the package whose version is told; "": the first

    @property
    def package(self) -> str:
        """The package whose version is told."""
        return self.shown or self.packages[0]

    @property
    def is_node(self) -> bool:
        """Whether it runs in Node."""
        return self.script.endswith(".mjs")


_NODE = ("openai", "@anthropic-ai/sdk", "ai", "@ai-sdk/openai", "@ai-sdk/openai-compatible", "@ai-sdk/anthropic", "zod")
_PYDANTIC_AI = ("pydantic-ai-slim[openai,anthropic]",)
_LANGCHAIN = ("langchain-core", "langchain-openai", "langchain-anthropic")
CLIENTS = (
    Client("openai (chat)", "openai_chat.py", ("openai",), "openai"),
    Client("openai (responses)", "openai_responses.py", ("openai",), "openai"),
    Client("openai for Node (chat)", "openai_chat.mjs", _NODE, "node"),
    Client("openai for Node (responses)", "openai_responses.mjs", _NODE, "node"),
    Client("anthropic", "anthropic_messages.py", ("anthropic",), "anthropic"),
    Client("anthropic for Node", "anthropic_messages.mjs", _NODE, "node", "@anthropic-ai/sdk"),
    Client("instructor (tools)", "instructor_tools.py", ("instructor",), "instructor"),
    Client("instructor (schema)", "instructor_schema.py", ("instructor",), "instructor"),
    Client("pydantic-ai (chat)", "pydantic_ai_chat.py", _PYDANTIC_AI, "pydantic-ai"),
    Client("pydantic-ai (responses)", "pydantic_ai_responses.py", _PYDANTIC_AI, "pydantic-ai"),
    Client("pydantic-ai (anthropic)", "pydantic_ai_anthropic.py", _PYDANTIC_AI, "pydantic-ai"),
    Client("langchain (chat)", "langchain_chat.py", _LANGCHAIN, "langchain"),
    Client("langchain (responses)", "langchain_responses.py", _LANGCHAIN, "langchain"),
    Client("langchain (anthropic)", "langchain_anthropic_messages.py", _LANGCHAIN, "langchain"),
    Client("openai-agents (chat)", "agents_chat.py", ("openai-agents",), "openai-agents"),
    Client("openai-agents (responses)", "agents_responses.py", ("openai-agents",), "openai-agents"),
    Client("litellm", "litellm_chat.py", ("litellm",), "litellm"),
    Client("AI SDK (@ai-sdk/openai)", "ai_sdk_openai.mjs", _NODE, "node", "ai"),
    Client("AI SDK (openai-compatible)", "ai_sdk_compatible.mjs", _NODE, "node", "ai"),
    Client("AI SDK (@ai-sdk/anthropic)", "ai_sdk_anthropic.mjs", _NODE, "node", "ai"),
    Client("llama-index", "llama_index_chat.py", ("llama-index-core", "llama-index-llms-openai-like"), "llama-index"),
    Client("DSPy", "dspy_predict.py", ("dspy",), "dspy"),
    Client("haystack (chat)", "haystack_chat.py", ("haystack-ai",), "haystack"),
    Client("haystack (responses)", "haystack_responses.py", ("haystack-ai",), "haystack"),
    Client("smolagents", "smolagents_agent.py", ("smolagents[openai]",), "smolagents"),
)


@dataclass(frozen=True)
class Verdict:
    """What came of one feature."""

    feature: str
    is_right: bool
    limit: str = ""  # why the client can't, whatever it talks to
    words: str = ""  # what went wrong

    @property
    def mark(self) -> str:
        """How a table says it."""
        return "✔" if self.is_right else "–" if self.limit else "✘"


def install(client: Client) -> None:
    """Make a client's environment, where it is not there yet."""
    folder = BUILT / client.environment
    done = folder / "installed.txt"
    wanted = "\n".join(client.packages)
    if done.exists() and done.read_text() == wanted:
        return
    folder.mkdir(parents=True, exist_ok=True)
    if client.is_node:
        npm = ["npm", "install", "--no-audit", "--no-fund", "--silent", "--prefix", str(folder)]
        commands = [[*npm, *client.packages]]
    else:
        python = str(folder / "bin" / "python")
        pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        commands = [[sys.executable, "-m", "venv", str(folder)], [*pip, *client.packages]]
    for command in commands:
        subprocess.run(command, check=True, timeout=INSTALL_S)
    done.write_text(wanted)


def command(client: Client) -> list[str]:
    """Return how a client's script is started in its own environment."""
    folder = BUILT / client.environment
    if client.is_node:  # a module's packages are looked for beside it
        for script in SCRIPTS.glob("*.mjs"):
            (folder / script.name).write_text(script.read_text())
        return ["node", str(folder / client.script)]
    return [str(folder / "bin" / "python"), str(SCRIPTS / client.script)]


def tried(sidecar: sidecars.Sidecar, start: list[str], *features: str, is_here: bool = False) -> list[Verdict]:
    """Run a client's script, and judge what it saw; `is_here`: of a model that decodes here."""
    features = features or tuple(HOLDS if is_here else SEEN)
    surroundings = {k: v for k, v in os.environ.items() if not k.startswith(("GUARD_", "OPENAI_", "ANTHROPIC_"))}
    quiet = {"PYTHONWARNINGS": "ignore", "DO_NOT_TRACK": "1", "HAYSTACK_TELEMETRY_ENABLED": "false"}
    run = subprocess.run(
        [*start, sidecar.url, json.dumps(ASKED), *features],
        check=False,
        capture_output=True,
        text=True,
        timeout=SCRIPT_S,
        env={**surroundings, **quiet},
    )
    found = {}
    for line in run.stdout.splitlines():
        if line.startswith('{"feature"'):
            said = json.loads(line)
            found[said["feature"]] = said
    ended = f"the script ended with {run.returncode}: {run.stderr[-2000:]}"
    return [_verdict(name, found.get(name, {"error": ended}), is_here=is_here) for name in features]


def _verdict(feature: str, said: dict[str, Any], *, is_here: bool) -> Verdict:
    if "limit" in said:
        return Verdict(feature, False, limit=said["limit"])
    if is_here and _CUT.search(said.get("error", "")):  # as it says what it likes, for as long: the client tells that
        return Verdict(feature, True)
    if is_here and _UNLIKE.search(said.get("error", "")):
        return Verdict(feature, False, limit=_UNLIKE_LIMIT)
    if "error" in said:
        return Verdict(feature, False, words=f"{said['error']}\n{said.get('where', '')}")
    if is_here:
        is_right = HOLDS[feature](said["seen"])
        return Verdict(feature, is_right, words="" if is_right else f"saw {said['seen']!r}")
    wanted = SEEN[feature]
    is_right = said["seen"] == wanted
    return Verdict(feature, is_right, words="" if is_right else f"saw {said['seen']!r}, expected {wanted!r}")


def serving(folder: Path, upstream: Upstream) -> Any:
    """Return a sidecar before a strict upstream, as a context."""
    return _Serving(folder, upstream)


@contextlib.contextmanager
def serving_here(folder: Path) -> Iterator[sidecars.Sidecar]:
    """Start a sidecar whose model decodes here: SmolLM2, by both names."""
    names = "".join(f'[serve.models.{name}]\nmodel = "smollm2"\nmax_tokens = {HERE_TOKENS}\n' for name in NAMES)
    with sidecars.serving(folder, names) as sidecar:
        yield sidecar


class _Serving:
    def __init__(self, folder: Path, upstream: Upstream) -> None:
        self._server = fake_server.Server(upstream, keeps_alive=True)
        self._folder = folder
        self._sidecar: Any = None

    def __enter__(self) -> sidecars.Sidecar:
        server = self._server.__enter__()
        models = [sidecars.model(server.url, name, breaker_failures=1000) for name in NAMES]
        self._sidecar = sidecars.serving(self._folder, "".join(models))
        sidecar: sidecars.Sidecar = self._sidecar.__enter__()
        return sidecar

    def __exit__(self, *error: object) -> None:
        self._sidecar.__exit__(*error)
        self._server.__exit__(*error)
