"""A process ends as usual while daemon threads compile and fill masks."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import itertools, sys, threading, time
import numpy as np
import guard
from guard.kernels import Vocabulary

vocabulary = Vocabulary.from_bytes([*(bytes([byte]) for byte in range(256)), b""], eos=[256])
began = [threading.Event() for _ in range(3)]

def work(thread):
    for number in itertools.count():
        parts = {f"p{at}": {"type": "string", "pattern": f"^[a-z]{{{at % 7 + 1}}}x{number}"} for at in range(200)}
        parts["again"] = {"$ref": f"#/properties/p{number % 200}"}
        compiled = guard.compile({"type": "object", "title": f"{thread}", "properties": parts})
        compiled.matcher(vocabulary).fill_bitmask(np.zeros((1, 9), np.int32))
        began[thread].set()

for thread in range(3):
    threading.Thread(target=work, args=(thread,), daemon=True).start()
for event in began:
    event.wait()
time.sleep(float(sys.argv[1]))
"""


@pytest.mark.parametrize("seconds", [0.0, 0.03, 0.07])
def test_daemon_threads_do_not_abort_the_process(seconds: float) -> None:
    """Python up to 3.13 unwinds such a thread through the kernel's frames, which aborted nearly every time."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(seconds)], capture_output=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
