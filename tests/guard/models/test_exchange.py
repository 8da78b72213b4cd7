"""Exchanges with a provider: faults, what a broken answer used, retries and deadlines."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import replace
from typing import Any

import clock
import pytest
from asked_four_ways import (
    CELLS,
    CLOSED,
    GOOD,
    OPTIONAL,
    SECONDS,
    TEXT,
    WAITS,
    Way,
    every_way,
    model,
    request,
    streaming,
)

from guard.errors import (
    BadReply,
    BudgetExceeded,
    CallError,
    RateLimited,
    TimedOut,
    Unavailable,
    Unsupported,
)
from guard.models.base import Reply, Request
from guard.models.event_loop import EVENT_LOOP
from guard.models.remote.anthropic import AnthropicModel
from guard.models.remote.openai import OpenAIModel
from guard.models.remote.runners import LOOP
from guard.testing import fake_server
from guard.testing.fake_server import FAULTS, Answer, Server

pytestmark = pytest.mark.usefixtures("every_generator_is_closed", "no_leftovers")


# ---- Every fault, every way ------------------------------------------------------------------------------------------


def test_every_fault_has_its_cell() -> None:
    assert CELLS.keys() == FAULTS.keys()


@every_way
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_ends_in_a_typed_error_or_a_true_reply_in_time(fault: str, ask: Way) -> None:
    expected = CELLS[fault]["streaming" in ask.__name__]
    faulty, seconds = FAULTS[fault](GOOD), SECONDS if fault in WAITS else 60.0
    with Server(faulty) as server, clock.waiting() as wait:
        asked = model(server, retries=1)
        if isinstance(expected, str):
            reply = ask(asked, request(seconds=seconds))
            assert reply.finish == expected
            assert reply.text == (faulty.refusal or faulty.text)
            assert (reply.model, reply.mode) == ("served-1", "native")
            assert (reply.prompt_tokens, reply.completion_tokens) == (11, 7)
        else:
            with pytest.raises(CallError) as caught:
                ask(asked, request(seconds=seconds))
            assert type(caught.value) is expected
            assert "sk-local" not in str(caught.value)
        assert wait.seconds < SECONDS + 0.9


@every_way
def test_nobody_listening_is_unavailable(ask: Way) -> None:
    with pytest.raises(Unavailable, match="can't be reached"):
        ask(model(fake_server.refused_url(), retries=1), request())


@every_way
@pytest.mark.parametrize("fault", ["reset mid-body", "429", "500", "503"])
def test_what_may_go_away_is_tried_again_and_counted(fault: str, ask: Way) -> None:
    with Server(FAULTS[fault](GOOD), GOOD) as server:
        # Optional properties: the stream is held back, so that nothing was handed on before the reset.
        reply = ask(model(server), request(OPTIONAL))
        assert (reply.text, reply.retries, len(server.requests)) == (TEXT, 1, 2)


@pytest.mark.parametrize("fault", ["truncated JSON", "invalid UTF-8", "empty body", "duplicate keys"])
def test_what_stays_wrong_is_not_tried_again(fault: str) -> None:
    with Server(FAULTS[fault](GOOD), GOOD) as server:
        with pytest.raises(BadReply):
            model(server).generate(request())
        assert len(server.requests) == 1


def test_a_stream_is_not_begun_again_once_a_piece_of_it_is_out() -> None:
    with Server(FAULTS["reset mid-body"](GOOD), GOOD) as server:
        stream = model(server).stream(request())
        assert next(stream)
        with pytest.raises(Unavailable):
            list(stream)
        assert len(server.requests) == 1


def test_an_iterator_that_the_portal_s_own_thread_collects_does_not_stop_it() -> None:
    """It waited there for what only it could do."""
    begun, ended = threading.Event(), threading.Event()

    async def endless() -> AsyncGenerator[int, None]:
        try:
            yield 1
            begun.set()
            await asyncio.sleep(600)
        finally:
            ended.set()

    held = [EVENT_LOOP.iterate(endless())]
    assert next(held[0]) == 1
    assert begun.wait(30)
    EVENT_LOOP.loop.call_soon_threadsafe(held.clear)
    assert ended.wait(30)
    assert EVENT_LOOP.run(asyncio.sleep(0, "alive")) == "alive"


# ---- What an answer used that did not come to its end ----------------------------------------------------------------


def told(ask: Callable[[Request], Any], error: type[BaseException] | None = None, **changes: Any) -> Reply:
    """Return what the model says of an answer that was cut off."""
    cut: list[Reply] = []
    with pytest.raises(error) if error else contextlib.nullcontext():
        ask(request(told=cut.append, **changes))
    (reply,) = cut
    assert (reply.finish, reply.model) == ("cut", "served-1")
    assert TEXT.startswith(reply.text)
    return reply


def left(asked: Any) -> Callable[[Request], None]:
    """Return a way to ask that leaves after the first piece."""

    def ask(request: Request) -> None:
        stream = asked.stream(request)
        next(stream)
        stream.close()

    return ask


SLOW = Answer(TEXT, change=lambda body: [body[: len(body) // 2], fake_server.HANG])


def test_a_stream_that_is_left_says_about_what_it_used() -> None:
    with Server(SLOW) as server:
        reply = told(left(model(server)))
    assert reply.is_estimate
    assert 20 < reply.prompt_tokens < 200
    assert reply.completion_tokens == -(-len(reply.text) // 4) > 0


def test_what_a_provider_counted_before_a_stream_was_left_is_taken() -> None:
    with Server(SLOW) as server:
        reply = told(left(AnthropicModel("claude-haiku-4-5", base_url=server.url, api_key="none", mode="prompt")))
    assert (reply.prompt_tokens, reply.is_estimate) == (11, True)
    assert reply.completion_tokens >= 1


@pytest.mark.parametrize("is_streamed", [False, True])
def test_an_answer_that_came_when_nobody_waited_for_it_any_more_is_paid_for(is_streamed: bool) -> None:
    """A caller that was cancelled while its answer had come, or just came, dropped it: paid, and nowhere on record."""
    cut: list[Reply] = []

    async def asking(asked: Any) -> None:
        if is_streamed:
            async with contextlib.aclosing(asked.astream(request(told=cut.append))) as parts:
                async for _ in parts:
                    pass
        else:
            await asked.agenerate(request(told=cut.append))

    async def cancelled(server: Server) -> None:
        task = asyncio.create_task(asking(model(server)))
        while not server.requests:  # noqa: ASYNC110 (the server has a thread of its own)
            await asyncio.sleep(0.01)
        time.sleep(0.5)  # noqa: ASYNC251 (the caller's loop is busy while the answer comes)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with Server(replace(GOOD, change=lambda body: [body[:20], 0.1, body[20:]])) as server:
        asyncio.run(cancelled(server))
    assert [(one.finish, one.text, one.completion_tokens, one.is_estimate) for one in cut] == [("cut", TEXT, 7, False)]


def test_a_blocking_stream_that_is_left_hands_on_the_reply_that_has_come() -> None:
    """The pieces that had come were dropped, and the reply among them, where Guard's event loop reads the answer."""
    cut: list[Reply] = []
    with Server(GOOD) as server:
        asked = model(server)
        asked._blocking = LOOP
        stream = asked.stream(request(told=cut.append))
        assert next(stream)
        while asyncio.all_tasks(EVENT_LOOP.loop):
            time.sleep(0.01)
        stream.close()
    assert [(one.finish, one.text, one.completion_tokens) for one in cut] == [("cut", TEXT, 7)]


