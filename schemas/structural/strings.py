"""The strings among a schema's values as a regular language, and the types that its values may have.

Every keyword is a predicate of a string's text, so a schema is a Boolean combination of languages. It is read from the
records of the front end (schemas/lowering.py), in which references are resolved and drafts no longer differ.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from guard.kernels.errors import Finding, SchemaError
from guard.schemas.compiled import FrontEnd, Options
from guard.schemas.ops import BOOLEAN, FALSE, NULL, STRING, TRUE, Op, Record, Tree
from guard.schemas.structural import trees

_Result = TypeVar("_Result")
EVERY = 0b11_1111  #: All types of ops.py.
_NOTHING: Tree = trees.either([])


class RecursiveError(Exception):
    """A schema that applies itself to the same value."""


class BareStrings:
    """The strings of a schema that has only strings, for writing them without quotes."""

    def __init__(self, schema: Any, options: Options) -> None:
        """Read a schema; SchemaError, with a JSON Pointer, where it allows other values or can't be enforced."""
        self.front = front = FrontEnd(schema, options, {})
        reader, root = StringLanguages(lambda node: front.lower([node])[0]), front.lowering.root
        try:
            others = reader.types(root) & ~STRING
            language = reader.language(root)
        except RecursiveError:
            raise SchemaError(Finding("", None, "applies itself to the same value", "correct it")) from None
        if others:
            raise SchemaError(Finding("", "type", "a bare text is a string", 'say "type": "string"'))
        self.tree: Tree = trees.ANY if language is None else language


class StringLanguages:
    """The strings and types that the records of one schema allow."""

    def __init__(self, record: Callable[[int], Record]) -> None:
        self._record = record
        self._under_way: set[int] = set()
        self._types: dict[int, int] = {}

    def types(self, node: int) -> int:
        """Return the bits (ops.py) of the types that values may have, or a superset. Raises RecursiveError."""
        if node in (TRUE, FALSE):
            return EVERY if node == TRUE else 0
        if node not in self._types:
            self._types[node] = self._within(node, self._types_of)
        return self._types[node]

    def language(self, node: int) -> Tree | None:
        """Return the language of the strings; None where it is all texts. Raises RecursiveError."""
        if node in (TRUE, FALSE):
            return None if node == TRUE else _NOTHING
        return self._within(node, self._language_of)

    def admits(self, node: int, value: bool | None) -> bool:
        """Whether null, true or false meets a schema. Raises RecursiveError."""
        if node in (TRUE, FALSE):
            return node == TRUE
        return self._within(node, lambda record: all(self._meets(value, op, *operands) for op, *operands in record))

    def _meets(self, value: bool | None, op: int, *operands: Any) -> bool:
        first: Any = operands[0] if operands else None
        if op == Op.TYPE:
            return bool(first & (NULL if value is None else BOOLEAN))
        if op in (Op.CONST, Op.ENUM):
            return any(one is value for one in (first if op == Op.ENUM else operands))
        if op == Op.REF:
            return self.admits(first, value)
        if op in (Op.ALL, Op.ANY, Op.ONE):
            met = sum(self.admits(node, value) for node in first)
            return met == len(first) if op == Op.ALL else met == 1 if op == Op.ONE else met > 0
        if op == Op.NOT:
            return not self.admits(first, value)
        if op == Op.IF:
            return self.admits(operands[1] if self.admits(first, value) else operands[2], value)
        return True

    def texts(self, node: int) -> list[str] | None:
        """Return the strings where one enum or const lists them; otherwise None."""
        for op, *operands in self._record(node) if node > FALSE else ():
            if op in (Op.CONST, Op.ENUM):
                values = operands[0] if op == Op.ENUM else operands
                return [value for value in values if isinstance(value, str)]
            if op == Op.REF and (found := self.texts(operands[0])) is not None:
                return found
        return None

    def _within(self, node: int, read: Callable[[Record], _Result]) -> _Result:
        if node in self._under_way:
            raise RecursiveError
        self._under_way.add(node)
        try:
            return read(self._record(node))
        finally:
            self._under_way.discard(node)

    def _types_of(self, record: Record) -> int:
        out = EVERY
        for op, *operands in record:
            if op == Op.TYPE:
                mask = operands[0]
                out &= (mask | (4 if mask & 0b1100_0000 else 0)) & EVERY
            elif op in (Op.CONST, Op.ENUM):
                values = operands[0] if op == Op.ENUM else operands
                out &= _mask_of(values)
            elif op == Op.REF:
                out &= self.types(operands[0])
            elif op == Op.ALL:
                for node in operands[0]:
                    out &= self.types(node)
            elif op in (Op.ANY, Op.ONE):
                mask = 0
                for node in operands[0]:
                    mask |= self.types(node)
                out &= mask
            elif op == Op.IF:
                out &= self.types(operands[1]) | self.types(operands[2])
        return out

    def _language_of(self, record: Record) -> Tree | None:
        parts: list[Tree] = []
        for op, *operands in record:
            part: Tree | None = None
            if op == Op.TYPE:
                part = None if operands[0] & STRING else _NOTHING
            elif op in (Op.CONST, Op.ENUM):
                values = operands[0] if op == Op.ENUM else operands
                part = trees.either([trees.literal(value) for value in values if isinstance(value, str)])
            elif op == Op.REF:
                part = self.language(operands[0])
            elif op == Op.ALL:
                parts += [found for node in operands[0] if (found := self.language(node)) is not None]
            elif op == Op.ANY:
                part = self._any([self.language(node) for node in operands[0]])
            elif op == Op.ONE:
                part = self._one([self.language(node) for node in operands[0]])
            elif op == Op.NOT:
                found = self.language(operands[0])
                part = _NOTHING if found is None else trees.no(found)
            elif op == Op.IF:
                part = self._if(*(self.language(node) for node in operands))
            elif op == Op.LENGTH:
                part = trees.repeat(trees.CHAR, operands[0], operands[1])
            elif op == Op.PATTERN:
                part = trees.cat(trees.ANY, operands[0], trees.ANY)
            elif op == Op.FORMAT:
                part = operands[1]
            if part is not None:
                parts.append(part)
        return None if not parts else parts[0] if len(parts) == 1 else trees.both(*parts)

    @staticmethod
    def _any(languages: list[Tree | None]) -> Tree | None:
        found = [language for language in languages if language is not None]
        return trees.either(found) if len(found) == len(languages) else None

    @staticmethod
    def _one(languages: list[Tree | None]) -> Tree:
        every = [trees.ANY if language is None else language for language in languages]
        alone = [
            trees.both(one, *(trees.no(other) for other in every[:at] + every[at + 1 :]))
            for at, one in enumerate(every)
        ]
        return trees.either(alone)

    @staticmethod
    def _if(condition: Tree | None, then: Tree | None, otherwise: Tree | None) -> Tree | None:
        if condition is None:
            return then
        yes = condition if then is None else trees.both(condition, then)
        no = trees.no(condition) if otherwise is None else trees.both(trees.no(condition), otherwise)
        return trees.either([yes, no])


def _mask_of(values: list[object]) -> int:
    """Return the types of values in the form of records, in which a number is a tuple."""
    out = 0
    for value in values:
        if value is None:
            out |= 1
        elif isinstance(value, bool):
            out |= 2
        elif isinstance(value, tuple | int | float):
            out |= 4
        elif isinstance(value, str):
            out |= 8
        elif isinstance(value, list):
            out |= 16
        else:
            out |= 32
    return out
