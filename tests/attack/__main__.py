"""`make attack`: every case and every scenario, with what came of them; the report goes to build/attack/report.json.

python -m attack                                  all of it, from the folder tests
python -m attack --family schemas --only tower    some cases
python -m attack --list
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path

from attack.cases import CASES
from attack.run import CLIENTS, TESTS, attack, chosen, hold_to_goals
from attack.scenarios import SCENARIOS, played


def main() -> int:
    """Attack, print, and write; exit code 1 where anything did not hold."""
    parser = argparse.ArgumentParser(prog="python -m attack", description=__doc__.splitlines()[0])
    parser.add_argument("--family", action="append", default=[], help="only cases of these")
    parser.add_argument("--only", default="", help="only cases and scenarios with this in their name")
    parser.add_argument("--most", type=int, help="cases of each family")
    parser.add_argument("--list", action="store_true", help="say what there is")
    parser.add_argument(
        "--slack", type=float, default=0.0, help="seconds more that each case may take, on a loaded machine"
    )
    parser.add_argument("--clients", type=int, default=CLIENTS, help="at once")
    parser.add_argument("--holds", action="store_true", help="see how long threads keep the GIL; takes its own time")
    parser.add_argument("--report", type=Path, default=TESTS.parent / "build" / "attack" / "report.json")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))  # so that what was started is ended
    cases = chosen(arguments.family, arguments.most, arguments.only)
    scenarios = [name for name in SCENARIOS if arguments.only in name and arguments.family in ([], ["scenarios"])]
    if arguments.list:
        print("\n".join([*sorted(case.id for case in cases), *scenarios]))
        print(Counter(case.family for case in CASES.values()), len(CASES), len(SCENARIOS))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        outcome = attack(
            cases, Path(folder), slack=arguments.slack, clients=arguments.clients, says=True, watches=arguments.holds
        )
        for name in scenarios:
            place = Path(folder) / f"scenario{len(outcome.scenarios)}"
            place.mkdir()
            outcome.scenarios[name] = played(name, place)
            for fault in outcome.scenarios[name]:
                print(f"  {name}: {fault[:300]}", flush=True)
    if cases:
        hold_to_goals(outcome)
    report = outcome.report()
    arguments.report.parent.mkdir(parents=True, exist_ok=True)
    arguments.report.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    tried = f"{report['tried']:,} cases and {len(outcome.scenarios)} scenarios in {report['seconds']:.0f} s"
    print(f"{tried}, {report['faulty']} cases at fault")
    print("answers: " + ", ".join(f"{name}: {count}" for name, count in report["answers"].items()))
    for kind, figures in outcome.bystander.items():
        print(f"bystander, {kind}: " + ", ".join(f"{name} {value}" for name, value in figures.items()))
    own, every = report["rss_peak_mb"], report["all_peak_mb"]
    print(f"memory: {own:,} MB, with children {every:,} MB; started {outcome.lives} times")
    for held in outcome.holds:
        print(f"longest hold of the GIL: {held['longest_ms']} ms, with p99 of a waiter {held['late_p99_ms']} ms")
        for each in held["stacks"][:12]:
            print(f"  {each['most_ms']} ms at most, {each['count']} times: {each['stack']}")
    for breach in outcome.breaches:
        print(f"BREACH: {breach[:1000]}")
    return int(not outcome.is_good)


if __name__ == "__main__":
    sys.exit(main())
