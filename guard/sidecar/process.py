"""The process: sockets, signals, and several workers where one is not enough.

SIGTERM and SIGINT drain: /health/ready turns 503, new requests are refused, running ones finish, and the process ends
with 0. A second signal ends it at once. SIGHUP reads the settings again, one reload after the other, and the log says
what has changed. A file that is wrong, or names no model any more, is refused in the log; the old settings stay.
A SIGHUP that comes while a process starts waits until it serves.
Workers are processes of their own that share a socket and the trace; a worker that dies is replaced, and one that then
can't begin, because the trace is away or the file is wrong by now, is tried again and again. They drain once,
however often they are told to: a signal to the whole process group reaches them, and their parent passes it on as well.
Only the parent counts, and ends them at once by a signal of its own. Without a parent they drain.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import gc
import ipaddress
import logging
import multiprocessing
import os
import resource
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import uvicorn

from guard import kernels, models
from guard.errors import GuardError, ModelError, SettingError
from guard.settings import Settings
from guard.sidecar import access_log, key_requirement, keys
from guard.sidecar import settings as settings_module
from guard.sidecar.settings import ServeSettings
from guard.support import memory
from guard.support.plain_text import plain, plain_line
from guard.trace import TraceStore
from guard.trace.retention import Retention

if TYPE_CHECKING:
    from guard.sidecar.application import Sidecar

BACKLOG = 4096  #: Connections that wait to be accepted.
OTHER_THREADS = 32  #: Threads for the trace and for compiling schemas, beside one for each request that decodes here.
SWITCH_S = 0.0003  #: Switch interval of the GIL; Python's default is 5 ms. 0.1 ms costs a tenth of the requests/s.
#: Settings that are read at the start only.
STARTED = frozenset(
    {"host", "port", "metrics_host", "metrics_port", "workers", "connections", "head_bytes", "head_seconds"}
    | {"keep_alive_seconds", "access_log", "needs_key", "origins"}
)
#: The same of the settings that all of Guard has.
TRACE = ("trace", "trace_days", "trace_calls")
ENGINE_BYTES = 192_000_000  #: Bound of the mask engine's tables; lower than in a program that serves nobody else.
AT_ONCE = signal.SIGUSR1  #: By which the parent ends its workers at once.
AGAIN_S = 3.0  #: Seconds until a worker that could not begin is tried again.
SPARE_FILES = 256  #: File descriptors reserved for other uses than clients' connections.

_SPAWN = multiprocessing.get_context("spawn")
_log = logging.getLogger("guard.sidecar")


@dataclass(frozen=True)
class Start:
    """The options of the command line. All else is in the settings, which a reload reads again."""

    config: Path | None = None
    host: str | None = None
    port: int | None = None
    workers: int | None = None

    def settings(self) -> tuple[ServeSettings, Settings]:
        """Read the settings; SettingError says what is wrong."""
        serve, common = settings_module.load(self.config)
        named = {"host": self.host, "port": self.port, "workers": self.workers}
        changed = {name: value for name, value in named.items() if value is not None}
        return serve.model_copy(update=changed), common


def check(start: Start) -> ServeSettings:
    """Return the settings if a server can start with them. Raises GuardError, which says why not.

    It only looks: nothing is made, and a trace of an older Guard stays as it is.
    """
    with Settings.of(start.config):
        return _checked(start)


def _checked(start: Start) -> ServeSettings:
    serve, common = start.settings()
    for name, model in serve.models.items():
        try:
            models.check_there(model.model)
        except ModelError as error:
            raise ModelError(f"the model {name} can't be served: {error.message}") from None
    try:
        models.check_there(common.model)
    except ModelError as error:
        raise SettingError(f"the setting model={common.model!r}: {error.message}") from None
    store = _store(common)
    store.check_usable()
    access_log.check(serve.access_log)
    _check_keys(serve, store)
    _check_addresses(serve)
    return serve


def run(start: Start) -> int:
    """Serve until a signal ends it; returns the exit code."""
    with Settings.of(start.config), _held_back():
        return _run(start)


def _run(start: Start) -> int:
    serve = _checked(start)
    _store(start.settings()[1]).check_writable()
    if serve.needs_key is False:
        key_requirement.forget(_store(start.settings()[1]))
    _more_files(serve.connections)
    listener = _listen(serve.host, serve.port)
    address = _address(listener)
    if serve.workers == 1:
        return _serve(start, listener, address)
    return _Workers(start, serve, start.settings()[1], listener, address).run()


class _Server(uvicorn.Server):
    """uvicorn's server, ended by draining."""

    def __init__(
        self, config: uvicorn.Config, start: Start, sidecar: Any, common: Settings, family: _Family | None
    ) -> None:
        super().__init__(config)
        self._common = common  # of which those of TRACE stay in force
        self._start, self._sidecar, self._family = start, sidecar, family
        self._at_start: ServeSettings = sidecar.settings  # of which those of STARTED stay in force
        self._draining: asyncio.Task[None] | None = None
        self._reloading: asyncio.Task[None] | None = None
        self._is_asked = False  # to reload, since the settings were last read

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start. A failure is raised, not printed."""
        loop = asyncio.get_running_loop()
        if self._family is not None:
            loop.add_signal_handler(AT_ONCE, self.handle_exit, AT_ONCE, None)
            parent = multiprocessing.parent_process()
            assert parent is not None
            loop.add_reader(parent.sentinel, self._orphaned, parent.sentinel)
        await super().startup(sockets)
        if self.should_exit:
            return
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
        if self._family is not None:
            self._family.begun.value = 1

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 (uvicorn's)
        """Drain at the first signal, end at the second; a worker ends at its parent's word only."""
        if sig == AT_ONCE if self._family is not None else self._sidecar.is_draining:
            self.should_exit = self.force_exit = True
        self._begin_to_drain()

    def _orphaned(self, sentinel: int) -> None:
        """Drain: the parent was killed, and nobody else would end this worker, which holds the port."""
        asyncio.get_running_loop().remove_reader(sentinel)
        _log.error("the parent of the workers is gone")
        self._begin_to_drain()

    def _begin_to_drain(self) -> None:
        if not self._sidecar.is_draining:
            self._sidecar.is_draining = True
            self._draining = asyncio.get_running_loop().create_task(self._drain())

    async def _drain(self) -> None:
        _log.info("draining: %d requests under way", len(self._sidecar.contexts))
        until = time.monotonic() + self._sidecar.settings.drain_seconds
        while self._is_busy() and time.monotonic() < until:  # noqa: ASYNC110 (once in a process's life)
            await asyncio.sleep(0.02)
        self.should_exit = True

    def _is_busy(self) -> bool:
        """Whether a request is under way, or an answer on its way to its client."""
        return bool(self._sidecar.contexts) or any(
            connection.transport.get_write_buffer_size() for connection in self.server_state.connections
        )

    def _reload(self) -> None:
        """Read the settings. During a reload, note that one more is due: the last written file must count."""
        self._is_asked = True
        if self._reloading is None or self._reloading.done():
            self._reloading = asyncio.get_running_loop().create_task(self._reload_in_turn())

    async def _reload_in_turn(self) -> None:
        while self._is_asked:
            self._is_asked = False
            await self._reloaded()

    async def _reloaded(self) -> None:
        before = self._sidecar.settings
        try:
            serve, common = await asyncio.to_thread(self._start.settings)
            _check_models(before, serve)
            await asyncio.to_thread(self._sidecar.replace, serve)
        except GuardError as error:
            _log.error("not reloaded, and served on as before: %s", error)
        except Exception:  # on any failure the old settings stay
            _log.exception("not reloaded, and served on as before")
        else:
            _log.info("reloaded: %s", _changes(before, serve, self._at_start, self._late(common)))

    def _late(self, common: Settings) -> list[str]:
        """Return the settings of the trace that have changed since the start, and that a restart puts in force."""
        return [name for name in TRACE if getattr(common, name) != getattr(self._common, name)]


