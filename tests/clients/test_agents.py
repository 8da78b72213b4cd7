"""The pages of docs/agents: each example runs with its library, before SmolLM2 under masks.

The libraries are installed by `make clients` (CLIENTS="--only NAME" for one), each in an environment of its own.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from clients.run import BUILT, CLIENTS
from sidecars import Sidecar, serving

PAGES = Path(__file__).parents[2] / "docs" / "agents"
TOML = '[serve.models.smollm2]\nmodel = "smollm2"\nmax_tokens = 120\n'
STOCK = {"7 boxes", "none", "2"}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    """Start a sidecar with SmolLM2."""
    with serving(tmp_path_factory.mktemp("agents"), TOML) as sidecar:
        yield sidecar


def printed(library: str, here: Sidecar, folder: Path) -> list[str]:
    """Run a page's example against the sidecar; return the lines that it prints."""
    python = BUILT / library / "bin" / "python"
    if not (BUILT / library / "installed.txt").exists():
        pytest.skip(f"{library} is not installed: make clients CLIENTS='--only {library}'")
    (code,) = re.findall(r"^```python\n(.*?)^```", (PAGES / f"{library}.md").read_text(), re.DOTALL | re.MULTILINE)
    assert code.count("http://127.0.0.1:8080/v1") == 1
    script = folder / "shown.py"  # a file: smolagents reads the source of tools
    script.write_text(code.replace("http://127.0.0.1:8080/v1", here.url))
    done = subprocess.run(
        [str(python), str(script)],
        env={k: v for k, v in os.environ.items() if not k.startswith(("GUARD_", "OPENAI_"))} | {"DO_NOT_TRACK": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()


def test_every_page_is_of_a_client() -> None:
    assert {page.stem for page in PAGES.glob("*.md")} <= {client.environment for client in CLIENTS}


def test_pydantic_ai_gets_its_type(here: Sidecar, tmp_path: Path) -> None:
    (line,) = printed("pydantic-ai", here, tmp_path)
    kind, _, value = line.partition(" ")
    order = ast.literal_eval(value)
    assert (kind, order.keys()) == ("Order", {"product", "count", "size"})
    assert 1 <= order["count"] <= 99
    assert order["size"] in ("small", "large")


def test_langchain_calls_and_answers(here: Sidecar, tmp_path: Path) -> None:
    told, *answer = printed("langchain", here, tmp_path)
    assert told in STOCK
    assert "".join(answer).strip()


def test_openai_agents_calls_and_answers(here: Sidecar, tmp_path: Path) -> None:
    told, *answer = printed("openai-agents", here, tmp_path)
    assert [json.loads(call).keys() for call in ast.literal_eval(told)] == [{"product"}]
    assert "".join(answer) in STOCK


def test_smolagents_calls_and_answers(here: Sidecar, tmp_path: Path) -> None:
    lines = printed("smolagents", here, tmp_path)  # the library may tell of errors before
    at = next(number for number, line in enumerate(lines) if line.startswith("["))
    calls, answer = ast.literal_eval(lines[at]), lines[at + 1 :]
    for name, arguments, result in calls:
        assert (name == "stock" and result in STOCK) or name == "final_answer"
        assert arguments.keys() == {"product" if name == "stock" else "answer"}
    assert calls
    assert "".join(answer).strip() not in ("", "None")
    log = [line for line in here.log if line.get("path", "").endswith("/chat/completions")]
    assert all(line["status"] == 200 for line in log), json.dumps(log)
