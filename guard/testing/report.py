"""A search's report for people and for programs: text, JSON, JUnit's XML, and one page of HTML.

The page is self-contained, runs no script and fetches nothing. Texts of models and applications are escaped.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree as ET

from guard.support.clipping import cut_short
from guard.testing.harness import Scene
from guard.testing.invariants import Invariant
from guard.testing.scripted_replies import ScriptedReply
from guard.trace.html import document, escaped

#: Characters that XML can't represent.
_NO_XML = re.compile("[^\t\n -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
VERSION = 1  #: Version of the JSON report; it goes up when a field changes its meaning.
#: Users' problems by number; 0 is for properties of any program.
LINES = {
    0: "Secrets",
    1: "Constraints dropped in silence",
    5: "Refusals and empty answers",
    6: "Dialects of providers",
    7: "Absent, null, and all digits",
    8: "Key order",
    9: "Feedback, and the caller's messages",
    10: "Streaming",
    11: "Repair",
    12: "Fallbacks",
    13: "Budgets and ledgers",
    14: "Determinism",
}


@dataclass(frozen=True)
class Counterexample:
    """A scene that breaks an invariant."""

    words: str  # what does not hold
    story: str  # the request, answer and result, one line each
    scene: Scene
    given: Mapping[str, Any]  # the arguments


@dataclass
class InvariantResult:
    """The result for one invariant."""

    invariant: Invariant
    cases: int = 0  # trials in which it was checked
    counterexample: Counterexample | None = None

    @property
    def holds(self) -> bool:
        """Whether no trial broke it."""
        return self.counterexample is None


@dataclass
class Report:
    """The result of a search on a subject."""

    subject: str
    seed: int
    cases: int = 0
    seconds: float = 0.0
    asks: int = 0  # requests to the model
    faults: Counter[str] = field(default_factory=Counter)  # number of answers, by kind
    outcomes: Counter[str] = field(default_factory=Counter)  # number of outcomes: "value", or the name of the error
    findings: list[InvariantResult] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # checks that were not possible, and why
    is_strict: bool = False  # whether broken advice is a failure, too

    @property
    def holds(self) -> bool:
        """Whether every invariant held. Advice counts only if the search was strict."""
        return not self.broken

    @property
    def broken(self) -> list[InvariantResult]:
        """The invariants that do not hold."""
        return [f for f in self.findings if not f.holds and (self.is_strict or not f.invariant.is_advice)]

    @property
    def advice(self) -> list[InvariantResult]:
        """The broken invariants that are advice, not failures."""
        return [f for f in self.findings if not f.holds and not (self.is_strict or not f.invariant.is_advice)]


def as_text(report: Report, *, every: bool = False) -> str:
    """Return text for a terminal: each invariant that does not hold, with its smallest counterexample."""
    held = len(report.findings) - len(report.broken) - len(report.advice)
    figures = f"{report.asks} requests, {report.seconds:.1f} s, seed {report.seed}"
    lines = [f"{report.subject}: {held} of {len(report.findings)} invariants hold in {report.cases} cases ({figures})"]
    lines += [f"  note: {note}" for note in report.notes]
    for finding in report.findings:
        if finding.holds:
            lines += [f"  ✓ {finding.invariant.name}: {finding.invariant.says}"] if every else []
            continue
        mark = "!" if finding in report.advice else "✗"
        lines += [f"  {mark} {finding.invariant.name}: {finding.invariant.says}"]
        lines += [f"      {line}" for line in example(finding)]
    return "\n".join(lines)


def example(finding: InvariantResult) -> list[str]:
    """Return the lines that describe a counterexample."""
    found = finding.counterexample
    assert found is not None
    given = ", ".join(f"{name}={cut_short(repr(value), 200)}" for name, value in found.given.items())
    called = [f"called with {given}"] if given else []
    return [found.words, *(f"  {line}" for line in [*called, *found.story.splitlines()])]


def as_dict(report: Report) -> dict[str, Any]:
    """Return the report as JSON."""
    return {
        "version": VERSION,
        "subject": report.subject,
        "holds": report.holds,
        "seed": report.seed,
        "cases": report.cases,
        "requests": report.asks,
        "seconds": round(report.seconds, 3),
        "notes": report.notes,
        "said": dict(report.faults.most_common()),
        "outcomes": dict(report.outcomes.most_common()),
        "invariants": [_as_dict(finding) for finding in report.findings],
    }


def _as_dict(finding: InvariantResult) -> dict[str, Any]:
    found, invariant = finding.counterexample, finding.invariant
    kept: dict[str, Any] = {
        "name": invariant.name,
        "says": invariant.says,
        "holds": finding.holds,
        "is_advice": invariant.is_advice,
        "cases": finding.cases,
    }
    if found is not None:
        kept["counterexample"] = {
            "words": found.words,
            "story": found.story.splitlines(),
            "scene": str(found.scene),
            "replies": [
                {"how": s.how, "text": s.text, "finish": s.finish, "error": s.error} for s in found.scene.replies
            ],
            "arguments": {name: _jsonable(value) for name, value in found.given.items()},
        }
    return kept


def as_junit(reports: Sequence[Report]) -> str:
    """Return JUnit's XML: a suite for each subject, a test for each invariant."""
    suites = ET.Element("testsuites")
    for report in reports:
        suite = ET.SubElement(
            suites,
            "testsuite",
            name=_xml(report.subject),
            tests=str(len(report.findings)),
            failures=str(len(report.broken)),
            errors="0",
            skipped="0",
            time=f"{report.seconds:.3f}",
        )
        for finding in report.findings:
            share = report.seconds / max(1, len(report.findings))
            case = ET.SubElement(
                suite,
                "testcase",
                classname=_xml(report.subject),
                name=finding.invariant.name,
                time=f"{share:.3f}",
            )
            if finding in report.advice:
                ET.SubElement(case, "system-out").text = _xml("\n".join(["advice:", *example(finding)]))
            elif finding.counterexample is not None:
                failure = ET.SubElement(case, "failure", message=_xml(finding.counterexample.words))
                failure.text = _xml("\n".join([finding.invariant.says, *example(finding), f"seed {report.seed}"]))
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(suites, encoding="unicode") + "\n"


