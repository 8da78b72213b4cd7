"""Record and replay: a reply is kept under a key over everything that can change it.

The key is a SHA-256 of the request in canonical JSON: model, messages, schema with its options, sampling, budgets of
tokens, and the version below. Seconds and money are left out, because they decide whether there is an answer, not which
one. A body holds the complete reply, so a replayed call is byte-identical; if the call failed, it holds the error. A
reply from the record is marked (`is_kept`): its figures are the original ones, and nothing was spent now.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal, get_args

from guard import errors
from guard.decoding.alternative import Alternative
from guard.decoding.confidence import Sureness, Token
from guard.models.base import Model, Reply, Request, Sampling

VERSION = 1  #: Version of keys and bodies; raised when either changes its meaning.

#: Fields of a request that change no answer, or stand in a key in words of their own.
_TOLD_APART = frozenset(
    {"compiled", "seconds", "usd", "told", "repetition", "choose", "sampling", "tools", "marks", "spelled"}
)

Mode = Literal["live", "record", "replay", "cache"]

#: How a call uses recorded replies.
MODES: tuple[Mode, ...] = get_args(Mode)


def check_mode(mode: str) -> Mode:
    """Return the mode; ValueError for an unknown one."""
    for known in MODES:
        if mode == known:
            return known
    raise ValueError(f"mode={mode!r} must be one of {', '.join(MODES)}")


def key(name: str, model: Model, request: Request, template: str) -> str:
    """Return the key of a request to a model, which may have an `identity` beyond its name (weights, address)."""
    parts = {
        "version": VERSION,
        "model": name,
        "identity": str(getattr(model, "identity", "")),
        "template": template,
        "schema": None if request.compiled is None else request.compiled.hash,
        **{
            field.name: getattr(request, field.name)
            for field in dataclasses.fields(request)
            if field.name not in _TOLD_APART
        },
        **({"repetition": "stop"} if request.repetition == "stop" else {}),
        **({"choose": request.choose} if request.choose != "auto" else {}),
    }
    if request.sampling != Sampling():
        told = dataclasses.asdict(request.sampling)
        parts["sampling"] = {name: one for name, one in told.items() if one or not name.startswith("decision")}
    if request.tools:
        parts["tools"] = request.tools
    text = json.dumps(parts, sort_keys=True, ensure_ascii=True, separators=(",", ":"), default=repr)
    return hashlib.sha256(text.encode()).hexdigest()


def body(reply: Reply) -> dict[str, Any]:
    """Return a reply as JSON."""
    fields: dict[str, Any] = {field.name: getattr(reply, field.name) for field in dataclasses.fields(reply)}
    kept = [f.name for f in dataclasses.fields(Token) if f.name != "top"]
    tokens = [[getattr(token, name) for name in kept] for token in reply.tokens]
    sure = None if reply.sureness is None else dataclasses.asdict(reply.sureness)
    return {**fields, "tokens": tokens, "alternatives": dict(reply.alternatives), "sureness": sure}


def body_of_error(error: errors.CallError) -> dict[str, Any]:
    """Return an error as JSON."""
    return {"error": type(error).__name__, "message": error.message}


def revived(kept: Mapping[str, Any]) -> Reply:
    """Return the reply of a body, or raise its error."""
    if "error" in kept:
        kind = getattr(errors, kept["error"], errors.ModelError)
        raise kind(kept["message"])
    tokens = tuple(Token(*fields) for fields in kept["tokens"])
    pointers = {name: tuple(kept.get(name, ())) for name in ("cut_at", "repeated_at")}
    others = {at: tuple(Alternative(*one) for one in found) for at, found in kept.get("alternatives", {}).items()}
    sure = kept.get("sureness")
    more = {"tokens": tokens, "alternatives": others, "sureness": None if sure is None else Sureness(**sure)}
    return Reply(**{**kept, **pointers, **more, "is_kept": True})
