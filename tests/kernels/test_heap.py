"""The kernel's own memory: what threads and children leave behind, and that nothing outside of the module sees it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from guard.kernels import _native

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or "libasan" in os.environ.get("LD_PRELOAD", ""),
    reason="the kernel has memory of its own on Linux, and none in builds with sanitizers, which bring theirs",
)

WALK = """
import os, sys, threading
import guard
from guard.kernels.bitmask import allocate_bitmask

vocabulary = guard.Vocabulary.from_bytes([*(bytes([b]) for b in range(256)), b""], eos=[256])

def walk(name):
    properties = {name + str(i): {"enum": [name, i]} for i in range(20)}
    schema = {"type": "object", "properties": properties, "required": [name + "7"]}
    matcher = guard.compile(schema).matcher(vocabulary)
    row = allocate_bitmask(1, vocabulary.size)
    for byte in b'{"' + name.encode() + b'7": "':
        matcher.fill_bitmask(row)
        assert matcher.accept(byte)

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
"""


def run(program: str) -> str:
    """Run a program in a process of its own."""
    command = [sys.executable, "-c", WALK + program]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_threads_that_ended_leave_their_memory_to_those_that_begin() -> None:
    grown = run("""
def one(name):
    thread = threading.Thread(target=walk, args=(name,))
    thread.start()
    thread.join()

for n in range(20):
    one(f"warm{n}")
before = resident()
for n in range(200):
    one("again")
print(resident() - before)
""")
    assert float(grown) < 8  # MiB; the pages of 200 threads would be 40 and more


def test_what_one_thread_made_another_may_give_up() -> None:
    out = run("""
kept = []
def make(name):
    walk(name)
    kept.append(guard.compile({"enum": [name]}, key_order="any").matcher(vocabulary))

for turn in range(30):
    threads = [threading.Thread(target=make, args=(f"t{turn}-{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept.clear()
    walk(f"main{turn}")
print("done")
""")
    assert out == "done\n"


def test_a_child_of_a_fork_goes_on_with_its_own_and_the_parent_with_its() -> None:
    out = run("""
walk("before")
for turn in range(20):
    child = os.fork()
    if child == 0:
        grandchild = os.fork()
        walk(f"child{turn}")
        if grandchild:
            assert os.waitpid(grandchild, 0)[1] == 0
        os._exit(0)
    walk(f"parent{turn}")
    assert os.waitpid(child, 0)[1] == 0
print("done")
""")
    assert out == "done\n"


def test_the_operators_of_the_module_are_its_own() -> None:
    command = ["nm", "-D", "--defined-only", _native.__file__]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert "PyInit__native" in shown
    assert not [symbol for symbol in shown if symbol.startswith(("_Zn", "_Zd"))]  # new and delete


def test_what_was_given_out_is_counted_and_comes_back() -> None:
    out = run("""
import gc
from guard.kernels import memory

def one(title):
    properties = {f"n{i}": {"type": "string"} for i in range(500)}
    compiled = guard.compile({"title": title, "type": "object", "properties": properties}, key_order="any")
    held = memory()["held"]
    del compiled
    gc.collect()
    return held - memory()["held"]

walk("first")
one("a")
print(one("b"), one("c"))
""")
    first, again = map(int, out.split())
    assert abs(first - again) <= 64  # malloc may give a large block 16 bytes more than the last time
    assert again > 50_000
