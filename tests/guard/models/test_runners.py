"""Requests in the thread that asks: whatever a server does, a wait ends at the deadline, and nothing is left open."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gzip
import itertools
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any, Self

import clock
import pytest
from hypothesis import given
from hypothesis import strategies as st

import guard
from guard.errors import BadReply, BudgetExceeded, CallError, ModelError, TimedOut
from guard.models.base import Reply, Request
from guard.models.event_loop import EVENT_LOOP
from guard.models.remote import blocking_http
from guard.models.remote.blocking_http import DEADLINE, DeadlinePassed
from guard.models.remote.openai import OpenAIModel
from guard.models.remote.runners import LOOP, THREAD, Runner
from guard.models.scripted import ScriptedModel
from guard.testing import fake_server
from guard.testing.fake_server import FAULTS, Answer, Server

pytestmark = pytest.mark.usefixtures("every_generator_is_closed")

TEXT = '{"total": 4}'
SECONDS = 0.5  #: The deadline of what would take for ever.
GRACE = 0.5  #: How late a call may end on a busy machine.


def request(**changes: Any) -> Request:
    messages = ({"role": "user", "content": "What is 2 + 2?"},)
    return Request(**{"messages": messages, "compiled": None, "seconds": 60.0, **changes})


def whole(model: OpenAIModel, request: Request) -> Reply:
    return model.generate(request)


def streamed(model: OpenAIModel, request: Request) -> Reply:
    *_, reply = model.stream(request)
    assert isinstance(reply, Reply)
    return reply


every_way = pytest.mark.parametrize("ask", [whole, streamed])
Way = Callable[[OpenAIModel, Request], Reply]


class Where(OpenAIModel):
    """A model that notes the threads in which it is asked."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.threads: list[str] = []

    def _body(self, *args: Any) -> dict[str, Any]:
        self.threads.append(threading.current_thread().name)
        return super()._body(*args)


# ---- Where a request runs --------------------------------------------------------------------------------------------


@every_way
def test_a_blocking_call_runs_in_its_own_thread_also_where_a_loop_runs(ask: Way) -> None:
    async def inside() -> str:
        return ask(model, request()).text

    with Server(TEXT, keeps_alive=True) as server:
        model = Where("m", base_url=server.url)
        assert ask(model, request()).text == TEXT
        assert asyncio.run(inside()) == TEXT
        assert asyncio.run(model.agenerate(request())).text == TEXT
        assert model.threads == ["MainThread", "MainThread", "guard-event-loop"]
        assert server.connections == 2  # one of the blocking calls, one of the loop's


@every_way
def test_a_client_of_the_caller_s_runs_where_it_can(ask: Way) -> None:
    import openai

    with Server(TEXT) as server:
        model = Where("m", client=openai.AsyncOpenAI(base_url=server.url, api_key="k"))
        assert ask(model, request()).text == TEXT
        assert model.threads == ["guard-event-loop"]
        EVENT_LOOP.run(model._client.close())


def test_where_requests_go_through_a_proxy_they_run_where_it_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(TEXT) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.removesuffix("/v1"))
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        model = Where("m", base_url="http://model.example/v1")
        assert model.generate(request()).text == TEXT
        assert proxy.requests[0].path == "http://model.example/v1/chat/completions"
        assert model.threads == ["guard-event-loop"]


