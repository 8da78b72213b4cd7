"""A run of many documents that is killed again and again: what the provider was asked, the trace, and the output.

The provider is this process, and counts how often it is asked about each document; the run is `guard run` in a process
of its own, which gets a `kill -9` at random moments and is begun again with `--resume`. Judged is that every document
is in the output once, with its own answer, and that none is asked about again whose answer was on record at a kill.

`python tests/killed.py --documents 2000 --kills 10` is the long run; tests/guard/batch/test_kills.py is a short one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from guard.testing.fake_server import Answer, ClientRequest, Server

SCHEMA = {
    "type": "object",
    "properties": {"number": {"type": "integer"}},
    "required": ["number"],
    "additionalProperties": False,
}
#: Of each document whose number is a multiple, the answer is never valid; or is at the second try.
NEVER, SECOND = 41, 17


@dataclass
class Judged:
    """What a run came to."""

    documents: int
    kills: int
    asked: Counter[int] = field(default_factory=Counter)  # how often about each document
    recorded: int = 0  # answers that were on record at one kill or another
    again: list[int] = field(default_factory=list)  # documents that were asked about again all the same
    answered: list[int] = field(default_factory=list)  # documents of the output, in its order
    failed: list[int] = field(default_factory=list)
    wrong: list[int] = field(default_factory=list)  # documents with another's answer
    seconds: float = 0.0


def killed(documents: int, kills: int, folder: Path, *, seed: int = 0, delay: float = 0.02) -> Judged:
    """Run, kill and resume until the run ends by itself; the provider takes `delay` seconds for an answer."""
    found = Judged(documents, kills)
    (folder / "schema.json").write_text(json.dumps(SCHEMA))
    with (folder / "in.jsonl").open("w") as file:
        for number in range(documents):
            file.write(json.dumps({"id": number, "text": f"Document number {number}."}) + "\n")
    lock = threading.Lock()

    def answer(request: ClientRequest) -> Answer:
        number = int(re.findall(r"Document number (\d+)\.", request.body["messages"][0]["content"])[0])
        with lock:
            found.asked[number] += 1
        is_first = len(request.body["messages"]) == 1
        is_wrong = number % NEVER == 0 or (number % SECOND == 0 and is_first)
        text = json.dumps({"number": "none" if is_wrong else number})
        return Answer(text, change=lambda body: [delay, body])

    draw = random.Random(seed)
    seen: dict[int, int] = {}  # documents on record at a kill, and how often each was asked about until then
    began = time.perf_counter()
    with Server(answer, keeps_alive=True) as server:
        environment = {
            **os.environ,
            "OPENAI_BASE_URL": server.url,
            "OPENAI_API_KEY": "none",
            "GUARD_TRACE": str(folder / "trace.db"),
        }
        command = [sys.executable, "-m", "guard", "run", "schema.json", "--model", "openai:fake"]
        command += ["--input", "in.jsonl", "--keep", "id", "--output", "out.jsonl", "--concurrency", "16"]
        command += ["--retries", "1"]
        for turn in range(kills + 1):
            before = found.asked.total()
            process = subprocess.Popen(
                [*command, *(["--resume"] if turn else [])],
                cwd=folder,
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
            if turn < kills:
                # After a share of what is left, so that every kill strikes a run that is under way.
                share = draw.uniform(0.2, 1.5) * (documents - len(found.asked)) / (kills + 1 - turn)
                while found.asked.total() < before + max(1, share) and process.poll() is None:
                    time.sleep(draw.uniform(0.0, 0.003))
                process.kill()
                process.communicate()
                on_record = _on_record(folder / "trace.db")
                found.recorded = max(found.recorded, len(on_record))
                with lock:
                    known = {number: found.asked[number] for number in on_record}
                seen = {**known, **seen}
            else:
                _, err = process.communicate()
                assert process.returncode == 1, err.decode()  # some never get a valid answer
    found.again = sorted(number for number, count in seen.items() if found.asked[number] > count)
    for line in (folder / "out.jsonl").read_text().splitlines():
        row = json.loads(line)
        found.answered.append(row["columns"]["id"])
        if row["value"] != {"number": row["columns"]["id"]}:
            found.wrong.append(row["columns"]["id"])
    for line in (folder / "out.jsonl.failures.jsonl").read_text().splitlines():
        found.failed.append(json.loads(line)["columns"]["id"])
    found.seconds = time.perf_counter() - began
    return found


def check(found: Judged) -> None:
    """Raise AssertionError where a document was lost, answered twice, or asked about again."""
    never = [number for number in range(found.documents) if number % NEVER == 0]
    assert found.answered == [number for number in range(found.documents) if number % NEVER]
    assert found.failed == never
    assert found.wrong == []
    assert found.again == []
    assert found.recorded > 0


def _on_record(trace: Path) -> set[int]:
    """Return the documents whose call has ended, by the trace, as another process reads it."""
    if not trace.exists():
        return set()
    with contextlib.closing(sqlite3.connect(f"file:{trace}?mode=ro", uri=True)) as connection:
        try:
            rows = connection.execute("SELECT messages FROM attempts WHERE number = 1").fetchall()
        except sqlite3.OperationalError:  # killed before it made the tables
            return set()
    return {int(number) for (text,) in rows for number in re.findall(r"Document number (\d+)\.", text)}


def main() -> int:
    """Run, and say what it came to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = killed(arguments.documents, arguments.kills, Path(folder), seed=arguments.seed)
    check(found)
    print(
        f"{found.documents:,} documents, {found.kills} kills, {found.seconds:.0f} s; {found.asked.total():,} questions"
    )
    print(f"{len(found.answered):,} answered once, {len(found.failed)} failed")
    print(f"{found.recorded:,} were on record at the last kill, and none of these was asked about again")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