def _check_models(before: ServeSettings, after: ServeSettings) -> None:
    """Raise SettingError where settings name no model any more: an emptied or missing file is taken for an accident."""
    if "models" in before.model_fields_set and "models" not in after.model_fields_set:
        raise SettingError(
            f"no model is named any more, and {', '.join(before.models)} would be dropped for the default;"
            " is the file empty, or gone? name a model, or restart to serve the default"
        )


def _changes(before: ServeSettings, after: ServeSettings, at_start: ServeSettings, more: Sequence[str] = ()) -> str:
    """Return the words of the log about a reload: what has changed, and what needs a restart, such as `more`."""
    default = "" if "models" in after.model_fields_set else " (the default: no model is named)"
    words = [f"serving {', '.join(after.models)}{default}"]
    new = [name for name in after.models if name not in before.models]
    gone = [name for name in before.models if name not in after.models]
    other = [name for name in after.models if name in before.models and after.models[name] != before.models[name]]
    words += [
        f"{what} {', '.join(names)}" for what, names in (("new", new), ("gone", gone), ("changed", other)) if names
    ]
    fields = [name for name in ServeSettings.model_fields if name != "models"]
    if live := [name for name in fields if name not in STARTED and getattr(before, name) != getattr(after, name)]:
        words.append(f"changed {', '.join(live)}")
    late = [name for name in fields if name in STARTED and getattr(at_start, name) != getattr(after, name)]
    if late := [*late, *more]:
        words.append(f"{', '.join(late)} will change at a restart")
    return "; ".join(words if len(words) > 1 else [*words, "nothing has changed"])


