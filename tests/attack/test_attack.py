"""A slice of `make attack`: the same cases every time, some of each family. All of them take ten minutes."""

from __future__ import annotations

from pathlib import Path

from attack.run import attack, chosen

MOST = 12  #: Cases of each family.
SLACK_S = 10.0  #: CI's machine is slow, and shared: how long is `make attack`'s to judge.


def test_a_slice_of_the_attack_ends_as_it_must(tmp_path: Path) -> None:
    cases = chosen(most=MOST)
    outcome = attack(cases, tmp_path, slack=SLACK_S, clients=4)
    assert {verdict.case.id: verdict.faults for verdict in outcome.faulty} == {}
    assert outcome.breaches == []
    assert len(outcome.verdicts) == len(cases)
