"""Compiled schemas: the front end's and the engine's halves of one schema, put together.

A front end reads, checks and scans a schema; the engine then asks for the records of nodes as decoding reaches them. A
compiled schema may serve any number of matchers in any threads.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import asdict, dataclass, field, fields, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Literal

from guard.kernels import at_fork, json_pointer
from guard.kernels._native import (
    Drafts,
    Engine,
    EngineOptions,
    Explorer,
    JsonTree,
    NodeLowering,
    SchemaPositions,
    Twins,
)
from guard.kernels.cached import cached_property
from guard.kernels.errors import Finding, SchemaError
from guard.kernels.vocabulary import ON_MADE, Vocabulary
from guard.schemas import contradictions, jsontext, types
from guard.schemas.common import COMMON, SLOW_FORMATS
from guard.schemas.costs import Costs
from guard.schemas.documents import Documents, plain_dialect
from guard.schemas.exploration import MOST_STATES, Exploration, explore
from guard.schemas.grounding.keyword import KEYWORD
from guard.schemas.keywords import DEFAULT_DIALECT, DIALECTS, Dialect
from guard.schemas.limits import ENGINE_LIMITS, Limits, limit_error
from guard.schemas.lowering import Lowering, tables
from guard.schemas.ops import FALSE, KEYWORDS, Record
from guard.schemas.scan import NOTHING, RESIDUAL, ReportLine, report, scan, scan_alone
from guard.schemas.typed.notes import Beyond

if TYPE_CHECKING:
    from concurrent.futures import Future

    from guard.kernels._native import Matcher
    from guard.schemas.grounding.sources import Sources
    from guard.schemas.grounding.walk import GroundedWalk

KEY_ORDERS = {"schema": 0, "any": 1}
WHITESPACE = {"spaced": 0, "compact": 1, "flexible": 2, "any": 3}
SPELLINGS = {"canonical": 0, "any": 1}
INEXACT = ("refuse", "residual")
LARGE = 2_000  #: Values of a schema, or 64 characters of its texts each, from which on it is a large one.


@dataclass(frozen=True)
class Options:
    """How a schema was compiled. What each option means: docs/explanation/json-text.md."""

    key_order: Literal["schema", "any"] = "schema"
    whitespace: Literal["spaced", "compact", "flexible", "any"] = "spaced"
    spelling: Literal["canonical", "any"] = "canonical"
    formats: bool = True
    draft: str | None = None
    inexact: Literal["refuse", "residual"] = "refuse"
    limits: Limits = field(default_factory=Limits)

    @cached_property
    def tag(self) -> bytes:
        """Return what tells these options apart from all others."""
        return repr(self).encode()

    @cached_property
    def engine_options(self) -> EngineOptions:
        """Return these options as an engine takes them."""
        return engine_options(self, self.key_order)

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the fields without derived values."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __post_init__(self) -> None:
        """Check each option against what it may be."""
        for name, allowed in (
            ("key_order", KEY_ORDERS),
            ("whitespace", WHITESPACE),
            ("spelling", SPELLINGS),
            ("inexact", INEXACT),
            ("draft", (None, *DIALECTS)),
        ):
            value = getattr(self, name)
            if not isinstance(value, str | None) or value not in allowed:
                choices = ", ".join(map(repr, allowed))
                raise ValueError(f"{name}={value!r} must be one of {choices}")
        if not isinstance(self.formats, bool):
            raise TypeError(f"formats={self.formats!r} must be True or False")
        if not isinstance(self.limits, Limits):
            raise TypeError(f"limits={self.limits!r} must be guard.Limits")


def engine_options(options: Options, key_order: str) -> EngineOptions:
    """Return options as an engine takes them, with keys in another order."""
    return EngineOptions(
        KEY_ORDERS[key_order],
        WHITESPACE[options.whitespace],
        SPELLINGS[options.spelling],
        options.limits.numbers,
    )


#: Held while Python's half of any compiled schema is read or grows. A fork waits for it: the child lacks who held it.
_LOWERING = threading.RLock()
at_fork.let_it_wait_for(_LOWERING)


class FrontEnd:
    """What Python knows of a compiled schema: documents, the scan's verdict, and records on demand."""

    def __init__(
        self,
        schema: Any,
        options: Options,
        documents: Mapping[str, Any],
        beyond: tuple[Beyond, ...] = (),
        roots: Sequence[str] = (),
    ) -> None:
        """Read a schema, with the documents that references lead to; `roots` are read in any case."""
        self.options = options
        self.beyond = beyond  # of a type, what its schema does not say
        if isinstance(schema, JsonTree):
            self.tree = schema
        else:
            given, self.beyond = types.as_described(schema)
            self.tree = jsontext.private(given, options.limits, "")
        self.sources: Sources | None = None
        self.schemas = SchemaPositions()
        self.scan = NOTHING
        self._given = documents
        self._default = DEFAULT_DIALECT if options.draft is None else DIALECTS[options.draft]
        start = 0
        if not roots and (dialect := plain_dialect(self.tree, self._default)) is not None:
            start = scan_alone(self.schemas, self.tree, dialect, options.limits)
        if start >= 0 or self.schemas.may_loop():
            for uri in roots:
                self.documents.read(uri)
            self.scan = scan(self.documents, len(self.schemas) if start < 0 else start)
            if self.scan.troubles and options.inexact == "refuse":
                raise SchemaError(self.scan.findings(self.documents))
        read = self.documents if self.scan is not NOTHING else None
        self._is_recorded = bool(self.scan.troubles) or (read is not None and read.dynamic)  # by Python alone
        self._tables = tables(read, assert_formats=options.formats, annotate=self.scan.unevaluated)
        self._twins = Twins(self.schemas)
        self.root = FALSE + 1 if read is None else self.lowering.root

    @cached_property
    def documents(self) -> Documents:
        """Return the documents; of a schema that was scanned alone they are made when somebody asks."""
        return Documents(self.tree, self._given, self._default, self.options.limits, self.schemas)

    @cached_property
    def lowering(self) -> Lowering:
        """Return what lowers nodes in Python, made when somebody asks."""
        troubles = self.scan.troubles
        return Lowering(
            self.documents,
            self._twins,
            None if self._is_recorded else self._tables,
            assert_formats=self.options.formats,
            annotate=self.scan.unevaluated,
            dropped=frozenset([(t.position, t.keyword) for t in troubles]) if troubles else frozenset(),
            sources=self.sources,
        )

    def grounded(self, sources: Sources) -> FrontEnd:
        """Return this front end with the inputs of a call."""
        found = copy(self)
        found.sources = sources
        found._is_recorded |= self.scan.chosen
        found._twins = Twins(self.schemas)
        vars(found).pop("lowering", None)
        return found

    def report(self, *, refuse: bool = False) -> list[ReportLine]:
        """Return what becomes of each keyword, and what of a type is no keyword; with `refuse`, troubles refuse."""
        lines = report(self.documents, self.scan, assert_formats=self.options.formats, refuse=refuse)
        return lines + [ReportLine(beyond.pointer, "(type)", RESIDUAL, beyond.note) for beyond in self.beyond]

    def lower(self, nodes: list[int]) -> list[Record]:
        """Return the records of nodes."""
        with _LOWERING:
            return self.lowering.lower(nodes)

    @property
    def drafts(self) -> Callable[[list[int]], list[Record] | Drafts]:
        """Return what tells an engine of nodes, from any thread. It refers to this, so this must not keep it."""
        return self.lower if self._is_recorded else NodeLowering(self, self._tables, self._twins, _LOWERING)

    def without(self, node: int, keyword: str) -> Record:
        """Return the record that a node would have if its schema lacked a keyword."""
        with _LOWERING:
            return self.lowering.lower_without(node, keyword)

    def engine(self, lower: Callable[[list[int]], list[Record] | Drafts]) -> Engine:
        """Return an engine that asks for its records so."""
        return Engine(lower, self.fail, self.root, self.options.engine_options, apart=self.sources is not None)

    def where(self, node: int) -> list[str]:
        """Return the JSON Pointers of what says a node; the root's for one of the engine's own, which nobody wrote."""
        with _LOWERING:
            positions = self.lowering.positions_of(node)
        written = [at for at in positions if FALSE < at < len(self.documents.schemas)]
        return [self.documents.pointer(at) for at in written] or [""]

    def property_names(self, most: int) -> list[bytes]:
        """Return property names as JSON has them, of which bytes one by one would hit few."""
        with _LOWERING:
            schemas = self.documents.schemas
            found = {name for at in range(FALSE + 1, len(schemas)) for name in schemas[at].get("properties", ())}
        return [json.dumps(name, ensure_ascii=False).encode(errors="replace") for name in sorted(found)[:most]]

    def fail(self, limit: str, node: int, detail: str, op: int) -> SchemaError:
        """Return the error of a limit that the engine met at a node, in an opcode's keyword where that is known."""
        position = self.lowering.position_of(node)
        keyword, where = None, ""
        if FALSE < position < len(self.documents.schemas):
            schema, where = self.documents.schemas[position], self.documents.pointer(position)
            keyword = next((word for word in KEYWORDS.get(op, ()) if word in schema), None)
            where += f"/{keyword}" if keyword else ""
        if limit in ENGINE_LIMITS:
            return limit_error(self.options.limits, limit, where, keyword, detail)
        if limit == "process_memory":
            fix = "let them have more with guard.kernels.limit_memory(...)"
            return SchemaError(Finding(where, keyword, detail, fix), limit="memory")
        return SchemaError(
            Finding(where, keyword, detail, "simplify the schema here; no limit can be raised"), limit=limit
        )


