"""python -m interrupted FIRST LAST STEPS PLACES: calls that end early wherever they can, and what they leave behind.

For each of some schemas a walk (compile, masks, with and without a budget, distances, forced text) is made to end at
its n-th tick of the clock, a limit, or at its n-th allocation, for n = 1, 2, ... with growing steps, until it comes
through. In between and behind it, other schemas are asked for the same things. What they answer must be what a process
answers in which no call ever ended early; the parent compares (test_interrupted.py).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import sys
from typing import Any

import guard
from guard.kernels._native import fail_at
from guard.kernels.bitmask import allocate_bitmask

PIECES = [
    "",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    '"',
    '":',
    '": ',
    '", "',
    "0",
    "1",
    "12",
    ".5",
    "-",
    "a",
    "b",
    "ab",
    "true",
    "null",
    "\\n",
    "é",
]
EOS = 256
VOCABULARY = guard.Vocabulary.from_bytes(
    [*(bytes([byte]) for byte in range(256)), b"", *(piece.encode() for piece in PIECES[1:])], eos=[EOS]
)

LOOKS = r"(?<=a.{5})b(?<!c.{7})d(?<=e.{9})"
FIXED: list[Any] = [
    {"type": "string", "allOf": [{"pattern": f"{c}.*{c}.*{c}"} for c in "abc"]},
    {"type": "string", "pattern": LOOKS},
    {"type": "string", "format": "date-time", "minLength": 3},
    {"type": "string", "format": "idn-hostname"},
    {"type": "string", "pattern": "^(..)*$", "minLength": 31, "maxLength": 97},
    {"type": "number", "minimum": -3.5, "maximum": 1e9, "multipleOf": 0.25},
    {"type": "array", "uniqueItems": True, "items": {"enum": [1, "a", None, [1], {"a": 1}]}, "minItems": 3},
    {
        "anyOf": [
            {"type": "object", "properties": {"t": {"const": f"k{i}"}, f"p{i}": {"type": "integer"}}, "required": ["t"]}
            for i in range(9)
        ]
    },
    {"type": "object", "patternProperties": {"^a": {"type": "integer"}, "b$": {"minimum": 3}}, "minProperties": 2},
    {
        "oneOf": [{"required": ["a"]}, {"required": ["b"]}],
        "type": "object",
        "unevaluatedProperties": False,
        "properties": {"a": True, "b": {"type": "string"}},
    },
    {
        "type": "object",
        "if": {"properties": {"k": {"const": 1}}},
        "then": {"required": ["x"]},
        "else": {"maxProperties": 2},
    },
]


def drawn(number: int) -> Any:
    """Return a schema of the list above, or one drawn by its number."""
    if number < len(FIXED):
        return FIXED[number]
    random_ = random.Random(number)

    def one(depth: int) -> Any:
        kind = random_.randrange(9 if depth else 5)
        if kind == 0:
            return {"type": "integer", "minimum": random_.randrange(-20, 20), "multipleOf": random_.choice([1, 2, 0.5])}
        if kind == 1:
            return {"type": "string", "minLength": random_.randrange(3), "maxLength": random_.randrange(3, 40)}
        if kind == 2:
            first, second = random_.sample("abcdefgh", 2)
            return {
                "pattern": random_.choice(
                    [
                        f"^{first}+{second}",
                        f"{first}.{{2,5}}{second}",
                        f"^({first}|{second}{second})*$",
                        f"(?={first}){first}\\b",
                    ]
                )
            }
        if kind == 3:
            return {"enum": random_.sample(["a", "ab", "b", 1, 2.5, None, True, [1], {"a": 1}], 4)}
        if kind == 4:
            return {
                "format": random_.choice(["date", "time", "email", "ipv4", "uuid", "uri", "hostname", "json-pointer"])
            }
        if kind == 5:
            names = random_.sample(["a", "b", "ab", "c", "é"], 3)
            return {
                "type": "object",
                "properties": {name: one(depth - 1) for name in names},
                "required": names[: random_.randrange(3)],
                "additionalProperties": random_.choice([False, True, one(depth - 1)]),
            }
        if kind == 6:
            return {"type": "array", "items": one(depth - 1), "minItems": random_.randrange(3), "contains": one(0)}
        word = random_.choice(["anyOf", "allOf", "oneOf"])
        return {word: [one(depth - 1) for _ in range(random_.randrange(2, 4))]}

    return one(2)


def walk(schema: Any, seed: int, steps: int) -> list[Any]:
    """Return what a schema answers along a walk that hangs on nothing but the answers and the seed."""
    random_, out = random.Random(seed), list[Any]()
    row = allocate_bitmask(1, VOCABULARY.size)
    bits = row.view("uint8")
    matcher = guard.compile(schema, key_order=random_.choice(["schema", "any"])).matcher(VOCABULARY)
    for step in range(steps):
        matcher.fill_bitmask(row)
        digest = hashlib.sha256(row.tobytes())
        left = matcher.distance()
        if left > 0:
            matcher.fill_bitmask(row, remaining=left + step % 3)
            digest.update(row.tobytes())
        out.append([digest.hexdigest()[:16], left, matcher.forced_bytes().hex()])
        allowed = [token for token in range(VOCABULARY.size) if bits[0, token >> 3] >> (token & 7) & 1]
        if not allowed:
            break
        if not matcher.accept(random_.choice(allowed)) or matcher.is_finished():
            break
    return out


def answers(number: int, steps: int) -> list[Any]:
    """Return what a schema answers where no call ends early; a limit is an answer."""
    try:
        return walk(drawn(number), number, steps)
    except guard.SchemaError as error:
        return [str(error.limit), error.pointer]


def interrupt(number: int, steps: int, places: int) -> int:
    """Let the walk end early at up to so many places of each kind; returns how often it did."""
    ended = 0
    for kind in ("ticks", "allocations"):
        at, count = 1, 0
        while count < places:
            fail_at(**{kind: at})
            with contextlib.suppress(guard.SchemaError, MemoryError):
                walk(drawn(number), number, steps)
            came = fail_at()
            ended += came
            if not came:
                break
            count += 1
            at += 1 + at // 8  # all of the first, then ever fewer
    return ended


def main(first: int, last: int, steps: int, places: int) -> None:
    """Print what each schema answers once calls of all of them ended early, and how many did."""
    ended = 0
    for number in range(first, last):
        ended += interrupt(number, steps, places)
        print(json.dumps([number, answers(number, steps)]))
    for number in range(first, last):
        print(json.dumps([number, answers(number, steps)]))
    print(json.dumps(ended))


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
