"""The oracle: the values that may be made of a reply, judged by the requested type alone.

guard/output/target.py judges: Pydantic for a type, jsonschema-rs for a schema, and RFC 8259 without duplicate keys. The
oracle knows nothing of the application under test.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from guard.errors import Violation
from guard.output.judge import NOT_JSON
from guard.output.repair import repair
from guard.output.target import Target
from guard.testing.scripted_replies import ScriptedReply, written

_CONSTANT = re.compile(r"\b(NaN|Infinity)\b")
_EXACT = 2**53  #: The first integer beyond which doubles skip integers.
_THOUGHT = re.compile(r"\A\s*<think(?:ing)?>.*?</think(?:ing)?>\s*", re.DOTALL)


@dataclass(frozen=True)
class Verdict:
    """The verdict on a reply: its kind, and the values that it may be read as."""

    kind: str  # "valid", "messy", "twofold", "invalid", "unreadable", "cut off", "refused", "empty", or "error"
    values: tuple[Any, ...] = ()  # the target's values; an application may return one of these
    texts: tuple[str, ...] = ()  # the JSON of each
    findings: tuple[Violation, ...] = ()  # of an invalid one
    words: str = ""  # why it is not an answer
    raw: tuple[str, ...] = ()  # the text itself, of an answer that is more than JSON
    may_go_on: bool = False  # of a text that was cut and is valid: whether more of it could have come, as after 12

    @property
    def is_answer(self) -> bool:
        """Whether a value may be made of it."""
        return bool(self.values) and not self.may_go_on


def read(reply: ScriptedReply, target: Target) -> Verdict:
    """Return the verdict on a reply."""
    if reply.error == "unknown tool":
        return Verdict("error", words="the model called a tool that was not offered")
    if reply.error == "split call":
        return Verdict("error", words="the model made two calls, each without some members")
    if reply.error:
        return Verdict("error", words=f"the provider failed: {reply.error}")
    if reply.finish == "refusal":
        return Verdict("refused", words="the model declined")
    if reply.finish == "filter":
        return Verdict("refused", words="the provider withheld the answer")
    if reply.finish != "stop":
        value, findings = target.check(reply.text)
        words = "the answer was cut off"
        if findings:
            return Verdict("cut off", words=words)
        is_at_end = reply.text.rstrip()[-1:] in ("}", "]", '"')  # nothing is missing
        return Verdict("cut off", (value,), (reply.text,), words=words, may_go_on=not is_at_end)
    if not reply.text.strip():
        return Verdict("empty", words="the answer was empty")
    text = _THOUGHT.sub("", reply.text)
    value, findings = target.check(text)
    if not findings:
        return Verdict("valid" if text == reply.text else "messy", (value,), (text,), raw=(reply.text,))
    if findings[0].rule != NOT_JSON and findings[0].rule != "nesting":
        return Verdict("invalid", findings=findings, words=f"the answer was invalid: {findings[0]}")
    if twofold := _twofold(text, target):
        return twofold
    values: list[Any] = []
    texts: list[str] = []
    mended = repair(text)
    candidates = [mended.text] if mended.edits else []
    if reply.meant:
        candidates.append(reply.meant)
    for candidate in candidates:
        value, wrong = target.check(candidate)
        if not wrong and not any(same(value, other) for other in values):
            values.append(value)
            texts.append(candidate)
    if not values and _CONSTANT.search(text):
        values, texts = _with_constants(text, target.schema)
    if values:
        return Verdict("messy", tuple(values), tuple(texts), raw=(reply.text,))
    return Verdict("unreadable", findings=findings, words=f"the answer was no JSON: {findings[0].expected}")


def narrowed(verdict: Verdict, member: str | None) -> Verdict:
    """Return a verdict on one member of the value, where an application returns only that."""
    if member is None:
        return verdict
    values = [plain(value) for value in verdict.values]
    kept = tuple(value[member] for value in values if isinstance(value, dict) and member in value)
    return replace(verdict, values=kept, texts=tuple(map(written, kept)), raw=())


def _twofold(text: str, target: Target) -> Verdict | None:
    """Read a text with a duplicate key both ways: with the last value, as most parsers do, and with the first."""
    found: list[str] = []
    for wins in (dict, _first):
        try:
            one = written(json.loads(text, object_pairs_hook=wins))
        except (ValueError, RecursionError):
            return None
        if not target.check(one)[1] and one not in found:
            found.append(one)
    if not found or _CONSTANT.search(text):
        return None
    words = "a key stands twice in the answer, with two values"
    return Verdict("twofold", tuple(target.check(one)[0] for one in found), tuple(found), words=words)


def _first(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for key, value in pairs:
        members.setdefault(key, value)
    return members


def _with_constants(text: str, schema: Any) -> tuple[list[Any], list[str]]:
    """Read a text as lenient parsers do: NaN and Infinity are numbers. Such a reading counts as unchanged.

    It is none where a number has bounds: NaN lies in no range.

    So does a large number as a double, where that is the field's type.
    """
    try:
        values = [json.loads(text), json.loads(text, parse_int=_as_double)]
    except (ValueError, RecursionError):
        return [], []
    return ([], []) if _is_out_of_range(values[0], schema) else (values, [text, text])


def _is_out_of_range(value: Any, schema: Any) -> bool:
    """Whether a value, or a member of it, is NaN or infinite where its schema bounds it."""
    if not isinstance(schema, Mapping):
        return False
    if isinstance(value, dict):
        members = schema.get("properties")
        return isinstance(members, Mapping) and any(_is_out_of_range(v, members.get(k)) for k, v in value.items())
    if not isinstance(value, float) or math.isfinite(value):
        return False
    low = [schema[key] for key in ("minimum", "exclusiveMinimum") if key in schema]
    high = [schema[key] for key in ("maximum", "exclusiveMaximum") if key in schema]
    return not (all(value > bound for bound in low) and all(value < bound for bound in high))


def _as_double(digits: str) -> int | float:
    return int(digits) if abs(int(digits)) < _EXACT else float(digits)


def plain(value: Any, *, whole: bool = True) -> Any:
    """Return a value as plain JSON data. `whole` includes the defaults of fields that were not given."""
    import pydantic

    if isinstance(value, pydantic.BaseModel):
        return value.model_dump(mode="json", exclude_unset=not whole, by_alias=True)
    if isinstance(value, dict):
        return {key: plain(v, whole=whole) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v, whole=whole) for v in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    from pydantic_core import PydanticSerializationError, to_jsonable_python

    try:
        return to_jsonable_python(value)
    except (PydanticSerializationError, ValueError, RecursionError):
        return repr(value)


def same(one: Any, other: Any) -> bool:
    """Whether two values are identical, types, order of keys and all digits included."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and one != one:
        return bool(other != other)
    return bool(one == other)


def leaves(value: Any) -> list[Any]:
    """Return the texts and numbers in a value, without its keys."""
    if isinstance(value, dict):
        return [leaf for part in value.values() for leaf in leaves(part)]
    if isinstance(value, list):
        return [leaf for part in value for leaf in leaves(part)]
    return [] if value is None or isinstance(value, bool) else [value]


def is_held(leaf: Any, texts: str) -> bool:
    """Whether a text or number occurs in an answer, in any spelling."""
    if isinstance(leaf, str):
        escaped, inner = json.dumps(leaf)[1:-1], json.dumps(leaf, ensure_ascii=False)[1:-1]
        return leaf in texts or inner in texts or escaped.lower() in texts.lower() or leaf.strip() in texts
    spellings = {str(leaf), repr(leaf)}
    if isinstance(leaf, float) and leaf.is_integer():
        spellings.add(str(int(leaf)))
    return any(spelling in texts for spelling in spellings)
