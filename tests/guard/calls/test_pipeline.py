"""The pipeline: what each attempt is told, what a call costs, and how it ends."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, model_validator
from scripted import Scripted, reply

import guard
from guard.models.base import Request
from guard.models.remote.openai import OpenAIModel
from guard.testing.fake_server import Answer, Server
from guard.trace import TraceStore

ASK = [{"role": "user", "content": "How many?"}]


class Count(BaseModel):
    """A number with a rule that no schema states."""

    n: int = Field(ge=0)
    double: int

    @model_validator(mode="after")
    def is_double(self) -> Count:
        """Check the rule."""
        if self.double != 2 * self.n:
            raise ValueError(f"double must be {2 * self.n}")
        return self


def test_a_valid_answer_is_returned_as_a_value_of_the_type() -> None:
    model = Scripted('{"n": 2, "double": 4}')
    assert guard.Guard(model).generate(Count, ASK) == Count(n=2, double=4)
    assert len(model.requests) == 1


def test_a_plain_schema_gives_what_json_gives() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 3}}, "required": ["n"]}
    model = Scripted('{"n": 1}', '{"n": 5}')
    assert guard.Guard(model, retries=1).generate(schema, ASK) == {"n": 5}
    assert (
        "- /n: expected a number >= 3, got 1 (rule /properties/n/minimum)" in model.requests[1].messages[-1]["content"]
    )


def test_the_next_attempt_sees_the_answer_and_the_findings() -> None:
    model = Scripted('{"n": 2, "double": 5}', '{"n": 2, "double": 4}')
    guard.Guard(model, retries=1).generate(Count, ASK)
    assert model.requests[1].messages == (
        {"role": "user", "content": "How many?"},
        {"role": "assistant", "content": '{"n": 2, "double": 5}'},
        {
            "role": "user",
            "content": "That answer is not valid:\n"
            "- (root): expected double must be 4, got {'n': 2, 'double': 5} (rule value_error)\n"
            "Answer again with every one of these corrected.",
        },
    )


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["n", "double", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)
answers = values.map(json.dumps) | st.text(max_size=20)
messages = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant"]), "content": st.text(max_size=20)}),
    min_size=1,
    max_size=3,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(answers, min_size=1, max_size=4), asked=messages)
def test_every_finding_reaches_every_later_attempt_and_the_callers_messages_stay_as_they_were(
    texts: list[str], asked: list[dict[str, Any]], tmp_path: Path
) -> None:
    before = copy.deepcopy(asked)

    def meddle(text: str) -> Any:
        def answer(request: Request) -> str:
            for message in request.messages:
                message["content"] = "changed by the model"
            return text

        return answer

    seen: list[Sequence[Any]] = []

    class Watched(Scripted):
        def generate(self, request: Request) -> Any:
            seen.append(copy.deepcopy(request.messages))
            return super().generate(request)

    ask = guard.Guard(Watched(*map(meddle, texts)), retries=len(texts) - 1, trace=tmp_path / "meddled.db")
    try:
        _, call = ask.traced(Count, asked)
        attempts = call.attempts
    except guard.ValidationFailed as error:
        attempts = error.attempts
    assert asked == before
    assert [a.messages for a in attempts] == seen
    assert list(seen[0]) == before
    for attempt in attempts:
        for later in seen[attempt.number :]:
            told = "\n".join(message["content"] for message in later)
            assert all(str(finding) in told for finding in attempt.findings)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(answers, min_size=1, max_size=4))
def test_the_ledger_is_the_sum_of_the_attempts_for_the_caller_and_on_disk(texts: list[str], tmp_path: Path) -> None:
    model = Scripted(*texts)
    ask = guard.Guard(model, retries=len(texts) - 1, trace=tmp_path / "ledger.db")
    try:
        number = ask.traced(Count, ASK)[1].number
    except guard.ValidationFailed as error:
        number = error.call
    assert number is not None
    stored = ask.store.read(number)
    assert stored is not None
    asked = len(model.requests)
    assert len(stored.attempts) == asked
    assert stored.prompt_tokens == 100 * asked
    assert stored.completion_tokens == sum(len(text) for text in texts[:asked])
    assert stored.tokens == stored.prompt_tokens + stored.completion_tokens
    assert stored.forced_tokens == sum(len(text) // 2 for text in texts[:asked])
    assert stored.model_seconds == 0.25 * asked
    assert stored.mask_seconds == 0.125 * asked


def test_after_the_last_attempt_an_error_carries_findings_and_attempts() -> None:
    model = Scripted('{"n": -1, "double": 0}', '{"n": 1}')
    with pytest.raises(guard.ValidationFailed) as caught:
        guard.Guard(model, retries=1).generate(Count, ASK)
    error = caught.value
    assert str(error) == (
        "scripted gave no valid Count in 2 attempts: "
        "/double: expected the property 'double', got nothing (rule missing)"
    )
    assert [a.text for a in error.attempts] == ['{"n": -1, "double": 0}', '{"n": 1}']
    assert error.attempts[0].findings == (
        guard.Violation(at="/n", rule="greater_than_equal", expected="greater than or equal to 0", got="-1"),
    )
    assert error.findings == (guard.Violation("/double", "missing", "the property 'double'", "nothing"),)
    assert pickle.loads(pickle.dumps(error)).findings == error.findings


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (guard.Truncated("no room"), guard.Truncated),
        (guard.Refused("no"), guard.Refused),
        (guard.ModelError("down"), guard.ModelError),
        (RuntimeError("boom"), guard.ModelError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_an_error_of_the_model_is_final_typed_and_recorded(
    raised: BaseException, expected: type[BaseException], trace_file: Path
) -> None:
    model = Scripted('{"n": 1, "double": 1}', raised, '{"n": 1, "double": 2}')
    with pytest.raises(expected) as caught:
        guard.Guard(model, retries=2).generate(Count, ASK)
    assert len(model.requests) == 2
    (stored,) = TraceStore.at(trace_file).latest()
    assert stored.outcome == expected.__name__
    assert [a.text for a in stored.attempts] == ['{"n": 1, "double": 1}', ""]
    if isinstance(caught.value, guard.CallError):
        assert caught.value.call == stored.number
        assert len(caught.value.attempts) == 2
        assert caught.value.findings == caught.value.attempts[0].findings


def test_an_answer_cut_at_its_length_is_truncated_and_not_asked_again() -> None:
    model = Scripted(reply('{"n": 1, "dou', finish="length"))
    with pytest.raises(guard.Truncated, match="max_tokens=9"):
        guard.Guard(model, retries=2, max_tokens=9).generate(Count, ASK)


def test_each_attempt_is_another_draw_of_the_seed() -> None:
    model = Scripted("", "", '{"n": 1, "double": 2}')
    guard.Guard(model, retries=2, seed=7, temperature=0.5, max_tokens=64).generate(Count, ASK)
    assert [(r.seed, r.temperature, r.max_tokens) for r in model.requests] == [(7, 0.5, 64), (8, 0.5, 64), (9, 0.5, 64)]


@pytest.mark.parametrize(
    "wrong", [{"retries": -1}, {"max_tokens": 0}, {"temperature": -0.1}, {"temperature": float("inf")}]
)
def test_a_policy_that_makes_no_sense_shows_the_argument(wrong: dict[str, Any]) -> None:
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=f"{name}={value}"):
        guard.Guard(Scripted(), **wrong)


def test_no_messages_is_a_callers_mistake_and_costs_nothing() -> None:
    model = Scripted()
    with pytest.raises(ValueError, match="messages="):
        guard.Guard(model).generate(Count, [])
    assert model.requests == []


def test_settings_fill_in_what_a_call_does_not_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "guard.toml").write_text('model = "openai:from-file"\nretries = 5\nseed = 11\n')
    monkeypatch.setenv("GUARD_RETRIES", "1")
    ask = guard.Guard(seed=3)
    assert (ask.model_name, ask.policy.retries, ask.policy.seed) == ("openai:from-file", 1, 3)


def test_a_setting_that_is_wrong_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUARD_RETRIES", "many")
    with pytest.raises(guard.GuardError, match=r"retries='many' \(GUARD_RETRIES\) must be a whole number"):
        guard.Guard(Scripted())


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([], "must hold at least one message"),
        (" ", "messages=' ' must say something"),
        (None, "messages=None must be a text or a list of messages"),
        ({"role": "user", "content": "hi"}, "must be a text or a list of messages"),
        (["hi"], r"messages\[0\]='hi' must have a role and a content"),
        ([{"role": "user", "content": "hi"}, {"content": "x"}], r"messages\[1\]=.* must have a role"),
    ],
)
def test_messages_that_are_none_are_refused_by_name(messages: Any, words: str, trace_file: Path) -> None:
    model = Scripted()
    with pytest.raises(ValueError, match=words):
        guard.Guard(model).generate(Count, messages)
    assert model.requests == []


def test_an_answer_whose_check_fails_was_paid_for(trace_file: Path) -> None:
    """An error of a validator's own is raised as it is; the attempt is on record."""

    def broken(value: Any) -> None:
        raise KeyError("of the validator's author")

    with pytest.raises(KeyError):
        guard.Guard(Scripted('{"n": 2, "double": 4}'), validators=[broken]).generate(Count, ASK)
    (call,) = TraceStore.at(trace_file).latest()
    (attempt,) = call.attempts
    assert (call.outcome, attempt.reason, attempt.text) == ("KeyError", "error", '{"n": 2, "double": 4}')
    assert attempt.error.startswith("the check failed: KeyError")
    assert call.tokens > 0


