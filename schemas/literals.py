"""Literals: the values of `const` and `enum` as the engine takes them."""

from __future__ import annotations

from typing import Any

from guard.kernels.unicode_text import is_unicode
from guard.schemas.numbers import decimal


def literals(values: list[Any], digits: int) -> list[Any]:
    """Return JSON values as the engine takes them, each once, without those that no JSON text can hold."""
    if all(type(value) is str for value in values):
        return [value for value in dict.fromkeys(values) if is_unicode(value)]
    found: dict[Any, Any] = {}
    for value in values:
        literal = _literal(value, digits)
        if literal is not _UNWRITABLE:
            found.setdefault(_identity(literal), literal)
    return list(found.values())


_UNWRITABLE = object()


def _literal(value: Any, digits: int) -> Any:
    """Return one value with its numbers as decimals; built without recursion, because values nest deep."""
    holder: list[Any] = [None]
    todo: list[tuple[Any, Any, Any]] = [(holder, 0, value)]
    while todo:
        into, key, item = todo.pop()
        kind = type(item)
        if kind is str:
            if not is_unicode(item):
                return _UNWRITABLE
            into[key] = item
        elif item is None or kind is bool:
            into[key] = item
        elif kind is list:
            into[key] = items = [None] * len(item)
            todo += [(items, index, child) for index, child in enumerate(item)]
        elif kind is dict:
            if not all(map(is_unicode, item)):
                return _UNWRITABLE
            into[key] = members = dict.fromkeys(item)
            todo += [(members, name, child) for name, child in item.items()]
        else:
            into[key] = ("d", *decimal(item, digits))
    return holder[0]


def _identity(literal: Any) -> Any:
    """Return a hashable that two literals share exactly when they are equal JSON values."""
    if type(literal) not in (list, dict):
        return type(literal), literal
    order: list[Any] = []
    todo = [literal]
    while todo:
        item = todo.pop()
        if type(item) is list:
            order.append(("array", len(item)))
            todo += item
        elif type(item) is dict:
            names = sorted(item)
            order.append(("object", tuple(names)))
            todo += [item[name] for name in names]
        else:
            order.append((type(item), item))
    return tuple(order)
