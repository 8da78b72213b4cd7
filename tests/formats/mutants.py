"""Planted faults of formats that the tests beside this file must catch, so that it is known that they can fail.

    cd tests && ../.venv/bin/python -m formats.mutants            every mutant, a table at the end
    cd tests && ../.venv/bin/python -m formats.mutants 3 17       those two

As in exactness/mutants.py a mutant is one edit of one file: of schemas/, or of kernels/cpu, which costs a build. Random
formats are masked and read against the slow twin, seed by seed; then what is left of the tests runs. Exit code 0: all
were caught.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

from exactness.mutants import HOME, ROOT, Mutant, build, sources

SEEDS = 150  #: Random formats, each masked and read.
SECONDS = 400  #: After which a mutant counts as one that never ends, and so as caught.
#: What runs behind them: the quick ones that are not random.
TESTS = (
    "test_tokens.py",
    "test_report.py",
    "test_tagged.py",
    "test_vocabularies.py",
    "test_forms.py",
    "test_grammar.py",
    "test_reading.py",
)
NETS, STRUCTURAL = "schemas/structural/nets.py", "schemas/structural"

MUTANTS = (
    # ---- nets ----
    Mutant(
        NETS,
        "a repetition lets one too many through",
        "for _ in range(most - least):",
        "for _ in range(most - least + 1):",
    ),
    Mutant(NETS, "a repetition asks for one too few", "for _ in range(least):", "for _ in range(least - 1):"),
    Mutant(
        NETS,
        "what is optional is not",
        "return [*self._content(form, to, stops), self._empty(self._plain(to))]",
        "return self._content(form, to, stops)",
    ),
    Mutant(
        NETS, "a dispatch always goes on", "after = To(again) if loop else To(self._plain(to))", "after = To(again)"
    ),
    Mutant(
        NETS,
        "free text may hold triggers",
        "arcs = self._free(to, avoid, excludes)",
        "arcs = self._free(to, stops, excludes)",
    ),
    Mutant(
        NETS,
        "a trigger may come behind a tag's end",
        "content = self._content(form, inner, inner.ends)",
        "content = self._content(form, inner, ())",
    ),
    Mutant(
        NETS,
        "tags may be none where one is asked for",
        'nothing = [] if form.get("at_least_one") else [leave]',
        "nothing = [leave]",
    ),
    Mutant(
        NETS,
        "separated tags go on behind the first",
        '        if form.get("stop_after_first"):\n',
        "        if False:\n",
    ),
    Mutant(
        NETS,
        "triggered tags begin with text where a tag is asked for",
        'return self._tags(form, after) if form.get("at_least_one") else text',
        "return text",
    ),
    Mutant(NETS, "a trigger is said twice", 'tag["begin"][len(trigger) :]', 'tag["begin"]'),
    Mutant(
        NETS, "a number in front of e is taken for closed", 'NUMERIC = "0123456789.eE+-"', 'NUMERIC = "0123456789."'
    ),
    Mutant(
        NETS,
        "of two arcs that begin alike the choice is not looked at",
        "return any(longer.startswith(text) for text, longer in itertools.pairwise(texts))",
        "return False",
    ),
    Mutant(NETS, "excludes of a pattern are left out", "tree = trees.both(tree, trees.free(excludes))", "pass"),
    Mutant(
        NETS,
        "values of both orders of keys are one",
        'self.net.any_orders.add(bool(form.get("any_order")))',
        "self.net.any_orders.add(False)",
    ),
    Mutant(NETS, "any tokens are one too many", "for _ in range(most):", "for _ in range(most + 1):"),
    # ---- free text ----
    Mutant(
        f"{STRUCTURAL}/trees.py",
        "free text goes past the first end",
        "parts = [cat(before, literal(end)), no(earlier)]",
        "parts = [cat(before, literal(end))]",
    ),
    Mutant(
        f"{STRUCTURAL}/trees.py", "of ends that are complete at once any counts", "    if longer:\n", "    if False:\n"
    ),
    Mutant(
        f"{STRUCTURAL}/trees.py",
        "what is excluded may stand in the middle",
        "no(cat(ANY, either(strings), ANY))) if strings",
        "no(cat(ANY, either(strings)))) if strings",
    ),
    Mutant(
        f"{STRUCTURAL}/trees.py",
        "max_chars is not kept",
        "length = ANY if max_chars is None else repeat(CHAR, 0, max_chars)",
        "length = ANY",
    ),
    # ---- dead parts ----
    Mutant(
        f"{STRUCTURAL}/pruning.py",
        "an array that needs items has a value on sight",
        'if schema.get("minItems", 0) > 0 and not',
        "if False and not",
    ),
    Mutant(
        f"{STRUCTURAL}/pruning.py",
        "dead parts stay: a dead end",
        "[[arc for arc in arcs if net.arcs[arc][1] not in dead] for arcs in net.points]",
        "[[*arcs] for arcs in net.points]",
    ),
    # ---- strings, tagged and bare ----
    Mutant(
        f"{STRUCTURAL}/strings.py", "a bare text may be of another type", "        if others:\n", "        if False:\n"
    ),
    Mutant(
        f"{STRUCTURAL}/strings.py",
        "minLength is not kept",
        "trees.repeat(trees.CHAR, operands[0], operands[1])",
        "trees.repeat(trees.CHAR, 0, operands[1])",
    ),
    Mutant(
        f"{STRUCTURAL}/strings.py",
        "a pattern must match the whole",
        "part = trees.cat(trees.ANY, operands[0], trees.ANY)",
        "part = operands[0]",
    ),
    Mutant(
        f"{STRUCTURAL}/tagged.py",
        "a raw string may hold its closing text",
        "self._barred = [style.closing, *excludes]",
        "self._barred = [*excludes]",
    ),
    Mutant(
        f"{STRUCTURAL}/tagged.py",
        "a raw string may read as another type",
        "parts = [trees.free(self._barred), *(trees.no(part) for part in avoid)]",
        "parts = [trees.free(self._barred)]",
    ),
    # ---- grammars, spellings, reading ----
    Mutant(
        f"{STRUCTURAL}/grammar.py",
        "a plus in a grammar is a star",
        "tree = trees.repeat(tree, 1, -1)",
        "tree = trees.repeat(tree, 0, -1)",
    ),
    Mutant(
        f"{STRUCTURAL}/spellings.py",
        "of two constraints the first counts",
        "    if len(asked) > 1:\n",
        "    if False:\n",
    ),
    Mutant(
        f"{STRUCTURAL}/spellings.py",
        "a field that is ignored is let through",
        "        if name not in known:\n",
        "        if False:\n",
    ),
    Mutant(
        f"{STRUCTURAL}/compiled_format.py",
        "a turn is read that has not ended",
        "if not accepted or not matcher.can_stop():",
        "if not accepted:",
    ),
    # ---- the engine ----
    Mutant(
        "automaton/format_check.cpp",
        "a value may begin like text",
        'static_cast<std::uint8_t>(byte)) != Texts::kDead)\n          ambiguous(std::string("a value',
        'static_cast<std::uint8_t>(byte)) == -7)\n          ambiguous(std::string("a value',
    ),
    Mutant(
        "automaton/format_check.cpp", "a number may follow a number", "find('0') != std::string::npos", "find('0') == 0"
    ),
    Mutant(
        "automaton/format_check.cpp",
        "what leads to a dead value is alive",
        "(has_value[static_cast<std::size_t>(left)] != 0 &&\n                                         alive",
        "(true &&\n                                         alive",
    ),
    Mutant(
        "automaton/format_distance.cpp",
        "a token costs nothing",
        "    std::int64_t cost = 1;\n",
        "    std::int64_t cost = 0;\n",
    ),
    Mutant(
        "automaton/format_distance.cpp",
        "the end costs nothing",
        "e.kind == FormatExit::End ? std::int64_t{1}",
        "e.kind == FormatExit::End ? std::int64_t{0}",
    ),
    Mutant(
        "automaton/stepper.cpp",
        "of parts that begin with the same token the first goes on alone",
        "points.push_back(e.next);",
        "if (points.empty()) points.push_back(e.next);",
    ),
    Mutant(
        "runtime/matcher.hpp",
        "a row without what its budget lacks is kept for larger budgets",
        "enough = std::max(enough, fits ? needs : kNoLimit);",
        "enough = std::max(enough, needs);",
    ),
    Mutant(
        "runtime/matcher.hpp",
        "any token is also one that is named",
        "for (Id token : tokens(other)) clear(token);",
        "for (Id token : tokens(other)) set(token);",
    ),
    Mutant(
        "automaton/format_spans.cpp",
        "a part of a turn is lost where it begins",
        "if (begin < end) ways",
        "if (begin && begin < end) ways",
    ),
)


def package() -> Path:
    """Return a folder from which Guard is imported with its schemas copied and all else linked."""
    import guard.kernels._native as native

    home = HOME / "formats"
    shutil.rmtree(home, ignore_errors=True)
    (home / "guard" / "kernels").mkdir(parents=True)
    for file in (ROOT / "guard").iterdir():
        if file.name not in ("schemas", "kernels"):
            (home / "guard" / file.name).symlink_to(file)
    for file in [*(ROOT / "kernels").iterdir(), Path(native.__file__)]:
        if not file.name.startswith("_native") or file.suffix != ".so" or file == Path(native.__file__):
            (home / "guard" / "kernels" / file.name).symlink_to(file)
    shutil.copytree(ROOT / "schemas", home / "guard" / "schemas", ignore=shutil.ignore_patterns("__pycache__"))
    return home


def judged(home: Path) -> tuple[str, float]:
    """Run the judge against a package: what caught it (empty: nothing did), after how many seconds."""
    # -S: an editable install would find its own sources first.
    path = [home, ROOT / "tests", *(p for p in sys.path if p and Path(p).is_dir())]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path)), "PYTHONDONTWRITEBYTECODE": "1"}
    began = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, "-S", "-m", "formats.mutants", "--judge"],
            env=environment,
            cwd=ROOT / "tests",
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        return "does not end", time.monotonic() - began
    said = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith(("FAILED", "ERROR", "seed"))]
    caught = (said[:1] or [f"dies with exit code {done.returncode}"])[0] if done.returncode else ""
    return caught[:160], time.monotonic() - began


def hunt() -> NoReturn:
    """Mask and read random formats, then run the other tests, and exit. Runs in the child."""
    from formats.test_masks import check_random
    from formats.test_reading import check_reading

    for seed in range(SEEDS):
        for check in (check_reading, check_random):
            try:
                check(seed)
            except Exception as error:
                print(f"seed {seed}, {check.__name__}: {type(error).__name__}: {error}".replace("\n", " "))
                sys.exit(1)
    tests = [str(ROOT / "tests" / "formats" / name) for name in TESTS]
    sys.stdout.flush()
    chosen = ["-x", "-q", "-p", "no:cacheprovider", "-n", "0", "-k", "not random", *tests]
    os.execv(sys.executable, [sys.executable, "-S", "-m", "pytest", *chosen])  # noqa: S606 - it wants to be first


def main(numbers: list[int]) -> int:
    """Plant mutants one by one, and print a table."""
    home = package()
    control = judged(home)
    print(f"without a mutant: {control[0] or 'nothing'} found, {control[1]:.0f} s", flush=True)
    if control[0]:
        return 1
    print("\n| # | mutant | seconds | caught by |\n|--:|:--|--:|:--|", flush=True)
    missed = 0
    for number, mutant in enumerate(MUTANTS, 1):
        if numbers and number not in numbers:
            continue
        is_python = mutant.file.endswith(".py")
        path = home / "guard" / mutant.file if is_python else sources() / "kernels" / "cpu" / mutant.file
        text = path.read_text()
        path.write_text(text.replace(mutant.old, mutant.new))
        try:
            if not is_python:
                build()
            caught, seconds = judged(home if is_python else HOME / "package")
        finally:
            path.write_text(text)
        missed += not caught
        what = (caught or "**not caught**").replace("|", "\\|")
        print(f"| {number} | {mutant.file}: {mutant.breaks} | {seconds:.0f} | {what} |", flush=True)
    return int(missed > 0)


if __name__ == "__main__":
    if sys.argv[1:] == ["--judge"]:
        hunt()
    sys.exit(main([int(number) for number in sys.argv[1:]]))
