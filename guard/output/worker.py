"""A worker: a process for checks that may never finish, so that it can be killed. Its parent is worker_pool.py.

It receives jobs over a socket and reports each result as soon as it has it, because it may be killed: the last report
counts. It holds no secrets (its environment has only paths), and has its own limits of memory and processor time, which
apply even if its parent dies. Nothing that it prints is read.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import resource
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from guard.output.judge import NOT_JSON, Judge, JudgedSchema, NoJudgeError, read, too_deep, unlisted
from guard.output.repair import repair

LENGTH = struct.Struct("!Q")  #: The length before each message.
NICE = 5  #: Lets the parent, for which others wait, run first on a busy machine.
MOST_MEMORY = 224_000_000  #: Bytes of the worker's own data, whatever is checked.
MEMORY = 112_000_000  #: Bytes of them for a short text,
EACH = 11  #: more for each byte of a text: ordinary JSON takes 8 in Python,
EACH_OF_SCHEMA = 64  #: and for each of a pickled schema.
ENGINE = "guard.schemas"  #: The module that brings the mask engine.
ENGINE_REGION = 2**28  #: Bytes that the mask engine reserves at its first use, without taking them.
MOST_KEPT = 56_000_000  #: Bytes above which a worker ends after its job, because it does not return memory.
KEPT_JUDGES = 16
ENGINE_SECONDS = 0.5  #: Of one call of the mask engine, where it is asked before the judge.

Known = dict[str, Any]


def main(file: int, seconds: float) -> None:
    """Run jobs until the parent closes the socket; each may take `seconds` of processor time."""
    with contextlib.suppress(OSError):  # a container may forbid it
        os.nice(NICE)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles the terminal's interrupt
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _limit_memory(MEMORY)
    with socket.socket(fileno=file) as line:
        _tell(line, {"ready": True})
        while (job := _next(line)) is not None:
            most = int(time.process_time() + seconds) + 2
            resource.setrlimit(resource.RLIMIT_CPU, (most, resource.RLIM_INFINITY))
            _limit_memory(allowance(*job[:2]) + (ENGINE_REGION if ENGINE in sys.modules else 0))
            for known in check(*job):
                _tell(line, known)
            is_last = _memory() > MOST_KEPT
            _tell(line, {"is_over": True, "is_last": is_last})
            if is_last:
                return


def check(case: bytes | None, text: str, mends: bool, is_hopeless: bool = False) -> Iterator[Known]:
    """Tell of a text: `findings` (None: not known), and, where it was mended, `repaired` and the `edits`.

    `case`: what it is judged by, pickled; None: only whether it is JSON. That its judge was made is told (`is_made`),
    or in words why that can't be (`unjudged`). `is_hopeless`: the judge may well not come to an end, so that the mask
    engine is asked first, which reads a text once: what it refuses is not valid, and what it takes is judged.
    """
    value, findings = read(text)
    if findings and mends and findings[0].rule == NOT_JSON:
        yield {"findings": [vars(finding) for finding in findings]}
        mended = repair(text)
        if mended.edits:
            text = mended.text
            yield {"findings": None, "repaired": text, "edits": [vars(edit) for edit in mended.edits]}
            value, findings = read(text)
    if case is None or findings:
        yield {"findings": [vars(finding) for finding in findings]}
        return
    try:
        judge = _judge(case)
    except NoJudgeError as error:
        yield {"unjudged": [error.words, error.at]}
        return
    yield {"is_made": True}
    try:
        meant = judge.meant(value)
    except RecursionError:
        yield {"findings": [vars(finding) for finding in too_deep(text)]}
        return
    if is_hopeless and _is_refused(case, text):
        yield {"findings": [vars(finding) for finding in unlisted(text)]}
        return
    if judge.is_valid(meant):
        yield {"findings": []}
        return
    yield {"findings": [vars(finding) for finding in unlisted(text)]}
    yield {"findings": [vars(finding) for finding in judge.findings(meant)]}


@lru_cache(KEPT_JUDGES)
def _judge(case: bytes) -> Judge:
    return Judge(JudgedSchema(*pickle.loads(case)), backtracks=True)  # noqa: S301 (the parent's own)


def allowance(case: bytes | None, text: str) -> int:
    """Return how many bytes a check may take: by what is checked, so that a short text can't fill the machine."""
    return min(MOST_MEMORY, MEMORY + EACH * len(text) + EACH_OF_SCHEMA * len(case or b""))


def _limit_memory(most: int) -> None:
    with contextlib.suppress(ValueError, OSError):  # systems differ in what they can limit
        resource.setrlimit(resource.RLIMIT_DATA, (most, MOST_MEMORY + ENGINE_REGION))


def _is_refused(case: bytes, text: str) -> bool:
    """Whether the mask engine refuses a text in every spelling."""
    _limit_memory(allowance(case, text) + ENGINE_REGION)
    from guard import schemas  # here: few texts come to it
    from guard.errors import SchemaError
    from guard.schemas import Limits, Vocabulary

    schema, draft, formats, documents = pickle.loads(case)  # noqa: S301 (the parent's own)
    vocabulary = Vocabulary.from_bytes([*(bytes([byte]) for byte in range(256)), b""], eos=[256])
    try:
        compiled = schemas.compile(
            schema,
            key_order="any",
            whitespace="any",
            spelling="any",
            formats=formats,
            draft=draft,
            documents=documents,
            inexact="residual",
            limits=Limits(nesting=len(text) + 1, seconds=ENGINE_SECONDS),
        )
        matcher = compiled.matcher(vocabulary)
        return not (matcher.accept_bytes(text.encode()) and matcher.can_stop())
    except (SchemaError, UnicodeEncodeError):  # nothing is known
        return False


def _next(line: socket.socket) -> Any:
    """Return the next job; None where the parent has closed the socket or died."""
    head = line.recv(LENGTH.size, socket.MSG_WAITALL)
    if len(head) < LENGTH.size:
        return None
    (size,) = LENGTH.unpack(head)
    body = bytearray(size)
    view = memoryview(body)
    while size:
        taken = line.recv_into(view[len(body) - size :])
        if not taken:
            return None
        size -= taken
    return pickle.loads(body)  # noqa: S301 (the parent's own)


def _tell(line: socket.socket, known: Known) -> None:
    body = json.dumps(known).encode()
    line.sendall(LENGTH.pack(len(body)) + body)


def _memory() -> int:
    """Return the bytes that are resident; the most that ever were would also be those of the parent, before `exec`."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:  # no Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
