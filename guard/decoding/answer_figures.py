"""What speaks for an answer: figures of its tokens and its text that tell right answers from wrong ones.

Two are of its tokens. How unlikely is what it says, and how unlikely is it that its objects end where they do: both
among all that the masks allow, as the square root of a negative log-probability in nats. A mean over tokens would tell
less, since it hides one poor choice among many plain ones.

Two compare it with the prompt (prompt_values.py). A model invents what it does not read, and overlooks what it does.

What the figures are worth is calibration.py's.
"""

from __future__ import annotations

import bisect
import itertools
import json
import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from guard.decoding.confidence import Token
from guard.decoding.prompt_values import PromptValues
from guard.kernels.json_pointer import pointer
from guard.support.subschemas import applying

WHOLE = ""  #: The JSON Pointer of the whole value.
_LEXEME = re.compile(r'"(?:[^"\\]|\\.)*+"|\}', re.DOTALL)


class AnswerFigures(NamedTuple):
    """The figures of an answer, or of one of its fields; the higher, the worse."""

    said: float  # how unlikely is what it says
    ended: float  # how unlikely is it that its objects have no more members
    unstated: float  # characters of its values that the prompt does not state, as a logarithm
    missed: float  # members that it leaves out although the prompt states something for them, as a logarithm


def figures(text: str, tokens: Sequence[Token], prompt: str, schema: Any) -> dict[str, AnswerFigures]:
    """Return the figures of a JSON answer and of each of its top-level fields, by JSON Pointer.

    Empty where nothing is known: no token was chosen, it is no JSON, or there is too much to compare.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if all(token.forced for token in tokens):
        return {}
    lead = max(0, "".join([token.text for token in tokens]).find(text))  # some tokenizers begin with a space
    starts = list(itertools.accumulate((len(token.text) for token in tokens), initial=-lead))
    closing = {bisect.bisect_right(starts, match.start()) - 1 for match in _LEXEME.finditer(text) if match[0] == "}"}
    values = PromptValues(prompt)

    def of(part: Any, about: Any, first: int, end: int) -> AnswerFigures:
        chosen = [number for number in range(first, end) if not tokens[number].forced]
        ended = sum(tokens[number].logprob for number in chosen if number in closing)
        said = sum(tokens[number].logprob for number in chosen if number not in closing)
        unstated, missed = values.unstated(part), values.missed(part, about, schema)
        return AnswerFigures(_root(said), _root(ended), math.log1p(unstated), math.log1p(missed))

    found = {WHOLE: of(value, schema, 0, len(tokens))}
    about = list(applying([schema], schema))
    for name, (begin, end) in members(text).items():
        first = max(0, bisect.bisect_right(starts, begin) - 1)
        parts = [one["properties"][name] for one in about if name in one.get("properties", {})]
        found[pointer((name,))] = of(value[name], {"allOf": parts}, first, bisect.bisect_left(starts, end))
    return {} if values.is_exhausted else found


def _root(logprob: float) -> float:
    return math.sqrt(max(0.0, -logprob))


def members(text: str) -> dict[str, tuple[int, int]]:
    """Return where the members of a JSON object stand in its text, by name; nothing of another text. O(n)."""
    found: dict[str, tuple[int, int]] = {}
    decoder = json.JSONDecoder()
    try:
        at = _past(text, 0, "{")
        while text[at] == '"':
            name, at = decoder.raw_decode(text, at)
            begin = _past(text, _past(text, at, ""), ":")
            _, end = decoder.raw_decode(text, begin)
            found[name] = begin, end
            at = _past(text, end, "")
            if text[at] != ",":
                break
            at = _past(text, at, ",")
    except (ValueError, IndexError, RecursionError):
        return {}
    return found


def _past(text: str, at: int, mark: str) -> int:
    """Return the place past white space, a mark and white space; ValueError where the mark is not there."""
    while text[at] in " \t\r\n":
        at += 1
    if not mark:
        return at
    if text[at] != mark:
        raise ValueError(mark)
    return _past(text, at + 1, "")
