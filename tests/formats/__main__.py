"""What the tests of formats do, at length: `cd tests && ../.venv/bin/python -m formats`, or `make formats`.

Random steps and rollbacks over thinking, text and calls equal a replay; no budget cuts a call; every token's verdict
in the masks of random formats is what brute force says; random formats are read as the slow twin reads them.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter

from conftest import DATA
from formats.test_masks import TURNS, check_budgets, check_random, qwen3
from formats.test_reading import check_reading
from formats.test_replay import check_replay


def main() -> None:
    """Run them, and print what was done; what fails raises."""
    parser = argparse.ArgumentParser(prog="python -m formats", description=__doc__)
    parser.add_argument("--steps", type=int, default=100_000, help="and rollbacks (default 100,000)")
    parser.add_argument("--verdicts", type=int, default=2_000_000, help="of tokens (default 2,000,000)")
    parser.add_argument("--seed", type=int, default=1_000_000, help="of the first random format")
    given = parser.parse_args()
    began = time.process_time()
    check_replay(given.steps, given.seed)
    print(f"{given.steps:,} steps equal a replay: {time.process_time() - began:.0f} s of the processor", flush=True)
    began, qwen = time.process_time(), qwen3(DATA)
    turns = sum(check_budgets(choice, qwen, 1) for choice in TURNS)
    print(f"{turns:,} budgets, no call cut: {time.process_time() - began:.0f} s of the processor", flush=True)
    count: Counter[str] = Counter()
    began, seed = time.process_time(), given.seed
    while count["verdicts"] < given.verdicts:
        count += check_random(seed)
        check_reading(seed)
        seed += 1
    told = ", ".join(f"{number:,} {what}" for what, number in sorted(count.items()))
    print(f"{seed - given.seed:,} formats: {told}; none wrong: {time.process_time() - began:.0f} s of the processor")


if __name__ == "__main__":
    main()
