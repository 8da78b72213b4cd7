"""Two independent validators, jsonschema-rs and jsonschema, as judges: they share no code with Guard."""

from __future__ import annotations

import functools
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jsonschema
import jsonschema_rs
import referencing
import referencing.exceptions
import referencing.jsonschema

from guard.output import judge
from guard.schemas import leniency, rewriting
from guard.schemas.keywords import DIALECTS
from guard.schemas.string_formats import is_known

_PYTHON = {
    "draft4": jsonschema.Draft4Validator,
    "draft6": jsonschema.Draft6Validator,
    "draft7": jsonschema.Draft7Validator,
    "draft2019-09": jsonschema.Draft201909Validator,
    "draft2020-12": jsonschema.Draft202012Validator,
    "openapi3.0": jsonschema.Draft4Validator,
    "openapi3.1": jsonschema.Draft202012Validator,
}


STEPS = 100_000  #: Most keywords that jsonschema may evaluate for one value: on some schemas it takes exponential time.


DEPTH = 100  #: Deepest nesting of keywords. Where Python's stack ends inside of Rust's code, the process may abort.


class _OutOfStepsError(Exception):
    """jsonschema has evaluated too many keywords, or too deeply."""


class _Steps(threading.local):
    left = STEPS
    depth = 0


_steps = _Steps()


@functools.cache
def _bounded(draft: str) -> Any:
    """Return jsonschema's validator of a dialect, which raises _OutOfStepsError in time."""

    def counted(keyword: Callable[..., Any]) -> Callable[..., Iterator[Any]]:
        def check(*arguments: Any) -> Iterator[Any]:
            _steps.left -= 1
            if _steps.left < 0 or _steps.depth >= DEPTH:
                raise _OutOfStepsError
            _steps.depth += 1
            try:
                yield from keyword(*arguments) or ()
            finally:
                _steps.depth -= 1

        return check

    kind = _PYTHON[draft]
    return jsonschema.validators.extend(kind, {word: counted(check) for word, check in kind.VALIDATORS.items()})


class Judges:
    """Both validators for one schema."""

    def __init__(self, schema: Any, draft: str, options: Mapping[str, Any]) -> None:
        """Make both, for a schema of a dialect, and the options with which it was compiled: formats, documents."""
        self._is_large = judge.holds_large(schema)
        wants_names = DIALECTS[draft].boolean_bounds
        schema = judge.judged(leniency.as_standard(schema, wants_names=wants_names), draft, {})
        documents = {
            uri: judge.judged(leniency.as_standard(one, wants_names=wants_names), draft, {})
            for uri, one in (options.get("documents") or {}).items()
        }
        formats = options.get("formats", True)
        registry = jsonschema_rs.Registry(list(documents.items())) if documents else None
        self._fast = getattr(jsonschema_rs, judge.JUDGES[draft])(
            schema, validate_formats=formats, registry=registry, offline=True
        )
        kind = _bounded(draft)
        #: jsonschema checks many formats only if further packages are installed.
        unchecked = _formats(schema) - kind.FORMAT_CHECKER.checkers.keys()
        self._is_blind = formats and any(map(is_known, unchecked))
        specification = referencing.jsonschema.specification_with(kind.META_SCHEMA["$schema"])
        resources = [
            (uri, referencing.Resource.from_contents(document, default_specification=specification))
            for uri, document in documents.items()
        ]
        self._slow = kind(
            schema,
            format_checker=kind.FORMAT_CHECKER if formats else None,
            registry=referencing.Registry().with_resources(resources),
        )

    def findings(self, value: Any) -> Iterator[Any]:
        """Yield the errors of jsonschema-rs."""
        return iter(self._fast.iter_errors(self._meant(value)))

    def verdict(self, value: Any) -> bool | None:
        """Whether a value is valid; None where the two differ. Where jsonschema gives up, jsonschema-rs decides."""
        value = self._meant(value)
        fast: bool = self._fast.is_valid(value)
        _steps.left, _steps.depth = STEPS, 0
        try:
            slow = self._slow.is_valid(value)
        except (
            referencing.exceptions.Unresolvable,
            TypeError,
            OverflowError,
            RecursionError,
            re.error,
            _OutOfStepsError,
        ):
            return fast
        return fast if slow == fast or self._is_blind else None

    def _meant(self, value: Any) -> Any:
        return judge.decimal(value) if self._is_large else value


def copied(schema: Any) -> Any:
    """Return a mutable copy of a schema."""
    return json.loads(json.dumps(schema))


def _formats(schema: Any) -> set[str]:
    """Return the formats that a schema names."""
    return {name for part in rewriting.each(schema) if isinstance(name := part.get("format"), str)}
