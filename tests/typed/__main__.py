"""Measure how exact the schemas of Python types are: `make typed`, or in tests/ `python -m typed --texts 200`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from typed.adversary import examine
from typed.zoo import BEYOND, LEFT_OUT, TYPES


def main() -> int:
    """Examine all types, print what is found, and return how many are not as they should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=200, help="texts for each type (200)")
    parser.add_argument("--seed", type=int, default=0, help="which texts are tried (0)")
    parser.add_argument("--only", default="", help="types whose name holds this")
    parser.add_argument("--json", type=Path, help="write what was found there")
    arguments = parser.parse_args()
    report, wrong, exact, texts = {}, 0, 0, 0
    for name, (wanted, *examples) in TYPES.items():
        if arguments.only not in name:
            continue
        started = time.perf_counter()
        found = examine(wanted, examples, arguments.texts, arguments.seed)
        texts += found.texts
        is_reported = name in BEYOND and bool(found.notes)
        is_exact = not found.refused
        exact += is_exact
        is_wrong = (not is_exact and not is_reported) or (bool(found.left_out) and name not in LEFT_OUT)
        wrong += is_wrong
        report[name] = {
            "texts": found.texts,
            "refused": found.refused,
            "left_out": found.left_out,
            "notes": found.notes,
        }
        mark = "WRONG" if is_wrong else "exact" if is_exact else "said"
        seconds = time.perf_counter() - started
        print(
            f"{mark:5} {name:24} {found.texts} texts, {len(found.refused)} refused, {len(found.left_out)} left out, "
            f"{seconds:.1f} s",
            flush=True,
        )
        for text, reason in found.refused[:3] if is_wrong else ():
            print(f"      {text[:150]!r}: {reason[:200]}")
        for text in found.left_out[:3] if is_wrong else ():
            print(f"      left out: {text[:150]!r}")
    print(f"{exact} of {len(report)} types exact ({texts} texts); {wrong} not as they should be")
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1, ensure_ascii=False), encoding="utf-8")
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main())