@pytest.mark.parametrize(
    ("fault", "error"), [("reset mid-body", Unavailable), ("slow drip", BudgetExceeded), ("duplicate keys", BadReply)]
)
def test_a_stream_that_fails_says_about_what_it_used(fault: str, error: type[CallError]) -> None:
    seconds = SECONDS if fault in WAITS else 60.0
    with Server(FAULTS[fault](Answer(TEXT, piece=1))) as server:
        cut: list[Reply] = []
        with pytest.raises(error):
            streaming(model(server, retries=0), request(told=cut.append, seconds=seconds))
    assert [reply.is_estimate for reply in cut] == [True]


@pytest.mark.parametrize("fault", ["429", "500", "503"])
def test_what_was_refused_used_nothing(fault: str) -> None:
    cut: list[Reply] = []
    with Server(FAULTS[fault](GOOD)) as server, pytest.raises(CallError):
        model(server, retries=1).generate(request(told=cut.append))
    with pytest.raises(Unavailable):
        model(fake_server.refused_url(), retries=1).generate(request(told=cut.append))
    assert cut == []


@pytest.fixture
def unanswered() -> Iterator[str]:
    """Return an address whose server is too busy to accept a connection."""
    with contextlib.ExitStack() as opened:
        server = opened.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(4):  # they fill the queue
            client = opened.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        yield f"http://127.0.0.1:{server.getsockname()[1]}/v1"


