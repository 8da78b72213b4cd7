"""What is given wrongly, or is not installed, is told in words that say what to do."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from typing import Any, cast

import pydantic
import pytest
from absent import WITHOUT

import guard
from guard.output.repair import repair


@pytest.mark.parametrize(
    ("package", "code", "words"),
    [
        ("hypothesis", "from guard.testing import values", "guard.testing.values needs hypothesis: pip install"),
        ("hypothesis", "import guard; guard.testing.check", "guard.testing.check needs hypothesis: pip install"),
        ("torch", "import guard; guard.LogitsProcessor", "guard.LogitsProcessor needs torch: pip install"),
        ("", "sys.modules['torch'] = None; import guard.kernels.gpu", "guard.kernels.gpu needs torch: pip install"),
    ],
)
def test_a_package_that_is_not_there_is_named_with_what_brings_it(package: str, code: str, words: str) -> None:
    command = [sys.executable, "-c", WITHOUT, package, code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
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


class Ticket(pydantic.BaseModel):
    """A type."""

    urgent: bool


@guard.structured(model="flaky:1")
def read(text: str) -> Ticket:
    """Read the ticket."""


def plain(text: str) -> Ticket:
    """Read the ticket."""


ANY: Any = guard
VOCABULARY = guard.Vocabulary.from_bytes([*(bytes([byte]) for byte in range(256)), b""], eos=[256])
INTEGER = guard.compile({"type": "integer"})


@pytest.mark.parametrize(
    ("use", "words"),
    [
        (lambda: ANY.Guard(retires=2), "Guard() takes no 'retires'; did you mean retries?"),
        (lambda: ANY.structured(retires=2), "structured() takes no 'retires'; did you mean retries?"),
        (lambda: ANY.Guard().using(retires=2), "using() takes no 'retires'; did you mean retries?"),
        (lambda: ANY.Guard().generate(int, "x", sed=3), "generate() takes no 'sed'; did you mean seed?"),
        (lambda: ANY.Guard().traced(int, "x", source="y"), "traced() takes no 'source'; did you mean sources?"),
        (lambda: ANY.Guard().stream(int, "x", sed=3), "stream() takes no 'sed'; did you mean seed?"),
        (
            lambda: ANY.Guard().generate(int, "x", max_tokens=3),
            (
                "generate() takes no 'max_tokens', which is a setting; "
                "give it to the Guard, or write using(max_tokens=…).generate(…)"
            ),
        ),
        (
            lambda: ANY.Guard().turn("x", retries=3),
            "turn() takes no 'retries', which is a setting; give it to the Guard, or write using(retries=…).turn(…)",
        ),
        (lambda: ANY.Guard(options={"formts": True}), "guard.compile() takes no 'formts'; did you mean formats?"),
        (lambda: ANY.structured("smollm2"), "structured() decorates functions; name the model as @guard.structured(mo"),
        (lambda: ANY.Guard(examples=5), "examples=… must be a list of pairs"),
        (lambda: ANY.Guard("flaky:1").generate(Ticket, ""), "messages='' must say something: a text, or a list of"),
        (
            lambda: ANY.Guard("flaky:1").generate(Ticket, [{"role": "user"}]),
            "messages[0]={'role': 'user'} must have a",
        ),
        (lambda: ANY.Guard("flaky:1").generate(plain, "x"), "plain is a function, and no type; name its return type"),
        (lambda: ANY.Guard("flaky:1").generate(read, "x"), "read is a function, and no type; name its return type"),
        (
            lambda: ANY.Guard("flaky:1").generate(5, "x"),
            "(root): 5 has no JSON Schema: ",
        ),
        *(
            (
                lambda one=one: ANY.Guard("flaky:1").generate(one, "x"),
                f"(root): {one!r} is no type; it says more of one",
            )
            for one in (guard.Pattern("a"), guard.Quoted(), guard.Stated(), guard.Pattern)
        ),
        (lambda: read(), "tests.guard.calls.test_told_wrong.read(): missing a required argument: 'text'"),
        (lambda: ANY.structured(tools=3), "tools=3 must be a list of functions"),
        (lambda: ANY.structured(tools=[3]), "tools=[3] must hold functions"),
        (lambda: ANY.Guard("flaky:1").turn("x", [3]), "the tool 3 must be a function, a Pydantic model or JSON"),
        (lambda: ANY.map(read, 5), "map() takes an iterable of inputs, not 5"),
        (lambda: ANY.map(read, ["a"], ordered=1), "ordered=1 must be True or False"),
        (lambda: ANY.compile(True, formats="no"), "formats='no' must be True or False"),
        (lambda: ANY.compile(True, limits=5), "limits=5 must be guard.Limits"),
        (lambda: ANY.compile(True, documents=["a"]), "documents=['a'] must be a dictionary, from URIs to schemas"),
        (lambda: ANY.compile(True, key_order=[]), "key_order=[] must be one of 'schema', 'any'"),
        (lambda: ANY.compile(True).matcher(None), "vocabulary=None must be a guard.Vocabulary"),
        (lambda: ANY.Vocabulary.from_bytes("abc", eos=[0]), "tokens=… must be a list of bytes"),
        (lambda: ANY.LogitsProcessor(None, VOCABULARY), "compiled=None must be what guard.compile returns"),
        (lambda: ANY.LogitsProcessor(INTEGER, None), "vocabulary=None must be a guard.Vocabulary"),
        (lambda: ANY.LogitsProcessor(INTEGER, VOCABULARY, max_tokens="x"), "max_tokens='x' must be a whole number"),
        (lambda: ANY.LogitsProcessor(INTEGER, VOCABULARY, tokenizer=5), "tokenizer=int must be the one that"),
        (lambda: ANY.trace.redact_with(5), "hook=5 must be a function from a text to a text"),
        (lambda: ANY.trace.TraceStore.at(5), "place=5 must be a file or a postgresql:// URL"),
        (lambda: ANY.models.pull(5), "name=5 must be the name of a model, or a path"),
        (lambda: repair(cast("Any", 5)), "text=5 must be a text"),
    ],
)
def test_a_wrong_use_is_told_in_one_line(use: Callable[[], object], words: str) -> None:
    with pytest.raises((TypeError, ValueError, guard.SchemaError)) as caught:
        use()
    assert str(caught.value).startswith(words)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("smolm2", "unknown model 'smolm2'; did you mean smollm2?"),
        ("gpt-5-mini", "unknown model 'gpt-5-mini'; did you mean openai:gpt-5-mini?"),
        ("claude-haiku-4-5", "unknown model 'claude-haiku-4-5'; did you mean anthropic:claude-haiku-4-5?"),
        ("openai:", "unknown model 'openai:'; did you mean openai:NAME?"),
        ("anthropc:claude", "unknown model 'anthropc:claude'; did you mean anthropic:NAME?"),
        ("flaky:x", "unknown model 'flaky:x'; known are smollm2, gemma-3-270m, transformers:PATH_OR_ID, llamacpp:FILE"),
        ("", "unknown model ''; known are smollm2"),
    ],
)
def test_a_name_that_no_model_has_is_told_where_it_is_given(name: str, words: str) -> None:
    """Also that of a tier that is asked only when the first one fails."""
    for given in ({"model": name}, {"escalate_to": name}, {"escalate_to": ["smollm2", name]}):
        with pytest.raises(guard.ModelError) as caught:
            guard.Guard(**cast("Any", given))
        assert str(caught.value).startswith(words)
    assert guard.Guard(name, mode="replay").model_name == name  # a replay asks nobody


def test_signatures_are_those_of_the_constructor() -> None:
    assert list(inspect.signature(guard.Guard).parameters)[:3] == ["model", "escalate_to", "retries"]