class Compiled:
    """A compiled schema: makes matchers for any vocabulary, and reports how keywords are enforced. Thread-safe."""

    def __init__(self, front: FrontEnd) -> None:
        self._front = front
        self._engine = front.engine(front.drafts)
        self._engine.start()  # so that what it meets first is an error of compile()

    def __copy__(self) -> Compiled:
        """Return this one: nothing that can be seen of it ever changes."""
        return self

    def __deepcopy__(self, _memo: object) -> Compiled:
        """Return this one: nothing that can be seen of it ever changes."""
        return self

    def matcher(self, vocabulary: Vocabulary) -> Matcher:
        """Return a matcher at the start of a value. It belongs to one thread.

        Raises TypeError where `vocabulary` is none.
        """
        try:
            if vocabulary.is_cold:
                warmed(vocabulary)
            native = vocabulary.native
        except AttributeError:
            raise TypeError(f"vocabulary={vocabulary!r} must be a guard.Vocabulary") from None
        for name in self._front.scan.slow_formats if self.options.formats else ():
            with contextlib.suppress(SchemaError):  # where memory is short
                vocabulary.warm_once((name, self.options.spelling), partial(_slow, name, self.options.spelling))
        return self._engine.matcher(native)

    @property
    def is_grounded(self) -> bool:
        """Whether some value comes from the inputs of a call."""
        return self._front.scan.grounded

    def grounded(self, sources: Sources) -> Compiled:
        """Return this schema for one call, whose inputs state its grounded values.

        It has tables of its own, which go with it and its matchers: nothing of the inputs is kept (docs/grounding.md).
        Raises ValueError where this is such a schema already.
        """
        if self._front.sources is not None:
            raise ValueError("this schema is that of a call already")
        return Compiled(self._front.grounded(sources))

    @property
    def sources(self) -> Sources | None:
        """Return the inputs of the call that this schema was made for."""
        return self._front.sources

    def walk(self, is_valid: Callable[[int, Any], bool]) -> GroundedWalk:
        """Return what finds the grounded values of an answer; `is_valid` judges by a position's schema."""
        from guard.schemas.grounding.walk import GroundedWalk

        return GroundedWalk(self._front.documents, is_valid)

    def pointer(self, position: int) -> str:
        """Return the JSON Pointer of a position."""
        return self._front.documents.pointer(position)

    @property
    def is_format(self) -> bool:
        """Return whether its texts are the turns of a format, and no JSON (docs/formats.md)."""
        return False

    @property
    def options(self) -> Options:
        """Return how the schema was compiled."""
        return self._front.options

    @property
    def nbytes(self) -> int:
        """Return the bytes that the engine holds for this schema."""
        return self._engine.nbytes

    @property
    def draft(self) -> str:
        """Return the name of the dialect in which the schema was read."""
        return self.dialect.name

    @property
    def dialect(self) -> Dialect:
        """Return the dialect in which the schema was read."""
        return self._front.documents.root_home.dialect

    @property
    def documents(self) -> dict[str, Any]:
        """Return the documents that references led to, by URI: to be read only."""
        return {uri: contents for uri, contents in self._front.documents.loaded() if uri}

    @property
    def beyond(self) -> tuple[Beyond, ...]:
        """Return what a type checks and its schema does not say."""
        return self._front.beyond

    @property
    def contents(self) -> Any:
        """Return what `schema` copies: to be read only."""
        return self._front.tree.contents

    @property
    def schema(self) -> Any:
        """Return a copy of the schema as JSON; a type's is what Pydantic says of it."""
        return self._front.tree.copy()

    @cached_property
    def report(self) -> list[ReportLine]:
        """Return what becomes of each keyword that the root reaches; of a type, also what is left to Pydantic."""
        return self._front.report()

    def advice(self) -> list[Finding]:
        """Return what of the schema constrains nothing although it looks as if it should."""
        from guard.schemas.advice import advice

        with _LOWERING:
            return advice(self._front.documents, assert_formats=self.options.formats)

    def unknown_names(self) -> tuple[list[str], list[str]]:
        """Return the pointers of all keywords that are not known, and of all formats of strings that are not."""
        from guard.schemas.advice import unknown_names

        with _LOWERING:
            return unknown_names(self._front.documents)

    def property_names(self, most: int) -> list[bytes]:
        """Return property names as JSON has them, of which bytes one by one would hit few."""
        return self._front.property_names(most)

    @cached_property
    def costs(self) -> Costs:
        """Return what judging a text by this schema can cost."""
        with _LOWERING:
            return Costs(self._front.documents)

    @cached_property
    def hash(self) -> str:
        """Return a SHA-256 of all that decides what the masks allow: the documents as written, and the options."""
        digest = hashlib.sha256(json.dumps(asdict(self.options), sort_keys=True).encode())
        for uri, contents in sorted(self._front.documents.loaded()):
            digest.update(json.dumps([uri, contents], default=str).encode())
        if self._front.sources is not None:
            digest.update(self._front.sources.hash.encode())
        return digest.hexdigest()

    @cached_property
    def is_large(self) -> bool:
        """Whether to walk over the schema, or to write it down, may take some milliseconds: not on an event loop."""
        return self._front.tree.weight >= LARGE

    def arguments(self) -> dict[str, Any]:
        """Return what `compile` makes this of again, by name; options only where they are not the defaults."""
        defaults = asdict(Options())
        options = {name: value for name, value in asdict(self.options).items() if value != defaults[name]}
        return {"schema": self.schema, **options, **({"documents": self.documents} if self.documents else {})}

    def check_satisfiable(self, parts: Iterable[str] = ()) -> None:
        """Raise SchemaError where it is known that no value meets the schema, or one that is a part of it.

        `parts` are the JSON Pointers of those that something must meet. Where a limit is met first, it is not known.
        """
        places = self._front.documents.root_home.document.places
        held = {places[id(self._at(json_pointer.steps(part)))]: part for part in parts}
        for position, is_empty in contradictions.emptiness(self._engine, held, self.options.limits.seconds).items():
            if is_empty:
                raise SchemaError(contradictions.contradiction(self._front, self._empty(), held[position]))
        try:
            if self.matcher(single_bytes()).distance() >= 0:
                return
        except SchemaError:
            return
        raise SchemaError(self.contradiction())

    def contradiction(self) -> Finding:
        """Return what is to be said of a schema that no value meets: where it contradicts itself."""
        return contradictions.contradiction(self._front, self._empty())

    def unstated(self) -> list[str]:
        """Return the JSON Pointers of values that must be there and that the inputs of the call don't state."""
        empty = {place for position in self._empty() for place in self._where(position)}

        def is_needed(place: str) -> bool:
            steps = json_pointer.steps(place)
            for index, step in enumerate(steps):
                around = json_pointer.pointer(steps[:index])
                if step in ("anyOf", "oneOf") and around not in empty:
                    return False
                if (
                    step == "properties"
                    and index + 1 < len(steps)
                    and (around not in empty or not self._requires(steps[:index], steps[index + 1]))
                ):
                    return False
            return True

        documents = self._front.documents
        grounded = [
            documents.pointer(at) for at in range(2, len(documents.schemas)) if KEYWORD in documents.schemas[at]
        ]
        return [place for place in grounded if place in empty and is_needed(place)]

    def _at(self, steps: list[str]) -> Any:
        part: Any = self.contents
        for step in steps:
            part = part[int(step)] if isinstance(part, list) else part[step]
        return part

    def _requires(self, steps: list[str], name: str) -> bool:
        part = self._at(steps)
        return not isinstance(part, dict) or name in part.get("required", ())

    def _empty(self) -> list[int]:
        """Return the positions of the schemas inside of it that no value meets."""
        inside = range(FALSE + 1, min(len(self._front.documents.schemas), contradictions.MOST))
        found = contradictions.emptiness(self._engine, inside, contradictions.SECONDS)
        return [position for position, is_empty in found.items() if is_empty]

    def explore(self, seconds: float = 10.0, report: Callable[[int, int], None] | None = None) -> Exploration:
        """Expand all that decoding may ask for, in at most about `seconds`; `report` is told (done, known)."""
        size = len(json.dumps(self.schema, default=str))
        native = Explorer(self._engine, MOST_STATES + size)
        for root in self._front.lowering.roots:
            native.add(root)
        found = explore(native, self._where, size, seconds * (1 - contradictions.PORTION), report)
        dead, unasked = contradictions.dead_branches(self._front, seconds * contradictions.PORTION)
        return found.with_branches([replace(one, pointer=self._told_at(one.pointer)) for one in dead], unasked)

    def _where(self, node: int) -> list[str]:
        """Return the JSON Pointers of what says a node."""
        return [self._told_at(place) for place in self._front.where(node)]

    def _told_at(self, place: str) -> str:
        """Return the JSON Pointer, into what was given, of a place in the schema as it was compiled."""
        return place

    def warm(self, vocabulary: Vocabulary, *, masks: int = 256, seconds: float = 1.0) -> Future[int]:
        """Make masks that are likely to be asked for, in a background thread; nothing is ever warmed unasked.

        The walk begins at the start of a value and ends after so many masks or seconds. `result()` waits for it, and
        returns how many masks were made; an error, a SchemaError where a limit is met, is its exception, and logged.
        """
        from guard.schemas import warming  # here: only who asks for it needs NumPy

        names = self._front.property_names(warming.NAMES)
        return warming.warm(self.matcher(vocabulary), vocabulary, names, masks, seconds)

    def stats(self) -> dict[str, int]:
        """Return the engine's counters: automaton states, masks, lowered nodes."""
        return self._engine.stats()


