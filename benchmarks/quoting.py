"""Masks of quoted texts: the first over a text of so many words, the later ones, and memory over many documents.

`python -m benchmarks.quoting` joins the documents of ../shared/data/extraction to texts of 100, 1,000 and 59,000 words,
and writes quotations of each at random under SmolLM2's vocabulary. "Read" is the schema for the call, with the text's
words; "first mask" is the first one inside the quotes, with the matcher. Milliseconds and microseconds are the
processor's, of this thread: the median, and in brackets the lowest tenth, which other processes disturb less. Then it
reads many documents, each once, and says what the process holds. The bars: 0.1, 0.5 and 5 ms for the first mask, 5 µs
for a later one, and memory that does not grow.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import statistics
import time
from pathlib import Path

import numpy as np

import guard
from benchmarks.memory import resident
from guard import models
from guard.decoding.mask_buffer import allowed_tokens
from guard.kernels import memory
from guard.kernels.bitmask import allocate_bitmask
from guard.schemas.grounding.sources import Sources

BENCH = {"full": [], "short": ["--documents", "500"]}  #: What `make bench` runs.
DATA = Path(__file__).parents[1].parent / "shared" / "data" / "extraction" / "docs.jsonl"
SIZES = {100: 200, 1_000: 60, 59_000: 4}  #: Words, and texts of that length.
LATER = 12  #: Tokens that are written of each quotation.
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "x-guard-from": "input"}},
    "required": ["name"],
    "additionalProperties": False,
}


def texts(words: int, count: int, draw: random.Random) -> list[str]:
    """Return texts of so many words, of whole documents but for the last."""
    documents = [json.loads(line)["text"] for line in DATA.read_text("utf-8").splitlines()]
    out = []
    for _ in range(count):
        found: list[str] = []
        while len(found) < words:
            found += draw.choice(documents).split(" ")
        out.append(" ".join(found[:words]))
    return out


class Quoting:
    """Writes the beginnings of quotations at random, and keeps what each part took."""

    def __init__(self, vocabulary: guard.Vocabulary, draw: random.Random) -> None:
        self.vocabulary, self.draw = vocabulary, draw
        self.compiled = guard.compile(SCHEMA)
        self.row = allocate_bitmask(1, vocabulary.size)
        self.read: list[float] = []
        self.first: list[float] = []
        self.later: list[float] = []

    def write(self, text: str) -> None:
        """Read a text, and begin a quotation of it."""
        began = time.thread_time()
        compiled = self.compiled.grounded(Sources({"text": text}))
        done = time.thread_time()
        self.read.append(done - began)
        matcher = compiled.matcher(self.vocabulary)
        matcher.accept_bytes(b'{"name": "')
        matcher.fill_bitmask(self.row)
        self.first.append(time.thread_time() - done)
        for _ in range(LATER):
            if not matcher.accept(int(self.draw.choice(np.asarray(allowed_tokens(self.row[0], None)).tolist()))):
                break
            began = time.thread_time()
            matcher.fill_bitmask(self.row)
            self.later.append(time.thread_time() - began)


def shown(seconds: list[float], scale: float) -> str:
    """Return the median and the lowest tenth."""
    return f"{statistics.median(seconds) * scale:.3g} ({sorted(seconds)[len(seconds) // 10] * scale:.3g})"


def main() -> int:
    """Print both tables. Exit code 1 where memory grows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=10_000, help="how many are read for their memory")
    given = parser.parse_args()
    draw, vocabulary = random.Random(23), models.load("smollm2").vocabulary
    print("| words | read, ms | first mask, ms | later masks, µs |\n|--:|--:|--:|--:|")
    for words, count in SIZES.items():
        quoting = Quoting(vocabulary, draw)
        for text in texts(words, count, draw):
            quoting.write(text)
        print(f"| {words:,} | {shown(quoting.read, 1e3)} | {shown(quoting.first, 1e3)} | {shown(quoting.later, 1e6)} |")
    print("\n| documents | the kernel holds, MB | the process, MB |\n|--:|--:|--:|")
    quoting, held = Quoting(vocabulary, draw), []
    for number in range(1, given.documents + 1):
        quoting.write(f"{texts(100, 1, draw)[0]} {number}")
        if number % (given.documents // 5) == 0:
            gc.collect()
            held.append(memory()["held"])
            print(f"| {number:,} | {held[-1] / 1e6:.1f} | {resident() / 1e6:.0f} |", flush=True)
    return int(held[-1] > held[0] * 1.02)


if __name__ == "__main__":
    raise SystemExit(main())
