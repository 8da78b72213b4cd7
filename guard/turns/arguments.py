"""How a template writes a call's arguments: as one JSON object, or member by member in an exact style.

It is derived from the places of the sentinels of probes.py in a rendered call.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from guard.turns.probes import CHARS, VALUES
from guard.turns.splitting import json_at, listed, shared_end, shared_start

_SPELLINGS = {"true": ("true", "True"), "false": ("false", "False"), "null": ("null", "None", "none", "nil")}
_TYPES = {
    "kstrzq": "string",
    "kintzq": "number",
    "kboolzq": "boolean",
    "kofzq": "boolean",
    "knullzq": "null",
    "kfltzq": "number",
    "klistzq": "array",
    "kobjzq": "object",
}


@dataclass(frozen=True)
class Arguments:
    """The place of the arguments in a rendered call (characters, end excluded), and how they are written."""

    begin: int
    end: int
    style: dict[str, Any] | None = None  #: An exact style (docs/formats.md). None: one JSON object.
    whitespace: str = "spaced"  #: White space of that JSON, as `guard.compile` names it.
    are_sorted: bool = False  #: Whether members are sorted by key.
    lost: tuple[str, ...] = field(default=())  #: JSON types whose values the template omits.


def found(call: str, begin: int, samples: Mapping[str, str]) -> Arguments | None:
    """Return how the arguments of a rendered call are written; None where that can't be derived.

    `begin` is the index after the name, where members may begin. `samples` maps each of CHARS to a rendered call whose
    strings hold it: they show how the template quotes and escapes.
    """
    whole = json_at(call, VALUES)
    if whole is not None:
        text = call[whole[0] : whole[1]]
        ways = {"spaced": json.dumps(VALUES), "compact": json.dumps(VALUES, separators=(",", ":"))}
        kept = next((name for name, written in ways.items() if written == text), "flexible")
        ordered = [*json.loads(text)]
        return Arguments(*whole, whitespace=kept, are_sorted=ordered == sorted(VALUES) != [*VALUES])
    return _members(call, begin, samples)


class _Gaps:
    """The text between each key of a rendered call and the next one."""

    def __init__(self, call: str, begin: int, keys: list[str]) -> None:
        places = sorted((call.find(key, begin), key) for key in keys if call.find(key, begin) >= 0)
        self.keys = [key for _, key in places]
        self.first = places[0][0] if places else -1
        ends = [*(at for at, _ in places[1:]), len(call)]
        self.of = {key: call[at + len(key) : end] for (at, key), end in zip(places, ends, strict=False)}
        self.behind = {key: at + len(key) for at, key in places}
        self.last = self.keys[-1] if places else ""


def _members(call: str, begin: int, samples: Mapping[str, str]) -> Arguments | None:
    gaps = _Gaps(call, begin, [*VALUES])
    if not {"kstrzq", "kintzq"} <= gaps.of.keys() or gaps.last != "kzendzq":
        return None
    lead, number, between = gaps.of["kintzq"].partition(str(VALUES["kintzq"]))
    if not number:
        return None
    between = between.replace("kintzq", "{key}")
    leads: dict[str, str] = {}
    words: dict[str, str] = {}
    inside: dict[str, str] = {}  # key → the text of its array or object
    for key, value in VALUES.items():
        gap = gaps.of.get(key)
        if gap is None or key == gaps.last:
            continue
        mid = between.replace("{key}", key)
        held = gap.removesuffix(mid)
        if held == gap:
            held = gap.partition(VALUES["kstrzq"])[0] if key == "kstrzq" else ""
        if value is None or isinstance(value, bool):
            word = json.dumps(value)
            spelled = next((one for one in _SPELLINGS[word] if held.endswith(one)), None)
            if spelled is None:
                return None
            words[word], leads[_TYPES[key]] = spelled, held.removesuffix(spelled)
        elif key == "kstrzq":
            leads["string"] = gap.partition(str(value))[0]
        elif isinstance(value, int | float):
            leads["number"] = held.removesuffix(json.dumps(value))
        else:
            inside[key] = held
    plain = {text for name, text in leads.items() if name != "string"}
    labels = None
    text_lead = leads.get("string", gaps.of["kstrzq"].partition(VALUES["kstrzq"])[0])
    if plain != {lead} or not text_lead.startswith(lead):
        for key, held in inside.items():
            bracket = held.find("[" if isinstance(VALUES[key], list) else "{")
            leads[_TYPES[key]] = held[:bracket] if bracket >= 0 else lead
        leads["string"] = text_lead
        head = shared_start(leads.values())
        tail = shared_end(text[len(head) :] for text in leads.values())
        labels = {name: text[len(head) : len(text) - len(tail)] for name, text in leads.items()}
        lead = f"{head}{{label}}{tail}"
    last = json.dumps(VALUES[gaps.last])
    end = call.find(last, gaps.behind[gaps.last]) + len(last)
    top = _quotes(samples, "kstrzq", lead if labels is None else text_lead, between)
    if top is None or end < len(last):
        return None
    around = listed(call[begin : gaps.first], between, call[end:].replace(gaps.last, "{key}", 1))
    style: dict[str, Any] = {
        "members": {
            "opening": f"{around.opening}{{key}}{lead}",
            "closing": around.closing,
            "separator": around.separator,
        },
        "strings": top,
        "words": {word: spelled for word, spelled in words.items() if word != spelled},
    }
    if labels is not None:
        style["labels"] = labels
    nested = _nested(inside, lead, labels, samples, between)
    if nested is None:
        return None
    style |= nested
    inner = [nested[kind] for kind in ("array", "object") if kind in nested]
    if not all(one["end"] for one in inner) and not all(one["closing"] for one in (style["members"], *inner)):
        return None  # nothing would say where a nested value ends
    lost = tuple(_TYPES[key] for key in VALUES if key in _TYPES and key not in gaps.of)
    closing = around.closing.replace("{key}", gaps.last)
    return Arguments(
        gaps.first - len(around.opening),
        end + len(closing),
        style,
        are_sorted=gaps.keys == sorted(VALUES) != [*VALUES],
        lost=lost,
    )


def _nested(
    inside: Mapping[str, str],
    lead: str,
    labels: Any,
    samples: Mapping[str, str],
    between: str,
) -> dict[str, Any] | None:
    """Return the parts of a style that say how nested arrays and objects are written: {} where they are JSON.

    Returns None where that can't be derived.
    """
    out: dict[str, Any] = {}
    for key, held in inside.items():
        value, kind = VALUES[key], _TYPES[key]
        real = lead if labels is None else lead.replace("{label}", labels[kind])
        if _is_json(samples, key, real, between):
            continue
        text = held.removeprefix(real)
        members = _listed_members(text, value)
        if members is None:
            return None
        out[kind] = members
        before = members["begin"] + members["opening"].replace("{key}", "kmemzq")
        behind = members["closing"].replace("{key}", "kmemzq") + members["end"]
        quotes = _quotes(samples, key, real + before, between, behind)
        if quotes is None or out.setdefault("nested_strings", quotes) != quotes:
            return None
    return out


def _listed_members(text: str, value: Any) -> dict[str, str] | None:
    """Return the texts around the items of an array or the members of an object; None where they can't be derived."""
    ends = []
    at = 0
    pairs = (
        [(key, str(one)) for key, one in value.items()] if isinstance(value, dict) else [("", str(v)) for v in value]
    )
    for key, one in pairs:
        begin = text.find(key, at)
        inner = text.find(one, begin + len(key))
        if begin < 0 or inner < 0:
            return None
        begin = begin if key else inner
        ends.append((begin, text[begin + len(key) : inner], inner + len(one)))
        at = inner + len(one)
    (first, lead, end), (second, _, last) = ends
    between, behind = text[end:second], text[last:]
    if isinstance(value, dict):  # a closing text may repeat the key
        between, behind = (part.replace(key, "{key}") for part, key in zip((between, behind), value, strict=True))
    around = listed(text[:first], between, behind)
    place = "{key}" if isinstance(value, dict) else ""
    return {
        "begin": around.begin,
        "opening": f"{around.opening}{place}{lead}",
        "closing": around.closing,
        "separator": around.separator,
        "end": around.end,
    }


