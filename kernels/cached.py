"""`cached_property` without a lock.

The one of functools takes a lock in Python 3.11, which all objects of the class share: while one object works out its
value in one thread, others wait in theirs, and with them an event loop. Since 3.12 functools has none either.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar, overload

T = TypeVar("T")


class cached_property(Generic[T]):  # noqa: N801 (named like the one that it stands for)
    """A property that is worked out when it is first read, and then kept as an attribute of the object.

    Two threads that read it first at the same time may both work it out; one of the values is kept.
    """

    def __init__(self, func: Callable[[Any], T]) -> None:
        self.func = func
        self.__doc__ = func.__doc__
        self._name = func.__name__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type | None = None) -> T: ...
    def __get__(self, instance: object | None, owner: type | None = None) -> T | Self:
        """Return the value of an object, or of a class the property itself."""
        if instance is None:
            return self
        value: T = instance.__dict__.setdefault(self._name, self.func(instance))
        return value
