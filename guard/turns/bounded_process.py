"""A stranger's template is worked on in a process of its own, within bounds of time and memory, without secrets.

The process runs `main` of a module. It reads the job, one JSON value, on standard input and writes one line of JSON for
each item; what it can't write in time is missing at the end.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from typing import Any

#: The variables of the environment that the process gets.
KEPT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LANG", "LC_ALL", "SYSTEMROOT")
_MAIN = "import sys; sys.path[:] = {path!r}; from {module} import main; main()"


def results(module: str, job: Any, count: int, wait: float, more: tuple[str, ...] = ()) -> list[Any]:
    """Return the `count` results of a job, None for each that is missing; `more` names variables that are kept too.

    The process may take `wait` seconds of wall-clock time. Raises OSError where it can't be started.
    """
    environment = {name: os.environ[name] for name in (*KEPT, *more) if name in os.environ}
    try:
        done = subprocess.run(  # noqa: S603 (this Python, our own module)
            [sys.executable, "-c", _MAIN.format(path=sys.path, module=module)],
            input=json.dumps(job).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            timeout=wait,
            check=False,
        ).stdout
    except subprocess.TimeoutExpired as error:
        done = error.stdout or b""
    out = [json.loads(line) for line in done.split(b"\n")[:-1]]  # the last line may be cut off
    return [*out, *[None] * (count - len(out))][:count]


def limit(seconds: int, nbytes: int) -> None:
    """Bound this process's processor time and address space, as far as the system has such limits."""
    import resource

    for kind, most in ((resource.RLIMIT_CPU, seconds), (resource.RLIMIT_AS, nbytes), (resource.RLIMIT_CORE, 0)):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (most, most))
