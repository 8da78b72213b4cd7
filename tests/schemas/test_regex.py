"""Regexes of ECMA-262 are read into trees that match what they match, and hostile ones are refused in linear time."""

from __future__ import annotations

import re
import runpy
import tracemalloc
from pathlib import Path

import clock
import pytest
import records
from hypothesis import given, settings
from hypothesis import strategies as st

from guard.schemas import charsets, regex
from guard.schemas.ops import Rx

WORD = (Rx.SET, charsets.WORD)
K = ((75, 75), (107, 107), (0x212A, 0x212A))
NOT_S = charsets.complement(((83, 83), (115, 115), (0x17F, 0x17F)))

ATOMS = st.sampled_from(
    [
        "a",
        "b",
        "c",
        ".",
        r"\d",
        r"\w",
        r"\s",
        "[ab]",
        "[^a]",
        "[a-c]",
        r"[\d-]",
        "é",
        r"\.",
        "^",
        "$",
        "(?=a)",
        "(?!b)",
        r"\b",
    ]
)


def refusal(source: str) -> regex.RegexError | None:
    """The error that a pattern is refused with, if it is."""
    try:
        regex.parse(source)
    except regex.RegexError as error:
        return error
    return None


@st.composite
def sources(draw: st.DrawFn, depth: int = 3) -> str:
    """Patterns in which ECMA-262, Rust and Python agree on ASCII text."""
    parts = []
    for _ in range(draw(st.integers(0, 3))):
        nested = depth > 0 and draw(st.booleans())
        atom = f"({draw(st.sampled_from(['', '?:']))}{draw(sources(depth - 1))})" if nested else draw(ATOMS)
        plain = not (set(atom) & set("^$") or "(?" in atom or "\\b" in atom)
        parts.append(
            atom + (draw(st.sampled_from(["", "", "*", "+", "?", "{2}", "{1,3}", "{0,}", "*?"])) if plain else "")
        )
    return "".join(parts) + (draw(st.sampled_from(["", "|a", "|"])) if depth else "")


@given(sources(), st.lists(st.text("abc .1-_\n", max_size=6), min_size=1, max_size=6))
def test_a_tree_finds_what_the_pattern_finds(source: str, texts: list[str]) -> None:
    """Judged by Python's `re`, whose $ is made ECMA's and whose classes are ASCII."""
    judge = re.compile(
        source.replace("$", r"\Z").replace(".", r"[^\n\r\u2028\u2029]")
        if r"\." not in source
        else source.replace("$", r"\Z"),
        re.ASCII,
    )
    tree = regex.parse(source).tree
    for text in texts:
        assert records.searches(tree, text) == bool(judge.search(text)), (source, text)


@given(st.text("ab01(){}[]|*+?^$\\.-:=!<>,duxpkcbBPWsé", max_size=14))
def test_any_text_is_read_or_refused_with_a_position(source: str) -> None:
    """Nothing but RegexError comes out, and whatever the validator's engine reads is read here."""
    error = refusal(source)
    assert error is None or (error.reason and 0 <= error.position <= len(source))