@every_way
def test_a_request_whose_connection_is_never_made_used_nothing(ask: Way, unanswered: str) -> None:
    """The deadline struck while the connection was made, and the prompt was charged although nothing was sent."""
    cut: list[Reply] = []
    with pytest.raises(BudgetExceeded):
        ask(model(unanswered), request(told=cut.append, seconds=0.5))
    assert cut == []


def test_a_request_that_is_cancelled_while_its_connection_is_made_used_nothing(unanswered: str) -> None:
    """The prompt was charged although nothing was sent."""
    cut: list[Reply] = []

    async def cancelled() -> None:
        task = asyncio.create_task(model(unanswered).agenerate(request(told=cut.append)))
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert cut == []


def test_a_request_that_can_t_be_written_used_nothing() -> None:
    """The prompt was charged although nothing was sent."""
    cut: list[Reply] = []
    with Server(GOOD) as server:
        claude = AnthropicModel("claude-haiku-4-5", base_url=server.url.removesuffix("/v1"), api_key="none")
        sound = ({"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]},)
        with pytest.raises(Unsupported):
            claude.generate(request(None, messages=sound, told=cut.append))
    assert (cut, server.requests) == ([], [])


def test_what_failed_tries_used_is_part_of_what_the_last_one_did() -> None:
    """Transport retries are paid for: the tokens of the try that broke off are in the reply's."""
    with Server(FAULTS["reset mid-body"](GOOD), GOOD) as server:
        lone = model(server, retries=0)
        cut: list[Reply] = []
        with pytest.raises(Unavailable):
            lone.generate(request(told=cut.append))
    with Server(FAULTS["reset mid-body"](GOOD), GOOD) as server:
        reply = model(server, retries=1).generate(request())
    assert (reply.retries, reply.is_estimate) == (1, True)
    assert reply.prompt_tokens == 11 + cut[0].prompt_tokens
    assert reply.completion_tokens == 7 + cut[0].completion_tokens


def test_a_retry_keeps_inside_what_the_tries_before_it_left() -> None:
    """One budget of tokens and money for all of them."""
    with Server(FAULTS["reset mid-body"](GOOD), GOOD) as server:
        with pytest.raises(BudgetExceeded, match="that are left"):
            model(server).generate(request(total_tokens=100))
        assert len(server.requests) == 1
    with Server(FAULTS["reset mid-body"](GOOD), GOOD) as server:
        with pytest.raises(BudgetExceeded, match="usd left"):
            priced(server).generate(request(usd=cost_of(90, 1)))
        assert len(server.requests) == 1


def priced(server: Server, **options: Any) -> OpenAIModel:
    return OpenAIModel("gpt-5-mini", base_url=server.url, api_key="none", provider="openai", **options)


def cost_of(prompt: int, completion: int) -> float:
    return (prompt * 0.25 + completion * 2) / 1e6  # gpt-5-mini's


@every_way
def test_every_try_is_asked_for_no_more_than_its_money_pays_for(ask: Way) -> None:
    """The first try was not limited by money at all, and a retry was refused where fewer tokens were affordable."""
    with Server(FAULTS["500"](GOOD), GOOD) as server:
        ask(priced(server), request(None, usd=cost_of(90, 100)))
        limits = [one.body["max_tokens"] for one in server.requests]
    assert 100 < limits[0] == limits[1] < 115  # nobody counts so few tokens of a prompt
    with Server(FAULTS["reset mid-body"](GOOD), GOOD) as server:
        asked = priced(server)
        asked.generate(request(None, usd=cost_of(90, 300)))
        first, second = (one.body["max_tokens"] for one in server.requests)
    assert 0 < second < first < 315


def test_thinking_is_paid_for_by_the_budget_of_money() -> None:
    """Thinking was asked for beside what the money pays for: 20,000 tokens of it cost 19 times the budget."""
    with Server(Answer(TEXT)) as server:
        priced(server).generate(request(None, usd=cost_of(90, 1000), thinking=20_000))
        assert 1000 < server.requests[0].body["max_tokens"] < 1015
        claude = AnthropicModel("claude-haiku-4-5", base_url=server.url.removesuffix("/v1"), api_key="none")
        cut: list[Reply] = []
        with pytest.raises(BudgetExceeded, match="and thinking=2000; lower it"):
            claude.generate(request(None, usd=0.005, thinking=2_000, told=cut.append))
        assert cut == []
    assert len(server.requests) == 1


@pytest.mark.parametrize("mode", ["native", "tool", "prompt"])
def test_the_schema_is_paid_for_by_the_budget_of_money(mode: str) -> None:
    """A schema of 100 kB was sent although the money pays for the messages alone."""
    large = {
        **CLOSED,
        "properties": {**CLOSED["properties"], "total": {"type": "integer", "description": "a " * 50_000}},
    }
    with Server(GOOD) as server:
        with pytest.raises(BudgetExceeded, match="usd left"):
            priced(server, mode=mode).generate(request(large, usd=cost_of(1000, 100)))
        assert server.requests == []


def test_an_answer_whose_tokens_nobody_counted_says_so() -> None:
    with Server(replace(GOOD, usage=None)) as server:
        assert model(server).generate(request()).is_estimate
    with Server(GOOD) as server:
        assert not model(server).generate(request()).is_estimate


# ---- Retries and deadlines -------------------------------------------------------------------------------------------


def test_retry_after_is_honoured() -> None:
    with Server(fake_server.error(429, "slow down", {"Retry-After": "0.7"}), GOOD) as server:
        start = time.monotonic()
        with clock.waiting() as wait:
            assert model(server).generate(request()).retries == 1
        assert time.monotonic() - start >= 0.7
        assert wait.seconds < 2


@pytest.mark.parametrize(("seconds", "after"), [(1.0, "30"), (None, "86400"), (2.0, "Fri, 31 Dec 2100 23:59:59 GMT")])
def test_a_wait_that_is_longer_than_what_is_left_ends_at_once(seconds: float | None, after: str) -> None:
    with Server(fake_server.error(429, "slow down", {"Retry-After": after}), GOOD) as server:
        with (
            clock.waiting() as wait,
            pytest.raises(RateLimited, match=r"asked again in \d+ s" if after.isdigit() else "again in"),
        ):
            model(server).generate(request(seconds=seconds))
        assert wait.seconds < 0.9
        assert len(server.requests) == 1


@pytest.mark.parametrize("after", ["-1", "nan", "inf", "1e9", "soon", "9" * 400, "٣", ""])
def test_a_wait_that_is_none_is_not_taken_for_one(after: str) -> None:
    with Server(fake_server.error(503, "busy", {"Retry-After": after} if after.isascii() else {}), GOOD) as server:
        assert model(server).generate(request()).retries == 1


def test_a_spent_quota_is_not_waited_for() -> None:
    with Server(fake_server.error(429, "no money", code="insufficient_quota"), GOOD) as server:
        with pytest.raises(RateLimited, match="quota is spent"):
            model(server).generate(request())
        assert len(server.requests) == 1


def test_the_deadline_is_one_over_all_retries() -> None:
    slow = Answer(TEXT, change=lambda body: [0.4, *fake_server.halved(fake_server.RESET)(body)])
    with Server(slow) as server:
        with clock.waiting() as wait, pytest.raises((BudgetExceeded, Unavailable)):
            model(server, retries=100).generate(request(seconds=1.0))
        assert wait.seconds < 1.5
        assert len(server.requests) < 4


def test_a_retry_is_told_to_the_log_in_words_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    with Server(FAULTS["503"](GOOD), GOOD) as server, caplog.at_level("INFO"):
        model(server).generate(request())
    (said,) = [record for record in caplog.records if "asking again" in record.getMessage()]
    assert said.name == "guard.models"
    assert re.fullmatch(r"openai:\S+ failed \(HTTP 503.*\); asking again in 0\.\d s", said.getMessage())


def test_silence_is_a_time_out_without_a_deadline_too() -> None:
    with Server(FAULTS["time-out"](GOOD)) as server, pytest.raises(TimedOut):
        model(server, timeout=0.2, retries=0).generate(request(seconds=None))


def test_closing_a_stream_stops_the_model() -> None:
    drip = Answer(TEXT, change=lambda body: [p for byte in body for p in (bytes([byte]), 0.005)])
    with Server(drip) as server:
        stream = model(server).stream(request())
        assert next(stream)
        stream.close()
        assert server.left.wait(3)


def test_cancelling_a_coroutine_stops_the_model() -> None:
    async def cancelled(server: Server) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(model(server).agenerate(request()), 0.3)

    with Server(FAULTS["time-out"](GOOD)) as server:
        asyncio.run(cancelled(server))
        assert server.left.wait(3)


def test_many_threads_and_loops_share_a_model() -> None:
    with Server(GOOD) as server:
        asked, found = model(server), []

        async def several() -> list[Reply]:
            return await asyncio.gather(*(asked.agenerate(request()) for _ in range(4)))

        threads = [threading.Thread(target=lambda: found.extend(asyncio.run(several()))) for _ in range(3)]
        threads += [threading.Thread(target=lambda: found.append(asked.generate(request()))) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [reply.text for reply in found] == [TEXT] * 15
