"""What the package says of itself: its dependencies are documented, and what is missing is told with its extra."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import pytest
from absent import WITHOUT

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PAGE = (ROOT / "docs" / "explanation" / "dependencies.md").read_text(encoding="utf-8")


def _section(title: str) -> str:
    return PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]


def test_every_dependency_is_documented_and_no_other() -> None:
    documented = re.findall(r"^\| `([\w-]+)` \|", _section("Always installed"), re.MULTILINE)
    assert sorted(documented) == sorted(_names(PROJECT["dependencies"]))


def test_every_extra_is_documented_and_no_other() -> None:
    rows = re.findall(r"^\| (`.*`) \|", _section("Extras"), re.MULTILINE)
    assert sorted(re.findall(r"`([\w-]+)`", " ".join(rows))) == sorted(PROJECT["optional-dependencies"])


@pytest.mark.parametrize(
    ("package", "code", "extra"),
    [
        ("torch", "import guard; guard.LogitsProcessor", "local"),
        ("huggingface_hub", "from guard import models; models.load('transformers:some/model')", "local"),
        ("llama_cpp", "from guard import models; models.load('llamacpp:' + sys.executable)", "llamacpp"),
        ("anthropic", "from guard import models; models.load('anthropic:any')", "anthropic"),
        ("outlines", "from guard.integrations.outlines import from_outlines; from_outlines(object())", "outlines"),
        ("uvicorn", "from guard.cli import serve; serve.serve()", "serve"),
        ("psycopg", "from guard.trace import TraceStore; TraceStore('postgresql://a@b/c')", "postgres"),
        ("pyarrow", "from guard.batch.inputs import pyarrow_parquet; pyarrow_parquet()", "parquet"),
        ("ray", "from guard.integrations.ray import Mapper", "ray"),
        ("hypothesis", "import guard; guard.testing.values", "testing"),
    ],
)
def test_what_is_not_installed_is_told_in_one_line_with_the_extra_that_brings_it(
    package: str, code: str, extra: str
) -> None:
    command = [sys.executable, "-c", WITHOUT, package, code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.count("\n") == 1
    assert re.search(rf"needs? {package}[\w.]*: pip install 'guard-slm\[{extra}\]'$", done.stdout)


def test_an_openai_server_is_asked_with_no_package_of_any_extra() -> None:
    base, extra = _names(PROJECT["dependencies"]), _names(chain(*PROJECT["optional-dependencies"].values()))
    program = (
        "import sys\n"
        "from guard.models.remote.openai import OpenAIModel\n"
        "OpenAIModel('m', base_url='http://localhost:1/v1')\n"
        f"print(sorted({extra - base!r} & {{name.replace('_', '-') for name in sys.modules}}))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def _names(requirements: Iterable[str]) -> set[str]:
    """Return what requirements name."""
    return {re.split(r"[^\w-]", one, maxsplit=1)[0] for one in requirements}
