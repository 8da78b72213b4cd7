"""What is given wrongly, or is not installed, is told in words that say what to do."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

import guard

BLOCKED = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == sys.argv[1]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
try:
    exec(sys.argv[2])
except ModuleNotFoundError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("package", "code", "words"),
    [
        ("hypothesis", "from guard.testing import values", "guard.testing.values needs hypothesis: pip install"),
        ("hypothesis", "import guard; guard.testing.check", "guard.testing.check needs hypothesis: pip install"),
        ("torch", "import guard; guard.LogitsProcessor", "guard.LogitsProcessor needs torch: pip install"),
    ],
)
def test_a_package_that_is_not_there_is_named_with_what_brings_it(package: str, code: str, words: str) -> None:
    command = [sys.executable, "-c", BLOCKED, package, code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 (ours)
    assert done.stdout.startswith(words)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"temperature": "hot"}, "temperature='hot' must be a number"),
        ({"model": 3}, "model=3 must be the name of a model"),
        ({"escalate_to": 3}, "escalate_to=3 must be the name of a model"),
        ({"escalate_to": [3]}, "escalate_to=3 must be the name of a model"),
        ({"budget": 3}, "budget=3 must be a guard.Budget"),
        ({"confidence": 0.5}, "confidence=0.5 must be a guard.Confidence"),
        ({"on": "fail"}, "on='fail' must be a dictionary"),
        ({"options": 3}, "options=3 must be a dictionary"),
        ({"validators": 3}, "validators=3 must be a list of functions"),
        ({"trace": 3}, "trace=3 must be a file"),
        ({"repair": "no"}, "repair='no' must be True or False"),
    ],
)
def test_an_argument_of_another_kind_is_named(given: dict[str, Any], words: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        guard.Guard(**given)
    assert str(caught.value).startswith(words)


def test_a_key_that_is_missing_is_told_before_anything_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(guard.ModelError, match="anthropic:any can't be asked: set ANTHROPIC_API_KEY, or give api_key"):
        guard.Guard("anthropic:any", retries=0).generate(int, [{"role": "user", "content": "?"}])
