"""The way in: `compile` makes a compiled schema or format, or returns the one that it made of the same before."""

from __future__ import annotations

import copyreg
import hashlib
from collections.abc import Mapping
from dataclasses import fields, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from guard.schemas import jsontext, types
from guard.schemas.compiled import Compiled, FrontEnd, Options
from guard.schemas.kept import KEPT
from guard.schemas.limits import Limits
from guard.schemas.structural import spellings
from guard.schemas.typed.notes import Beyond

if TYPE_CHECKING:
    from guard.schemas.grounding.sources import Sources
    from guard.schemas.structural.compiled_format import CompiledFormat

#: Bytes of content by which a schema is kept; a digest takes longer, and of more it is kept by one.
_LONGEST_KEY = 8_000


@lru_cache(64)  # few are ever in use, and checking them takes longer than half of a small scan
def _options(limits: Limits | None, *others: Any) -> Options:
    options = Options(*others)
    return options if limits is None else replace(options, limits=limits)


def compile(  # noqa: A001 - guard.compile is the name, as re.compile is
    schema: Any,
    *,
    key_order: Literal["schema", "any"] = "schema",
    whitespace: Literal["spaced", "compact", "flexible", "any"] = "spaced",
    spelling: Literal["canonical", "any"] = "canonical",
    formats: bool = True,
    draft: str | None = None,
    documents: Mapping[str, Any] | None = None,
    inexact: Literal["refuse", "residual"] = "refuse",
    limits: Limits | None = None,
) -> Compiled:
    """Compile a schema: a dict, a bool, JSON text, or any Python type that Pydantic reads; or a format of a whole turn.

    A format is what `guard.formats` makes, XGrammar's structural tag, or vLLM's `structured_outputs`: docs/formats.md.

    `draft` names the dialect of schemas without `$schema` (None: 2020-12). `documents` are the schemas, by URI, that
    references may lead to. docs/explanation/json-text.md explains the other options.

    Raises SchemaError where the schema is not valid, goes beyond `limits`, or says something that can't be enforced
    exactly. With `inexact="residual"` the last is left to validation instead, and `report` says so. A schema that no
    value meets compiles; `check_satisfiable` refuses it, as does whatever asks a model. Raises TypeError or ValueError
    for an argument of another kind, or a value that an option does not have.

    The same schema under the same options is the same object again while it is held, or once it was asked for twice
    (schemas/kept.py). With `documents`, which are read only as far as references lead, it is compiled anew.
    """
    try:
        options = _options(limits, key_order, whitespace, spelling, formats, draft, inexact)
    except TypeError:  # one that can't be hashed, which is none
        options = _options.__wrapped__(limits, key_order, whitespace, spelling, formats, draft, inexact)
    if spellings.is_format(schema):
        if documents:
            raise TypeError("documents=… go with schemas; in a format write what their references lead to")
        return _format(schema, options)
    if documents is not None and not isinstance(documents, (dict, Mapping)):
        raise TypeError(f"documents={documents!r} must be a dictionary, from URIs to schemas")
    if documents:
        return Compiled(FrontEnd(schema, options, documents))
    given, beyond = types.as_described(schema)
    private = jsontext.private(given, options.limits, "")
    written = private.written
    if written is None:
        return Compiled(FrontEnd(private, options, {}, beyond))
    key = written + options.tag  # what is written says where it ends
    if beyond:
        key += repr(beyond).encode()
    if len(key) > _LONGEST_KEY:
        key = hashlib.sha256(key).digest()
    kept: Compiled = KEPT.get(key, lambda: Compiled(FrontEnd(private, options, {}, beyond)), len(written))
    return kept


def _format(given: Any, options: Options) -> CompiledFormat:
    from guard.schemas.structural import compiled_format  # late: most callers have no formats

    return compiled_format.of(given, options)


def _again(
    schema: Any,
    options: Mapping[str, Any],
    documents: Mapping[str, Any],
    beyond: tuple[Beyond, ...] = (),
    sources: Sources | None = None,
) -> Compiled:
    """Compile what a pickle holds; ValueError, TypeError or SchemaError where it is broken."""
    limits = options.get("limits")
    if not isinstance(limits, Limits):
        raise TypeError(f"a pickled schema's limits are guard.Limits, not {type(limits).__name__}")
    Limits(**{field.name: getattr(limits, field.name) for field in fields(limits)})  # which checks them
    made = compile(types.Described(schema, beyond) if beyond else schema, **options, documents=documents or None)
    return made if sources is None else made.grounded(sources)


def _reduced(compiled: Compiled) -> tuple[Any, ...]:
    """Pickle by content: the schema, the options, the documents. Whoever reads it compiles it, under its limits."""
    options = {field.name: getattr(compiled.options, field.name) for field in fields(compiled.options)}
    arguments = (compiled.schema, options, compiled.documents, compiled.beyond)
    return _again, arguments if compiled.sources is None else (*arguments, compiled.sources)


copyreg.pickle(Compiled, _reduced)
