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

    def __init__(self, socket: Path) -> None:
        self.url = f"postgresql://postgres@/postgres?host={socket}"
        self._names = (f"trace{n}" for n in itertools.count(1))

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
        subprocess.run([*initdb, "--no-sync"], check=True, capture_output=True, cwd=base, **who)  # type: ignore[call-overload]  # noqa: S603
        command = [folder / "postgres", "-D", data, "-k", base, "-c", "listen_addresses=", "-c", "fsync=off"]
        with (base / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=base, **who)  # type: ignore[call-overload]  # noqa: S603
        try:
            server = Server(base)
            until = time.monotonic() + START_S
            while not server.answers():
                if process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"PostgreSQL did not start:\n{(base / 'log').read_text()}")
                time.sleep(0.05)
            yield server
        finally:
            process.send_signal(signal.SIGQUIT)  # at once: what it holds is thrown away
            process.wait(30)
    finally:
        shutil.rmtree(base, ignore_errors=True)
