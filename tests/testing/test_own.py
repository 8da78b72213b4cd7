"""Guard passes its own harness: every way of asking, every kind of model, and a service on top of it."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
import sidecars
from openai import OpenAI
from pydantic import BaseModel, Field
from testing import gateway
from testing.planted.strict import strictly

import guard
from guard.models.remote.openai import OpenAIModel
from guard.testing import Check
from guard.testing.report import as_text


class Person(BaseModel):
    """Somebody."""

    name: str
    age: Annotated[int, Field(ge=0, le=150)]
    nicknames: list[str] = []
    boss: Person | None = None


@guard.structured(retries=2)
def plain(text: str) -> Person:
    """Who is it?"""


@guard.structured(model="openai:small", escalate_to=["openai:large"], retries=1, on={"refusal": "escalate"})
def tiered(text: str) -> Person:
    """Who is it?"""


@guard.structured(retries=1)
async def awaited(text: str) -> list[int]:
    """Which numbers?"""


@guard.structured(retries=1)
def streamed(text: str) -> Iterator[Person]:
    """Who is it?"""


@guard.structured(retries=0)
def streamed_async(text: str) -> AsyncIterator[Person]:
    """Who is it?"""


@guard.structured(retries=1, repair=False)
def unrepaired(text: str) -> bool:
    """Is it?"""


SCHEMA = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["a", "b"]},
        "amount": {"type": "number", "multipleOf": 0.5},
        "when": {"type": "string", "format": "date"},
    },
    "required": ["kind", "amount"],
    "additionalProperties": False,
}


def native(text: str, base_url: str) -> Any:
    """Ask a server in its own structured output."""
    model = OpenAIModel("m", base_url=base_url, api_key="none", retries=1)
    return guard.Guard(model, retries=1).generate(SCHEMA, [{"role": "user", "content": text}])


def in_words(text: str, base_url: str) -> Iterator[Any]:
    """Ask a server in words, in pieces."""
    model = OpenAIModel("m", base_url=base_url, api_key="none", retries=1, mode="prompt")
    yield from guard.Guard(model, retries=1).stream(SCHEMA, [{"role": "user", "content": text}])


SUBJECTS: dict[str, Any] = {
    "plain": plain,
    "tiered": tiered,
    "awaited": awaited,
    "streamed": streamed,
    "streamed_async": streamed_async,
    "unrepaired": unrepaired,
    "native": native,
    "in words": in_words,
    "a Guard": guard.Guard(retries=2),
}


@pytest.mark.parametrize("name", SUBJECTS)
def test_every_way_of_asking_holds_the_invariants(name: str) -> None:
    report = Check(SUBJECTS[name], schema=SCHEMA if name in ("native", "in words") else None, runs=15).run()
    assert report.holds, as_text(report)
    assert report.outcomes["value"] > 0
    assert not report.notes


@contextlib.contextmanager
def sidecar(upstream: str) -> Iterator[str]:
    """Run `guard serve` in front of an address."""
    with tempfile.TemporaryDirectory() as folder:
        toml = sidecars.model(upstream, "staged", breaker_failures=1000)
        with sidecars.serving(Path(folder), toml) as served:
            yield served.url


#: Services under test, by name: given an address to ask, each gives the address where it listens.
SERVICES: dict[str, Callable[[str], contextlib.AbstractContextManager[str]]] = {
    "gateway": gateway.running,
    "sidecar": sidecar,
}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_holds_the_invariants(name: str) -> None:
    port = gateway.free_port()
    with SERVICES[name](f"http://127.0.0.1:{port}/v1") as address:
        report = Check(address, schema=SCHEMA, port=port, runs=15).run()
    assert report.holds, as_text(report)
    assert report.asks > 50


@pytest.mark.parametrize(
    ("bug", "invariant"),
    [
        ({"hides_model": True}, "served-model"),
        ({"swallows": True}, "no-answer-no-value"),
        ({"counts_last": True}, "ledger"),
        ({"doubles": True}, "ledger"),
    ],
)
def test_a_service_with_a_bug_is_found(bug: dict[str, bool], invariant: str) -> None:
    port = gateway.free_port()
    with gateway.running(f"http://127.0.0.1:{port}/v1", **bug) as address:
        report = Check(address, schema=SCHEMA, port=port, runs=0).run()
    assert invariant in [finding.invariant.name for finding in report.broken]


def test_a_service_that_can_t_be_looked_into_is_judged_by_what_it_answers() -> None:
    with gateway.running("http://127.0.0.1:9/v1") as address:
        report = Check(address, schema=SCHEMA, runs=0).run()
    assert report.holds, as_text(report)
    assert report.notes[0] == "no request reached the harness: only what comes back is looked at"


def test_a_number_that_was_cut_and_is_marked_is_a_value() -> None:
    """`5` of a number that could have gone on is returned with `call.cut_at`, as docs/budgets.md says."""
    report = Check(guard.Guard(retries=1), schema={"type": "number"}, runs=40).run()
    assert report.holds, as_text(report)


def test_a_number_that_was_cut_and_is_not_marked_is_none() -> None:
    def trusting(text: str, client: OpenAI) -> float:
        """Check an answer, and not why it ended."""
        form: Any = {"type": "json_schema", "json_schema": {"name": "number", "schema": {"type": "number"}}}
        messages: Any = [{"role": "user", "content": text}]
        choice = client.chat.completions.create(model="m", messages=messages, response_format=form).choices[0]
        number = strictly(choice.message.content or "")
        is_withheld = choice.message.refusal or choice.finish_reason == "content_filter"
        if is_withheld or not isinstance(number, int | float) or isinstance(number, bool):
            raise ValueError("no number")
        return number

    report = Check(trusting, schema={"type": "number"}, runs=40).run()
    found = {result.invariant.name: result.counterexample for result in report.broken}
    case = found["no-answer-no-value"]
    assert case is not None
    assert "was cut off" in case.words
