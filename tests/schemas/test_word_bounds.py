"""Where a quotation may begin and end, against regexes that say the same."""

from __future__ import annotations

import functools
import re
import unicodedata
from random import Random

from guard.schemas.grounding.word_bounds import bounds

SPACELESS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u312f\u31a0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
CHARS = "aBs19_ ,:/=.-@'’‐‑\n+(#<$€£¥₹[*)!?%>]°−\\|\"é\u0301ßж٣東京กา๑฿〆ー\u200d\U0001f600\U00020001"


@functools.cache
def patterns() -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    """Return the patterns of a word, of a sign before one, and of a sign after one."""
    marks = "".join(char for char in map(chr, range(0x300, 0x11000)) if unicodedata.category(char)[0] == "M")
    letter, any_letter = rf"(?:[^\W{SPACELESS}]|[{marks}])", rf"\w{marks}"
    inner = r"(?:[-.@_'’‐‑]|(?<=\d)[,:](?=\d)|/(?=\d)|(?<=\d)/)"
    word = rf"{letter}+(?:{inner}{letter}+)*|[{SPACELESS}][{marks}]*"
    money = "".join(char for char in map(chr, range(0x20000)) if unicodedata.category(char) == "Sc")
    before = rf"(?:[+(#@/<{money}\[*](?![ \n])|[-−](?=\d)|[{money}](?= \d))(?<![{any_letter}].)"
    behind = rf"(?:[).!?%+#>\]{money}°*/=](?<![ \n].)|[%{money}](?<=\d .))(?![{any_letter}])"
    return re.compile(word), re.compile(before), re.compile(behind)


def judged(text: str) -> tuple[bytes, bytes]:
    """Return the bounds by the patterns."""
    starts, ends = bytearray(len(text) + 1), bytearray(len(text) + 1)
    word, before, behind = patterns()
    for found in word.finditer(text):
        starts[found.start()] = ends[found.end()] = 1
        if re.fullmatch(r"(?s).+['’]s", found[0]):
            ends[found.end() - 2] = 1
    for found in before.finditer(text):
        starts[found.start()] = 1
    for found in behind.finditer(text):
        ends[found.end()] = 1
    return bytes(starts), bytes(ends)


def test_words_begin_and_end_where_the_patterns_say() -> None:
    r = Random(1)
    for _ in range(20_000):
        text = "".join(r.choice(CHARS) for _ in range(r.randint(0, 12)))
        assert bounds(text) == judged(text), repr(text)


def test_every_character_has_the_class_that_the_patterns_give_it() -> None:
    for code in (*range(0x3400), *range(0xD7F0, 0xE010), *range(0xF8F0, 0x10100)):
        text = f"a{chr(code)}b 1{chr(code)}"
        assert bounds(text) == judged(text), repr(text)


def test_a_sign_behind_or_before_a_space_may_be_quoted_with_its_number() -> None:
    text = "12,50 € and € 7, 5 %, ₹ 9 a"
    starts, ends = bounds(text)
    for quotation in ("12,50 €", "12,50", "€ 7", "7", "5 %", "₹ 9"):
        at = text.index(quotation)
        assert starts[at]
        assert ends[at + len(quotation)]
    assert not ends[text.index("and €") + len("and €")]
    assert not starts[text.index("%")]
