"""A PostgreSQL server of the tests' own, from the binaries of this machine's packages, on a Unix socket alone."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

INSTALL = "PostgreSQL's server is not here: install it (Debian: apt-get install postgresql), as .ci/run does"
START_S = 60.0  #: Longest wait for the server.


def binaries() -> Path | None:
    """Return the folder with `initdb` and `postgres`, the newest where there are several; None where there is none."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name), reverse=True)
    return next((f for f in folders if (f / "initdb").exists() and (f / "postgres").exists()), None)


class Server:
    """A running server: every call of `place` makes another empty namespace in its one database."""

    def __init__(self, base: Path, command: list[object], who: dict[str, object]) -> None:
        self.url = f"postgresql://postgres@/postgres?host={base}"
        self._base, self._command, self._who = base, command, who
        self._names = (f"trace{n}" for n in itertools.count(1))
        self._process: subprocess.Popen[bytes] | None = None

    def rise(self) -> None:
        """Start, and return once it answers."""
        with (self._base / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, cwd=self._base, **self._who)
        until = time.monotonic() + START_S
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"PostgreSQL did not start:\n{(self._base / 'log').read_text()}")
            time.sleep(0.05)

    def die(self) -> None:
        """End at once: what it has not committed is thrown away."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(30)

    @property
    def pid(self) -> int:
        """The process that the others are children of."""
        assert self._process is not None
        return self._process.pid

    def answers(self) -> bool:
        import psycopg

        try:
            psycopg.connect(self.url).close()
        except psycopg.OperationalError:
            return False
        return True

    def place(self) -> str:
        """Return the URL of an empty namespace, which serves as a database and costs far less."""
        import psycopg

        name = next(self._names)
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {name}")
        return f"{self.url}&options=-csearch_path%3D{name}"


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Server]:
    """Start a server from the binaries in a folder, which forgets everything at the end."""
    # Not pytest's folder: a socket's path is at most 107 bytes long, and the server's user must reach it.
    base = Path(tempfile.mkdtemp(prefix="guard-pg-"))
    who: dict[str, object] = {}
    if os.geteuid() == 0:  # the server refuses to run as root
        who = {"user": "postgres", "group": "postgres", "extra_groups": []}
        shutil.chown(base, "postgres", "postgres")
    try:
        data = base / "data"
        initdb = [folder / "initdb", "-D", data, "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"]
        subprocess.run([*initdb, "--no-sync"], check=True, capture_output=True, cwd=base, **who)
        command = [folder / "postgres", "-D", data, "-k", base, "-c", "listen_addresses=", "-c", "fsync=off"]
        server = Server(base, [*command, "-c", "max_connections=200"], who)
        try:
            server.rise()
            yield server
        finally:
            server.die()
    finally:
        shutil.rmtree(base, ignore_errors=True)
