"""Formats are exact: samples of each language, and near misses of them, against the validator."""

from __future__ import annotations

import itertools
import json
import random
import runpy
import subprocess
import sys
from functools import cache
from pathlib import Path

import jsonschema_rs
import pytest
import records

import guard
from guard.schemas import charsets, idna, idna_sets, string_formats
from guard.schemas.ops import Rx, Tree

#: Texts of each format; the slow matcher takes about 2 ms for one.
SAMPLES = 120
#: Formats of some texts of which nothing is said.
DOUBTFUL = {"email", "hostname", "idn-email", "idn-hostname", "regex"}


def sample(tree: Tree, rng: random.Random) -> str:
    """A text of a tree's language, for trees without complement."""
    kind = tree[0]
    if kind == Rx.SET:
        low, high = rng.choice(tree[1])
        return chr(rng.choice([low, high, rng.randint(low, high)]))
    if kind == Rx.CAT:
        return "".join(sample(part, rng) for part in tree[1])
    if kind == Rx.ALT:
        return sample(rng.choice([part for part in tree[1] if part[0] != Rx.MAYBE]), rng)
    if kind == Rx.REPEAT:
        most = tree[3] if tree[3] >= 0 else tree[2] + 3
        count = rng.choice([tree[2], min(most, tree[2] + 1), rng.randint(tree[2], most)])
        return "".join(sample(tree[1], rng) for _ in range(count))
    if kind == Rx.PUNYCODE:
        return sample(tree[1], rng).encode("punycode").decode()
    assert kind == Rx.AND
    text = ""
    for _ in range(200):
        text = sample(tree[1][0], rng)
        if all(is_whole(part, text) for part in tree[1][1:]):
            break
    return text


def is_whole(tree: Tree, text: str) -> bool:
    """Whether a tree matches a text from end to end, beyond doubt."""
    return len(text) in records.ends(tree, text, 0, {})


@cache
def possible(name: str, draft: str) -> Tree:
    """The tree of all texts that may be of a format."""

    def without_doubt(part: object) -> object:
        if isinstance(part, list):
            return [without_doubt(x) for x in part]
        if isinstance(part, tuple) and part and part[0] == Rx.MAYBE:
            return without_doubt(part[1])
        return part if not isinstance(part, tuple) or part[0] == Rx.SET else tuple(map(without_doubt, part))

    tree = without_doubt(string_formats.tree(name, draft))
    assert isinstance(tree, tuple)
    return tree


def near(text: str, rng: random.Random) -> str:
    """A text one or two small edits away."""
    for _ in range(rng.randint(1, 2)):
        at = rng.randint(0, len(text))
        more = rng.choice("0129:-+.@/%[]TZztab~#?! \"\\é{}'=,;X")
        before, after = text[:at], text[at:]
        text = rng.choice([before + more + after, before[:-1] + after, before[:-1] + more + after])
    return text


@pytest.mark.parametrize("draft", ["draft4", "draft2020-12"])
@pytest.mark.parametrize("name", sorted(string_formats.KNOWN))
def test_a_format_has_the_language_that_the_validator_gives_it(name: str, draft: str) -> None:
    """Samples of the language and as many near misses, judged by jsonschema_rs."""
    # Drafts 4 and 6 define few formats; Guard asserts every known one in every draft, by the newest definition.
    old = draft == "draft4" and name in ("hostname", "email", "ipv4", "ipv6", "date-time", "uri")
    kind = jsonschema_rs.Draft4Validator if old else jsonschema_rs.Draft202012Validator
    validator = kind({"format": name}, validate_formats=True)
    tree = string_formats.tree(name, draft)
    rng = random.Random(f"{name} {draft}")
    samples = [sample(tree, rng) for _ in range(SAMPLES)]
    written = 0
    for text in [*samples, *(near(text, rng) for text in samples)]:
        certain, valid = is_whole(tree, text), validator.is_valid(text)
        written += certain
        assert valid or not certain, text
        assert certain or not valid or is_whole(possible(name, draft), text), text
        assert certain == valid or name in DOUBTFUL, text
    assert written > SAMPLES / 10


