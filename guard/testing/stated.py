"""Grounding for the harness: an answer with a grounded value that no input states is wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from guard.calls import prompts
from guard.models import chat_messages
from guard.output.target import Target
from guard.schemas.grounding.sources import Sources
from guard.testing.oracle import Verdict


def sources_of(given: Mapping[str, Any]) -> Sources:
    """Return a call's input texts by argument; of a conversation, the user's messages."""
    texts: dict[str, str] = {}
    for name, value in given.items():
        if isinstance(value, list) and all(isinstance(part, Mapping) and "role" in part for part in value) and value:
            texts |= {f"{name}/{place}": text for place, text in chat_messages.said_by_user(value).items()}
        else:
            texts[name] = prompts.as_text(value)
    return Sources(texts)


def held(verdict: Verdict, target: Target, given: Mapping[str, Any]) -> Verdict:
    """Return a verdict, reduced to values whose grounded parts a call's inputs state."""
    if target.grounding is None or not verdict.is_answer:
        return verdict
    sources = sources_of(given)
    checks = [target.grounding.check(text, sources).findings for text in verdict.texts]
    kept = [index for index, findings in enumerate(checks) if not findings]
    if not kept:
        return Verdict("invalid", findings=checks[0], words=f"the answer was invalid: {checks[0][0]}")
    values, texts = (tuple(part[index] for index in kept) for part in (verdict.values, verdict.texts))
    return dataclasses.replace(verdict, values=values, texts=texts)
