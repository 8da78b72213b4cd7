"""Tiers, budgets, confidence and validators: who is asked next, why, and how a call ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from scripted import Scripted, reply

import guard
from guard.calls.policy import ACTIONS, FAILURES, Budget, Policy
from guard.decoding.confidence import Confidence, Token
from guard.models.base import Model, Reply, Request
from guard.trace import TraceStore

ASK = [{"role": "user", "content": "How many?"}]


class Count(BaseModel):
    """How many."""

    n: int


GOOD, BAD = '{"n": 3}', '{"n": "three"}'

#: What an attempt can come to: an answer of a scripted model, and the failure that it is.
OUTCOMES: dict[str, tuple[Any, str]] = {
    "good": (GOOD, ""),
    "bad": (BAD, "invalid"),
    "cut": (reply('{"n": 3', finish="length"), "length"),
    "closed": (reply(GOOD, finish="length", mode="masks", cut_at=("/n",)), "length"),
    "whole": (reply(GOOD, finish="length"), "length"),
    "declined": (reply("I can't.", finish="refusal"), "refusal"),
    "withheld": (reply("", finish="filter"), "refusal"),
    "down": (guard.Unavailable("503"), "error"),
    "raised": (OSError("reset"), "error"),
    "limit": (guard.SchemaError(guard.Finding("", None, "too large", "make it smaller")), "schema"),
    "too short": (guard.Truncated("max_tokens=1"), "length"),
    "no": (guard.Refused("no"), "refusal"),
}


def expected(policy: Policy, scripts: list[list[str]]) -> tuple[str, list[tuple[int, str]]]:
    """Say how a call ends and which attempts it makes, by reading the policy's words as a table."""
    made: list[tuple[int, str]] = []
    last, marked = "", None
    for tier, script in enumerate(scripts):
        for number, outcome in enumerate(script[: policy.retries + 1]):
            last = OUTCOMES[outcome][1]
            made.append((tier, last))
            if not last:
                return "valid", made
            if outcome in ("closed", "whole"):
                marked = len(made) - 1
            is_hopeless = outcome == "too short" and "length" not in policy.on  # no room would be enough
            if policy.action(last) != "ask" or number == policy.retries or is_hopeless:
                break
        if policy.action(last) in ("return", "fail"):
            break
    if marked is not None and policy.on.get("length", "return") == "return" and policy.on.get(last) != "fail":
        made[marked] = made[marked][0], ""
        return "valid", made
    return last, made


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    retries=st.integers(0, 2),
    names=st.lists(st.lists(st.sampled_from(list(OUTCOMES)), min_size=3, max_size=3), min_size=1, max_size=3),
    changes=st.dictionaries(st.sampled_from(list(FAILURES)), st.sampled_from(ACTIONS)),
)
def test_a_call_asks_whom_the_policy_says_and_records_it(
    retries: int, names: list[list[str]], changes: dict[str, str]
) -> None:
    on = {
        failure: action
        for failure, action in changes.items()
        if not (action == "ask" and (failure in ("refusal", "budget") or not retries))
        and (action != "return" or failure == "length")
        and (action != "escalate" or len(names) > 1)
        and failure != "confidence"
    }
    models = [Scripted(*(OUTCOMES[n][0] for n in script), name=f"tier{i}") for i, script in enumerate(names)]
    asked = guard.Guard(models[0], escalate_to=models[1:], retries=retries, on=on)
    end, attempts = expected(Policy(retries=retries, on=on), names)
    try:
        value, call = asked.traced(Count, ASK)
    except guard.GuardError as error:
        found = {
            "ValidationFailed": "invalid",
            "Truncated": "length",
            "Refused": "refusal",
            "ContentFiltered": "refusal",
            "ModelError": "error",
            "Unavailable": "error",
            "SchemaError": "schema",
        }[type(error).__name__]
        assert found == end
        stored = asked.store.latest(limit=1)[0]
    else:
        assert (value, end) == (Count(n=3), "valid")
        stored = asked.store.read(call.number or 0) or call
        assert call.tier == next(tier for tier, reason in reversed(attempts) if not reason)
        assert bool(call.cut_at) == (call.answer.reply.finish == "length")
    assert [(a.tier, a.reason) for a in stored.attempts] == attempts
    assert [len(m.requests) for m in models] == [sum(t == i for t, _ in attempts) for i in range(len(models))]
    assert stored.tokens == sum(a.reply.prompt_tokens + a.reply.completion_tokens for a in stored.attempts if a.reply)


