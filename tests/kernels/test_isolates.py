"""Tables that schemas share: what one costs no other pays, and what is thrown away is made again unnoticed.

Each test runs a program in a process of its own: what it asks about are tables of the whole process.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any

PRELUDE = """
import os, threading, time
import numpy as np
import guard
from guard.kernels import limit_memory, memory
from guard.kernels._native import longest_search
from guard.kernels.bitmask import allocate_bitmask

vocabulary = guard.Vocabulary.from_bytes([*(bytes([b]) for b in range(256)), b"", b'": ', b'", "', b"ab"], eos=[256])
SIMPLE = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string", "maxLength": 9}},
          "required": ["a", "b"], "additionalProperties": False}
TEXT = b'{"a": 12, "b": "xyz"}'
BOMB = {"type": "string", "allOf": [{"pattern": f"{c}.*{c}.*{c}"} for c in "abcdefghijkl"]}

def masks(matcher, text=TEXT, budget=False):
    row, out = allocate_bitmask(1, vocabulary.size), []
    for byte in text:
        matcher.fill_bitmask(row)
        out.append(row.tobytes())
        if budget:
            matcher.fill_bitmask(row, remaining=matcher.distance())
            out.append(row.tobytes())
        assert matcher.accept_bytes(bytes([byte]))
    return out

def flushed(schema=None):
    # a budget of nothing, for one call of another schema: all tables go
    before = memory()["flushes"]
    limit_memory(1)
    try:
        guard.compile(schema or {"const": os.urandom(8).hex()})
    except guard.SchemaError as error:
        assert error.limit == "memory"
    limit_memory(512_000_000)
    assert memory()["flushes"] > before
"""


def run(program: str, *arguments: Any) -> str:
    """Run a program in a process of its own and return what it prints."""
    command = [sys.executable, "-c", PRELUDE + program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_matchers_go_on_exactly_when_tables_are_thrown_away_at_any_step() -> None:
    """Rollback points, copies, masks that are held, and an end of the text survive."""
    run("""
compiled = guard.compile(SIMPLE)
expected = masks(compiled.matcher(vocabulary), budget=True)
steady = compiled.matcher(vocabulary)
for at in range(len(TEXT)):
    matcher = compiled.matcher(vocabulary)
    first = masks(matcher, TEXT[:at], budget=True)
    copy = matcher.copy()
    flushed()
    assert first + masks(matcher, TEXT[at:], budget=True) == expected
    assert matcher.can_stop() and matcher.accept(256) and matcher.is_finished()
    flushed()
    assert matcher.is_finished() and not matcher.accept(65)
    matcher.rollback(1)
    assert matcher.can_stop()
    matcher.rollback(len(TEXT) - at)
    flushed()
    assert masks(matcher, TEXT[at:], budget=True) == masks(copy, TEXT[at:], budget=True) == expected[2 * at:]
    matcher.rollback(len(TEXT))
    flushed()
    assert masks(matcher, budget=True) == expected
    steady.reset()
    assert masks(steady, budget=True) == expected
""")


def test_batches_and_threads_go_on_exactly_while_tables_are_thrown_away() -> None:
    """Some threads walk, one throws away."""
    run("""
from guard.kernels import fill_bitmasks
schemas = [SIMPLE, {"type": "array", "items": SIMPLE, "uniqueItems": True}, {"enum": ["abc", "abd", 12]}]
texts = [TEXT, b"[" + TEXT + b', {"a": 1', b'"ab']
expected = [masks(guard.compile(s).matcher(vocabulary), t) for s, t in zip(schemas, texts)]
wrong, walked, until = [], [0, 0, 0], time.monotonic() + 4
def walk(which):
    compiled = guard.compile(schemas[which])
    while time.monotonic() < until:
        matcher = compiled.matcher(vocabulary)
        try:
            if masks(matcher, texts[which]) != expected[which]:
                wrong.append(which)
            walked[which] += 1
        except guard.SchemaError as error:  # the budget is nothing at times
            if error.limit != "memory":
                wrong.append(str(error))
