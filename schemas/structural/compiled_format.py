"""Compiled formats: what `Compiled` is for one value, for a whole turn of text around values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from guard.kernels._native import Engine, JsonTree
from guard.kernels.cached import cached_property
from guard.kernels.errors import Finding, SchemaError
from guard.schemas.compiled import (
    LARGE,
    Compiled,
    FrontEnd,
    Options,
    engine_options,
    single_bytes,
    warmed,
)
from guard.schemas.grounding.keyword import KEYWORD
from guard.schemas.kept import KEPT
from guard.schemas.scan import ENFORCED, EXCLUDED, ReportLine
from guard.schemas.structural import exact
from guard.schemas.structural.forms import bounds, checked, formats_in
from guard.schemas.structural.nets import ANY_TOKEN, START, SYMBOL, VALUE, Builder, Net
from guard.schemas.structural.pruning import prune
from guard.schemas.structural.spellings import as_tag, is_tag, place_of

if TYPE_CHECKING:
    from guard.kernels._native import Matcher
    from guard.kernels.vocabulary import Vocabulary

STRIDE = 4_096  #: Bytes read at once when looking for the longest accepted prefix.
ARC, IS_VALUE, IS_SYMBOL = range(3)  #: Kinds of spans that the engine reports.
_KINDS = ("text", "value", "token")  #: Their names in a `TurnPart`.


class TurnPart(NamedTuple):
    """A part of a turn, and what it was read as. Offsets are in bytes of UTF-8."""

    kind: str  #: "text", "value", "token"; in a tagged or exact style also "key", "string", "array", "item", …
    pointer: str  #: JSON Pointer into the structural tag, to the format of this part.
    begin: int  #: The first byte.
    end: int  #: The byte after the last one.
    text: str  #: The text; "" for a token without text.
    value: Any = None  #: For a complete value, the JSON value; for a key, its name.


class _Places:
    """Where a format's parts were written. An engine's errors need them, so they refer to no engine: none could go."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.given = given
        self.net: Net = Net()

    def as_told(self, error: SchemaError) -> SchemaError:
        """Return an error with pointers into the format as the caller gave it."""
        told = [replace(one, pointer=place_of(self.given, one.pointer)) for one in error.findings]
        return SchemaError(told, limit=error.limit)

    def placed(self, error: SchemaError) -> SchemaError:
        """Return an error in a value's schema with pointers into the structural tag."""
        fix = "put a mark between them that tells where one ends: a text, or a token" if error.limit == "format" else ""
        found = [replace(one, pointer=self.of(one.pointer), fix=fix or one.fix) for one in error.findings]
        return self.as_told(SchemaError(found, limit=error.limit))

    def of(self, place: str) -> str:
        """Return the pointer into the structural tag of a place in the values' documents."""
        head, _, rest = place.partition("#")
        for prefix, places in (
            ("guard:value/", self.net.schema_places),
            ("guard:arguments/", self.net.document_places),
        ):
            if head.startswith(prefix):
                number, _, below = head.removeprefix(prefix).partition("/")
                return places[int(number)] + (f"/{below}" if below else "") + rest
        return place or "/format"


def _front(net: Net, options: Options) -> FrontEnd:
    """Return the front end of a net's values."""
    values = {f"guard:value/{number}": schema for number, schema in enumerate(net.schemas)}
    documents = values | {f"guard:arguments/{number}": schema for number, schema in enumerate(net.documents)}
    return FrontEnd(True, options, documents, roots=[*values])


def _made(net: Net, front: FrontEnd, places: _Places, *, is_checked: bool = False) -> Engine:
    """Return the engine of a net; `is_checked` says that its start finds out whether values are told from text."""
    nodes = front.lowering.roots[1:]  # of the values
    exits = [(kind, nodes[what] if kind == VALUE else what, following) for kind, what, following in net.exits]
    copies = [net.copies.get(arc, -1) for arc in range(len(net.arcs))] if net.copies else []
    return Engine(
        front.drafts,
        lambda *met: places.placed(front.fail(*met)),
        front.lowering.root,
        engine_options(front.options, "any" if True in net.any_orders else front.options.key_order),
        (net.points, net.arcs, exits, is_checked, copies),
    )


