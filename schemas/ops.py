"""The alphabet that the front end and the engine share: opcodes of records and of regex trees.

A record is a list of tuples, a conjunction; each tuple starts with an `Op`. A regex tree is a tuple that starts with an
`Rx`. Tuples hold plain ints: the engine reads them without asking what an enum is. `make opcodes` writes the numbers
down for kernels/cpu.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, TypeAlias

#: One tuple of a record: the opcode, then its operands. Operands differ by opcode, and are typed where they are read.
Entry: TypeAlias = tuple[Any, ...]
#: A node's meaning: the conjunction of its entries.
Record: TypeAlias = list[Entry]
#: A regex syntax tree: an `Rx`, then its operands. All are tuples, which the garbage collector soon leaves alone.
Tree: TypeAlias = tuple[Any, ...]

#: The node of `true` and `{}`, and the node of `false`, in every compiled schema.
TRUE, FALSE = 0, 1

#: The bits of `Op.TYPE`. `INTEGER` is a number that is an integer; `INTEGER_TEXT` (draft 4) one that is written as one.
NULL, BOOLEAN, NUMBER, STRING, ARRAY, OBJECT, INTEGER, INTEGER_TEXT = 1, 2, 4, 8, 16, 32, 64, 128


class Op(IntEnum):
    """What an entry of a record says about a value."""

    TYPE = 2  # (mask)
    CONST = 3  # (value); a number is ("d", digits, exponent)
    ENUM = 4  # ([values])
    REF = 5  # (node): in place
    ALL = 6  # ([nodes])
    ANY = 7  # ([nodes])
    ONE = 8  # ([nodes])
    NOT = 9  # (node)
    IF = 10  # (if, then, else); a branch that is not there is TRUE
    MIN = 11  # (digits, exponent, exclusive)
    MAX = 12  # (digits, exponent, exclusive)
    MULTIPLE = 13  # (digits, exponent)
    LENGTH = 14  # (least, most or -1), in code points
    PATTERN = 15  # (tree): searched
    FORMAT = 16  # (name, tree): the whole text
    PROPERTIES = 17  # ([(name, node)])
    PATTERNS = 18  # ([(tree, node)])
    ADDITIONAL = 19  # (node, [names], [trees]): keys that are none of the names and match none of the trees
    REQUIRED = 20  # ([names])
    SIZE = 21  # (least, most or -1), in members
    NAMES = 22  # (node): every key
    DEPENDENT_REQUIRED = 23  # ([(name, [names])])
    DEPENDENT_SCHEMAS = 24  # ([(name, node)])
    ITEMS = 25  # (from, to or -1, node): every item at a position in [from, to)
    COUNT = 26  # (least, most or -1), in items
    CONTAINS = 27  # (node, least, most or -1)
    UNIQUE = 28  # ()
    UNEVALUATED_PROPERTIES = 29  # (node)
    UNEVALUATED_ITEMS = 30  # (node, by_contains): whether items that `contains` found count as evaluated


#: The keywords that an opcode may stand for; of `PATTERN` in an error, all that hold a language.
KEYWORDS: dict[int, tuple[str, ...]] = {
    Op.TYPE: ("type",),
    Op.CONST: ("const",),
    Op.ENUM: ("enum", "x-guard-from"),
    Op.REF: ("$ref", "$dynamicRef", "$recursiveRef"),
    Op.ALL: ("allOf",),
    Op.ANY: ("anyOf", "oneOf", "type"),
    Op.ONE: ("oneOf",),
    Op.NOT: ("not",),
    Op.IF: ("if",),
    Op.MIN: ("minimum", "exclusiveMinimum"),
    Op.MAX: ("maximum", "exclusiveMaximum"),
    Op.MULTIPLE: ("multipleOf",),
    Op.LENGTH: ("minLength", "maxLength"),
    Op.PATTERN: ("pattern", "format", "patternProperties", "propertyNames"),
    Op.FORMAT: ("format", "x-guard-from"),
    Op.PROPERTIES: ("properties",),
    Op.PATTERNS: ("patternProperties",),
    Op.ADDITIONAL: ("additionalProperties",),
    Op.REQUIRED: ("required",),
    Op.SIZE: ("minProperties", "maxProperties"),
    Op.NAMES: ("propertyNames",),
    Op.DEPENDENT_REQUIRED: ("dependentRequired", "dependencies"),
    Op.DEPENDENT_SCHEMAS: ("dependentSchemas", "dependencies"),
    Op.ITEMS: ("items", "prefixItems", "additionalItems"),
    Op.COUNT: ("minItems", "maxItems"),
    Op.CONTAINS: ("contains",),
    Op.UNIQUE: ("uniqueItems",),
    Op.UNEVALUATED_PROPERTIES: ("unevaluatedProperties",),
    Op.UNEVALUATED_ITEMS: ("unevaluatedItems",),
}


class Rx(IntEnum):
    """What a node of a regex tree matches."""

    SET = 0  # (((low, high), ...)): one code point; sorted, disjoint, without surrogates
    CAT = 1  # ([trees])
    ALT = 2  # ([trees])
    REPEAT = 3  # (tree, least, most or -1)
    LOOK = 4  # (ahead, negative, tree)
    START = 5  # ()
    END = 6  # ()
    AND = 7  # ([trees]): only in formats
    NOT = 8  # (tree): complement over whole texts; only in formats
    MAYBE = 9  # (tree): texts of which it is not said; they meet neither the format nor its negation; only in formats
    PUNYCODE = 10  # (tree): the Punycode of its texts, which must be few, without `xn--`; only in formats
    QUOTES = 11  # (text, starts, ends): its parts from a marked start to a marked end, in one line; of one call alone
    TEXT = 12  # (text): that text