def _serve(start: Start, listener: socket.socket, address: str, family: _Family | None = None) -> int:
    """Serve in this process; a worker is given what its parent tells all of them."""
    from guard.sidecar.http_limits import HeldBytes, Wire

    _logging()
    serve, common = start.settings() if family is None else family.settings(start)
    failure: list[BaseException] = []

    async def main() -> None:
        sidecar = begun(serve, common, None if family is None else family.seen)
        config = uvicorn.Config(
            _failing(sidecar, failure),
            http=functools.partial(Wire, serve, HeldBytes()),  # type: ignore[arg-type]  # called like the class that it stands for
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            timeout_keep_alive=serve.keep_alive_seconds,
            timeout_graceful_shutdown=1,
        )
        server = _Server(config, start, sidecar, common, family)
        if family is None:
            _metrics_server(serve)
        announced = asyncio.create_task(_announce(server, serve, address)) if family is None else None
        await server.serve(sockets=[listener])
        if announced is not None:
            announced.cancel()

    runner = asyncio.Runner(loop_factory=_loop_factory())
    try:
        with contextlib.suppress(SystemExit), runner:
            runner.run(main())
    finally:
        gc.unfreeze()  # what Sidecar.life froze: at the exit a native module (Triton's) reports what is not collected
    if failure:
        raise failure[0]
    return 0


def begun(serve: ServeSettings, common: Settings, seen: Any = None) -> Sidecar:
    """Make what the requests of this process share, in its event loop, and set the process up for them.

    `seen`: see `key_requirement.Door`.
    """
    from concurrent.futures import ThreadPoolExecutor

    from guard.sidecar.application import Sidecar

    memory.hold_little()
    kernels.limit_memory(ENGINE_BYTES)
    # The loop, and the thread that records, wait this long for the GIL beside others, some twenty times a request.
    sys.setswitchinterval(SWITCH_S)
    decoding = sum(model.slots for model in serve.models.values() if not model.is_remote)
    threads = ThreadPoolExecutor(OTHER_THREADS + decoding, thread_name_prefix="guard")
    asyncio.get_running_loop().set_default_executor(threads)
    store = _store(common)
    door = key_requirement.Door(store, serve.needs_key, is_beyond_loopback=not is_loopback(serve.host), seen=seen)
    return Sidecar(serve, store, door)


