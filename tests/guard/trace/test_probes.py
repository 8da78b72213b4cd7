import subprocess
import sys

PROGRAM = """
import resource, signal, sys
from guard.trace import TraceError, TraceStore

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = TraceStore.at(sys.argv[1])
for _ in range(5):
    store.probe(5)
resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, resource.RLIM_INFINITY))
for _ in range(3):
    try:
        store.probe(5)
    except TraceError:
        print("full")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
store.probe(5)
store.check_writable()
print("good")
"""


def test_a_probe_of_a_full_disk_fails_for_sqlite_writes_only_what_changes(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "trace.db")], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == ["full", "full", "full", "good"], done.stderr