def test_many_threads_share_the_connections_of_one_model() -> None:
    with Server(TEXT, keeps_alive=True) as server:
        model, texts = OpenAIModel("m", base_url=server.url), []

        def several() -> None:
            texts.extend([whole(model, request()).text for _ in range(5)])
            texts.extend([streamed(model, request()).text for _ in range(5)])

        threads = [threading.Thread(target=several) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert texts == [TEXT] * 80
        assert server.connections <= 8


# ---- One answer to one request ---------------------------------------------------------------------------------------


def crossed(text: str = '{"total": 666}') -> bytes:
    """Return a whole response that nobody asked for."""
    message = {"role": "assistant", "content": text}
    body = json.dumps({"model": "x", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    return head + body


def awaited(model: Any, asked: Request) -> Reply:
    return asyncio.run(model.agenerate(asked))


def awaited_pieces(model: Any, asked: Request) -> Reply:
    async def last() -> Any:
        return [piece async for piece in model.astream(asked)][-1]

    return asyncio.run(last())


any_way = pytest.mark.parametrize("ask", [whole, streamed, awaited, awaited_pieces])

LEFT_OVER: dict[str, tuple[Any, ...]] = {
    "another answer": (crossed(),),
    "two more answers": (crossed() * 2,),
    "another answer in a segment of its own": (0.02, crossed()),
    "half of another answer": (crossed()[:40],),
    "half of another answer in a segment of its own": (0.02, crossed()[:-5]),
    "what is no HTTP": (b"more",),
    "a line end": (b"\r\n",),
    "an interim response": (b"HTTP/1.1 100 Continue\r\n\r\n",),
}


@any_way
@pytest.mark.parametrize("what", LEFT_OVER)
def test_what_is_left_over_on_a_connection_is_no_answer_to_the_next_request(what: str, ask: Way) -> None:
    with Server(Answer(TEXT, beyond=LEFT_OVER[what]), TEXT, keeps_alive=True) as server:
        model = OpenAIModel("m", base_url=server.url, retries=0)
        with contextlib.suppress(ModelError):  # a server that says more than that may have said nothing right
            assert ask(model, request()).text == TEXT
        time.sleep(0.1)
        for _ in range(2):
            assert ask(model, request()).text == TEXT
        assert server.connections == 2
        assert len(server.requests) == 3


def test_of_idle_connections_only_the_one_that_is_used_again_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look is a system call, under the lock of the pool."""
    looked: list[object] = []
    look = vars(blocking_http._Stream)["is_readable"].fget
    is_readable = property(lambda stream: (looked.append(stream), look(stream))[1])
    monkeypatch.setattr(blocking_http._Stream, "is_readable", is_readable)
    with Server(TEXT, keeps_alive=True) as server:
        model = OpenAIModel("m", base_url=server.url)
        everyone = threading.Barrier(8)

        def answer(_: object) -> str:
            everyone.wait(30)
            return TEXT

        server.answers = [answer] * 8
        threads = [threading.Thread(target=model.generate, args=(request(),)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert server.connections == 8
        looked.clear()
        server.answers = [TEXT]
        assert model.generate(request()).text == TEXT
        assert (len(looked), server.connections) == (1, 8)


def test_the_head_and_the_body_of_a_request_are_sent_together() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        stream = blocking_http._Stream(ours)
        for part in (b"POST / HTTP/1.1\r\n\r\n", b"{}", b""):
            stream.write(part, 1.0)
        theirs.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        assert stream.read(100, 1.0) == b"HTTP/1.1 200 OK\r\n\r\n"
        assert theirs.recv(100) == b"POST / HTTP/1.1\r\n\r\n{}"
        stream.write(b"x" * (blocking_http.MOST_HELD + 1), 1.0)  # a large one is not held
        assert theirs.recv(1, socket.MSG_DONTWAIT) == b"x"


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl makes the certificate")
@pytest.mark.parametrize("size", [10, 3_000_000])
def test_requests_and_answers_of_any_size_pass_over_tls(
    size: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Records of TLS are sent and received in parts; a connection is used again."""
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem"]
    more = ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*made, *more], cwd=tmp_path, check=True, capture_output=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    with Server("x" * size, keeps_alive=True) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        url = server.url.replace("http:", "https:").replace("127.0.0.1", "localhost")
        model = OpenAIModel("m", base_url=url, retries=0)
        asked = request(messages=({"role": "user", "content": "y" * size},))
        assert [whole(model, asked).text for _ in range(2)] == ["x" * size] * 2
        assert server.connections == 1
        assert awaited(model, asked).text == "x" * size


def test_an_answer_that_came_before_all_was_sent_is_read() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        theirs.sendall(b"HTTP/1.1 413 Too Large\r\n\r\n")
        theirs.close()
        stream = blocking_http._Stream(ours)
        stream.write(b"POST / HTTP/1.1\r\n\r\n", 1.0)
        assert stream.read(100, 1.0) == b"HTTP/1.1 413 Too Large\r\n\r\n"


@any_way
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status: int, ask: Way) -> None:
    from guard.models.remote.anthropic import AnthropicModel

    with Server(TEXT) as elsewhere:
        moved = Answer(raw=b"{}", status=status, headers={"Location": elsewhere.url + "/chat/completions"})
        with Server(moved) as server:
            openai = OpenAIModel("m", base_url=server.url, api_key="k", retries=2)
            anthropic = AnthropicModel("m", base_url=server.url.removesuffix("/v1"), api_key="k", retries=2)
            for model in (openai, anthropic):
                with pytest.raises(BadReply, match=f"HTTP {status}"):
                    ask(model, request())
            assert len(server.requests) == 2
        assert elsewhere.requests == []


def test_a_client_of_the_caller_s_follows_no_redirect_either() -> None:
    import openai

    with (
        Server(TEXT) as elsewhere,
        Server(Answer(raw=b"{}", status=307, headers={"Location": elsewhere.url})) as server,
    ):
        model = OpenAIModel("m", client=openai.AsyncOpenAI(base_url=server.url, api_key="k"))
        with pytest.raises(BadReply):
            model.generate(request())
        assert len(server.requests) == 1
        EVENT_LOOP.run(model._client.close())


@any_way
def test_behind_a_proxy_no_connection_is_used_twice(monkeypatch: pytest.MonkeyPatch, ask: Way) -> None:
    with Server(Answer(TEXT, beyond=(crossed(),)), TEXT, keeps_alive=True) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.removesuffix("/v1"))
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        model = OpenAIModel("m", base_url="http://model.example/v1")
        assert [ask(model, request()).text for _ in range(2)] == [TEXT] * 2
        assert proxy.connections == 2