def test_the_next_tier_sees_every_finding_and_the_same_schema() -> None:
    small, large = Scripted(BAD, BAD, name="small"), Scripted(GOOD, name="large")
    value, call = guard.Guard(small, escalate_to=large, retries=1).traced(Count, ASK)
    assert value == Count(n=3)
    assert [m["role"] for m in large.requests[0].messages] == ["user", "assistant", "user", "assistant", "user"]
    assert large.requests[0].compiled is small.requests[0].compiled
    assert (call.tier, call.escalations, [a.model for a in call.attempts]) == (
        1,
        ("invalid",),
        ["small", "small", "large"],
    )


def token(logprob: float = -0.1, removed: float = 0.0, margin: float | None = None, *, forced: bool = False) -> Token:
    """Return a token's figures."""
    return Token("x", logprob, removed, margin, forced)


@pytest.mark.parametrize(
    ("least", "tokens", "reason"),
    [
        (Confidence(logprob=-0.5), (token(-2.0), token(-0.2)), "mean log-probability -1.100 is below -0.5"),
        (Confidence(logprob=-0.5), (token(-0.2), token(-9.0, forced=True)), ""),
        (Confidence(removed=0.5), (token(removed=0.9), token(removed=0.3)), "masks removed 60.0% of the probability"),
        (Confidence(removed=0.5), (token(removed=0.1),), ""),
        (Confidence(margin=1.0), (token(margin=0.25), token(margin=3.0)), "the closest choice was led by 0.250"),
        (Confidence(margin=1.0), (token(margin=2.0), token()), ""),
        (Confidence(logprob=-0.5), (), ""),
    ],
)
def test_an_answer_of_which_the_model_is_not_sure_goes_to_the_next_tier(
    least: Confidence, tokens: tuple[Token, ...], reason: str
) -> None:
    small = Scripted(reply(GOOD, tokens=tokens, mode="masks"), name="small")
    large = Scripted('{"n": 4}', name="large")
    value, call = guard.Guard(small, escalate_to=large, confidence=least).traced(Count, ASK)
    assert value == Count(n=4 if reason else 3)
    assert reason in call.attempts[0].error
    assert call.escalations == (("confidence",) if reason else ())


UNSURE = reply(GOOD, tokens=(token(-9.0),))


@pytest.mark.parametrize("on", [{}, {"confidence": "escalate"}])
def test_the_last_tiers_answer_is_taken_however_sure_it_is(on: dict[str, str]) -> None:
    asked = guard.Guard(Scripted(UNSURE), escalate_to=Scripted(UNSURE), confidence=Confidence(logprob=-0.1), on=on)
    value, call = asked.traced(Count, ASK)
    assert (value, call.tier) == (Count(n=3), 1)


def test_an_action_that_is_named_for_unsure_answers_holds_on_every_tier() -> None:
    sure = {"confidence": Confidence(logprob=-0.1)}
    only = Scripted(UNSURE, UNSURE, UNSURE)
    with pytest.raises(guard.ValidationFailed, match=r"not sure of its answer: mean log-probability -9\.000"):
        guard.Guard(only, **sure, on={"confidence": "fail"}).generate(Count, ASK)
    assert len(only.requests) == 1
    again = Scripted(UNSURE, GOOD)
    assert guard.Guard(again, **sure, on={"confidence": "ask"}).generate(Count, ASK) == Count(n=3)
    with pytest.raises(guard.ValidationFailed, match="not sure"):
        guard.Guard(Scripted(UNSURE, UNSURE), **sure, on={"confidence": "ask"}, retries=1).generate(Count, ASK)
    with pytest.raises(guard.ValidationFailed, match="not sure"):
        guard.Guard(Scripted(UNSURE), escalate_to=Scripted(UNSURE), **sure, on={"confidence": "fail"}).generate(
            Count, ASK
        )


CLOSED = reply(GOOD, finish="length", mode="masks", cut_at=("/n",))