def batch():
    rows = allocate_bitmask(3, vocabulary.size)
    compiled = [guard.compile(s) for s in schemas]
    while time.monotonic() < until:
        matchers = [c.matcher(vocabulary) for c in compiled]
        for step in range(max(map(len, texts))):
            alive = [i for i in range(3) if step < len(texts[i])]
            try:
                fill_bitmasks([matchers[i] for i in alive], rows, rows=alive)
            except guard.SchemaError as error:
                assert error.limit == "memory"
                break
            for i in alive:
                if rows[i].tobytes() != expected[i][step]:
                    wrong.append(i)
                if not matchers[i].accept_bytes(texts[i][step : step + 1]):
                    wrong.append(i)
threads = [threading.Thread(target=walk, args=(i,)) for i in range(3)] + [threading.Thread(target=batch)]
for thread in threads: thread.start()
while time.monotonic() < until - 0.5:
    limit_memory(1)
    try:
        guard.compile({"enum": [os.urandom(8).hex() for _ in range(3)]})
    except guard.SchemaError as error:
        assert error.limit == "memory"
    limit_memory(512_000_000)
    time.sleep(0.01)
for thread in threads: thread.join()
assert memory()["flushes"] > 5, memory()
assert not wrong, wrong
assert min(walked) > 5, walked
""")


def test_room_is_made_among_many_tables_while_threads_fill_them() -> None:
    """They were sorted by sizes that other threads changed meanwhile: the process ended in a crash within seconds."""
    run("""
import sys
from guard.schemas.grounding.sources import Sources
sys.setswitchinterval(1e-5)
many = [guard.compile(SIMPLE | {"title": str(n)}).grounded(Sources({"text": TEXT.decode()})) for n in range(200)]
expected, wrong, walked = masks(guard.compile(SIMPLE).matcher(vocabulary)), [], [0] * 4
most, until = memory()["tables"] // 2, time.monotonic() + 5
def walk(at):
    while time.monotonic() < until:
        for compiled in many[at::4]:
            try:
                if masks(compiled.matcher(vocabulary)) != expected:
                    wrong.append(at)
                walked[at] += 1
            except guard.SchemaError as error:
                if error.limit != "memory":
                    wrong.append(str(error))
