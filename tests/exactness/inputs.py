"""Inputs of calls, of which it is known from how they are made what they state; and schemas that say so by `enum`.

A text is made of paragraphs, lines, cells and words. Each word stands in a table here, with the pieces at which a
quotation may begin or end, and the numbers or dates that it states. So the judge reads nothing: it shares no code with
`schemas/grounding`; what a word states by the notations of a locale stands in the table as well. Two words with digits
never stand side by side: what they state together is another question.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple

KEYWORD = "x-guard-from"
NAMES = ("a", "b")  #: Of inputs.
_REFERENCES = ("$ref", "$recursiveRef", "$dynamicRef")


class Piece(NamedTuple):
    """A part of a word, and whether a quotation may begin and end with it."""

    text: str
    begins: bool = True
    ends: bool = True


class Word(NamedTuple):
    """What stands between two spaces, or a date of several words."""

    written: str
    pieces: tuple[Piece, ...]
    numbers: tuple[float, ...] = ()
    dates: tuple[str, ...] = ()


def _word(text: str) -> Word:
    return Word(text, (Piece(text),))


def _before(sign: str, text: str, *numbers: float) -> Word:
    return Word(sign + text, (Piece(sign, ends=False), Piece(text)), numbers)


def _behind(text: str, sign: str, *numbers: float) -> Word:
    return Word(text + sign, (Piece(text), Piece(sign, begins=False)), numbers)


_SPACE = Piece(" ", begins=False, ends=False)
_BAR = Piece("|", begins=False, ends=False)
_HYPHEN = Piece("-", begins=False, ends=False)
_COMMA = Piece(",", begins=False, ends=False)
_QUOTE = Piece('"', begins=False, ends=False)

_LETTERS = tuple(map(_word, ("a", "b", "ab", "ba", "é", "aé", "z")))
_PLAIN = (
    *(*_LETTERS, *_LETTERS),
    *map(_word, ("a-b", "a@b", "b_a", "a.b", "1.2.3.4")),
    Word("ae\u0301", (Piece("aé"),)),
    Word('a"b', (Piece("a"), _QUOTE, Piece("b"))),
    Word("(b)", (Piece("(", ends=False), Piece("b"), Piece(")", begins=False))),
    Word("x\\", (Piece("x"), Piece("\\", begins=False, ends=False))),
    *(_behind("a", "."), _behind("ab", "'s"), _before("/", "a")),
)
_STATING = (
    *(Word(text, (Piece(text),), numbers) for text, numbers in {
        "0": (0,), "1": (1,), "2": (2,), "3": (3,), "12": (12,), "0.5": (0.5,), "0,5": (0.5,), "1.50": (1.5,),
        "0.25": (0.25,), "1,25": (1.25,), "1.000": (1, 1000), "0.125": (0.125, 125), "12,0": (12,),
    }.items()),
    *(_before("-", "1", 1, -1), _before("-", "0.5", 0.5, -0.5), _before("€", "2", 2), _behind("2", "%", 2)),
    Word("2024-02-29", (Piece("2024-02-29"),), (), ("2024-02-29",)),
    Word("29.02.2024", (Piece("29.02.2024"),), (), ("2024-02-29",)),
    Word("03/04/2024", (Piece("03/04/2024"),), (), ("2024-03-04", "2024-04-03")),
    *map(_word, ("2023-02-29", "00000000-0000-0000-0000-000000000000")),
    Word("29 February 2024", (Piece("29"), _SPACE, Piece("February"), _SPACE, Piece("2024")), (), ("2024-02-29",)),
    Word("Feb 29, 2024", (Piece("Feb"), _SPACE, Piece("29"), _COMMA, _SPACE, Piece("2024")), (), ("2024-02-29",)),
)  # fmt: skip

Locales = tuple[str, ...]
LOCALES: tuple[Locales, ...] = ((), ("en",), ("de",), ("fr",), ("de", "en"), ("fr", "de"))  #: (): the common notations.
_NOTHING: tuple[tuple[float, ...], tuple[str, ...]] = ((), ())
_NO_DATE = ((29, 2024), ())  # its month is a word of another language
#: By locale, the words that state something else than by the common notations: numbers, and dates.
_BY_LOCALE: dict[str, dict[str, tuple[tuple[float, ...], tuple[str, ...]]]] = {
    "en": {"0,5": _NOTHING, "1,25": _NOTHING, "12,0": _NOTHING, "1.000": ((1,), ()), "0.125": ((0.125,), ())},
    "de": {
        **dict.fromkeys(("0.5", "-0.5", "1.50", "0.25"), _NOTHING),
        "1.000": ((1000,), ()),
        "0.125": ((125,), ()),
        "29 February 2024": _NO_DATE,
    },
    "fr": {
        **dict.fromkeys(("0.5", "-0.5", "1.50", "0.25", "1.000", "0.125"), _NOTHING),
        **dict.fromkeys(("29 February 2024", "Feb 29, 2024"), _NO_DATE),
    },
}

#: Bytes of all that can be quoted.
ALPHABET = frozenset("".join([*(piece.text for word in (*_PLAIN, *_STATING) for piece in word.pieces), "|"]).encode())

_CELL_GAPS = {"\t": (_SPACE,), "   ": (_SPACE,), " | ": (_SPACE, _BAR, _SPACE)}  #: As a line reads them.
Pieces = list[Piece]


@dataclass(frozen=True)
class Input:
    """A text, and what may come from it."""

    text: str
    quotes: dict[str, frozenset[str]]  # by unit: cell, line, paragraph
    numbers: dict[Locales, frozenset[float]]
    dates: dict[Locales, frozenset[str]]


def draw(r: Random) -> dict[str, Input]:
    """Draw the inputs of a call, by name."""
    return {name: _draw(r) for name in NAMES}


def _draw(r: Random) -> Input:
    text, said = "", []
    units: dict[str, list[Pieces]] = {"cell": [], "line": [], "paragraph": []}
    newline = r.choice(["\n", "\n", "\r\n", "\r"])
    for number in range(r.choice([0, 1, 1, 2, 3])):
        text += (newline + newline) * bool(number)
        #: The paragraph as it stands, with hyphenated words joined, and with their hyphens.
        ways: list[Pieces] = [[], [], []]
        lines = r.choice([1, 1, 2, 3])
        wraps = [line < lines - 1 and r.random() < 0.3 for line in range(lines)]
        for line in range(lines):
            cells = [_cell(r, said) for _ in range(r.choice([1, 1, 1, 2, 3]))]
            if line and wraps[line - 1]:
                cells[0][0] = r.choice(_LETTERS)
            if wraps[line]:
                cells[-1][-1] = r.choice(_LETTERS)
            whole: Pieces = []
            for at, cell in enumerate(cells):
                gap = r.choice(list(_CELL_GAPS)) if at else ""
                pieces = [piece for i, word in enumerate(cell) for piece in ((_SPACE,) * bool(i) + word.pieces)]
                pieces += [_HYPHEN] * (wraps[line] and at == len(cells) - 1)
                units["cell"].append(pieces)
                whole += [*_CELL_GAPS.get(gap, ()), *pieces]
                text += gap + r.choice([" ", " ", "  "]).join(word.written for word in cell)
            text += "-" * wraps[line] + newline * (line < lines - 1)
            units["line"].append(whole)
            for way, joint in zip(ways, (None, "", "-"), strict=True):
                if line and wraps[line - 1] and joint is not None:
                    way[-2:] = [Piece(way[-2].text + joint + whole[0].text)]
                    way += whole[1:]
                else:
                    way += [_SPACE] * bool(line) + whole
        units["paragraph"] += ways if any(wraps) else ways[:1]
    quotes = {unit: frozenset(q for pieces in found for q in _quotes(pieces)) for unit, found in units.items()}
    said = [word for word in _STATING if any(word is one for one in said)]
    states = {locales: [_states(word, locales) for word in said] for locales in LOCALES}
    numbers = {locales: frozenset(n for ns, _ in stated for n in ns) for locales, stated in states.items()}
    dates = {locales: frozenset(date for _, ds in stated for date in ds) for locales, stated in states.items()}
    return Input(text, quotes, numbers, dates)


def _states(word: Word, locales: Locales) -> tuple[set[float], set[str]]:
    """Return the numbers and the dates that a word states by some locales; what is a date by one is no number."""
    common = (word.numbers, word.dates)
    read = [_BY_LOCALE[locale].get(word.written, common) for locale in locales] or [common]
    dates = {date for _, found in read for date in found}
    return (set() if dates else {number for found, _ in read for number in found}), dates


def _cell(r: Random, said: list[Word]) -> list[Word]:
    """Draw the words of a cell; `said` takes those that state something."""
    words = [r.choice(_PLAIN) for _ in range(r.choice([1, 2, 2, 3]))]
    if len(words) > 1 and r.random() < 0.7:
        stating = r.choice(_STATING)
        words.insert(1, stating)
        said.append(stating)
    return words


def _quotes(pieces: Pieces) -> set[str]:
    found = set()
    for first, piece in enumerate(pieces):
        text = ""
        for last in pieces[first:] if piece.begins else ():
            text += last.text
            if last.ends:
                found.add(text)
    return found


def told(schema: Any, inputs: dict[str, Input]) -> Any:
    """Return a schema that lists what the inputs state instead of saying `x-guard-from`.

    That only one branch of `oneOf` fits is asked without the inputs. `is_told` says where that can be written so.
    """
    if isinstance(schema, list):
        return [told(item, inputs) for item in schema]
    if not isinstance(schema, dict):
        return schema
    out = {k: v if k in ("const", "enum") else told(v, inputs) for k, v in schema.items() if k != KEYWORD}
    if isinstance(schema.get("oneOf"), list) and KEYWORD in json.dumps(schema["oneOf"]):
        out["allOf"] = [*out.get("allOf", []), {"anyOf": out["oneOf"]}]
        out["oneOf"] = unmarked(schema["oneOf"])
    if KEYWORD in schema and "type" in schema:
        values = _stated(schema, inputs)
        out["allOf"] = [*out.get("allOf", []), {"enum": values} if values else {"not": {}}]
    return out


def is_told(schema: Any) -> bool:
    """Whether no branch of `oneOf` refers to what may come from an input."""
    if isinstance(schema, list):
        return all(map(is_told, schema))
    if not isinstance(schema, dict):
        return True
    said = json.dumps(schema.get("oneOf"))
    return not any(f'"{word}"' in said for word in _REFERENCES) and all(map(is_told, schema.values()))


def unmarked(schema: Any) -> Any:
    """Return a schema without `x-guard-from`."""
    if isinstance(schema, dict):
        return {k: v if k in ("const", "enum") else unmarked(v) for k, v in schema.items() if k != KEYWORD}
    return [unmarked(item) for item in schema] if isinstance(schema, list) else schema


def _stated(schema: dict[str, Any], inputs: dict[str, Input]) -> list[Any]:
    said = schema[KEYWORD]
    detailed = said if isinstance(said, dict) else {"input": said}
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    taken = [one for name, one in inputs.items() if detailed.get("input", "input") in ("input", "/" + name)]
    values: set[Any] = set()
    locales = tuple(detailed.get("locales", ()))
    for one in taken:
        if "string" not in types:
            values |= one.numbers[locales]
        elif schema.get("format") == "date":
            values |= one.dates[locales]
        else:
            values |= one.quotes[detailed.get("within", "cell")]
    null = [None] if "null" in types or schema.get("nullable") is True else []
    return [*sorted(int(v) if isinstance(v, float) and v == int(v) else v for v in values), *null]