def test_an_answer_that_the_budget_cut_is_asked_for_again_with_twice_the_room() -> None:
    model = Scripted(CLOSED, CLOSED, GOOD)
    value, call = guard.Guard(model).traced(Count, ASK)
    assert (value, call.cut_at, [r.max_tokens for r in model.requests]) == (Count(n=3), (), [512, 1024, 2048])
    assert [a.reason for a in call.attempts] == ["length", "length", ""]


def test_a_limit_that_is_named_is_kept_and_the_cut_answer_is_returned_marked() -> None:
    model = Scripted(CLOSED)
    value, call = guard.Guard(model, max_tokens=30).traced(Count, ASK)
    assert (value, call.cut_at, call.outcome, len(model.requests)) == (Count(n=3), ("/n",), "valid", 1)
    with pytest.raises(
        guard.Truncated, match=r"max_tokens=30 cut .*'s answer at /n, which would have gone on; raise it"
    ):
        guard.Guard(Scripted(CLOSED), max_tokens=30, on={"length": "fail"}).generate(Count, ASK)


def test_room_ends_where_the_context_and_the_budgets_do() -> None:
    model = Scripted(reply(GOOD, finish="length", mode="masks", cut_at=("/n",), room=600), CLOSED)
    guard.Guard(model, retries=1).generate(Count, ASK)
    assert [r.max_tokens for r in model.requests] == [512, 600]
    full = Scripted(reply(GOOD, finish="length", mode="masks", cut_at=("/n",), room=512))
    assert guard.Guard(full).traced(Count, ASK)[1].cut_at == ("/n",)
    assert len(full.requests) == 1


def test_a_cut_answer_goes_up_and_is_returned_where_nobody_above_answers() -> None:
    large = Scripted(GOOD, name="large")
    assert guard.Guard(Scripted(CLOSED), escalate_to=large, max_tokens=30).traced(Count, ASK)[1].served == "scripted-1"
    assert len(large.requests) == 1
    down = Scripted(guard.Unavailable("503"), name="large")
    value, call = guard.Guard(Scripted(CLOSED, name="small"), escalate_to=down, max_tokens=30).traced(Count, ASK)
    assert (value, call.cut_at, call.tier, call.text) == (Count(n=3), ("/n",), 0, GOOD)
    assert [(a.model, a.reason) for a in call.attempts] == [("small", ""), ("large", "error")]


def test_who_calls_without_a_record_is_told_of_a_cut_answer_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    def asker() -> guard.Guard:
        return guard.Guard(Scripted(CLOSED), max_tokens=30)

    async def streamed() -> list[Any]:
        return [part async for part in asker().astream(Count, ASK)]

    calls: tuple[Callable[[], object], ...] = (
        lambda: asker().generate(Count, ASK),
        lambda: list(asker().stream(Count, ASK)),
        lambda: asyncio.run(streamed()),
    )
    for number, call in enumerate(calls, 1):
        caplog.clear()
        call()
        told = f"Count is not whole: max_tokens cut it at /n (call {number}); raise it for all of it"
        assert [r.message for r in caplog.records if r.name == "guard"] == [told]


REPEATED = reply('{"s": "' + "and on " * 40 + '"}')


def test_a_string_that_repeats_itself_is_told_like_a_cut_one() -> None:
    model = Scripted(REPEATED)
    _, call = guard.Guard(model).traced({"type": "object"}, ASK)
    assert (call.repeated_at, call.cut_at, call.answer.reply.finish, len(model.requests)) == (("/s",), (), "length", 1)
    with pytest.raises(guard.Truncated, match="says the same over and over at /s"):
        guard.Guard(Scripted(REPEATED), on={"length": "fail"}).generate({"type": "object"}, ASK)
    _, call = guard.Guard(Scripted(REPEATED), repetition="allow").traced({"type": "object"}, ASK)
    assert (call.repeated_at, call.answer.reply.finish) == ((), "stop")