def _is_told_apart(tag: dict[str, Any], options: Options) -> bool:
    """Whether the format with circles in place of long repetitions shows that values are told from text.

    That takes the states of a few copies in place of all. False: it does not show it, or there is no such repetition.
    """
    net = Builder(options, in_circles=True).build(tag)
    if not net.copies:
        return False
    try:
        _made(net, _front(net, options), _Places(tag), is_checked=True).start()
    except SchemaError:
        return False
    return True


class CompiledFormat(Compiled):
    """A compiled format: makes matchers for any vocabulary, and reads texts into parts. Any thread may use it."""

    def __init__(self, given: Any, options: Options, *, is_private: bool = False) -> None:
        """Compile a format; `is_private` says that nobody else has it."""
        tag = as_tag(given)
        self._places = places = _Places(given)
        try:
            form = checked(tag["format"], options.limits, is_private=is_private and is_tag(given))
            self._given = tag = {"type": "structural_tag", "format": form}
            self._net = places.net = net = Builder(options).build(tag)
        except SchemaError as error:
            raise places.as_told(error) from None
        if len(net.any_orders) > 1:
            fix = "say any_order of all of them, or of none"
            finding = Finding("/format", "any_order", "one format has values of both orders of keys", fix)
            raise places.as_told(SchemaError(finding))
        try:
            self._front = front = _front(net, options)
        except SchemaError as error:
            raise places.placed(error) from None
        for place, one in (("", front), *net.fronts):
            if one.scan.grounded:
                fix = "ask for the JSON Schema itself"
                finding = Finding(place, KEYWORD, f"{KEYWORD} can't be told inside of a format", fix)
                raise places.as_told(SchemaError(finding))
        is_checked = net.is_ambiguous and not _is_told_apart(tag, options)
        self._engine = _made(net, front, places, is_checked=is_checked)
        self._engine.start()
        if dead := prune(net, self._engine):
            if START in dead:
                raise SchemaError(self._contradiction(dead))
            self._engine = _made(net, front, places)
            self._engine.start()

    def _told_at(self, place: str) -> str:
        return self._places.of(place)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the format and the options; whoever reads it compiles them."""
        return of, (self._places.given, self.options)

    @property
    def is_format(self) -> bool:
        """True: texts are turns, not JSON values."""
        return True

    def named_tokens(self) -> list[tuple[str, int | str]]:
        """The special tokens that the format names, each with its JSON Pointer; no text can spell them."""
        net = self._net
        out: list[tuple[str, int | str]] = []
        for (kind, what, _), place in zip(net.exits, net.exit_places, strict=True):
            if kind == SYMBOL or (kind == ANY_TOKEN and net.symbols[what]):
                out += [(place, name) for name in net.symbols[what]]
            elif kind == ANY_TOKEN:
                out.append((place, "any token"))
        return [*dict.fromkeys(out), *(("/format", name) for name in net.barred_tokens)]

    def matcher(self, vocabulary: Vocabulary) -> Matcher:
        """Return a matcher at the start of a turn. It belongs to one thread.

        Raises ValueError where the vocabulary lacks a token that the format names, or has no other.
        """
        net = self._net
        try:
            native = warmed(vocabulary).native
        except AttributeError:
            raise TypeError(f"vocabulary={vocabulary!r} must be a guard.Vocabulary") from None
        for name in net.barred_tokens:
            if (token := vocabulary.token(name)) not in vocabulary.special and token not in vocabulary.eos:
                raise ValueError(f"exclude_tokens: {name!r} is text in this vocabulary; name its text in `excludes`")
        symbols = [[vocabulary.token(one) for one in named] for named in net.symbols]
        any_tokens = {what for kind, what, _ in net.exits if kind == ANY_TOKEN}
        for what in any_tokens:
            _check_some(vocabulary, symbols[what])
        named: dict[int, int | str] = {}
        for what, tokens in enumerate(symbols):
            if what not in any_tokens and named.setdefault(tokens[0], net.symbols[what][0]) != net.symbols[what][0]:
                both = f"{named[tokens[0]]!r} and {net.symbols[what][0]!r}"
                raise ValueError(f"{both} are the same token of this vocabulary; name it in one way")
        return self._engine.matcher(native, symbols, vocabulary.special if any_tokens else ())

    def read(self, turn: str | bytes | Sequence[int], vocabulary: Vocabulary | None = None) -> list[TurnPart]:
        """Read a whole turn: its text, or the tokens of a vocabulary, without the end-of-sequence token.

        Returns its parts in order. Where several alternatives fit, the first one counts. Raises ValueError, with the
        byte at which the turn leaves the format, for a turn that the format does not have. O(bytes).
        """
        if isinstance(turn, str | bytes):
            data = turn.encode() if isinstance(turn, str) else turn
            matcher = self.matcher(single_bytes())
            accepted = matcher.accept_bytes(data)
        else:
            if vocabulary is None:
                raise TypeError("vocabulary=None must be the vocabulary of the tokens")
            matcher, tokens = self.matcher(vocabulary), list(turn)
            data = b"".join(map(vocabulary.token_bytes, tokens))
            accepted = all(map(matcher.accept, tokens))
        if not accepted or not matcher.can_stop():
            raise ValueError(_wrong(self, data) if isinstance(turn, str | bytes) else "the format has no such turn")
        return self.parts(matcher, data)

    def parts(self, matcher: Matcher, data: bytes) -> list[TurnPart]:
        """Return the parts of `data`, the bytes that `matcher` has accepted. The last part may be incomplete."""
        out = []
        for kind, what, begin, end in matcher.spans():
            text = data[begin:end].decode(errors="replace")
            pointer = (self._net.arc_places if kind == ARC else self._net.exit_places)[what]
            role = self._net.roles.get(what) if kind == ARC else None
            if role is not None:
                out.append(TurnPart(role.kind, pointer, begin, end, text, exact.said(role, text)))
                continue
            value = None
            if kind == IS_VALUE and (end < len(data) or matcher.can_stop()):
                value = json.loads(text)
            is_any = kind == IS_SYMBOL and self._net.exits[what][0] == ANY_TOKEN
            if is_any and out and out[-1][:2] == ("text", pointer):  # one part for all of them
                begin, text = out[-1].begin, data[out.pop().begin : end].decode(errors="replace")
            out.append(TurnPart("text" if is_any else _KINDS[kind], pointer, begin, end, text, value))
        return out

    @property
    def contents(self) -> Any:
        """The structural tag. Read-only."""
        return self._given

    @cached_property
    def is_large(self) -> bool:
        """Whether to walk over the format, or to write it down, may take some milliseconds: not on an event loop."""
        left, waiting = LARGE, [self._given]
        while waiting and left > 0:
            part = waiting.pop()
            left -= 1
            if isinstance(part, str):
                left -= len(part) // 64
            elif isinstance(part, dict):
                left -= sum(map(len, part)) // 64
                waiting += part.values()
            elif isinstance(part, list | tuple):
                waiting += part
        return left <= 0

    @property
    def excluded(self) -> list[ReportLine]:
        """Values that the schemas allow but no text of the format can express, each with its JSON Pointer."""
        lines = dict.fromkeys(self._net.excluded)
        return [ReportLine(pointer, "style", EXCLUDED, f"left out: {words}") for pointer, words in lines]

    @cached_property
    def report(self) -> list[ReportLine]:
        """What became of each format and of each keyword of the schemas, and what is excluded."""
        of_values = [replace(line, pointer=self._told_at(line.pointer)) for line in self._front.report()]
        of_texts = [
            replace(line, pointer=place + line.pointer) for place, front in self._net.fronts for line in front.report()
        ]
        return [*self._of_formats(), *dict.fromkeys([*of_values, *of_texts]), *self.excluded]

    def _of_formats(self) -> Iterator[ReportLine]:
        """Yield a line for each format, outermost first."""
        held: dict[str, list[str]] = {}
        for place, end in self._net.notes:
            held.setdefault(place, []).append(repr(end))
        for pointer, form in formats_in(self._given["format"], "/format"):
            note = ""
            if ends := held.get(pointer):
                note = f"a string in its JSON may hold {' or '.join(ends)}, which ends no value where it stands in one"
            yield ReportLine(pointer, form["type"], ENFORCED, note)

    @cached_property
    def hash(self) -> str:
        """A SHA-256 of everything that determines the masks."""
        return hashlib.sha256(json.dumps([self._given, asdict(self.options)], sort_keys=True).encode()).hexdigest()

    def arguments(self) -> dict[str, Any]:
        """The keyword arguments of `compile` that make this again, without options that have their default."""
        given, defaults = asdict(self.options), asdict(Options())
        return {"schema": self._given, **{name: one for name, one in given.items() if one != defaults[name]}}

    def advice(self) -> list[Finding]:
        """Keywords of the schemas that constrain nothing although they look as if they did."""
        return [replace(one, pointer=self._told_at(one.pointer)) for one in super().advice()]

    def unknown_names(self) -> tuple[list[str], list[str]]:
        """JSON Pointers of unknown keywords and of unknown string formats."""
        keywords, names = super().unknown_names()
        return [*map(self._told_at, keywords)], [*map(self._told_at, names)]

    def contradiction(self) -> Finding:
        """Why no text fits the format; None where one does."""
        return self._contradiction(())

    def _contradiction(self, dead: Collection[int]) -> Finding:
        """Return why a format has no text, naming the first value among its dead parts."""
        net = self._net
        places = [
            net.schema_places[what]
            for at, (kind, what, following) in enumerate(net.exits)
            if kind == VALUE and ~at in dead and following not in dead
        ]
        whole = "/format/json_schema" if "json_schema" in self._given["format"] else "/format"
        place = place_of(self._places.given, (places or [whole])[0])
        return Finding(place, None, "nothing can meet it", "correct what contradicts itself")


def of(given: Any, options: Options) -> CompiledFormat:
    """Return what was compiled of a format; the same content gives the same object, as of schemas."""
    tree = JsonTree.of(given, *bounds(options.limits))
    written = None if tree is None else tree.written
    if tree is None or written is None:  # it says itself what is wrong with it
        return CompiledFormat(given, options)
    content = tree.contents
    key = "format", hashlib.sha256(written).digest(), options.tag
    kept: CompiledFormat = KEPT.get(key, lambda: CompiledFormat(content, options, is_private=True), len(written))
    return kept


def accept_most(matcher: Matcher, data: bytes) -> int:
    """Let a matcher accept the longest beginning of `data` that it can; return its length. O(bytes)."""
    at, step = 0, STRIDE
    while step and at < len(data):
        if matcher.accept_bytes(data[at : at + step]):
            at = min(at + step, len(data))
        else:
            step //= 2
    return at


def _check_some(vocabulary: Vocabulary, excluded: Sequence[int]) -> None:
    """Raise ValueError where a vocabulary has no token but these and those that end a turn."""
    barred, special = {*excluded, *vocabulary.eos}, {*vocabulary.special}
    others = (token for token in range(vocabulary.size) if token not in barred)
    if not any(token in special or vocabulary.token_bytes(token) for token in others):
        raise ValueError("exclude_tokens: they are all tokens of this vocabulary")


def _wrong(compiled: CompiledFormat, data: bytes) -> str:
    """Return an error that says how far a text fits the format. O(bytes)."""
    at = accept_most(compiled.matcher(single_bytes()), data)
    begun = data[max(0, at - 40) : at].decode(errors="replace")
    what = f"goes wrong behind {begun!r} (byte {at:,})" if at < len(data) else f"ends too soon, behind {begun!r}"
    return f"the format has no such turn: it {what}"