def as_html(reports: Sequence[Report]) -> str:
    """Return one HTML page about some reports."""
    broken = sum(not report.holds for report in reports)
    title = f"guard test: {broken} of {len(reports)} fail" if broken else f"guard test: {len(reports)} held"
    return document(title, _OWN_STYLE, "".join(_section(report) for report in reports))


_OWN_STYLE = """
.held { list-style: none; padding: 0; columns: 24rem; } .held li { margin: 0 0 .3rem; break-inside: avoid; }
.bars { display: grid; grid-template-columns: fit-content(60%) minmax(3rem, 1fr) max-content; gap: .15rem .6rem;
  font-size: .85rem; align-items: center; }
.bars i { height: .7rem; background: var(--forced); border-radius: 2px; display: block; }
article.broken { border-left: 5px solid var(--bad); } .says { font-size: 1.05rem; margin: 0 0 .5rem; }
.mark { font-weight: 700; } .line { color: var(--quiet); font-weight: 400; font-size: .85rem; }
"""


def _section(report: Report) -> str:
    held = [finding for finding in report.findings if finding.holds]
    verdict = f"{len(held)} of {len(report.findings)} invariants hold"
    facts = "".join(
        f"<div><dt>{name}</dt><dd>{escaped(value)}</dd></div>"
        for name, value in (
            ("cases", f"{report.cases:,}"),
            ("requests", f"{report.asks:,}"),
            ("took", f"{report.seconds:.1f} s"),
            ("seed", str(report.seed)),
        )
    )
    notes = "".join(f"<li>{escaped(note)}</li>" for note in report.notes)
    good = "".join(
        f'<li><span class="good mark">✓</span> {escaped(f.invariant.name)}'
        f' <span class="line">{escaped(f.invariant.says)}</span></li>'
        for f in held
    )
    return f"""<header>
<h1>{escaped(report.subject)}</h1>
<p class="{"good" if report.holds else "bad"}">{escaped(verdict)}</p>
<dl>{facts}</dl>
{f"<ul>{notes}</ul>" if notes else ""}
</header>
<main>
{"".join(_broken(finding) for finding in [*report.broken, *report.advice])}
<article><h2>Held</h2><ul class="held">{good}</ul></article>
<article><h2>What the model did</h2><div class="columns"><div><h3>Said</h3>{_bars(report.faults.most_common(30))}</div>
<div><h3>Calls ended in</h3>{_bars(report.outcomes.most_common(30))}</div></div></article>
</main>
"""


def _broken(finding: InvariantResult) -> str:
    found, invariant = finding.counterexample, finding.invariant
    assert found is not None
    given = "".join(f"{name} = {cut_short(repr(value), 600)}\n" for name, value in found.given.items())
    said = "".join(
        f"<h3>The model said: {escaped(reply.how)}</h3>{_pre(_said(reply))}" for reply in found.scene.replies
    )
    arguments = f"<h3>Called with</h3>{_pre(given)}" if given else ""
    mark = "!" if invariant.is_advice else "✗"
    return f"""<article class="broken" aria-label="{escaped(invariant.name)}">
<h2 class="bad">{mark} {escaped(invariant.name)} <span class="line">{escaped(invariant.says)}
({escaped(LINES.get(invariant.line, ""))})</span></h2>
<p class="says">{escaped(found.words)}</p>
{arguments}{said}
<h3>What happened</h3>{_pre(found.story)}
</article>
"""


def _said(reply: ScriptedReply) -> str:
    return f"[{reply.error}]" if reply.error else cut_short(reply.text, 2_000) or "(nothing)"


def _pre(text: str) -> str:
    return f"<pre>\n{escaped(text)}</pre>"


def _bars(counts: Sequence[tuple[str, int]]) -> str:
    most = max((count for _, count in counts), default=1)
    rows = "".join(
        f'<span>{escaped(name)}</span><i style="width: {100 * count / most:.1f}%"></i><span>{count:,}</span>'
        for name, count in counts
    )
    return f'<div class="bars">{rows}</div>'


def _xml(text: str) -> str:
    """Return a text without characters that XML can't represent."""
    return _NO_XML.sub("\ufffd", text)


def _jsonable(value: Any) -> Any:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return repr(value)
    return value