def test_second_60_is_read_only_at_the_end_of_a_day_in_utc() -> None:
    """Every offset, with the minute that it asks for and its neighbours."""
    tree = string_formats.tree("time", "draft7")
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
        ("hostname", "\u212a.com", False),
        ("idn-hostname", "b\u00fccher.\u4e2d\u6587", True),
        ("idn-hostname", "l\u00b7l", True),
        ("idn-hostname", "l\u00b7a", False),
        ("idn-hostname", "\u05d0\u05f3\u05d1", True),
        ("idn-hostname", "0a.\u05d0", False),
        ("idn-hostname", "a\u3002b", True),
        ("idn-hostname", "B\u00fccher", False),
        ("idn-email", "\u00fc@b\u00fccher.de", True),
        ("email", "\u00fc@b.de", False),
        ("regex", "^(a|[b-d]{2,3})*(?<n>x)$", True),
        ("regex", "[d-b]", False),
        ("regex", "a{3,2}", False),
        ("regex", "(a", False),
        ("regex", r"\01", False),
        ("regex", r"\a", False),
    ],
)
def test_formats_of_some_texts(name: str, text: str, valid: bool) -> None:
    """Known verdicts."""
    tree = string_formats.tree(name, "draft2020-12")
    assert is_whole(tree, text) == valid


@pytest.mark.parametrize(("last", "characters"), [(0x7FF, 18), (0xFFFF, 12)])
def test_the_punycode_of_a_short_label_fits_its_63_octets(last: int, characters: int) -> None:
    """Uphill from random labels; `xn--` takes four octets of them."""
    rng = random.Random(last)

    def draw() -> int:
        code = rng.choice([rng.randint(0x80, last), 0x80 + rng.randint(0, 99), last - rng.randint(0, 99), 97])
        return 0x80 if 0xD800 <= code < 0xE000 else code

    longest = 0
    for _ in range(30):
        label = [draw() for _ in range(characters)]
        for _ in range(200):
            other = list(label)
            other[rng.randrange(characters)] = draw()
            before, after = (len("".join(map(chr, codes)).encode("punycode")) for codes in (label, other))
            longest = max(longest, before, after)
            label = other if after >= before else label
    assert 40 < longest <= 59


def test_the_characters_of_labels_are_those_that_unicode_derives() -> None:
    tool = Path(__file__).parents[2] / "tools" / "idna_sets.py"
    checked = subprocess.run([sys.executable, tool, "--check"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_newer_unicode_takes_no_character_from_labels() -> None:
    tool = runpy.run_path(str(Path(__file__).parents[2] / "tools" / "idna_sets.py"))
    derived = {name: ranges for name, (_, ranges) in tool["sets"]().items()}
    for name in ("PLAIN", "FREE"):
        kept = idna.ranges(getattr(idna_sets, name))
        assert charsets.union([*kept, *derived[name]]) == derived[name], name


def test_quantifiers_and_ranges_of_regexes_are_in_order() -> None:
    """All `{n,m}` of two digits, and all ranges of printable ASCII: what is written is what is in order."""
    compiled = guard.compile({"format": "regex", "type": "string"}, spelling="any")
    vocabulary = guard.Vocabulary.from_bytes([*(bytes([byte]) for byte in range(256)), b""], eos=[256])

    def is_taken(text: str) -> bool:
        matcher = compiled.matcher(vocabulary)
        return matcher.accept_bytes(json.dumps(text).encode()) and matcher.can_stop()

    for n, m in itertools.product(range(100), repeat=2):
        assert is_taken(f"a{{{n},{m}}}") == (n <= m), (n, m)
    plain = [chr(code) for code in range(33, 127) if chr(code) not in "\\]-^["]
    for low, high in itertools.product(plain, repeat=2):
        assert is_taken(f"[{low}-{high}]") == (low <= high), (low, high)
