"""The slow twin of formats: what a structural tag means, said as plainly as can be, over whole texts.

`ends(format, text, start)` is the set of offsets at which a format that begins at `start` may end. Nothing is
remembered between characters and nothing is shared with the engine, so that both can be wrong only in different ways.
Texts are characters; a special token is a character of its own out of `SYMBOLS`, which no text has.

Free text ends where the first of its strings is complete (an enclosing tag's end, a trigger, what it excludes): whoever
reads it commits to the first that ends, and, of several that end together, to the longest. A proper beginning of one of
them at the end is plain text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

Valid = Callable[[Any, Any], bool]  #: Whether a value meets a schema.

NO_LIMIT = 10**9


def accepts(tag: Any, text: str, valid: Valid) -> bool:
    """Answer whether a text is one of a structural tag."""
    return len(text) in Reader(text, valid).ends(tag["format"], 0, ())


class Reader:
    """One text, and which parts of it are what."""

    def __init__(self, text: str, valid: Valid) -> None:
        self.text, self._valid = text, valid

    def ends(self, form: Any, start: int, stops: Sequence[str]) -> set[int]:
        """Return the offsets at which the format may end; free text in it ends before `stops`, too."""
        return set(getattr(self, f"_{form['type']}")(form, start, stops))

    # -- Single parts --------------------------------------------------------------------------------------------------

    def _const_string(self, form: Any, start: int, _stops: Sequence[str]) -> Iterator[int]:
        if self.text.startswith(form["value"], start):
            yield start + len(form["value"])

    def _regex(self, form: Any, start: int, _stops: Sequence[str]) -> Iterator[int]:
        pattern = re.compile(form["pattern"])
        for end in range(start, len(self.text) + 1):
            if pattern.fullmatch(self.text, start, end):
                yield end

    def _any_text(self, form: Any, start: int, stops: Sequence[str]) -> Iterator[int]:
        most = form.get("max_chars")
        avoid = [*form.get("excludes", ()), *stops]
        for end in range(start, len(self.text) + 1):
            if self._first(avoid, start, end) is not None or (most is not None and end - start > most):
                return
            yield end

    def _first(self, among: Iterable[str], start: int, end: int) -> tuple[int, int] | None:
        """Return begin and end of the string that ends first in text[start:end], of several the longest."""
        found: tuple[int, int] | None = None
        for one in among:
            at = self.text.find(one, start, end) if one else -1
            if at >= 0 and (found is None or (at + len(one), at) < (found[1], found[0])):
                found = (at, at + len(one))
        return found

    def _json_schema(self, form: Any, start: int, _stops: Sequence[str]) -> Iterator[int]:
        style = form.get("style", "json")
        if style != "json":
            yield from STYLES[style](self, form["json_schema"], start)
            return
        for end in self._values(start):
            value = json.loads(self.text[start:end])
            if self._valid(form["json_schema"], value):
                yield end

    def _values(self, start: int) -> Iterator[int]:
        """Yield where a JSON value that begins here may end."""
        try:
            _, end = json.JSONDecoder(object_pairs_hook=_distinct).raw_decode(self.text, start)
        except (ValueError, IndexError):
            return
        if number := re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?").match(self.text, start):
            yield from (at for at in range(start + 1, number.end() + 1) if _is_number(self.text[start:at]))
        else:
            yield end

    # -- Several parts -------------------------------------------------------------------------------------------------

    def _sequence(self, form: Any, start: int, stops: Sequence[str]) -> set[int]:
        at = {start}
        for element in form["elements"]:
            at = {end for one in at for end in self.ends(element, one, stops)}
        return at

    def _or(self, form: Any, start: int, stops: Sequence[str]) -> set[int]:
        return {end for element in form["elements"] for end in self.ends(element, start, stops)}

    def _repeat(self, form: Any, start: int, stops: Sequence[str]) -> set[int]:
        least, most = form["min"], form["max"] if form["max"] >= 0 else NO_LIMIT
        found, at, count = set(), {start}, 0
        seen: set[int] = set()
        while at and count <= most:
            if count >= least:
                if at <= seen:
                    break
                seen |= at
                found |= at
            at = {end for one in at for end in self.ends(form["content"], one, stops)}
            count += 1
        return found

    def _optional(self, form: Any, start: int, stops: Sequence[str]) -> set[int]:
        return self._repeat({**form, "min": 0, "max": 1}, start, stops)

    def _plus(self, form: Any, start: int, stops: Sequence[str]) -> set[int]:
        return self._repeat({**form, "min": 1, "max": -1}, start, stops)

    def _star(self, form: Any, start: int, stops: Sequence[str]) -> set[int]:
        return self._repeat({**form, "min": 0, "max": -1}, start, stops)

    def _tag(self, form: Any, start: int, _stops: Sequence[str]) -> set[int]:
        begin = form["begin"]
        if not self.text.startswith(begin, start):
            return set()
        closers = [form["end"]] if isinstance(form["end"], str) else list(form["end"])
        inner = self.ends(form["content"], start + len(begin), [one for one in closers if one])
        return {at + len(one) for at in inner for one in closers if self.text.startswith(one, at)}

    def _tags_with_separator(self, form: Any, start: int, stops: Sequence[str]) -> set[int]:
        found = set() if form.get("at_least_one") else {start}
        at, seen = {start}, set()
        while at:
            done = {end for one in at for tag in form["tags"] for end in self._tag(tag, one, stops)}
            found |= done
            if form.get("stop_after_first"):
                return found
            between = form["separator"]
            at = {one + len(between) for one in done if self.text.startswith(between, one)} - seen
            seen |= at
        return found

    def _triggered_tags(self, form: Any, start: int, stops: Sequence[str]) -> set[int]:
        rules = [
            (trigger, [tag for tag in form["tags"] if tag["begin"].startswith(trigger)]) for trigger in form["triggers"]
        ]

        def behind(trigger: str, at: int) -> set[int]:
            return {end for one, tags in rules if one == trigger for tag in tags for end in self._tag(tag, at, ())}

        first = None
        if form.get("at_least_one"):
            first = {end for tag in form["tags"] for end in self._tag(tag, start, ())}
        return self._dispatched(form, start, stops, [one for one, _ in rules], behind, first)

    def _dispatch(self, form: Any, start: int, stops: Sequence[str]) -> set[int]:
        def behind(trigger: str, at: int) -> set[int]:
            return {
                end
                for one, content in form["rules"]
                if one == trigger
                for end in self.ends(content, at + len(trigger), ())
            }

        how = {**form, "stop_after_first": not form.get("loop", True)}
        return self._dispatched(how, start, stops, [one for one, _ in form["rules"]], behind, None)

    def _dispatched(
        self,
        form: Any,
        start: int,
        stops: Sequence[str],
        triggers: Sequence[str],
        behind: Callable[[str, int], set[int]],
        first: set[int] | None,
    ) -> set[int]:
        """Free text in which each trigger begins a part; `first`: where the first part ends that comes at once."""
        if first is not None and form.get("stop_after_first"):
            return first
        found: set[int] = set()
        waiting, seen = ({start} if first is None else set(first)), set()
        avoid = [*form.get("excludes", ()), *stops]
        while waiting:
            at = waiting.pop()
            if at in seen:
                continue
            seen.add(at)
            for end in range(at, len(self.text) + 1):
                hit = self._first([*triggers, *avoid], at, end)
                if hit is None:
                    found.add(end)
                    continue
                said = self.text[hit[0] : hit[1]]
                if said in triggers:
                    done = behind(said, hit[0])
                    if form.get("stop_after_first"):
                        found |= done
                    else:
                        waiting |= done
                break
        return found

    def _qwen_xml_parameter(self, form: Any, start: int, stops: Sequence[str]) -> Iterator[int]:
        yield from self._json_schema({**form, "style": "qwen_xml"}, start, stops)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; ValueError where a key stands twice in it."""
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a key stands twice")
    return made


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?", text) is not None


