"""Every snippet of README.md and docs/ runs as it stands: Python as code, command lines as commands.

A page opens with a complete example: its first block runs in an empty namespace. The blocks behind it run one after the
other in that namespace, beside what `stage` adds: a tokenizer, a small model, a bitmask, files. Models that are named
answer with valid values (`FlakyModel` without faults), so that nothing is fetched; whoever asks port 8080 asks a server
of the harness's. What a page shows as printed is compared with what its block prints when SmolLM2 itself answers.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, Literal

import anthropic
import numpy as np
import openai
import pytest
import tiny
import torch
from pydantic import BaseModel, Field

import guard
from guard import models
from guard.cli import app
from guard.kernels import allocate_bitmask
from guard.models.remote.api_client import ApiClient
from guard.output import repair
from guard.output import target as targets
from guard.testing import FlakyModel, serving

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *(page for page in sorted(DOCS.rglob("*.md")) if page.parent.name != "history")]
#: What is in the blocks of a page that other tests run: those below, tests/guard/batch/test_ray.py's,
#: tests/guard/sidecar/test_ray_serve.py's, and tests/clients/test_agents.py's, in environments of their own.
APART = {
    DOCS / "testing.md": "def test_",
    DOCS / "batches.md": "guard.integrations.ray",
    DOCS / "deploying.md": "guard.sidecar.ray_serve",
    **dict.fromkeys((DOCS / "agents").glob("*.md"), "127.0.0.1:8080"),
}
#: Pages that are read from top to bottom and show nothing to be run.
WITHOUT_EXAMPLE = {
    *("glossary.md", "releasing.md", "walks.md", "performance.md", "dependencies.md", "trace-tables.md"),
    "capacity.md",
}
TEXT = "NORTHWIND PAPER, invoice NW-20418: 581.50, VAT 116.30, total 697.80."


class Invoice(BaseModel):
    """An invoice."""

    vendor: str
    subtotal: float = 0
    vat: float = 0
    total: float


class Ticket(BaseModel):
    """A ticket."""

    sender: str
    order: Annotated[str, Field(pattern=r"^TH-\d{6}$")]
    request: Literal["replacement", "refund", "information"]


def blocks(page: Path, kind: str) -> list[str]:
    """Return what a page shows between fences of a kind."""
    return re.findall(rf"^```{kind}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def commands(page: Path) -> list[str]:
    """Return the command lines that a page shows: the indented lines that begin with `guard`, without what is said."""
    shown = re.findall(r"^(?: {4})?(guard (?!trace stats$).*)$", page.read_text(), re.MULTILINE)
    return [re.split(r"\s+#|\s{2,}", line)[0] for line in shown]


@pytest.fixture
def staged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give the test a folder with a reader's files, and models that answer."""
    load = models.load

    class Answering(FlakyModel):
        def price(self, *_: int) -> float:
            return 0.0

    def by_name(model: Any, progress: Any = None) -> Any:
        return Answering(0, rate=0.0, name=model) if isinstance(model, str) else load(model, progress)

    monkeypatch.setattr(models, "load", by_name)
    monkeypatch.setattr(models, "check_there", lambda _name: None)
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delitem(sys.modules, "app", raising=False)  # of another test's folder
    shutil.copytree(ROOT / "examples", folder / "examples")
    (folder / "invoice.txt").write_text(TEXT)
    with serving(0, (), rate=0.0, schema=Invoice) as server:
        init = openai.OpenAI.__init__

        def redirected(self: Any, **how: Any) -> None:
            init(self, **{**how, "base_url": server.url})

        monkeypatch.setattr(openai.OpenAI, "__init__", redirected)
        init_own = ApiClient.__init__

        def own_redirected(self: Any, carrier: Any, _url: str, *how: Any) -> None:
            init_own(self, carrier, server.url, *how)

        monkeypatch.setattr(ApiClient, "__init__", own_redirected)
        init_other, address = anthropic.Anthropic.__init__, server.url.removesuffix("/v1")

        def redirected_too(self: Any, **how: Any) -> None:
            init_other(self, **{**how, "base_url": address})

        monkeypatch.setattr(anthropic.Anthropic, "__init__", redirected_too)
        yield folder


def name(page: Path) -> str:
    """Return what a test calls a page."""
    return str(page.relative_to(ROOT).with_suffix(""))


def stage(names: dict[str, Any]) -> dict[str, Any]:
    """Return the names that a reader of a page has beside those of its first example, which `names` holds."""
    tokenizer, model = tiny.tokenizer(), tiny.llama()
    vocabulary = guard.Vocabulary.from_tokenizer(tokenizer)
    return {
        "guard": guard,
        "Invoice": Invoice,
        "text": TEXT,
        "tokenizer": tokenizer,
        "model": model,
        "vocabulary": vocabulary,
        "bitmask": allocate_bitmask(1, vocabulary.size),
        "token": next(i for i in range(vocabulary.size) if vocabulary.token_bytes(i) == b"{"),
        "forward": lambda: np.tile(_ending(vocabulary), (2, 1)),
        "pick": lambda logits: logits.argmax(axis=1).tolist(),
        "schemas": [guard.compile({"enum": [1, "a"]}), guard.compile({"const": None})],
        "graph": SimpleNamespace(replay=lambda: names["loop"].step(names["model"](None, None))),
    }


