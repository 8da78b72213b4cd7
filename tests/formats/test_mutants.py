"""The planted faults (mutants.py) are edits of text that stands in its file once."""

from __future__ import annotations

from formats.mutants import MUTANTS, ROOT


def test_each_mutant_still_fits() -> None:
    assert len(MUTANTS) >= 25
    for mutant in MUTANTS:
        folder = ROOT if mutant.file.endswith(".py") else ROOT / "kernels" / "cpu"
        count = (folder / mutant.file).read_text().count(mutant.old)
        assert count == 1, f"{mutant.file}: {mutant.old!r} stands {count} times"
        assert mutant.old != mutant.new