@any_way
def test_a_packed_answer_is_none(ask: Way) -> None:
    packed = Answer(TEXT, headers={"Content-Encoding": "gzip"}, change=lambda body: [gzip.compress(body)])
    with Server(packed) as server, pytest.raises(BadReply, match="packed"):
        ask(OpenAIModel("m", base_url=server.url, retries=0), request())


# ---- The deadline ----------------------------------------------------------------------------------------------------


class Raw:
    """A server that does with each connection what a function says."""

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self._serve, self._listening = serve, socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}/v1"
        self.over = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                threading.Thread(target=self._served, args=(connection,), daemon=True).start()

    def _served(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            self._serve(connection)


def dripped(data: bytes, after: bytes = b"") -> Callable[[socket.socket], None]:
    """Return a way to serve that sends a byte at a time, each long before any time-out, all long after the deadline."""

    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(after)
        for byte in data:
            connection.sendall(bytes([byte]))
            time.sleep(0.05)

    return serve


def sipped(connection: socket.socket) -> None:
    """Read a little now and then, so that there is always room for a bit more."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    while connection.recv(2048):
        time.sleep(0.01)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n"
SLOW: dict[str, Callable[[socket.socket], None]] = {
    "the status line": dripped(b"HTTP/1.1 200 " + b"O" * 1000),
    "the head": dripped(b"X: " + b"y" * 1000, after=HEAD),
    "interim responses": dripped(b"HTTP/1.1 100 Continue\r\n\r\n" * 50),
    "the body": dripped(b"{" * 1000, after=HEAD + b"\r\n"),
    "chunks of the body": dripped(
        b"1\r\n{\r\n" * 200, after=HEAD.replace(b"Content-Length: 100000", b"Transfer-Encoding: chunked") + b"\r\n"
    ),
    "an error's body": dripped(b"{" * 1000, after=HEAD.replace(b"200 OK", b"500 X") + b"\r\n"),
    "a redirect's body": dripped(b"{" * 1000, after=HEAD.replace(b"200 OK", b"307 X") + b"Location: /v2\r\n\r\n"),
    "nothing": lambda _: time.sleep(5),
}


@every_way
@pytest.mark.parametrize("what", SLOW)
def test_a_server_that_drips_does_not_outlast_the_deadline(what: str, ask: Way) -> None:
    with Raw(SLOW[what]) as server, clock.waiting() as wait, pytest.raises(BudgetExceeded):
        ask(OpenAIModel("m", base_url=server.url, retries=0), request(seconds=SECONDS))
    assert wait.seconds + wait.withheld > SECONDS * 0.9
    assert wait.seconds < SECONDS + GRACE


@every_way
@pytest.mark.parametrize("serve", [sipped, lambda _: time.sleep(5)], ids=["a little", "nothing"])
def test_a_server_that_reads_slowly_does_not_outlast_the_deadline(
    serve: Callable[[socket.socket], None], ask: Way
) -> None:
    messages = ({"role": "user", "content": "x" * 20_000_000},)
    with Raw(serve) as server, clock.waiting() as wait, pytest.raises(BudgetExceeded):
        ask(OpenAIModel("m", base_url=server.url, retries=0), request(messages=messages, seconds=SECONDS))
    assert wait.seconds < SECONDS + GRACE


@pytest.mark.parametrize("seconds", [SECONDS, None])
def test_a_handshake_that_never_ends_does_not_outlast_the_deadline(seconds: float | None) -> None:
    with Raw(lambda _: time.sleep(5)) as server:
        model = OpenAIModel("m", base_url=server.url.replace("http:", "https:"), retries=0, timeout=SECONDS)
        with clock.waiting() as wait, pytest.raises(TimedOut if seconds is None else BudgetExceeded):
            model.generate(request(seconds=seconds))
    assert wait.seconds < SECONDS + GRACE


@pytest.mark.parametrize("seconds", [SECONDS, None])
def test_a_name_that_is_looked_up_for_ever_does_not_outlast_the_deadline(
    seconds: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()

    def look_up(*_: Any, **__: Any) -> Any:
        over.wait(30)
        raise OSError("nothing was found")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with clock.waiting() as wait, pytest.raises(TimedOut if seconds is None else BudgetExceeded):
        OpenAIModel("m", base_url="http://model.example/v1", retries=0, timeout=SECONDS).generate(
            request(seconds=seconds)
        )
    over.set()
    assert wait.seconds < SECONDS + GRACE


def test_an_address_that_does_not_answer_does_not_keep_the_next_one_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(TEXT) as server, socket.socket() as dead, contextlib.ExitStack() as waiting:
        dead.bind(("127.0.0.1", 0))
        dead.listen(0)
        for _ in range(4):  # what else comes is not answered
            queued = waiting.enter_context(socket.socket())
            queued.setblocking(False)
            queued.connect_ex(dead.getsockname())
        addresses = [
            (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", each)
            for each in (dead.getsockname(), server.server_address)
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
        model = OpenAIModel("m", base_url="http://model.example/v1", retries=0)
        with clock.waiting() as wait:
            assert model.generate(request(seconds=10)).text == TEXT
        assert wait.seconds < 5


@every_way
def test_what_is_late_gives_its_connection_up(ask: Way) -> None:
    with Server(FAULTS["time-out"](Answer(TEXT))) as server:
        with pytest.raises(BudgetExceeded):
            ask(OpenAIModel("m", base_url=server.url), request(seconds=1.0))
        assert server.left.wait(10)


def test_streams_in_one_thread_have_each_its_own_deadline() -> None:
    """What is asked between two pieces of a stream is not held to the stream's deadline, nor the other way round."""
    first = Answer('{"total": 4, "why": "because"}', change=lambda body: [body[:300], fake_server.HANG])
    second = Answer(TEXT, change=lambda body: [1.4, body])
    with Server(first) as one, Server(second) as other:
        stream = OpenAIModel("m", base_url=one.url, retries=0).stream(request(seconds=1.0))
        assert next(stream)
        assert OpenAIModel("m", base_url=other.url).generate(request()).text == TEXT
        assert DEADLINE.get() == float("inf")
        with pytest.raises(BudgetExceeded):
            list(stream)


def test_a_whole_call_keeps_its_budget_under_a_drip_and_is_on_record(trace_file: Any) -> None:
    from guard.trace import TraceStore

    guard.Guard(ScriptedModel("1"), trace=trace_file.with_name("other.db")).generate(int, "?")  # loads what calls need
    with Raw(SLOW["the body"]) as server, clock.waiting() as wait:
        asked = guard.Guard(OpenAIModel("m", base_url=server.url), budget=guard.Budget(seconds=SECONDS))
        with pytest.raises(CallError):
            asked.generate(int, [{"role": "user", "content": "?"}])
    assert wait.seconds < SECONDS + GRACE
    (call,) = TraceStore.at(trace_file).latest()
    assert call.outcome == "BudgetExceeded"


# ---- Ends ------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="this system has no signals for programs")
@every_way
@pytest.mark.parametrize("sent", [0, 100], ids=["before the body", "in the body"])
def test_an_interrupt_ends_a_call_where_it_waits_and_the_model_goes_on(sent: int, ask: Way) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    def answer(_: fake_server.ClientRequest) -> Answer:
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGUSR1)).start()  # by then it waits for what is not sent
        return Answer(TEXT, change=lambda body: [body[:sent], fake_server.HANG])

    before = signal.signal(signal.SIGUSR1, interrupted)
    cut: list[Reply] = []
    try:
        with Server(answer, TEXT, keeps_alive=True) as server:
            model = OpenAIModel("m", base_url=server.url)
            with pytest.raises(KeyboardInterrupt):
                ask(model, request(told=cut.append))
            assert server.left.wait(10)
            assert ask(model, request()).text == TEXT
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert [reply.finish for reply in cut] == ["cut"]


