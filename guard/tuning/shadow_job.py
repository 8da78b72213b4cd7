"""A shadow run of a version in the registry as a job: one at a time, watched and cancelled by any process.

    ROOT/%shadow.json     the latest job, and how far it is
    ROOT/%shadow.lock     held by the process that runs it
    ROOT/%shadow.cancel   is there where it is to end

The job runs in a process of its own (`main`), which ends with the one that began it. A killed job has left the answers
that it had (kept_answers.py), and the same job goes on from there. No function's folder has such a name.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pickle
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from guard.errors import GuardError
from guard.tuning.examples import learned
from guard.tuning.registry import SHADOW, Registry, lineage, read_json, write_json

if TYPE_CHECKING:
    from guard.trace.store import TraceStore
    from guard.tuning.examples import Pair

STATE, LOCK, CANCEL = "%shadow.json", "%shadow.lock", "%shadow.cancel"
PARTIAL = "shadow.partial"  #: The answers of a run that is not over, in the version's folder.
LOCK_S = 2.0  #: Longest wait for the lock: a look at the state holds it for a moment.
START_S = 60.0  #: Longest wait until the process has begun.
SAVED_EVERY_S = 0.5  #: Between two notes of how far it is.
LOOKED_EVERY_S = 0.1  #: Between two looks whether it is to end.
NICE = 5  #: Of the job's process, beside those that serve.
#: What the job's process runs.
_MAIN = "import sys; sys.path[:] = {path!r}; from guard.tuning.shadow_job import main; main()"


@dataclass(frozen=True)
class ShadowJob:
    """A shadow run that is asked for."""

    function: str
    version: int
    against: int  #: The version beside which it is measured.
    limit: int  #: Most questions, the newest.
    margin: float  #: By which the new version may be worse, as a share of right answers.
    precision: float  #: The precision wanted of answers that the new version serves alone.
    by: str = ""  #: Who asked for it.


def measured(
    registry: Registry, store: TraceStore, asked: ShadowJob, told: Callable[[str, int, int], None]
) -> dict[str, Any]:
    """Run it on the answers in the trace, and keep the report and the calibration with the version.

    Raises GuardError where there is no such version, or where too few right answers are known.
    """
    from guard.tuning import answers, shadow_run
    from guard.tuning.examples import deduplicated
    from guard.tuning.kept_answers import KeptAnswers

    version = registry.version(asked.function, asked.version)
    new, old = (registry.model(asked.function, number) for number in (asked.version, asked.against))
    own = registry.relatives({new, old})
    dropped: Counter[str] = Counter()
    card = version.card
    found_by: list[dict[str, Any]] = [{"function": card.get("function", asked.function)}]
    if found_by[0]["function"] is None:  # it was tuned on a schema, whoever asked for it
        found_by = [{"schema_hash": one} for one in card.get("schemas", ())]
    listed = (answers.from_trace(store, dropped, own=own, **one) for one in found_by)
    right = deduplicated(itertools.chain.from_iterable(listed), dropped)
    kept = KeptAnswers(version.folder / PARTIAL)
    found = shadow_run.run(
        *(new, old, unseen(right, [new, old], asked.limit)),
        margin=asked.margin,
        precision=asked.precision,
        told=told,
        kept=kept,
    )
    shadow_run.keep_calibration(found, version.folder)
    write_json(version.folder / SHADOW, {**found, "against": asked.against})
    kept.forget()
    return found


def unseen(pairs: Sequence[Pair], names: Iterable[str], limit: int) -> list[Pair]:
    """Return the newest pairs whose questions no model was trained on, nor what it was tuned from, oldest first."""
    is_learned = learned(card for name in names for card in lineage(name).values())
    return sorted(itertools.filterfalse(is_learned, pairs), key=lambda pair: pair.started)[-limit:]


def state(registry: Registry) -> dict[str, Any] | None:
    """Return the latest job and how far it is; None where there was none.

    Its `state` is "running", "done", "failed", "cancelled", or "killed": its process has ended before it was over.
    """
    found = read_json(registry.root / STATE)
    if found is not None and found["state"] == "running" and not _is_locked(registry):
        found = read_json(registry.root / STATE) or found  # it may have ended just now
        if found["state"] == "running":
            found["state"] = "killed"
    return found


def cancel(registry: Registry) -> None:
    """Have the job that runs end soon. Raises GuardError where none does."""
    if not (registry.root / LOCK).exists() or not _is_locked(registry):
        raise GuardError("no shadow run is under way")
    (registry.root / CANCEL).touch()


class JobProcess:
    """The process of a job. It ends when this object is closed, or with this process."""

    def __init__(self, registry: Registry, store: TraceStore, asked: ShadowJob) -> None:
        """Start it. Blocks until it has begun; GuardError where another job runs, or where it can't be started."""
        self._process = subprocess.Popen(  # noqa: S603 (this Python, our own program)
            [sys.executable, "-c", _MAIN.format(path=sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._process.stdin is not None and self._process.stdout is not None  # noqa: PT018 (both are asked for)
        late = threading.Timer(START_S, self._process.kill)
        late.start()
        try:
            self._process.stdin.write(pickle.dumps((registry.root, store, asked)))
            self._process.stdin.flush()
            begun = self._process.stdout.readline()
        except OSError:
            begun = b""
        finally:
            late.cancel()
        if not begun:
            self.close()
            raise GuardError("another shadow run is under way, or its process can't be started")

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def close(self) -> None:
        """End it, and wait for its end."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()


def main() -> None:
    """Run the job that standard input names, while that stays open."""
    root, store, asked = pickle.load(sys.stdin.buffer)  # noqa: S301 (the process that began this one wrote it)
    os.nice(NICE)
    registry = Registry(root)
    lock = FileLock(registry.root / LOCK)
    try:
        lock.acquire(timeout=LOCK_S)
    except Timeout:
        sys.exit(1)
    (registry.root / CANCEL).unlink(missing_ok=True)
    progress = _Progress(registry.root, asked)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    threading.Thread(target=_end_when_cancelled, args=(registry.root / CANCEL, progress), daemon=True).start()
    os.write(1, b"begun\n")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nobody reads what else is printed
    try:
        found = measured(registry, store, asked, progress.take)
    except Exception as error:
        words = str(error).splitlines()[0] if isinstance(error, GuardError) else type(error).__name__
        progress.end("failed", error=words)
    else:
        progress.end("done", passed=found["passed"], questions=found["questions"])
    finally:
        lock.release()


class _Progress:
    """Notes in the job's file how far it is. Threads may share it."""

    def __init__(self, root: Path, asked: ShadowJob) -> None:
        self._path, self._lock, self._saved = root / STATE, threading.Lock(), 0.0
        self._is_over = False
        self._facts = {**asdict(asked), "state": "running", "stage": "reading the trace", "done": 0, "of": 0}
        self._facts["started"] = time.time()
        write_json(self._path, self._facts)

    def take(self, stage: str, done: int, of: int) -> None:
        """Note how many questions of a stage are done."""
        with self._lock:
            if self._is_over:
                return
            is_new = stage != self._facts["stage"]
            self._facts |= {"stage": stage, "done": done, "of": of}
            if is_new or time.monotonic() - self._saved >= SAVED_EVERY_S:
                self._saved = time.monotonic()
                write_json(self._path, self._facts)

    def end(self, how: str, **facts: Any) -> None:
        """Note how it ended."""
        with self._lock:
            self._is_over = True
            self._facts |= {"state": how, "ended": time.time(), **facts}
            write_json(self._path, self._facts)


def _end_with_parent() -> None:
    while os.read(0, 1):  # ends with the process that began this one
        pass
    os._exit(1)


def _end_when_cancelled(path: Path, progress: _Progress) -> None:
    while not path.exists():
        time.sleep(LOOKED_EVERY_S)
    progress.end("cancelled")
    os._exit(1)


def _is_locked(registry: Registry) -> bool:
    lock = FileLock(registry.root / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False