def _failing(sidecar: Any, failure: list[BaseException]) -> Any:
    """Wrap the application so that a failure of its start is kept; uvicorn would only print it."""

    async def kept(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await sidecar.app(scope, receive, send)
            return
        message = await receive()
        assert message["type"] == "lifespan.startup"
        life = sidecar.life()
        try:
            await life.__aenter__()
        except Exception as error:
            failure.append(error)
            await send({"type": "lifespan.startup.failed", "message": ""})
            return
        await send({"type": "lifespan.startup.complete"})
        try:
            await receive()
        except asyncio.CancelledError:  # a second signal: the process ends at once, and nothing is said of it
            return
        await life.__aexit__(None, None, None)
        await send({"type": "lifespan.shutdown.complete"})

    return kept


@dataclass(frozen=True)
class _Family:
    """What the parent of workers tells each of them."""

    at_start: Mapping[str, Any]  # what is in force of STARTED and TRACE until a restart
    # Shared numbers. They have no lock, which a worker that is killed could keep.
    seen: Any = field(default_factory=lambda: _SPAWN.RawValue("b", 0))  # 1: keys were seen
    begun: Any = field(default_factory=lambda: _SPAWN.RawValue("b", 0))  # 1: some worker has served

    def settings(self, start: Start) -> tuple[ServeSettings, Settings]:
        """Read the settings for a worker, which may take another's place long after the start."""
        serve, common = start.settings()
        return (
            serve.model_copy(update={name: self.at_start[name] for name in STARTED}),
            common.model_copy(update={name: self.at_start[name] for name in TRACE}),
        )


class _Workers:
    """The parent process of workers."""

    def __init__(
        self, start: Start, serve: ServeSettings, common: Settings, listener: socket.socket, address: str
    ) -> None:
        self._start, self._serve, self._listener, self._address = start, serve, listener, address
        at_start = {name: getattr(serve, name) for name in STARTED} | {name: getattr(common, name) for name in TRACE}
        self._family = _Family(at_start)
        self._children: list[Any] = []
        self._due: dict[int, float] = {}  # when a worker is replaced that has ended, by its place in the list
        self._is_ending = self._is_ending_at_once = False
        self._told: dict[int, int] = {}  # the signal by which a worker was told to end

    def run(self) -> int:
        """Keep the workers at work until a signal ends them."""
        _logging()
        folder = tempfile.mkdtemp(prefix="guard-metrics-")
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder  # before anything imports guard.sidecar.metrics
        try:
            for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(sig, self._pass_on)
            self._children = [self._child() for _ in range(self._serve.workers)]
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
            _metrics_server(self._serve)
            print(_words(self._serve, self._address), file=sys.stderr, flush=True)
            return self._watch()
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _watch(self) -> int:
        while True:
            time.sleep(0.05)
            if self._is_ending:
                if not any(child.is_alive() for child in self._children):
                    codes = [child.exitcode or 0 for at, child in enumerate(self._children) if at not in self._due]
                    return max(0, *codes)
                sig = AT_ONCE if self._is_ending_at_once else signal.SIGTERM
                for child in self._children:
                    if child.is_alive() and self._told.get(child.pid) != sig:
                        self._told[child.pid] = sig
                        os.kill(child.pid, sig)
                continue
            for at, child in enumerate(self._children):
                if child.is_alive():
                    continue
                if child.exitcode > 0 and not self._family.begun.value:  # it could not begin, and no other could
                    self._is_ending = True
                    break
                if at not in self._due:
                    self._due[at] = time.monotonic() + self._missed(child)
                if self._due[at] <= time.monotonic():
                    del self._due[at]
                    self._children[at] = self._child()

    def _missed(self, child: Any) -> float:
        """Say that a worker has ended; return the seconds until another begins."""
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(child.pid)  # type: ignore[no-untyped-call] # prometheus-client's
        if child.exitcode > 0:
            _log.error("worker %d ended with %d; another begins in %g s", child.pid, child.exitcode, AGAIN_S)
            return AGAIN_S
        how = f"was ended by signal {-child.exitcode}" if child.exitcode else "has drained"
        _log.error("worker %d %s; another begins", child.pid, how)
        return 0.0

    def _child(self) -> Any:
        child = _SPAWN.Process(target=_work, args=(self._start, self._listener, self._address, self._family))
        with _held_back():
            child.start()
        return child

    def _pass_on(self, sig: int, _frame: FrameType | None) -> None:
        if sig != signal.SIGHUP:
            self._is_ending_at_once = self._is_ending
            self._is_ending = True
            return
        for child in self._children:
            if child.is_alive():
                os.kill(child.pid, sig)


def _work(start: Start, listener: socket.socket, address: str, family: _Family) -> None:
    """Serve in a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # until the server takes it: Ctrl-C reaches the parent as well
    try:
        with Settings.of(start.config):
            sys.exit(_serve(start, listener, address, family))
    except GuardError as error:
        print(f"guard: {plain_line(str(error))}", file=sys.stderr)
        sys.exit(1)


@contextlib.contextmanager
def _held_back() -> Iterator[None]:
    """Let a SIGHUP wait, here and in processes that begin here: it ends one that has no handler for it yet."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


async def _announce(server: uvicorn.Server, serve: ServeSettings, address: str) -> None:
    while not server.started:  # noqa: ASYNC110 (uvicorn has no event for it)
        await asyncio.sleep(0.01)
    print(_words(serve, address), file=sys.stderr, flush=True)


def _words(serve: ServeSettings, address: str) -> str:
    return f"guard: serving {', '.join(serve.models)} on {address}/v1, and a page for you on {address}/ui"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_keys(serve: ServeSettings, store: TraceStore) -> None:
    is_local = is_loopback(serve.host)
    if serve.needs_key is False and not is_local:
        raise SettingError(
            f"host={serve.host!r} can be reached from elsewhere: needs_key = false is for loopback alone"
        )
    if is_local and not serve.needs_key:
        return
    if keys.are_there(store):
        return
    if is_local:
        raise SettingError("needs_key = true, and there is no key yet: make one with `guard keys create NAME`")
    raise SettingError(
        f"host={serve.host!r} can be reached from elsewhere, and there is no key yet: make one with"
        " `guard keys create NAME`, or listen on 127.0.0.1"
    )


def _store(common: Settings) -> TraceStore:
    return TraceStore(common.trace_path(), Retention(common.trace_days, common.trace_calls))


def _check_addresses(serve: ServeSettings) -> None:
    """Raise SettingError where an address can't be this machine's; a port may be in use by a server that runs now."""
    asked = [("host", serve.host, "port", serve.port)]
    if serve.metrics_port is not None:
        asked.append(("metrics_host", serve.metrics_host, "metrics_port", serve.metrics_port))
    found = []
    for host_name, host, port_name, port in asked:
        try:
            with _bound(host, 0) as listener:
                found.append(ipaddress.ip_address(listener.getsockname()[0].partition("%")[0]))
            with _bound(host, port):
                pass
        except (OSError, ValueError) as error:  # ValueError: of a name that is none
            if getattr(error, "errno", None) != errno.EADDRINUSE:
                words = getattr(error, "strerror", None) or error
                raise SettingError(f"can't listen on {host_name}={host!r}, {port_name}={port}: {words}") from None
    is_one = len(set(found)) < len(found) or any(address.is_unspecified for address in found)
    if is_one and serve.metrics_port == serve.port != 0:
        raise SettingError(f"metrics_port={serve.metrics_port} is also the port; name another")


def _bound(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except BaseException:
        listener.close()
        raise
    return listener


def _listen(host: str, port: int) -> socket.socket:
    try:
        listener = _bound(host, port)
        listener.listen(BACKLOG)
    except OSError as error:
        raise SettingError(
            f"can't listen on {host}:{port}: {error.strerror or error}; name another --host or --port"
        ) from None
    listener.setblocking(False)
    return listener


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _metrics_server(serve: ServeSettings) -> None:
    if serve.metrics_port is None:
        return
    from prometheus_client import start_http_server

    from guard.sidecar import metrics

    try:
        server, _ = start_http_server(serve.metrics_port, serve.metrics_host, metrics.registry())
    except OSError as error:
        raise SettingError(f"can't listen on metrics_port={serve.metrics_port}: {error.strerror or error}") from None
    host, port = server.server_address[:2]
    print(f"guard: metrics on http://{host!s}:{port}/metrics", file=sys.stderr, flush=True)


def _more_files(connections: int) -> None:
    """Raise the limit of open files to what the connections need, as far as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections * 2 + SPARE_FILES
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))


def _loop_factory() -> Any:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


class _Lines(logging.Formatter):
    """A log formatter: a message is one line, its traceback follows, and neither can send commands to a terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's)
        return plain_line(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 (logging's)
        return plain(super().formatException(ei))


def _logging() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines("guard: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.INFO)
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # clients are told of their own errors
    for name in ("httpx2", "openai"):
        logging.getLogger(name).setLevel(logging.WARNING)
