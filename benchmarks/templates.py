"""python -m benchmarks.templates: of real chat templates, whose own tool format is derived, and reads back equal.

For each template of the test data that declares tools: the kind of its calls, how many of --turns drawn turns (0 to 3
calls, text, thinking) that the template rendered were let through by the derived format and read back equal, and
seconds of the processor for the derivation and for each turn. The others are named with their fallback.

Examples:
    python -m benchmarks.templates                all of them, 200 turns each
    python -m benchmarks.templates --turns 20 --name qwen
"""

from __future__ import annotations

import argparse
import re
import resource
import sys
import tarfile
import time
from collections.abc import Iterator

from benchmarks.__main__ import DATA, table
from guard.turns import trials
from guard.turns.deriving import derive

BENCH = {"full": [], "short": ["--turns", "20", "--name", "llama"]}  #: What `make bench` runs.
BAR = 0.95  #: Of the templates that declare tools.
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}


def templates() -> dict[str, str]:
    """Return the chat templates of the test data that declare tools, by name."""
    found = {}
    with tarfile.open(DATA / "chat-templates.tar.gz") as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isfile() else None
            if file is not None and re.search(r"\btools\b", text := file.read().decode()):
                found[member.name.removesuffix(".jinja").removeprefix("./")] = text
    return dict(sorted(found.items()))


def _seconds() -> float:
    return time.process_time() + sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])


def main() -> int:
    """Print the table; returns 1 where the bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.templates")
    parser.add_argument("--turns", type=int, default=200)
    parser.add_argument("--name", default="", help="only templates with this in their names")
    given = parser.parse_args()
    every = {name: text for name, text in templates().items() if given.name in name}
    good = []

    def rows() -> Iterator[list[str]]:
        for name, text in every.items():
            begun = _seconds()
            form = derive(text, SPECIAL)
            derived = _seconds() - begun
            if form is None:
                yield [name, "none", "", "JSON wrapper", f"{derived:.2f}", ""]
                continue
            tried = trials.round_trip(text, SPECIAL, form, given.turns, seed=2)
            each = 1000 * (_seconds() - begun - derived) / max(tried.turns, 1)
            back = f"{tried.turns - len(tried.wrong)} of {tried.turns}"
            if form.round_trips and tried.turns and not tried.wrong:
                good.append(name)
            fallback = "" if good[-1:] == [name] else "JSON wrapper"
            yield [name, form.kind, back, fallback, f"{derived:.2f}", f"{each:.1f}"]

    table(["template", "kind", "turns back equal", "fallback", "derived in, s", "each turn, ms"], rows())
    share = len(good) / max(len(every), 1)
    print(f"{len(good)} of {len(every)} derived and round-tripped ({share:.1%}); the bar is {BAR:.0%}")
    return int(share < BAR)


if __name__ == "__main__":
    sys.exit(main())
