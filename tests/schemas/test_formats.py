"""Formats are exact: samples of each language, and near misses of them, against the validator."""

from __future__ import annotations

import random

import jsonschema_rs
import pytest
import records

from guard.schemas import formats
from guard.schemas.ops import Rx, Tree

#: Texts of each format; the slow matcher takes about 2 ms for one.
SAMPLES = 120
WITH_TREES = sorted(name for name in formats.KNOWN if formats.tree(name, "draft7") is not None)


def sample(tree: Tree, rng: random.Random) -> str:
    """A text of a tree's language, for trees without complement."""
    kind = tree[0]
    if kind == Rx.SET:
        low, high = rng.choice(tree[1])
        return chr(rng.choice([low, high, rng.randint(low, high)]))
    if kind == Rx.CAT:
        return "".join(sample(part, rng) for part in tree[1])
    if kind == Rx.ALT:
        return sample(rng.choice(tree[1]), rng)
    if kind == Rx.REPEAT:
        most = tree[3] if tree[3] >= 0 else tree[2] + 3
        count = rng.choice([tree[2], min(most, tree[2] + 1), rng.randint(tree[2], most)])
        return "".join(sample(tree[1], rng) for _ in range(count))
    assert kind == Rx.AND
    text = ""
    for _ in range(200):
        text = sample(tree[1][0], rng)
        if all(is_whole(part, text) for part in tree[1][1:]):
            break
    return text


def is_whole(tree: Tree, text: str) -> bool:
    """Whether a tree matches a text from end to end."""
    return len(text) in records.ends(tree, text, 0, {})


def near(text: str, rng: random.Random) -> str:
    """A text one or two small edits away."""
    for _ in range(rng.randint(1, 2)):
        at = rng.randint(0, len(text))
        more = rng.choice("0129:-+.@/%[]TZztab~#?! \"\\é{}'=,;X")
        before, after = text[:at], text[at:]
        text = rng.choice([before + more + after, before[:-1] + after, before[:-1] + more + after])
    return text


@pytest.mark.parametrize("draft", ["draft4", "draft2020-12"])
@pytest.mark.parametrize("name", WITH_TREES)
def test_a_format_has_the_language_that_the_validator_gives_it(name: str, draft: str) -> None:
    """Samples of the language and as many near misses, judged by jsonschema_rs."""
    # Drafts 4 and 6 define few formats; Guard asserts every known one in every draft, by the newest definition.
    old = draft == "draft4" and name in ("hostname", "email", "ipv4", "ipv6", "date-time", "uri")
    kind = jsonschema_rs.Draft4Validator if old else jsonschema_rs.Draft202012Validator
    validator = kind({"format": name}, validate_formats=True)
    tree = formats.tree(name, draft)
    assert tree is not None
    rng = random.Random(f"{name} {draft}")
    samples = [sample(tree, rng) for _ in range(SAMPLES)]
    for text in [*samples, *(near(text, rng) for text in samples)]:
        assert is_whole(tree, text) == validator.is_valid(text), text


def test_second_60_is_read_only_at_the_end_of_a_day_in_utc() -> None:
    """Every offset, with the minute that it asks for and its neighbours."""
    tree = formats.tree("time", "draft7")
    assert tree is not None
    for offset in range(0, 1440, 7):
        for sign in (1, -1):
            for minute, right in ((1439, True), (1438, False), (1439 + 60, False)):
                local = (minute + sign * offset) % 1440
                zone = f"{'+' if sign > 0 else '-'}{offset // 60:02}:{offset % 60:02}"
                text = f"{local // 60:02}:{local % 60:02}:60{zone}"
                assert is_whole(tree, text) == right, text


@pytest.mark.parametrize(
    ("name", "text", "valid"),
    [
        ("date", "2024-02-29", True),
        ("date", "2023-02-29", False),
        ("date", "1900-02-29", False),
        ("date", "2000-02-29", True),
        ("date", "2024-04-31", False),
        ("date-time", "2024-02-29T23:59:60Z", True),
        ("ipv6", "1:2:3:4:5:6:7::", True),
        ("ipv6", "1:2:3:4:5:6:7:8::", False),
        ("ipv6", "::ffff:192.168.0.1", True),
        ("ipv4", "01.2.3.4", False),
        ("hostname", "a" * 63 + ".b", True),
        ("hostname", "a" * 64 + ".b", False),
        ("hostname", ".".join(["a" * 63] * 4), False),
        ("duration", "P1Y2D", False),
        ("uuid", "2eb8aa08-aa98-11ea-b4aa-73b441d16380", True),
        ("relative-json-pointer", "01/a", False),
    ],
)
def test_formats_of_some_texts(name: str, text: str, valid: bool) -> None:
    """Known verdicts."""
    tree = formats.tree(name, "draft2020-12")
    assert tree is not None
    assert is_whole(tree, text) == valid