@pytest.mark.parametrize("answer", ["a text", None, "no text"])
def test_a_model_that_answers_with_no_reply_has_failed(answer: Any, trace_file: Path) -> None:
    answer = replace(reply(""), text=None) if answer == "no text" else answer

    class Wrong:
        name = "wrong"

        def generate(self, _: Request) -> Any:
            return answer

    with pytest.raises(guard.ModelError, match=r"wrong answered with .*, which is no Reply with a text"):
        guard.Guard(Wrong()).generate(Count, ASK)
    assert TraceStore.at(trace_file).latest()[0].attempts[0].reason == "error"


@pytest.mark.parametrize(
    ("name", "figure", "shown"),
    [
        ("prompt_tokens", 2**63, "9223372036854775808"),
        ("completion_tokens", "many", "'many'"),
        ("cost", float("nan"), "nan"),
        ("seconds", float("inf"), "inf"),
    ],
)
def test_a_reply_with_a_figure_that_no_record_holds_is_the_model_s_failure(
    name: str, figure: Any, shown: str, trace_file: Path
) -> None:
    class Wrong:
        name = "wrong"

        def generate(self, _: Request) -> Any:
            return replace(reply('{"count": 1}'), **{name: figure})

    with pytest.raises(guard.ModelError, match=f"^wrong answered with {name}={shown}, which no record can hold$"):
        guard.Guard(Wrong()).generate(Count, ASK)
    assert TraceStore.at(trace_file).latest()[0].attempts[0].reason == "error"


