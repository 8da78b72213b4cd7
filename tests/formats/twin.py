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
NOTHING = {"type": "const_string", "value": ""}
FREE = ("any_text", "dispatch", "triggered_tags")  #: Formats whose text goes up to the end of their tag.


def accepts(tag: Any, text: str, valid: Valid) -> bool:
    """Answer whether a text is one of a structural tag."""
    return len(text) in Reader(text, valid).ends(tag["format"], 0, ())


class Reader:
    """One text, and which parts of it are what."""

    def __init__(self, text: str, valid: Valid) -> None:
        self.text, self._valid = text, valid
        self._regions: set[int] = set()  # where the free text of the last such format began
        self._bound: set[int] = set()  # and where it ended behind a part, and not in free text

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
        return self._closed(form["content"], start + len(begin), closers)

    def _closed(self, content: Any, inner: int, closers: Sequence[str]) -> set[int]:
        """Return where a content that begins here has ended with one of the closers."""
        stops = [one for one in closers if one]
        kind = content["type"]
        if kind == "optional":
            return self._closed(content["content"], inner, closers) | self._closed(NOTHING, inner, closers)
        if kind == "or":
            return {end for element in content["elements"] for end in self._closed(element, inner, closers)}
        if kind == "sequence" and content["elements"]:
            at = self._sequence({"elements": content["elements"][:-1]}, inner, stops)
            return {end for one in at for end in self._closed(content["elements"][-1], one, closers)}
        if kind not in FREE or len(stops) < len(closers):
            ends = self.ends(content, inner, stops)
            return {at + len(one) for at in ends for one in closers if self.text.startswith(one, at)}
        # Free text, and the end of the tag right behind it: the first of all strings that is complete ends it.
        self._regions = {inner}
        bound = set(self.ends(content, inner, stops)) if content["type"] != "any_text" else set()
        triggers = [*content.get("triggers", ()), *(rule[0] for rule in content.get("rules", ()))]
        found = {at + len(one) for at in bound & self._bound for one in stops if self.text.startswith(one, at)}
        for region in self._regions:
            found |= self._ended(region, [*triggers, *stops], stops, content)
        return found

    def _ended(self, start: int, among: Sequence[str], stops: Sequence[str], form: Any) -> set[int]:
        """Return where free text that begins here has ended with one of `stops`."""
        found = set()
        most = form.get("max_chars")
        for at in range(start, len(self.text) + 1):
            for one in stops:
                is_first = self._first(among, start, at + len(one)) == (at, at + len(one))
                if not self.text.startswith(one, at) or not is_first:
                    continue
                if self._first(form.get("excludes", ()), start, at) is None and (most is None or at - start <= most):
                    found.add(at + len(one))
        return found

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
        bound: set[int] = set()
        if first is not None and form.get("stop_after_first"):
            self._regions, self._bound = set(), first
            return first
        found: set[int] = set()
        waiting, seen = ({start} if first is None else set(first)), set()
        excludes = form.get("excludes", ())
        while waiting:
            at = waiting.pop()
            if at in seen:
                continue
            seen.add(at)
            for end in range(at, len(self.text) + 1):
                hit = self._first([*triggers, *stops], at, end)
                if hit is None:
                    if self._first(excludes, at, end) is None:
                        found.add(end)
                    continue
                said = self.text[hit[0] : hit[1]]
                if said in triggers and self._first(excludes, at, hit[0]) is None:
                    done = behind(said, hit[0])
                    if form.get("stop_after_first"):
                        found |= done
                        bound |= done
                    else:
                        waiting |= done
                break
        self._regions, self._bound = seen, bound
        return found


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; ValueError where a key stands twice in it."""
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a key stands twice")
    return made


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?", text) is not None