@lru_cache(1)
def single_bytes() -> Vocabulary:
    """Return a vocabulary of single bytes, for what is asked of a schema alone."""
    return Vocabulary.from_bytes([*(bytes([byte]) for byte in range(256)), b""], eos=[256])


def warmed(vocabulary: Vocabulary) -> Vocabulary:
    """Return a vocabulary with the masks that most schemas share; a tokenizer's is given them once, in some 60 ms."""
    if vocabulary.is_cold:
        import jsonschema_rs  # noqa: F401 - loaded now, so that no schema waits for it while others decode

        with contextlib.suppress(SchemaError):  # where memory is short, masks are made when they are asked for
            vocabulary.warm(_common())
    return vocabulary


ON_MADE.append(warmed)


def _common() -> list[tuple[Engine, list[bytes]]]:
    """Return what a vocabulary is warmed with: engines, each with texts."""
    ways = (Options(), Options("any", "any", "any"))
    return [(_member(said, options), _begun(texts)) for said, texts in COMMON for options in ways]


def _slow(name: str, spelling: Literal["canonical", "any"]) -> list[tuple[Engine, list[bytes]]]:
    """Return what a vocabulary is warmed with for a slow format."""
    engine = _member({"type": "string", "format": name}, Options(spelling=spelling))
    return [(engine, _begun([SLOW_FORMATS[name]]))]


def _member(said: dict[str, Any], options: Options) -> Engine:
    """Return the engine of an object with two members that a schema describes."""
    both = {"type": "object", "properties": {"a": said, "b": said}, "required": ["a", "b"]}
    return Compiled(FrontEnd(both, options, {}))._engine


def _begun(texts: list[str]) -> list[bytes]:
    """Return such objects, each up to its second value."""
    return [f'{{"a": {text}, "b": '.encode() for text in texts]