def test_a_stream_that_is_dropped_ends_where_it_is() -> None:
    drip = Answer(TEXT, change=lambda body: [p for byte in body for p in (bytes([byte]), 0.005)])
    with Server(drip) as server:
        stream = OpenAIModel("m", base_url=server.url).stream(request())
        assert next(stream)
        del stream
        assert server.left.wait(10)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_child_that_is_forked_in_the_middle_of_a_stream_asks_for_itself() -> None:
    with Server(TEXT, keeps_alive=True) as server:
        model = OpenAIModel("m", base_url=server.url)
        stream = model.stream(request())
        next(stream)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of Python's, about forks beside threads: the subject
            child = os.fork()
        if child == 0:
            code = 1
            try:
                code = 0 if model.generate(request()).text == TEXT else 1
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        *_, reply = stream
        assert isinstance(reply, Reply)
        assert reply.text == TEXT
        assert server.connections == 2


# ---- Runners ---------------------------------------------------------------------------------------------------------

ACTIONS = st.lists(st.sampled_from(["yield", "nest", "leave"]), max_size=8)


@given(ACTIONS, st.integers(0, 10))
def test_both_carriers_iterate_alike_and_leave_nothing_open(actions: list[str], taken: int) -> None:
    def pieces(runner: Runner) -> list[str]:
        is_open: set[int] = set()

        async def source(depth: int) -> AsyncGenerator[str, None]:
            is_open.add(depth)
            try:
                async with runner.timeout(60):
                    for number, action in enumerate(actions[depth:]):
                        if action == "leave":
                            return
                        if action == "nest" and depth < 3:
                            async with contextlib.aclosing(source(depth + 1)) as inner:
                                async for piece in inner:
                                    yield piece
                        yield f"{depth}.{number}"
            finally:
                is_open.remove(depth)

        iterated: Any = runner.iterate(source(0))
        with contextlib.closing(iterated):
            found = list(itertools.islice(iterated, taken))
        assert not is_open
        return found

    assert pieces(THREAD) == pieces(LOOP)