def _without_a_gpu(names: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what is shown of a GPU run on the processor, where Triton's interpreter stands in for one."""
    from guard.kernels.gpu import device_tables

    class Noise(type(names["model"])):
        def __call__(self, *given: Any, **named: Any) -> Any:
            if named:
                return super().__call__(*given, **named)
            rows = torch.Generator().manual_seed(0)
            return torch.randn(8, names["vocabulary"].size, generator=rows).to(device)

    device = "cuda" if torch.cuda.is_available() else "cpu"
    names["model"].__class__ = Noise
    made = device_tables.Tables
    monkeypatch.setattr(device_tables, "Tables", lambda vocabulary, _device, **how: made(vocabulary, device, **how))
    monkeypatch.setattr(torch.cuda, "graph", lambda _graph: contextlib.nullcontext())


def _ending(vocabulary: guard.Vocabulary) -> Any:
    """Return logits that prefer what ends a value."""
    wanted = [b'"', b"}", b"]", b"1", b"0"]
    return np.array([token in wanted for token in map(vocabulary.token_bytes, range(vocabulary.size))], np.float32)


def run(code: str, names: dict[str, Any], page: str) -> None:
    """Run a block as it stands."""
    exec(compile(code, f"<{page}>", "exec", dont_inherit=True), names)  # noqa: S102 (the documentation is ours)


def here(page: Path) -> list[str]:
    """Return the Python blocks of a page that run here."""
    apart = APART.get(page)
    return [code for code in blocks(page, "python") if apart is None or apart not in code]


@pytest.mark.parametrize("page", [page for page in PAGES if here(page)], ids=name)
def test_what_is_shown_in_python_runs(page: Path, staged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names: dict[str, Any] = {"__name__": f"snippets_{page.stem}"}
    opening, *further = here(page)
    run(opening, names, page.stem)
    added = stage(names)
    if page.stem == "integrations":  # its model is too large for the loops that follow
        names |= added
        _without_a_gpu(names, monkeypatch)
    names |= {key: value for key, value in added.items() if key not in names}
    for code in further:
        run(code, names, page.stem)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_page_opens_with_an_example(page: Path) -> None:
    opening = re.split(r"^## ", page.read_text(), maxsplit=1, flags=re.MULTILINE)[0]
    is_shown = re.search(r"^```(python|toml)$|^ {4}guard ", opening, re.MULTILINE)
    assert is_shown or page.name in WITHOUT_EXAMPLE


#: A block, and behind it what it prints.
PRINTED = re.compile(r"^```python\n((?:(?!^```).)*)^```\n\n```text\n(.*?)^```", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", [page for page in PAGES if PRINTED.search(page.read_text())], ids=name)
def test_what_is_shown_as_printed_is_printed(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By SmolLM2 itself, where a model is asked."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": f"printed_{page.stem}"}
    for code, shown in PRINTED.findall(page.read_text()):
        capsys.readouterr()
        run(code, names, page.stem)
        assert capsys.readouterr().out == shown


def _outcome_of(text: str, finish: str) -> str:
    target = targets.from_any(Invoice, {})
    if finish == "length":
        return "truncated"
    if not target.check(text)[1]:
        return "valid"
    mended = repair.repair(text)
    return "repairable" if mended.edits and not target.check(mended.text)[1] else "invalid"


def test_what_is_shown_of_strategies_holds() -> None:
    (code,) = [code for code in blocks(DOCS / "testing.md", "python") if "@given" in code]
    names: dict[str, Any] = {"Invoice": Invoice, "book": repr, "outcome_of": _outcome_of}
    judge = targets.from_any(targets.from_any(Invoice, {}).schema, {})
    names["refusal_of"] = lambda value: [finding.at for finding in judge.check(json.dumps(value))[1]]
    run(code, names, "testing")
    found = [value for name, value in names.items() if name.startswith("test_")]
    assert len(found) == code.count("def test_")
    for test in found:
        test()


CONFTEST = """
import builtins
from pydantic import BaseModel
import guard
from guard.models.scripted import ScriptedModel, reply

class Invoice(BaseModel, extra="forbid"):
    vendor: str
    total: float

MARCH = "581.50 to Northwind"

@guard.structured(model=ScriptedModel('{"vendor": "Northwind", "total": 581.5}'), retries=0)
def read_invoice(text: str) -> Invoice:
    "Read the invoice."

def page(read):
    try:
        return f"{read(MARCH).total} to pay"
    except guard.GuardError:
        return "sorry"

for name in ("Invoice", "MARCH", "read_invoice", "page"):
    setattr(builtins, name, globals()[name])
"""


def test_what_is_shown_of_pytest_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = [code for code in blocks(DOCS / "testing.md", "python") if "@pytest.mark.guard" in code]
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_shown.py").write_text(code)
    monkeypatch.delenv("CI", raising=False)  # where nothing is ever recorded
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert "22 passed" in done.stdout, done.stdout


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_what_is_shown_as_toml_and_json_is_read(page: Path) -> None:
    for text in blocks(page, "toml"):
        assert tomllib.loads(text)
    for text in blocks(page, "json"):
        assert json.loads(text)


#: Command lines that say how a command is called, or wait for somebody; each is tried in the form beside it.
IN_PLACE: Mapping[str, str] = {
    "guard run SCHEMA_OR_MODULE:TYPE --input FILE…": "guard run schema.json --input invoice.txt",
    "guard check SCHEMA_OR_MODULE:TYPE…": "guard check schema.json ticket.json",
    "guard trace list | show | stats | replay | export | prune": "guard trace --help",
    "guard serve": "guard serve --check",
    "guard serve --config guard.toml": "guard serve --config guard.toml --check",
    "guard pull smollm2": "guard pull --help",  # which fetches 270 MB
}
#: Those that end in another code than 0 here, for a reason.
ENDS: Mapping[str, int] = {
    "guard keys revoke 4f2a9c01d3e7": 2,  # there is no such key
    # Of shop.read nothing is on record, and no model was tuned.
    **dict.fromkeys(
        (
            "guard tune shop.read --since 30d",
            "guard tune shop.read",
            "guard shadow shop.read@1",
            "guard economics shop.read",
            "guard economics shop.read --html economics.html",
            "guard models promote shop.read@1",
            "guard models promote shop.read@2",
            "guard models show shop.read@2",
            "guard models diff shop.read@1 shop.read@2",
            "guard models canary shop.read@3 --share 0.1",
            "guard models rollback shop.read",
        ),
        2,
    ),
}


def _files(folder: Path) -> None:
    """Write the files that command lines name."""
    schema = json.dumps(targets.from_any(Invoice, {}).schema)
    for name in ("schema.json", "ticket.schema.json", "invoice.schema.json", "ticket.json"):
        (folder / name).write_text(schema)
    (folder / "a.json").write_text('{"properties": {"b": {"$ref": "urn:b"}}}')
    (folder / "b.json").write_text('{"type": "integer"}')
    (folder / "chat_template.jinja").write_text(tiny.TOOLS)
    (folder / "guard.toml").write_text('[serve.models.small]\nmodel = "smollm2"\n')
    for name in ("mail.txt", "a.txt"):
        (folder / name).write_text(TEXT)
    (folder / "mails" / "may").mkdir(parents=True)
    (folder / "mails" / "may" / "a.txt").write_text(TEXT)
    (folder / "mails" / "b.txt").write_text(TEXT)
    row = {"body": TEXT, "answer": {"vendor": "Northwind Paper", "subtotal": 581.5, "total": 697.8}}
    (folder / "tickets.jsonl").write_text(f"{json.dumps(row)}\n")
    (folder / "tickets.csv").write_text(f'id,body\n1,"{TEXT}"\n2,"{TEXT}"\n')
    (folder / "cases.jsonl").write_text('{"input": "Northwind: 581.5", "expected": {"vendor": "N", "total": 581.5}}\n')
    source = inspect.getsource(Invoice) + "\n\n" + inspect.getsource(Ticket)
    code = f"from typing import *\nfrom pydantic import *\nimport guard\n\n{source}\n\n@guard.structured\n"
    code += 'def read_invoice(text: str) -> Invoice:\n    "Read the invoice."\n'
    (folder / "app.py").write_text(code)
    (folder / "shop").mkdir()
    for name in ("types.py", "invoices.py"):
        (folder / "shop" / name).write_text(code)


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=name)
def test_what_is_shown_as_a_command_runs(
    page: Path, staged: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import threading

    _files(staged)
    for _ in range(12):
        guard.Guard("smollm2").generate(Invoice, [{"role": "user", "content": TEXT}])
    monkeypatch.setattr(threading.Event, "wait", _interrupted(threading.Event.wait))  # of --serve, which waits for ever
    for line in commands(page):
        words = shlex.split(IN_PLACE.get(line, line))
        code = app._main(words[1:])
        ends = {130} if "--serve" in words else {0, 1} if words[1] == "test" else {ENDS.get(line, 0)}
        assert code in ends, (line, capsys.readouterr())


def _interrupted(wait: Callable[..., bool]) -> Callable[..., bool]:
    def waiting(self: Any, timeout: float | None = None) -> bool:
        if timeout is None and sys._getframe(1).f_code.co_name == "_serve":
            raise KeyboardInterrupt
        return wait(self, timeout)

    return waiting


def test_what_is_to_be_installed_and_made_is_there() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    targets_made = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for page in [*PAGES, ROOT / "CONTRIBUTING.md"]:
        text = page.read_text()
        for extras in re.findall(r"guard-slm\[([a-z,]+)\]", text):
            assert set(extras.split(",")) <= project["optional-dependencies"].keys(), page
        assert set(re.findall(r"^    make ([a-z-]+)", text, re.MULTILINE)) <= set(targets_made), page