def _sampled(samples: Mapping[str, str], key: str, between: str) -> dict[str, str]:
    """Return the text between a key and the next one in each sample."""
    out = {}
    for char, call in samples.items():
        begin = call.find(key)
        if begin < 0:
            continue
        rest = call[begin + len(key) :]
        at = rest.find("bx")
        if at < 0:
            continue
        mid = between.replace("{key}", key)
        end = rest.find(mid, at) if mid else -1
        out[char] = rest[:end] if end >= 0 else rest
    return out


def _is_json(samples: Mapping[str, str], key: str, lead: str, between: str) -> bool:
    for char, held in _sampled(samples, key, between).items():
        value: Any = [f"xa{char}bx"] if key == "klistzq" else {"kmemzq": f"xa{char}bx"}
        try:
            if json.loads(held.removeprefix(lead)) != value:
                return False
        except ValueError:
            return False
    return True


def _quotes(
    samples: Mapping[str, str], key: str, lead: str, between: str, ending: str = ""
) -> list[dict[str, Any]] | None:
    """Return the quotes of the strings after a key, an empty list for raw strings; None where that can't be derived."""
    written: dict[tuple[str, str], dict[str, str]] = {}
    for char, held in _sampled(samples, key, between).items():
        first, end = held.find("xa"), held.rfind("bx")
        if first < 0 or not held.startswith(lead):
            return None
        quotes = (held[len(lead) : first], held[end + 2 :].removesuffix(ending))
        written.setdefault(quotes, {})[char] = held[first + 2 : end]
    if not written:
        return None
    (main, codes), *others = sorted(written.items(), key=lambda item: -len(item[1]))
    if main == ("", ""):
        return [] if not others and all(char == code for char, code in codes.items()) else None
    escapes = {char: code for char, code in codes.items() if char != code and len(char) == 1}
    both = codes.get(CHARS[-1])
    if both is not None and (code := both.removeprefix(escapes.get('"', '"'))) not in ("", "'"):
        escapes["'"] = code
    out: list[dict[str, Any]] = [{"begin": main[0], "end": main[1], "escapes": escapes}]
    for (opening, closing), kept in others:
        out.append({"begin": opening, "end": closing, "escapes": {c: e for c, e in escapes.items() if c not in kept}})
    return out