@given(st.lists(st.sampled_from([0.0, 60.0, None]), min_size=1, max_size=4))
def test_the_innermost_scope_that_is_over_catches_its_own_lateness(scopes: list[float | None]) -> None:
    async def nested(depth: int) -> int:
        if depth == len(scopes):
            if DEADLINE.get() <= time.monotonic():
                raise DeadlinePassed
            return -1
        try:
            async with THREAD.timeout(scopes[depth]):
                return await nested(depth + 1)
        except TimeoutError:
            return depth

    over = [depth for depth, seconds in enumerate(scopes) if seconds == 0.0]
    assert THREAD.run(nested(0)) == (over[-1] if over else -1)
    assert DEADLINE.get() == float("inf")


def test_what_would_wait_for_a_loop_says_so() -> None:
    with pytest.raises(AssertionError, match="waits for an event loop"):
        THREAD.run(asyncio.sleep(0))


def test_context_variables_are_the_caller_s_and_stay_so() -> None:
    variable = contextvars.ContextVar("variable", default="")
    variable.set("caller's")

    async def changed() -> str:
        before = variable.get()
        variable.set("changed")
        return before

    assert THREAD.run(changed()) == "caller's"
    assert variable.get() == "caller's"


def test_a_model_is_asked_also_where_the_application_has_installed_another_kind_of_event_loop() -> None:
    """As a worker of Ray does with uvloop, whose loops can't try several addresses at once."""
    pytest.importorskip("uvloop")
    code = """
import asyncio, sys, uvloop, guard
uvloop.install()
async def ask():
    return await guard.Guard("openai:fake", retries=0).agenerate({"type": "integer"}, "What?")
print(asyncio.run(ask()))
"""
    with Server(Answer("7")) as server:
        environment = {**os.environ, "OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": "none"}
        command = [sys.executable, "-W", "ignore", "-c", code]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "7\n", done.stderr