limit_memory(most)
threads = [threading.Thread(target=walk, args=(i,)) for i in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert memory()["flushes"] > 50, memory()
assert not wrong, wrong
assert min(walked) > 5, walked
""")


def test_a_search_that_takes_long_keeps_nobody_waiting_and_gives_the_gil_back() -> None:
    """A matcher of a simple schema makes masks beside a bomb: it waits milliseconds, whatever the bomb takes."""
    out = run("""
times, done = [], threading.Event()
def bystander():
    row = allocate_bitmask(1, vocabulary.size)
    while not done.is_set():
        matcher = guard.compile(SIMPLE).matcher(vocabulary)
        for byte in TEXT:
            begun = time.perf_counter()
            matcher.fill_bitmask(row)
            matcher.accept(byte)
            times.append(time.perf_counter() - begun)
        time.sleep(0.001)
thread = threading.Thread(target=bystander)
thread.start()
limit = None
begun = time.perf_counter()
try:
    matcher = guard.compile(BOMB).matcher(vocabulary)
    matcher.accept_bytes(b'"')
    matcher.distance()
except guard.SchemaError as error:
    limit = error.limit
took = time.perf_counter() - begun
done.set()
thread.join()
assert limit in ("states", "memory", "seconds"), limit
print(len(times), took, np.percentile(times, 99), memory()["isolates"])
""")
    count, took, waited, isolates = map(float, out.split())
    assert isolates == 1  # the bomb has tables of its own
    assert count > 200  # while one thread held a lock, or the GIL, for all that time it would be a few dozen
    assert waited < took / 10


def test_what_a_bomb_fills_goes_with_it() -> None:
    """Fifty-five dropped schemas of 250 bytes each held 2.7 GB."""
    out = run("""
import random
draw = random.Random(5)
ended, most = {}, 0
for n in range(55):
    parts = [(draw.choice("abcdefgh"), draw.randrange(1, 5), draw.choice("dx"), draw.choice("ce")) for _ in range(8)]
    bomb = {"type": "string", "allOf": [{"pattern": "%s.{0,%d}%s.*%s" % part} for part in parts], "title": str(n)}
    try:
        masks(guard.compile(bomb, limits=guard.Limits(seconds=1)).matcher(vocabulary), b'"ab')
        ended["done"] = ended.get("done", 0) + 1
    except guard.SchemaError as error:
        ended[error.limit] = ended.get(error.limit, 0) + 1
    most = max(most, memory()["tables"])
print(most, memory()["tables"], ended)
""")
    most, left, _ = out.split(maxsplit=2)
    assert int(most) < 512_000_000 * 1.1
    assert int(left) < 300_000_000


def test_tables_stay_within_their_budget() -> None:
    """Thousands of schemas that nobody holds: what they leave behind is thrown away in time, and masks stay right."""
    run("""
limit_memory(6_000_000)
compiled = guard.compile(SIMPLE)
matcher = compiled.matcher(vocabulary)
expected = masks(compiled.matcher(vocabulary))
for n in range(1500):
    properties = {f"n{n}": {"pattern": f"^x{n}[a-z]+$"}, "e": {"enum": [f"{n}", n]}}
    schema = {"type": "object", "properties": properties, "required": [f"n{n}"]}
    masks(guard.compile(schema).matcher(vocabulary), b'{"n%d": "x' % n)
    assert memory()["tables"] < 6_600_000, memory()
    if n % 300 == 0:
        matcher.reset()
        assert masks(matcher) == expected
assert memory()["flushes"] > 0
""")


def test_a_call_that_takes_too_much_memory_is_a_limit_and_says_so() -> None:
    """The bound of one call, named after its field."""
    run("""
try:
    matcher = guard.compile(BOMB, limits=guard.Limits(memory=20_000_000)).matcher(vocabulary)
    matcher.accept_bytes(b'"')
    matcher.distance()
except guard.SchemaError as error:
    assert error.limit == "memory" and "limits=guard.Limits(memory=...)" in str(error), error
else:
    raise AssertionError
assert memory()["tables"] < 60_000_000, memory()
""")


def test_calls_that_end_early_hide_nothing_from_the_budget() -> None:
    """Each left 16 MB too little on the books of its schema's tables, as long as somebody held it."""
    run("""
guard.compile(SIMPLE).matcher(vocabulary)
idle = memory()["held"] - memory()["tables"]
for schema in (BOMB, {"type": "string", "format": "idn-hostname", "minLength": 20}):
    compiled = guard.compile(schema, limits=guard.Limits(memory=40_000_000))
    for _ in range(3):
        try:
            matcher = compiled.matcher(vocabulary)
            matcher.accept_bytes(b'"')
            row = allocate_bitmask(1, vocabulary.size)
            matcher.fill_bitmask(row, remaining=matcher.distance())
        except guard.SchemaError as error:
            assert error.limit in ("states", "memory"), error
        else:
            raise AssertionError
        until = time.monotonic() + 20  # another thread frees what was flushed
        while abs(memory()["held"] - memory()["tables"] - idle) >= 1_000_000 and time.monotonic() < until:
            time.sleep(0.001)
        assert abs(memory()["held"] - memory()["tables"] - idle) < 1_000_000, memory()
""")


def test_a_matcher_that_another_thread_is_using_says_so() -> None:
    """A long call gives the GIL back; its matcher is not for others meanwhile."""
    run("""
matcher = guard.compile(BOMB).matcher(vocabulary)
matcher.accept_bytes(b'"')
def long():
    try:
        matcher.distance()
    except guard.SchemaError:
        pass
thread = threading.Thread(target=long)
thread.start()
found = None
while thread.is_alive() and found is None:
    try:
        matcher.rollback(0)
    except RuntimeError as error:
        found = str(error)
    time.sleep(0.002)
thread.join()
assert found and "one thread at a time" in found, found
matcher.rollback(1)
assert matcher.can_stop() is False
""")


def test_a_child_of_a_fork_amid_a_long_search_goes_on() -> None:
    """What another thread was at is left as it is; the child has tables of its own, and its matchers go on."""
    run("""
compiled = guard.compile(SIMPLE)
expected = masks(compiled.matcher(vocabulary))
matcher = compiled.matcher(vocabulary)
masks(matcher, TEXT[:5])
started = threading.Event()
def long():
    bomb = guard.compile(BOMB).matcher(vocabulary)
    bomb.accept_bytes(b'"')
    started.set()
    try:
        bomb.distance()
    except guard.SchemaError:
        pass
threads = [threading.Thread(target=long) for _ in range(2)]
for thread in threads: thread.start()
started.wait()
import warnings
warnings.simplefilter("ignore")
for _ in range(10):
    child = os.fork()
    if child == 0:
        ok = masks(matcher, TEXT[5:]) == expected[5:] and masks(guard.compile(SIMPLE).matcher(vocabulary)) == expected
        os._exit(0 if ok else 1)
    assert os.waitpid(child, 0)[1] == 0
    time.sleep(0.02)
for thread in threads: thread.join()
assert masks(matcher, TEXT[5:]) == expected[5:]
""")


def test_threads_with_schemas_of_their_own_come_to_be_apart_and_find_the_same_masks() -> None:
    """A lock that all of them took made two threads slower than one; see `Isolates::common`."""
    run("""
def schema(number):
    return {**SIMPLE, "properties": {**SIMPLE["properties"], f"c{number}": {"pattern": f"^{number}[a-f]*$"}}}

before = [masks(guard.compile(schema(number)).matcher(vocabulary)) for number in range(40)]
flushed()
alone = memory()["shared"]
found = {}

def work(first):
    found.update({n: masks(guard.compile(schema(n)).matcher(vocabulary), budget=False) for n in range(first, 40, 2)})

threads = [threading.Thread(target=work, args=(first,)) for first in range(2)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert [found[number] for number in range(40)] == before
assert memory()["isolates"] == 0 and memory()["shared"] > alone
""")


def test_a_thread_that_finds_tables_locked_again_and_again_has_its_own_and_the_same_masks() -> None:
    """One schema in several isolates; see `Isolates::home`. On one core none may meet another."""
    run("""
import random
compiled = guard.compile(SIMPLE)
expected = masks(compiled.matcher(vocabulary), budget=True)
several = guard.compile({"type": "string", "pattern": "^[ab]*a[ab]{14}$"})
before, is_over, made = compiled.nbytes, threading.Event(), []

def fill():  # without the GIL, a turn for each row: nearly every one is of a state that is new
    rows = allocate_bitmask(64, vocabulary.size)
    while not is_over.is_set():
        matchers = [several.matcher(vocabulary) for _ in range(64)]
        assert all([matcher.accept_bytes(b'"') for matcher in matchers])
        for _ in range(30):
            guard.kernels.fill_bitmasks(matchers, rows)
            assert all([matcher.accept_bytes(random.choice((b"a", b"b"))) for matcher in matchers])

def meet():
    until = time.monotonic() + 60
    while time.monotonic() < until and compiled.nbytes < 1.5 * before:
        made.append(compiled.matcher(vocabulary))
        assert masks(made[-1], budget=True) == expected
        made[-1].rollback(len(TEXT))
        del made[:-8]
        time.sleep(0.0001)  # a thread that fills takes the GIL

threads = [threading.Thread(target=fill, daemon=True) for _ in range(2)]
[thread.start() for thread in threads]
meet()
is_over.set()
[thread.join() for thread in threads]
assert len(os.sched_getaffinity(0)) == 1 or compiled.nbytes >= 1.5 * before, (before, compiled.nbytes)
for matcher in made:  # some of each isolate
    assert masks(matcher.copy(), budget=True) == expected
    flushed()
    assert masks(matcher, budget=True) == expected
""")


def test_a_batch_that_reads_long_texts_again_gives_the_gil_back() -> None:
    """Rows that others know are looked for with the GIL; what a matcher must read again first is not."""
    out = run("""
text = b'"' + b"ab" * 4_000_000
matchers = [guard.compile({"type": "string"}).matcher(vocabulary) for _ in range(2)]
assert all([matcher.accept_bytes(text) for matcher in matchers])
rows, beats, is_over = allocate_bitmask(2, vocabulary.size), [time.perf_counter()], threading.Event()

def beat():
    while not is_over.is_set():
        time.sleep(0.001)
        beats.append(time.perf_counter())

thread = threading.Thread(target=beat)
thread.start()
flushed()
begun = time.perf_counter()
guard.kernels.fill_bitmasks(matchers, rows)
took = time.perf_counter() - begun
is_over.set()
thread.join()
print(took, max(np.diff([at for at in beats if at >= begun])))
""")
    took, longest = map(float, out.split())
    assert longest < took / 4, (took, longest)
