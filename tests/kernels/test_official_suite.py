"""The official JSON Schema Test Suite, byte by byte: required tests are right, or refused by name."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
import suite
from strategies import EVERY_WAY, byte_vocabulary, plain, respell

import guard

#: Tests by the keyword that the engine does not support yet. A number that falls is progress: write the new one down.
REFUSED: dict[str, dict[str | None, int]] = {
    "draft4": {"uniqueItems": 45},
    "draft6": {"uniqueItems": 45},
    "draft7": {"uniqueItems": 45},
    "draft2019-09": {"uniqueItems": 45},
    "draft2020-12": {"uniqueItems": 45},
}


@pytest.mark.parametrize("draft", suite.DRAFTS)
def test_a_required_test_is_right_or_refused_by_the_keyword_that_is_not_supported_yet(draft: str) -> None:
    """Plainly written and respelled at random; with keys in any order."""
    wrong, refused, right = [], Counter[str | None](), 0
    for group in suite.groups(draft):
        try:
            matcher = guard.compile(
                group.schema, draft=draft, formats=False, documents=suite.remotes(draft), **EVERY_WAY
            ).matcher(byte_vocabulary())
        except guard.SchemaError as error:
            refused[error.keyword if "is not supported yet" in str(error) else str(error)] += len(group.tests)
            continue
        for description, value, valid in group.tests:
            for text in (plain(value), respell(Random(description), value, zeros=False)):
                matcher.reset()
                if (matcher.accept_bytes(text.encode()) and matcher.can_stop()) != valid:
                    wrong.append((group.name, description, text))
            right += 1
    assert wrong == []
    assert dict(refused) == REFUSED[draft]
    assert right > 500
