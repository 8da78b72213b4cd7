"""Inspection: what becomes of a schema or a format, all that `guard check` says of it, as one value.

Each keyword is enforced, residual, refused, or an annotation; the automaton is expanded ahead of need and walked at
random, so that a limit is met here and not in production; advice is a sentence for each thing that a person should
change.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from random import Random
from typing import TYPE_CHECKING, Any

from guard.errors import Finding, SchemaError
from guard.kernels.bitmask import allocate_bitmask
from guard.kernels.vocabulary import Vocabulary
from guard.schemas.structural.spellings import is_format

if TYPE_CHECKING:
    from guard.schemas.compiled import Compiled, FrontEnd
    from guard.schemas.exploration import Exploration
    from guard.schemas.scan import ReportLine

ENFORCED, RESIDUAL, REFUSED = "enforced", "residual", "refused"  #: Verdicts on a schema.
WALKED_PORTION = 0.3  #: Of the seconds, what random texts may take; the rest is the exploration's.
MOST_TEXTS = 200  #: Random texts; after as many, further ones rarely find anything slower.
FREE_BYTES = 120  #: Bytes of a random text before it is led to an end.
NAMED = 0.7  #: How often a property's name is tried where a string may begin.
MOST_NAMES = 10_000  #: Names that are tried.
MOST_TOKENS = 1_000_000  #: Of a vocabulary in which a format may name one by its id.
MOST_BYTES = 4_000  #: Bytes after which a random text is given up.


@dataclass(frozen=True)
class Walk:
    """Random texts under the masks, over a vocabulary of single bytes."""

    texts: int
    masks: int
    slowest_mask_seconds: float
    slowest_after: str  # the end of the text before the slowest mask
    limits: tuple[Finding, ...]


@dataclass(frozen=True)
class Inspection:
    """What becomes of one schema."""

    verdict: str  # "enforced", "residual" or "refused"
    draft: str | None = None  # the dialect in which it was read; None where it could not be
    hash: str | None = None
    lines: tuple[ReportLine, ...] = ()
    troubles: tuple[Finding, ...] = ()  # why it is refused
    advice: tuple[Finding, ...] = ()
    unknown_keywords: tuple[str, ...] = ()  # their pointers
    unknown_formats: tuple[str, ...] = ()  # the same
    satisfiable: bool | None = None  # some value meets it
    compile_seconds: float | None = None
    first_mask_seconds: float | None = None
    automaton: Mapping[str, int] | None = None  # counts of states, languages, texts, numbers; bytes
    exploration: Exploration | None = None
    walk: Walk | None = None

    def counts(self) -> dict[str, int]:
        """Return how many keywords have each status."""
        out: dict[str, int] = {}
        for line in self.lines:
            out[line.status] = out.get(line.status, 0) + 1
        return out

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it; docs/reference/command-line.md lists the members."""
        out = asdict(self)
        out["report"] = out.pop("lines")
        return out | {"counts": self.counts()}


def inspect(
    wanted: Any, options: Mapping[str, Any], seconds: float, report: Callable[[str, int, int], None]
) -> Inspection:
    """Inspect a type or a JSON Schema in about `seconds`; a schema that is refused is a result, not an error.

    `report` is told what is being done, how much of it is done and how much is known.
    """
    if is_format(wanted):
        return _of_format(wanted, options, seconds, report)
    try:
        front, read_seconds = _timed(lambda: _front_end(wanted, {**options, "inexact": RESIDUAL}))
    except SchemaError as error:
        return Inspection(REFUSED, troubles=error.findings)
    from guard.schemas.advice import advice, unknown_names
    from guard.schemas.compiled import Compiled

    refuse = options.get("inexact", "refuse") == "refuse"
    formats = front.options.formats
    keywords, names = unknown_names(front.documents)
    found = Inspection(
        REFUSED if refuse and front.scan.troubles else RESIDUAL if front.scan.troubles or front.beyond else ENFORCED,
        draft=front.documents.root_home.dialect.name,
        lines=tuple(front.report(refuse=refuse)),
        troubles=tuple(front.scan.findings(front.documents)) if refuse else (),
        advice=tuple(advice(front.documents, assert_formats=formats)),
        unknown_keywords=tuple(keywords),
        unknown_formats=tuple(names),
    )
    if found.verdict == REFUSED:
        return found
    try:
        compiled, compile_seconds = _timed(lambda: Compiled(front))
    except SchemaError as error:
        return replace(found, verdict=REFUSED, troubles=error.findings)
    return _tried(replace(found, compile_seconds=read_seconds + compile_seconds), compiled, _bytes(), seconds, report)


def _of_format(
    form: Any, options: Mapping[str, Any], seconds: float, report: Callable[[str, int, int], None]
) -> Inspection:
    from guard.schemas.compiled import Options
    from guard.schemas.structural.compiled_format import CompiledFormat

    given = {name: value for name, value in options.items() if name != "documents"}
    if options.get("documents"):
        raise ValueError("documents go with schemas; in a format write what their references lead to")
    try:
        compiled, compile_seconds = _timed(lambda: CompiledFormat(form, Options(**given)))
    except SchemaError as error:
        return Inspection(REFUSED, troubles=error.findings)
    keywords, names = compiled.unknown_names()
    found = Inspection(
        RESIDUAL if any(line.status == RESIDUAL for line in compiled.report) else ENFORCED,
        draft=compiled.draft,
        lines=tuple(compiled.report),
        advice=tuple(compiled.advice()),
        unknown_keywords=tuple(keywords),
        unknown_formats=tuple(names),
        compile_seconds=compile_seconds,
    )
    return _tried(found, compiled, _bytes([name for _, name in compiled.named_tokens()]), seconds, report)