@pytest.mark.parametrize(
    ("source", "tree"),
    [
        ("", (Rx.CAT, ())),
        ("a", (Rx.SET, ((97, 97),))),
        ("^a$", (Rx.CAT, ((Rx.START,), (Rx.SET, ((97, 97),)), (Rx.END,)))),
        ("a|", (Rx.ALT, ((Rx.SET, ((97, 97),)), (Rx.CAT, ())))),
        ("a{2,}?", (Rx.REPEAT, (Rx.SET, ((97, 97),)), 2, -1)),
        ("(?<name>a)", (Rx.SET, ((97, 97),))),
        (r"\uD83D\uDE00", (Rx.SET, ((0x1F600, 0x1F600),))),
        (r"\u{1F600}", (Rx.SET, ((0x1F600, 0x1F600),))),
        (r"\uD83D", (Rx.SET, ())),
        (r"[^\uD800-\uDFFF]", (Rx.SET, charsets.ALL)),
        (r"\x41\cA\0", (Rx.CAT, ((Rx.SET, ((65, 65),)), (Rx.SET, ((1, 1),)), (Rx.SET, ((0, 0),))))),
        (r"[\b\-\]]", (Rx.SET, ((8, 8), (45, 45), (93, 93)))),
        ("[]", (Rx.SET, ())),
        ("[^]", (Rx.SET, charsets.ALL)),
        (
            r"\B",
            (
                Rx.ALT,
                (
                    (Rx.CAT, ((Rx.LOOK, False, False, WORD), (Rx.LOOK, True, False, WORD))),
                    (Rx.CAT, ((Rx.LOOK, False, True, WORD), (Rx.LOOK, True, True, WORD))),
                ),
            ),
        ),
        ("(?i:k[^S]).", (Rx.CAT, ((Rx.CAT, ((Rx.SET, K), (Rx.SET, NOT_S))), (Rx.SET, charsets.DOT)))),
        ("(?s:.(?-s:.))", (Rx.CAT, ((Rx.SET, charsets.ALL), (Rx.SET, charsets.DOT)))),
        ("(?m:^)", (Rx.ALT, ((Rx.START,), (Rx.LOOK, False, False, (Rx.SET, charsets.LINE_ENDS))))),
        (r"(?i:k\-)", (Rx.CAT, ((Rx.SET, ((75, 75), (107, 107))), (Rx.SET, ((45, 45),))))),  # Annex B: no KELVIN SIGN
        ("(?<!a)", (Rx.LOOK, False, True, (Rx.SET, ((97, 97),)))),
        ("(?=a)?", (Rx.REPEAT, (Rx.LOOK, True, False, (Rx.SET, ((97, 97),))), 0, 1)),
        ("x{", (Rx.CAT, ((Rx.SET, ((120, 120),)), (Rx.SET, ((123, 123),))))),  # Annex B from here
        (r"\-\_", (Rx.CAT, ((Rx.SET, ((45, 45),)), (Rx.SET, ((95, 95),))))),
        (r"\101\8", (Rx.CAT, ((Rx.SET, ((65, 65),)), (Rx.SET, ((56, 56),))))),
        (r"[\w-a]", (Rx.SET, ((45, 45), (48, 57), (65, 90), (95, 95), (97, 122)))),
        (r"\k", (Rx.SET, ((107, 107),))),
        (r"\c", (Rx.CAT, ((Rx.SET, ((92, 92),)), (Rx.SET, ((99, 99),))))),
        (r"\Aa\z\Z", (Rx.CAT, ((Rx.START,), (Rx.SET, ((97, 97),)), (Rx.END,), (Rx.END,)))),  # none of ECMA-262's
        ("(?i)a", (Rx.SET, ((65, 65), (97, 97)))),
        ("(?P<n>a)", (Rx.SET, ((97, 97),))),
        (r"\u{61}\-", (Rx.CAT, ((Rx.SET, ((97, 97),)), (Rx.SET, ((45, 45),))))),  # kinder than Annex B
    ],
)
def test_trees_of_some_patterns(source: str, tree: object) -> None:
    """Known trees, whole and literal."""
    assert regex.parse(source).tree == tree


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("(", "a ( that nothing closes at character 0"),
        ("a)", "a ) that closes no group at character 1"),
        ("*", "nothing for * to repeat at character 0"),
        ("a**", "nothing for * to repeat at character 2"),
        ("[b-a]", "a range whose ends are out of order at character 1"),
        ("[a", "a [ that nothing closes at character 0"),
        ("a{2,1}", "a quantifier of at least 2 and at most 1 at character 1"),
        ("\\", "a \\ at the end at character 0"),
        ("(?s)a", "flags that ECMA-262 does not have, (?s), at character 0"),
        ("a(?i)b", "flags in the middle, (?i), where only (?i:...) may stand at character 1"),
        ("(?>a)", "a group of Python's or Perl's, (?>a..., at character 0"),
        ("(?ii:a)", "a group that starts with (? and is none of ECMA-262 at character 0"),
        ("(?i-i:a)", "a group that starts with (? and is none of ECMA-262 at character 0"),
        ("(?-:a)", "a group that starts with (? and is none of ECMA-262 at character 0"),
        ("(?<a>b)(?<a>c)", "two groups are named 'a' at character 7"),
        (r"(?<a>b)\k<c>", "no group is named 'c' at character 7"),
    ],
)
def test_a_wrong_pattern_is_refused_in_words(source: str, message: str) -> None:
    """The message says what is wrong and where."""
    with pytest.raises(regex.RegexError) as error:
        regex.parse(source)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("source", "position"),
    [(r"(a)\1", 3), (r"\1(a)", 0), (r"(?<x>a)\k<x>", 7), (r"(a)(b)\2\1", 6), (r"(?<!a)\b((?!a).)*", None)],
)
def test_the_first_back_reference_is_noted(source: str, position: int | None) -> None:
    """Nothing else is beyond an automaton."""
    assert regex.parse(source).back_reference == position


def test_letters_that_differ_in_case_only_are_those_of_the_standard() -> None:
    """Known classes of simple case folding, and of capitals, which Annex B goes by."""
    for letters, unicode, plain in [
        ("k", "Kk\u212a", "Kk"),
        ("\u017f", "Ss\u017f", "\u017f"),
        ("\u00df", "\u00df\u1e9e", "\u00df"),
        ("\u03c3", "\u03a3\u03c2\u03c3", "\u03a3\u03c2\u03c3"),
        ("\u0130", "\u0130", "\u0130"),
        ("\u01c6", "\u01c4\u01c5\u01c6", "\u01c4\u01c5\u01c6"),
        ("\U00010428", "\U00010400\U00010428", "\U00010400\U00010428"),
        ("-", "-", "-"),
    ]:
        one = charsets.single(ord(letters))
        assert charsets.folded(one) == charsets.union((ord(c), ord(c)) for c in unicode), letters
        assert charsets.folded_without_unicode(one) == charsets.union((ord(c), ord(c)) for c in plain), letters


