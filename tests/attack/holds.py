"""How long a thread keeps the GIL: one that wakes every millisecond notes how late it was, and whose doing that was.

`python -m attack.holds FILE serve …` is `guard serve …` with such a thread, which writes what it saw into FILE at last.
Other programs on the machine make none longer: what the waking thread waited for a processor is taken off, and no hold
is longer than the processor time of the thread that had it. Its stack is as it stood once it gave the GIL back.
"""

from __future__ import annotations

import gc
import json
import runpy
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

EVERY_S = 0.001
NOTED_S = 0.004  #: A hold from which on its stack is kept.
FRAMES = 8  #: Of a stack.


class Holds:
    """What was seen."""

    def __init__(self) -> None:
        self.longest = 0.0
        self.late: list[float] = []  # seconds that each wake was late
        self.by_stack: dict[str, list[float]] = defaultdict(list)
        self.collections: list[tuple[float, int, int]] = []  # seconds, generation, objects
        self._is_over = threading.Event()
        self._began_collecting = 0.0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        gc.callbacks.append(self._collected)
        self._thread.start()

    def stop(self) -> dict[str, Any]:
        """Stop; returns what was seen."""
        self._is_over.set()
        self._thread.join()
        gc.callbacks.remove(self._collected)
        late = sorted(self.late) or [0.0]
        found = sorted(self.by_stack.items(), key=lambda item: -max(item[1]))
        return {
            "ticks": len(late),
            "longest_ms": round(1000 * self.longest, 1),
            "late_p99_ms": round(1000 * late[int(0.99 * (len(late) - 1))], 1),
            "late_most_ms": round(1000 * late[-1], 1),
            "full_collections": len([1 for _, generation, _ in self.collections if generation == 2]),
            "collections_ms": [(round(1000 * s, 1), g, c) for s, g, c in sorted(self.collections)[-5:]],
            "stacks": [
                {"most_ms": round(1000 * max(v), 1), "sum_ms": round(1000 * sum(v), 1), "count": len(v), "stack": k}
                for k, v in found[:60]
            ],
        }

    def _collected(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._began_collecting = time.thread_time()
        else:
            took = time.thread_time() - self._began_collecting
            self.collections.append((took, info["generation"], info["collected"]))

    def _run(self) -> None:
        me, queued = threading.get_ident(), Path(f"/proc/self/task/{threading.get_native_id()}/schedstat")
        clocks: dict[int, int] = {}
        before: dict[int, float] = {}
        while not gc.get_freeze_count() and not self._is_over.is_set():  # until the sidecar has begun
            time.sleep(0.05)
        self.collections.clear()
        while not self._is_over.is_set():
            waited = int(queued.read_text().split()[1])
            began = time.monotonic()
            time.sleep(EVERY_S)
            late = time.monotonic() - began - EVERY_S
            late -= (int(queued.read_text().split()[1]) - waited) / 1e9
            self.late.append(late)
            frames = sys._current_frames()
            now: dict[int, float] = {}
            for ident in frames:
                if ident != me:
                    try:
                        clock = clocks.get(ident)
                        if clock is None:
                            clock = clocks[ident] = time.pthread_getcpuclockid(ident)
                        now[ident] = time.clock_gettime(clock)
                    except OSError:  # another thread had that number before
                        clocks.pop(ident, None)
            if late > NOTED_S and before:
                ident, took = max(((i, s - before.get(i, s)) for i, s in now.items()), key=lambda pair: pair[1])
                hold = min(late, took)
                self.longest = max(self.longest, hold)
                if hold > NOTED_S:
                    self.by_stack[_words(frames[ident])].append(hold)
            del frames
            before = now


def _words(frame: Any) -> str:
    """Return a stack, the innermost first. Nothing here waits: the frames are another thread's, and run on."""
    parts: list[str] = []
    while frame is not None and len(parts) < FRAMES:
        code = frame.f_code
        parts.append(f"{'/'.join(code.co_filename.split('/')[-2:])}:{frame.f_lineno} {code.co_name}")
        frame = frame.f_back
    return " < ".join(parts)


def main() -> None:
    """Serve, watched."""
    file = Path(sys.argv[1])
    sys.argv = ["guard", *sys.argv[2:]]
    holds = Holds()
    holds.start()
    try:
        runpy.run_module("guard", run_name="__main__", alter_sys=True)
    finally:
        file.write_text(json.dumps(holds.stop(), indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