class Slow(Scripted):
    """Takes its time by the clock that the budget is measured with."""

    def __init__(self, *answers: object, clock: list[float], takes: float) -> None:
        super().__init__(*answers)
        self.clock, self.takes = clock, takes

    def generate(self, request: Request) -> Reply:
        """Answer after a while."""
        self.clock[0] += self.takes
        return super().generate(request)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Stand in for the clock of the steps."""
    now = [100.0]
    monkeypatch.setattr("guard.calls.steps.time.perf_counter", lambda: now[0])
    return now


def test_a_spent_budget_of_seconds_ends_the_call(clock: list[float]) -> None:
    model = Slow(BAD, BAD, GOOD, clock=clock, takes=4.0)
    with pytest.raises(guard.BudgetExceeded, match=r"the budget of 7\.5 seconds is spent after 2 attempts") as caught:
        guard.Guard(model, retries=5, budget=Budget(seconds=7.5)).generate(Count, ASK)
    assert [r.seconds for r in model.requests] == [7.5, 3.5]
    assert len(caught.value.attempts) == 2
    assert caught.value.findings[0].at == "/n"


def test_a_tiers_own_budget_leads_to_the_next_tier_and_the_last_has_none(clock: list[float]) -> None:
    small = Slow(BAD, BAD, clock=clock, takes=4.0)
    large = Slow(GOOD, clock=clock, takes=50.0)
    asked = guard.Guard(small, escalate_to=large, retries=5, tier_budget=Budget(seconds=3), budget=Budget(seconds=60))
    value, call = asked.traced(Count, ASK)
    assert value == Count(n=3)
    assert [len(small.requests), large.requests[0].seconds] == [1, 56.0]
    assert call.escalations == ("invalid",)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    tokens=st.integers(1, 600),
    usd=st.none() | st.floats(0.001, 1.0),
    costs=st.lists(st.tuples(st.integers(1, 90), st.integers(1, 200)), min_size=1, max_size=6),
)
def test_no_call_costs_more_than_its_budget(tokens: int, usd: float | None, costs: list[tuple[int, int]]) -> None:
    class Priced(Scripted):
        def price(self, prompt: int, completion: int) -> float:
            return prompt * 1e-4 + completion * 5e-4

        def generate(self, request: Request) -> Reply:
            prompt, wanted = costs[min(len(self.requests), len(costs) - 1)]
            prompt = min(prompt, 11)  # what the estimate allows for ASK
            self.requests.append(request)
            written = min(wanted, request.max_tokens)
            cost = self.price(prompt, written)
            return reply(BAD, prompt_tokens=prompt, completion_tokens=written, cost=cost)

    model = Priced()
    with pytest.raises((guard.BudgetExceeded, guard.ValidationFailed)) as caught:
        guard.Guard(model, retries=5, max_tokens=150, budget=Budget(tokens=tokens, usd=usd)).generate(Count, ASK)
    attempts = caught.value.attempts
    assert sum(a.reply.prompt_tokens + a.reply.completion_tokens for a in attempts if a.reply) <= tokens
    if usd is not None:
        assert sum(a.reply.cost or 0 for a in attempts if a.reply) <= usd * (1 + 1e-9)


class PricedByToken(Scripted):
    def price(self, prompt: int, completion: int) -> float:
        return (prompt + completion) / 1e6


def test_thinking_and_the_schema_are_paid_for_by_the_budget_of_money() -> None:
    """Neither was priced: a model was asked though the money did not pay for the schema that is sent to it."""
    large = {"type": "object", "properties": {"n": {"type": "integer", "description": "a " * 50_000}}}
    model = PricedByToken(GOOD)
    with pytest.raises(guard.BudgetExceeded, match="can't pay a prompt of about 33"):
        guard.Guard(model, budget=Budget(usd=0.03)).generate(large, ASK)
    assert model.requests == []
    model = PricedByToken(reply('{"n"', finish="length"), GOOD)  # more tokens than thinking leaves are no help
    with pytest.raises(guard.Truncated):
        guard.Guard(model, thinking=1_000, budget=Budget(usd=0.0015)).generate(Count, ASK)
    assert [one.max_tokens for one in model.requests] == [512]


def test_a_cost_that_a_reply_does_not_say_is_paid_for_by_the_budget_of_money() -> None:
    """It counted as nothing, so that a model whose replies have no cost was asked again without a limit."""
    model = PricedByToken(*[reply(BAD, prompt_tokens=100, completion_tokens=400)] * 6)
    with pytest.raises(guard.BudgetExceeded, match=r"the budget of 0\.0008 usd is spent after 2 attempts") as caught:
        guard.Guard(model, retries=5, budget=Budget(usd=0.0008)).generate(Count, ASK)
    assert [attempt.reply.cost for attempt in caught.value.attempts if attempt.reply] == [0.0005, 0.0005]

    class Once(PricedByToken):
        def price(self, prompt: int, completion: int) -> float | None:
            return None if self.requests else super().price(prompt, completion)

    once = Once(BAD)
    with pytest.raises(guard.BudgetExceeded, match="an answer of scripted-1 has no known cost"):
        guard.Guard(once, retries=5, budget=Budget(usd=1)).generate(Count, ASK)
    assert len(once.requests) == 1


def test_a_model_without_a_price_is_not_asked_under_a_budget_of_money() -> None:
    model = Scripted(GOOD, name="mystery")
    with pytest.raises(guard.BudgetExceeded, match="no price of mystery is known"):
        guard.Guard(model, budget=Budget(usd=1)).generate(Count, ASK)
    assert model.requests == []


@pytest.mark.parametrize("given", [{}, {"retries": 1, "seed": 7, "on": {"length": "fail"}, "budget": Budget(usd=2)}])
def test_a_policy_within_another_budget_is_the_same_but_for_that(given: dict[str, Any]) -> None:
    policy, budget = Policy(**given), Budget(seconds=3.5)
    assert "budget" not in policy.as_json or given
    found, wanted = policy.within(budget), Policy(**{**given, "budget": budget})
    assert (found, hash(found), found.as_json) == (wanted, hash(wanted), wanted.as_json)
    assert policy == Policy(**given)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: Budget(seconds=0), "seconds=0 must be above 0"),
        (lambda: Budget(tokens=-1), "tokens=-1 must be above 0"),
        (lambda: Confidence(logprob=0.5), "logprob=0.5 must be at most 0"),
        (lambda: Confidence(removed=1.5), "removed=1.5 must be between 0 and 1"),
        (lambda: Confidence(margin=-1), "margin=-1 must be at least 0"),
        (lambda: Policy(on={"refused": "ask"}), "must name one of invalid, length, refusal"),
        (lambda: Policy(on={"error": "retry"}), "must be one of ask, escalate, return, fail"),
        (lambda: Policy(on={"invalid": "return"}), "no valid answer to return"),
        (lambda: Policy(on={"confidence": "fail"}), "needs thresholds: give confidence="),
        (lambda: Policy(on={"confidence": "escalate"}), "needs thresholds: give confidence="),
        (lambda: Policy(on={"length": "ask"}, retries=0), "on={'length': 'ask'} asks nobody under retries=0"),
        *(
            (
                lambda failure=failure: guard.Guard("smollm2", on={failure: "escalate"}).generate(Count, ASK),
                f"on={{{failure!r}: 'escalate'}} has no tier to go to",
            )
            for failure in FAILURES
            if failure != "confidence"
        ),
        (lambda: Policy(repetition="end"), "repetition='end' must be one of tell, stop, allow"),
        (
            lambda: guard.Guard("smollm2", confidence=Confidence(margin=1)).generate(Count, ASK),
            "confidence= has no tier to go to",
        ),
        (
            lambda: guard.Guard("smollm2", tier_budget=Budget(usd=1)).generate(Count, ASK),
            "tier_budget= holds for each tier but the last",
        ),
        (lambda: Policy(on={"refusal": "ask"}), "would ask for ever"),
        (lambda: guard.Guard("smollm2", mode="replays"), "mode='replays' must be one of live, record, replay, cache"),
        (lambda: guard.Guard("smollm2").using(sed=3), "using() takes no 'sed'; did you mean seed"),
        (lambda: guard.Guard("smollm2", validators=[3]), "must hold plain functions"),
    ],
)
def test_a_policy_that_makes_no_sense_says_so(wrong: Any, words: str) -> None:
    with pytest.raises((ValueError, TypeError)) as caught:
        wrong()
    assert words in str(caught.value)


def small(value: Count) -> None:
    """Fail by raising."""
    if value.n > 9:
        raise ValueError("a number of one digit")


def even(value: Count) -> bool:
    """an even number"""
    return value.n % 2 == 0


def named(value: Count) -> list[guard.Violation]:
    """Return findings."""
    return [guard.Violation("/n", "named", "not seven", "7")] if value.n == 7 else []


def test_validators_of_the_users_own_are_heard_and_told_to_the_model() -> None:
    model = Scripted('{"n": 11}', '{"n": 7}', '{"n": 8}')
    value, call = guard.Guard(model, validators=[small, even, named]).traced(Count, ASK)
    assert value == Count(n=8)
    assert [[str(f) for f in a.findings] for a in call.attempts] == [
        [
            "(root): expected a number of one digit, got Count(n=11) (rule small)",
            "(root): expected an even number, got Count(n=11) (rule even)",
        ],
        [
            "(root): expected an even number, got Count(n=7) (rule even)",
            "/n: expected not seven, got 7 (rule named)",
        ],
        [],
    ]
    for finding in call.attempts[0].findings:
        assert str(finding) in model.requests[1].messages[-1]["content"]


def test_a_validator_that_yields_may_raise_too() -> None:
    def odd(value: Count) -> Iterator[str]:
        if value.n > 9:
            yield "one digit"
        if value.n % 2 == 0:
            raise ValueError("an odd number")

    call = guard.Guard(Scripted('{"n": 12}', '{"n": 8}', '{"n": 7}'), validators=[odd]).traced(Count, ASK)[1]
    assert [[finding.expected for finding in attempt.findings] for attempt in call.attempts] == [
        ["one digit", "an odd number"],
        ["an odd number"],
        [],
    ]


def test_a_fault_of_a_validator_is_the_callers_and_still_recorded(trace_file: Any) -> None:
    def broken(value: Count) -> None:
        raise KeyError("oops")

    with pytest.raises(KeyError):
        guard.Guard(Scripted(GOOD), validators=[broken]).generate(Count, ASK)
    assert TraceStore.at(trace_file).latest()[0].outcome == "KeyError"


@pytest.mark.parametrize("text", ['{"n": 1, "n": 2}', "NaN", '{"n": NaN}', "", "[" * 100_000])
def test_what_is_not_json_is_a_finding(text: str) -> None:
    for wanted in (Count, {"type": ["object", "number"]}):
        with pytest.raises(guard.ValidationFailed) as caught:
            guard.Guard(Scripted(text), retries=0, repair=False).generate(wanted, ASK)
        assert caught.value.findings[0].rule in ("json", "nesting")


def test_a_guard_with_changes_leaves_the_first_one_as_it_was() -> None:
    one, other = Scripted(GOOD, name="one"), Scripted(GOOD, name="other")
    first = guard.Guard(one, retries=0, seed=4, budget=Budget(tokens=500))
    second = first.using(model=other, seed=5)
    assert (first.policy.seed, second.policy.seed) == (4, 5)
    assert (first.model_name, second.model_name) == ("one", "other")
    assert second.policy.budget == Budget(tokens=500)
    assert isinstance(one, Model)


BACK_REFERENCE = {"type": "string", "pattern": r"^(a|b)\1$"}  #: No masks can enforce it.


class Masked(Scripted):
    """A model that decodes under masks."""

    is_masked = True


def test_a_schema_that_masks_refuse_goes_to_the_tier_without_masks() -> None:
    small, large = Masked(name="small"), Scripted('"ab"', '"aa"', name="large")
    value, call = guard.Guard(small, escalate_to=large).traced(BACK_REFERENCE, ASK)
    assert value == "aa"
    assert small.requests == []
    assert [(a.tier, a.reason) for a in call.attempts] == [(0, "schema"), (1, "invalid"), (1, "")]
    assert "pattern" in call.attempts[0].error
    assert call.escalations == ("schema",)


def test_a_schema_that_masks_refuse_is_refused_where_nobody_else_could_answer() -> None:
    for asked in (guard.Guard(Masked(name="m")), guard.Guard(Masked(name="m"), escalate_to=Masked(name="n"))):
        with pytest.raises(guard.SchemaError) as caught:
            asked.generate(BACK_REFERENCE, ASK)
        assert caught.value.findings[0].keyword == "pattern"
