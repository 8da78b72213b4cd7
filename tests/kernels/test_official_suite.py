"""The official JSON Schema Test Suite, byte by byte: every required test is right."""

from __future__ import annotations

from random import Random

import pytest
import suite
from strategies import EVERY_WAY, byte_vocabulary, plain, respell

import guard


@pytest.mark.parametrize("draft", suite.DRAFTS)
def test_every_required_test_is_right(draft: str) -> None:
    """Plainly written and respelled at random; with keys in any order."""
    wrong, right = [], 0
    for group in suite.groups(draft):
        documents = suite.remotes(draft)
        compiled = guard.compile(group.schema, draft=draft, formats=False, documents=documents, **EVERY_WAY)
        matcher = compiled.matcher(byte_vocabulary())
        for description, value, valid in group.tests:
            for text in (plain(value), respell(Random(description), value, zeros=False)):
                matcher.reset()
                if (matcher.accept_bytes(text.encode()) and matcher.can_stop()) != valid:
                    wrong.append((group.name, description, text))
            right += 1
    assert wrong == []
    assert right > 500
