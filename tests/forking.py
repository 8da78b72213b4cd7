"""Guard's command lines in forks of a process that has imported what they need, which takes longer than most tests.

`Forked(arguments, env)` is what `subprocess.Popen([sys.executable, "-m", "guard", *arguments], env=env)` is, with pipes
for its output. One process, the nursery, begins with this one, and ends with it; it has no threads, imports, forks, and
tells how each child ended. A child runs `python -m guard` as it stands, and ends as an interpreter ends.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import os
import runpy
import select
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TextIO

#: What `guard serve` imports, and, behind it, what a model of transformers does.
SERVES = ("guard.cli.app", "guard.cli.serve", "guard.sidecar.process", "guard.sidecar.application")
DECODES = ("torch", "transformers.models.llama.modeling_llama", "guard.models.local")


class Forked:
    """A child of the nursery, with the methods of `Popen` that tests use; `stdout` and `stderr` are pipes of text."""

    def __init__(self, arguments: Sequence[str], env: Mapping[str, str], *, decodes: bool = False) -> None:
        ours, theirs = zip(*(os.pipe() for _ in range(3)), strict=True)
        try:
            asked = json.dumps([list(arguments), dict(env), str(Path.cwd())]).encode()
            nursery = _nursery(decodes)
            socket.send_fds(nursery, [len(asked).to_bytes(4)], theirs)
            nursery.sendall(asked)
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        self.stdout: TextIO = os.fdopen(ours[0])
        self.stderr: TextIO = os.fdopen(ours[1])
        self._told = os.fdopen(ours[2])  # a line with the number of the process, then one with its exit code
        self.pid = int(self._told.readline())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code once there is one; `TimeoutExpired` after so many seconds."""
        if self.returncode is None:
            told = select.poll()
            told.register(self._told, select.POLLIN)
            if not told.poll(None if timeout is None else 1000 * timeout):
                raise subprocess.TimeoutExpired("guard", timeout or 0)
            self.returncode = int(self._told.readline())
            self._told.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


@cache
def _nursery(decodes: bool) -> socket.socket:
    """Start the nursery; what asks it. It ends when this process has ended."""
    ours, theirs = socket.socketpair()
    with theirs:
        command = [sys.executable, __file__, str(theirs.fileno()), *SERVES, *(DECODES if decodes else ())]
        nursery = subprocess.Popen(
            command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )

    def end() -> None:
        nursery.terminate()
        nursery.wait()
        ours.close()

    atexit.register(end)
    return ours


def _main() -> None:
    """The nursery: fork for each request, until nobody can ask any more."""
    asks = socket.socket(fileno=int(sys.argv[1]))
    for module in sys.argv[2:]:
        importlib.import_module(module)
    selector = selectors.DefaultSelector()
    selector.register(asks, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is not asks:
                child, told = key.data
                _, status = os.waitpid(child, 0)
                told.write(f"{os.waitstatus_to_exitcode(status)}\n")
                selector.unregister(key.fileobj)
                os.close(key.fd)
                with contextlib.suppress(BrokenPipeError):
                    told.close()
                continue
            head, descriptors, _, _ = socket.recv_fds(asks, 4, 3)
            if not head:
                return
            asked = json.loads(asks.recv(int.from_bytes(head), socket.MSG_WAITALL))
            child = os.fork()
            if not child:
                asks.close()
                for other in selector.get_map().values():
                    if other.data:
                        os.close(other.fd)
                        os.close(other.data[1].fileno())
                selector.close()
                os.close(descriptors[2])
                _become(asked, descriptors[:2])
            for descriptor in descriptors[:2]:
                os.close(descriptor)
            told = os.fdopen(descriptors[2], "w", buffering=1)
            told.write(f"{child}\n")
            selector.register(os.pidfd_open(child), selectors.EVENT_READ, (child, told))


def _become(asked: Any, output: Sequence[int]) -> None:
    """Run the command line; it ends the process."""
    arguments, env, folder = asked
    for descriptor, name in zip(output, ("stdout", "stderr"), strict=True):
        stream = getattr(sys, name)
        os.dup2(descriptor, stream.fileno())
        os.close(descriptor)
        fresh = open(stream.fileno(), "w", buffering=1 if name == "stderr" else -1, closefd=False)  # noqa: SIM115 (the child keeps it)
        setattr(sys, name, fresh)
        setattr(sys, f"__{name}__", fresh)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    sys.argv = ["guard", *arguments]
    runpy.run_module("guard", run_name="__main__", alter_sys=True)
    sys.exit()


if __name__ == "__main__":
    _main()