HALF = "\ud800"  #: Half of a surrogate pair, as JSON can spell it.


def test_an_answer_with_half_of_a_surrogate_pair_can_be_asked_again() -> None:
    """The half was written into the messages, so that no request could be sent any more, to this tier or the next."""
    optional = {
        "type": "object",
        "properties": {"n": {"type": "number"}, "s": {"type": "string"}},
        "required": ["n"],
        "additionalProperties": False,
    }
    with Server(Answer('{"n": 1, "s": "\\ud800"}'), Answer('{"n": 1, "s": "fine"}')) as server:
        model = OpenAIModel("m", base_url=server.url, api_key="none", retries=0)
        assert guard.Guard(model).generate(optional, ASK) == {"n": 1, "s": "fine"}
        told = server.requests[1].body["messages"][1]["content"]
    assert told == '{"n": 1, "s": "\\ud800"}'
    scripted = Scripted(f'{{"n": 1, "s": "{HALF}"}}', '{"n": 1}')  # a model of one's own may write it unescaped
    assert guard.Guard(scripted).generate(optional, ASK) == {"n": 1}
    json.dumps(scripted.requests[1].messages, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    "messages",
    [
        f"How many? {HALF}",
        [{"role": "user", "content": f"How many? {HALF}"}],
        [{"role": "user", "content": [{"type": "text", "text": HALF}]}],
        [{"role": "assistant", "tool_calls": [{"function": {"arguments": HALF}}]}],
    ],
)
def test_a_text_that_can_t_be_sent_is_refused_before_a_model_is_asked(messages: Any) -> None:
    """A tokenizer's TypeError, or a UnicodeEncodeError of every tier, was all that one was told."""
    model = Scripted('{"n": 2, "double": 4}')
    with pytest.raises(ValueError, match="can't be sent: it has half of a surrogate pair"):
        guard.Guard(model).generate(Count, messages)

    @guard.structured(model=model)
    def read(text: str) -> Count:
        """Read."""

    with pytest.raises(ValueError, match="the argument text=str can't be shown to a model: it has half"):
        read(HALF)
    assert model.requests == []


@given(depth=st.integers(0, 3), kind=st.sampled_from([guard.RateLimited, guard.Truncated, guard.Refused]))
def test_a_group_of_one_error_is_that_error(depth: int, kind: type[guard.CallError]) -> None:
    error: Exception = kind("as it was said")
    for _ in range(depth):
        error = ExceptionGroup("unhandled errors in a TaskGroup", [error])
    for way in ("generate", "stream"):
        asker = guard.Guard(Scripted(error), retries=0)
        with pytest.raises(kind, match=r"^as it was said$"):
            [*asker.stream(int, "q")] if way == "stream" else asker.generate(int, "q")
    with pytest.raises(kind, match=r"^as it was said$"):
        asyncio.run(guard.Guard(Scripted(error), retries=0).agenerate(int, "q"))


def test_a_group_of_two_errors_is_a_failure_of_the_model() -> None:
    both = ExceptionGroup("two", [guard.RateLimited("one"), guard.RateLimited("other")])
    with pytest.raises(
        guard.ModelError, match=r"^scripted failed: ExceptionGroup: two \(2 sub-exceptions\)$"
    ) as caught:
        guard.Guard(Scripted(both), retries=0).generate(int, "q")
    assert caught.value.__cause__ is both