@pytest.mark.parametrize("unicode", [True, False])
def test_every_letter_has_the_class_that_a_look_at_every_code_point_gives_it(unicode: bool) -> None:
    """Blocks without cases are passed over as a whole; here none is."""
    fold = charsets._simple_fold if unicode else charsets._upper
    classes: dict[int, set[int]] = {}
    for code in range(charsets.MAX_CODE_POINT + 1):
        to = fold(code)
        if to != code:
            classes.setdefault(to, {to}).add(code)
    expected: dict[int, set[int]] = {}
    for codes in classes.values():
        for code in codes:
            expected[code] = expected.get(code, set()) | codes
    assert charsets._classes(unicode) == (sorted(expected), expected)


def test_the_first_letters_of_either_case_are_there_at_once() -> None:
    """The first took 60 ms or more, and `(?i)\\p{L}` as long again."""
    letters = charsets.named("L")
    assert letters is not None
    charsets._classes.cache_clear()
    with clock.working() as work:
        more = set(charsets.folded(letters)) - set(letters)
    assert more == {(0x345, 0x345)}  # which iota is folded with
    assert work.seconds < 0.05


UNICODE_TOOL = runpy.run_path(str(Path(__file__).parents[2] / "tools" / "unicode_classes.py"))


@given(st.sampled_from(UNICODE_TOOL["PROPERTIES"]))
@settings(max_examples=20)
def test_a_property_is_looked_up_as_it_is_asked(name: str) -> None:
    """The validator is asked about every code point."""
    assert charsets.named.__wrapped__(name) == UNICODE_TOOL["asked"](name)


@pytest.mark.parametrize(
    "name",
    ["L", "Lu", "Script=Greek", "sc=Cyrl", "scx=Deva", "Letter", "digit", "Alphabetic", "Emoji", "Any", "Cs", "Cn"],
)
def test_a_property_holds_the_characters_that_the_validator_gives_it(name: str) -> None:
    """Masks and the validation of finished values agree about every character."""
    validators = charsets.validators(name)
    assert validators is not None
    assert charsets.named(name) == charsets.asked(*validators)


def test_the_first_use_of_a_property_asks_little() -> None:
    """Each took 100 ms. A validator of another version of Unicode is asked about everything."""
    charsets.named("Lu")  # which reads what is written down
    with clock.working() as work:
        for name in ("Ll", "Script=Thai", "Emoji"):
            charsets.named.__wrapped__(name)
    assert work.seconds < 0.05 or not charsets._is_written_down()


def test_where_unicode_differs_every_code_point_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A property that the classes do not know, as one that splits them would be, and another version of Unicode."""
    digits = ((0x30, 0x39),)
    asked: list[object] = []
    monkeypatch.setattr(charsets, "asked", lambda *validators: [asked.append(validators), digits][1])
    monkeypatch.setattr(charsets, "validators", lambda _: (Inside("a"), Inside("a", is_negated=True)))
    assert charsets.named.__wrapped__("Vowel") == digits
    monkeypatch.undo()
    monkeypatch.setattr(charsets, "asked", lambda *validators: [asked.append(validators), digits][1])
    monkeypatch.setattr(charsets, "_is_written_down", lambda: False)
    assert charsets.named.__wrapped__("Nd") == digits
    assert len(asked) == 2


class Inside:
    """A validator that knows one character."""

    def __init__(self, char: str, *, is_negated: bool = False) -> None:
        self.char, self.is_negated = char, is_negated

    def is_valid(self, text: str) -> bool:
        return self.char not in text if self.is_negated else set(text) <= {self.char}


@pytest.mark.parametrize(
    "source",
    [
        "(" * 100_000,
        "[" * 100_000,
        "a{" * 50_000,
        "\\" * 100_001,
        "(a*)*" * 20_000,
        r"\u{" + "0" * 100_000 + "}",
        r"\k<" * 30_000,
        r"\p{" * 30_000,
        "(?<" * 50_000,
        "a{" + "9" * 100_000 + "}",
        "|" * 100_000,
        "(?:" * 150 + "a" + ")*" * 150,
        "\\" + "1" * 100_000,
    ],
    ids=lambda s: f"{s[:6]}x{len(s)}",
)
def test_a_hostile_pattern_is_read_or_refused_in_linear_time(source: str) -> None:
    """A hundred thousand characters take well under two seconds, and no recursion."""
    with clock.working() as work:
        refusal(source)
    assert work.seconds < 2


def test_what_is_remembered_of_patterns_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pattern takes more than it is counted as: names, flags, long texts."""
    monkeypatch.setattr(regex.parse, "_most", 1_000_000)
    for generation in ("_young", "_old"):
        monkeypatch.setattr(regex.parse, generation, {})
    monkeypatch.setattr(regex.parse, "_held", 0)
    regex.parse(r"\p{L}\p{Lu}(?i:a)")  # whose tables stay
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(40):
            for source in (r"[\p{Lu}%d]{2}", "(?i:[a-z%d])" * 5, "%d" + "abcdefgh" * 100, "%d" + "[a-c][x-z]?" * 40):
                regex.parse(source.replace("%d", str(number)))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held - before < 1_300_000