def _tried(
    found: Inspection,
    compiled: Compiled,
    vocabulary: Vocabulary,
    seconds: float,
    report: Callable[[str, int, int], None],
) -> Inspection:
    """Return an inspection with what came of expanding and of walking what was compiled."""
    try:
        matcher, first_mask_seconds = _timed(lambda: _first_mask(compiled, vocabulary))
        exploration = compiled.explore(
            seconds * (1 - WALKED_PORTION), lambda done, known: report("expanding", done, known)
        )
        tried = compiled.property_names(MOST_NAMES)
        told = functools.partial(_report_walk, report)
        walk = _walk(matcher, vocabulary.size, tried, seconds * WALKED_PORTION, told)
        satisfiable = matcher.distance() >= 0 if not walk.limits else True
    except SchemaError as error:
        return replace(found, verdict=REFUSED, compile_seconds=None, troubles=error.findings)
    limits = tuple(dict.fromkeys([*exploration.limits, *walk.limits]))
    more = exploration.advice
    if not satisfiable:
        limits = (compiled.contradiction(), *limits)
        more = ()
    return replace(
        found,
        verdict=REFUSED if limits else found.verdict,
        hash=compiled.hash,
        troubles=limits,
        advice=(*found.advice, *more),
        satisfiable=satisfiable,
        first_mask_seconds=first_mask_seconds,
        automaton={**compiled.stats(), "bytes": compiled.nbytes},
        exploration=exploration,
        walk=walk,
    )


def _report_walk(report: Callable[[str, int, int], None], done: int) -> None:
    report("walking", done, MOST_TEXTS)


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    started = time.perf_counter()
    return call(), time.perf_counter() - started


def _front_end(wanted: Any, options: dict[str, Any]) -> FrontEnd:
    from guard.output import target
    from guard.schemas import types
    from guard.schemas.compiled import FrontEnd, Options

    documents = options.pop("documents", {})
    if target.is_schema(wanted):
        return FrontEnd(wanted, Options(**options), documents)
    described = types.described(wanted)
    return FrontEnd(types.Described(target.closed(described.schema), described.beyond), Options(**options), documents)


def _bytes(named: Sequence[int | str] = ()) -> Vocabulary:
    """Return a vocabulary of single bytes and the tokens named, whose first use, which costs time once, is over."""
    from guard import schemas

    size = max([256 + len(named), *(one for one in named if isinstance(one, int) and one < MOST_TOKENS)]) + 1
    names = {one: 257 + number for number, one in enumerate(named) if isinstance(one, str)}
    tokens = [bytes([token]) if token < 256 else b"" for token in range(size)]
    vocabulary = Vocabulary.from_bytes(tokens, eos=[256], special=range(257, size), names=names)
    _first_mask(schemas.compile({"type": "integer"}), vocabulary)
    return vocabulary


def _first_mask(compiled: Compiled, vocabulary: Vocabulary) -> Any:
    matcher = compiled.matcher(vocabulary)
    matcher.fill_bitmask(allocate_bitmask(1, vocabulary.size))
    return matcher


def _walk(matcher: Any, size: int, names: list[bytes], seconds: float, report: Callable[[int], None]) -> Walk:
    """Write random texts: some bytes and names at will, then the way to an end; the same ones each time."""
    import numpy as np

    r = Random(0)  # noqa: S311 - not a secret
    row = allocate_bitmask(1, size)
    until = time.perf_counter() + seconds
    texts = masks = 0
    slowest = (0.0, b"")
    limits: list[Finding] = []
    while texts < MOST_TEXTS and time.perf_counter() < until and not limits:
        report(texts)
        matcher.reset()
        text = b""
        try:
            while len(text) < MOST_BYTES and time.perf_counter() < until:
                remaining = None if len(text) < FREE_BYTES else max(matcher.distance(), 0)
                started = time.perf_counter()
                matcher.fill_bitmask(row, remaining=remaining)
                masks += 1
                slowest = max(slowest, (time.perf_counter() - started, text))
                allowed = np.flatnonzero(np.unpackbits(row[0].view(np.uint8), bitorder="little")).tolist()
                if remaining is None and names and ord('"') in allowed and r.random() < NAMED:
                    name = r.choice(names)
                    if matcher.accept_bytes(name):
                        text += name
                        continue
                token = _choice(r, allowed)
                if token is None:
                    break
                matcher.accept(token)
                text += bytes([token]) if token < 256 else b""
        except SchemaError as error:
            limits += [replace(f, message=f"{f.message}, after the text {_shown(text)}") for f in error.findings]
        texts += 1
    matcher.reset()
    return Walk(texts, masks, slowest[0], _shown(slowest[1]), tuple(limits))


def _choice(r: Random, allowed: list[int]) -> int | None:
    """Choose a byte: structure and ends as often as all the characters of a string together; None is an end."""
    plain = [byte for byte in allowed if chr(byte).isalnum() or byte > 127]
    other = [byte for byte in allowed if byte not in plain]
    chosen = r.choice(other if other and (not plain or r.random() < 0.5) else plain or [256])
    return None if chosen == 256 else chosen


def _shown(text: bytes) -> str:
    return text[-60:].decode(errors="replace")
