"""A batch on a Ray cluster of three nodes of which one is killed, and a driver that is killed and begun again.

The provider is this process, and counts how often it is asked about each document. The cluster is on this machine, the
driver of the run a process of its own. Judged is that every document has one answer, its own, in the output; that the
trace has one call for each input of the run; and that none is asked about again whose answer was on record: each kill
may cost the questions that were under way then, and no more.

`python tests/ray_cluster.py --documents 5000` is the long run; tests/guard/batch/test_ray.py is a short one.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from guard.testing.fake_server import Answer, ClientRequest, Server
from guard.trace import TraceStore

#: The driver of a run: documents in, answers into a Parquet file; what it prints last are the figures of the run.
DRIVER = '''
import json, sys
import pyarrow as pa, pyarrow.parquet
import ray
from pydantic import BaseModel
import guard
from guard.integrations.ray import RayEngine

class Number(BaseModel):
    number: int

@guard.structured(model="openai:fake", retries=0)
def read(text: str) -> Number:
    """Read the number."""

address, documents, concurrency, output = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
ray.init(address=address, log_to_driver=False)
engine = RayEngine(workers=3, num_cpus=1)
texts = [f"Document number {number}." for number in range(documents)]
rows, kept = [], 0
with guard.map(read, texts, engine=engine, concurrency=concurrency, resume="documents") as results:
    for result in results:
        kept += result.is_kept
        failed = None if result.error is None else type(result.error).__name__
        number = None if failed else result.value.number
        rows.append({"document": result.index, "number": number, "error": failed})
pyarrow.parquet.write_table(pa.Table.from_pylist(rows), output)
print(json.dumps({"kept": kept}))
'''
CONCURRENCY = 8  #: Questions that each of the three workers asks at once.
NEVER = 41  #: Of each document whose number is a multiple, the answer is never valid.


@dataclass
class Judged:
    """What a run came to."""

    documents: int
    kills: int = 0
    asked: Counter[int] = field(default_factory=Counter)  # how often about each document
    again: list[int] = field(default_factory=list)  # documents asked about again that were on record at a kill
    rows: list[dict[str, object]] = field(default_factory=list)  # of the output
    kept: int = 0  # answers that the second driver had of the first
    items: int = 0  # inputs of the run in the trace
    calls: int = 0  # calls in the trace
    seconds: float = 0.0


class Killed:
    """A run under way, and what is killed of it."""

    def __init__(self, documents: int, folder: Path, delay: float) -> None:
        self.found = Judged(documents)
        self._folder, self._delay = folder, delay
        self._lock = threading.Lock()
        self._known: dict[int, int] = {}  # documents on record at a kill, and how often each was asked about until then
        self._store = TraceStore.at(folder / "trace.db")

    def answer(self, request: ClientRequest) -> Answer:
        """Answer for the provider."""
        number = int(re.findall(r"Document number (\d+)\.", request.body["messages"][0]["content"])[0])
        with self._lock:
            self.found.asked[number] += 1
        text = json.dumps({"number": "none" if number % NEVER == 0 else number})
        return Answer(text, change=lambda body: [self._delay, body])

    def wait(self, share: float, process: subprocess.Popen[str]) -> None:
        """Wait until so many of the documents were asked about."""
        while len(self.found.asked) < share * self.found.documents and process.poll() is None:
            time.sleep(0.02)

    def note(self) -> None:
        """Note what is on record after a kill: it may not be asked about again."""
        time.sleep(0.2)  # what was committed is to be seen, and what was under way to have been asked
        self.found.kills += 1
        with self._lock:
            asked, now = Counter(self.found.asked), time.time()
        for call in self._store.each():
            if call.started + call.seconds > now:  # it ended after the questions were counted
                continue
            number = int(re.findall(r"Document number (\d+)\.", str(call.attempts[0].messages))[0])
            self._known.setdefault(number, asked[number])

    def run(self, address: str, kill_node: Callable[[], object]) -> None:
        """Run: a node is killed after a third, the driver after two; then the run is begun again, to its end."""
        began = time.perf_counter()
        process = self._driver(address)
        self.wait(1 / 3, process)
        kill_node()
        self.note()
        self.wait(2 / 3, process)
        process.kill()
        process.communicate()
        time.sleep(1.0)  # until the workers have ended with their driver
        self.note()
        process = self._driver(address)
        out, err = process.communicate(timeout=900)
        assert process.returncode == 0, err
        self.found.kept = json.loads(out.splitlines()[-1])["kept"]
        self.found.seconds = time.perf_counter() - began
        self._judge()

    def _driver(self, address: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", DRIVER, address, str(self.found.documents), str(CONCURRENCY), "out.parquet"]
        return subprocess.Popen(command, cwd=self._folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def _judge(self) -> None:
        import pyarrow.parquet

        found = self.found
        found.again = sorted(number for number, count in self._known.items() if found.asked[number] > count)
        found.rows = pyarrow.parquet.read_table(self._folder / "out.parquet").to_pylist()
        found.items, found.calls = len(self._store.items("documents")), self._store.count()


def killed(documents: int, folder: Path, *, delay: float = 0.02) -> Judged:
    """Run on a cluster of three nodes of this machine; the provider takes `delay` seconds for an answer."""
    import ray
    from ray.cluster_utils import Cluster

    killed = Killed(documents, folder, delay)
    with Server(killed.answer, keeps_alive=True) as server:
        # Workers have the environment of their node.
        more = {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": "none", "GUARD_TRACE": str(folder / "trace.db")}
        more |= {"RAY_DATA_DISABLE_PROGRESS_BARS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
        os.environ |= more
        memory = {"object_store_memory": 80 * 2**20, "num_cpus": 2}
        cluster = Cluster(initialize_head=True, head_node_args={**memory, "include_dashboard": False})
        try:
            nodes = [cluster.add_node(**memory) for _ in range(2)]
            killed.run(cluster.address, lambda: cluster.remove_node(nodes[0], allow_graceful=False))
        finally:
            cluster.shutdown()
            ray.shutdown()
            for name in more:
                os.environ.pop(name, None)
    return killed.found


def check(found: Judged) -> None:
    """Raise AssertionError where a document was lost, answered twice, or asked about again."""
    assert [row["document"] for row in found.rows] == list(range(found.documents))
    for row in found.rows:
        number = row["document"]
        assert isinstance(number, int)
        if number % NEVER == 0:
            assert (row["number"], row["error"]) == (None, "ValidationFailed")
        else:
            assert (row["number"], row["error"]) == (number, None)
    assert found.items == found.documents
    assert found.again == []
    under_way = 3 * CONCURRENCY  # at each kill
    assert found.asked.total() - found.documents <= found.kills * under_way


def main() -> int:
    """Run, and say what it came to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=5000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = killed(arguments.documents, Path(folder))
    print(f"{found.documents:,} documents, {found.kills} kills, {found.seconds:.0f} s")
    print(f"{found.asked.total():,} questions, {found.kept:,} answers of the first driver")
    print(f"{found.items:,} inputs on record, {found.calls:,} calls; asked again of those on record: {found.again}")
    check(found)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