# -- Tagged values -----------------------------------------------------------------------------------------------------

_WRAPPERS = {
    "qwen_xml": ("<parameter=", ">", "</parameter>"),
    "minimax_xml": ('<parameter name="', '">', "</parameter>"),
    "glm_xml": ("<arg_key>", "</arg_key><arg_value>", "</arg_value>"),
}


def _tagged(style: str) -> Callable[[Reader, Any, int], Iterator[int]]:
    opening, between, closing = _WRAPPERS[style]

    def read(reader: Reader, schema: Any, start: int) -> Iterator[int]:
        text = reader.text
        found: list[tuple[str, str]] = []
        at = start
        while True:
            value = _valued(found, schema)
            if value is not None and reader._valid(schema, value):
                yield at
            gap = re.compile(r"\s*").match(text, at)
            at = gap.end() if gap and found else at
            if not text.startswith(opening, at):
                return
            name_end = text.find(between, at)
            value_end = text.find(closing, name_end)
            if name_end < 0 or value_end < 0:
                return
            found.append((text[at + len(opening) : name_end], text[name_end + len(between) : value_end]))
            at = value_end + len(closing)

    return read


def _valued(found: list[tuple[str, str]], schema: Any) -> Any:
    """Return the object that parameters are; None where they are none."""
    value: dict[str, Any] = {}
    properties = schema.get("properties", {}) if isinstance(schema, dict) else {}
    for name, said in found:
        if name in value:
            return None
        kind = properties.get(name, {}).get("type") if isinstance(properties.get(name), dict) else None
        if kind == "string":
            value[name] = said
            continue
        try:
            value[name] = json.loads(said.strip())
        except ValueError:
            if kind is not None:
                return None
            value[name] = said
    return value


STYLES = {style: _tagged(style) for style in _WRAPPERS}
