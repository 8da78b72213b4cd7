"""Grounded values: the keyword, what may be quoted, and what is a number or a date."""

from __future__ import annotations

import datetime
import itertools
import json
import pickle
import re
import time
import unicodedata
from decimal import Decimal
from random import Random
from typing import Annotated, Any

import babel.numbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

import guard
from guard.output.grounding import GroundingChecker
from guard.schemas import types
from guard.schemas.compiled import single_bytes
from guard.schemas.grounding.keyword import KEYWORD, MOST_PLACES, SourceRule, rule_of
from guard.schemas.grounding.normal_form import clusters, nfc
from guard.schemas.grounding.notations import months
from guard.schemas.grounding.quotes import QuotableText
from guard.schemas.grounding.seen_text import SeenText, seen
from guard.schemas.grounding.sources import Sources
from guard.schemas.grounding.stated_dates import _folded, dates
from guard.schemas.grounding.stated_numbers import numbers


def quoted(text: str, value: str, within: Any = "cell") -> list[str]:
    """Return what stands in the caller's own text where a value is quoted."""
    return [text[start:end] for start, end in QuotableText(text, within).find(value)]


@pytest.mark.parametrize(
    ("text", "value", "within", "found"),
    [
        ("GREEN  LANE\nLeeds", "GREEN LANE", "cell", ["GREEN  LANE"]),
        ("GREEN LANE\r\nLeeds", "LANE Leeds", "line", []),
        ("GREEN LANE\r\nLeeds", "LANE Leeds", "paragraph", ["LANE\r\nLeeds"]),
        ("GREEN LANE\n\nLeeds", "LANE Leeds", "paragraph", []),
        ("Tax    7.60", "Tax 7.60", "cell", []),
        ("Tax    7.60", "Tax 7.60", "line", ["Tax    7.60"]),
        ("| Anna | Smith |", "Anna", "cell", ["Anna"]),
        ("| Anna | Smith |", "Anna | Smith", "cell", []),
        ("no PP-77Q1-D here", "77Q1", "cell", []),
        ("no PP-77Q1-D here", "PP-77Q1-D", "cell", ["PP-77Q1-D"]),
        ("in 79098 Freiburg", "9098", "cell", []),
        ("costs 1,204 points", "204", "cell", []),
        ("Anna Smith's bag", "Anna Smith", "cell", ["Anna Smith"]),
        ("Inc. and Co.", "Inc.", "cell", ["Inc."]),
        ("Inc. and Co.", "Inc", "cell", ["Inc"]),
        ("pay $13.50 now", "$13.50", "cell", ["$13.50"]),
        ("pay $13.50 now", "13.50", "cell", ["13.50"]),
        ("call (0113) 555", "(0113) 555", "cell", ["(0113) 555"]),
        ("mail a.b@c.example!", "a.b@c.example", "cell", ["a.b@c.example"]),
        ("see https://a.example/x/, or", "https://a.example/x/", "cell", ["https://a.example/x/"]),
        ("see https://a.example/x/, or", "https://a.example/x", "cell", ["https://a.example/x"]),
        ("key dGVzdA== here", "dGVzdA==", "cell", ["dGVzdA=="]),
        ("Anna/Bob a=b", "Anna/", "cell", []),
        ("Anna/Bob a=b", "a=", "cell", []),
        ("Case as written", "case", "cell", []),
        ("the infor-\nmation desk", "information desk", "paragraph", ["infor-\nmation desk"]),
        ("the self-\nservice desk", "self-service desk", "paragraph", ["self-\nservice desk"]),
        ("the infor-\nmation desk", "information", "line", []),
        ("the infor-\r\nmation desk", "information desk", "paragraph", ["infor-\r\nmation desk"]),
        ("Caf\u0065\u0301 Noir", "Café Noir", "cell", ["Cafe\u0301 Noir"]),
        ("Café Noir", "Cafe\u0301", "cell", ["Café"]),
        ("e\u0301\u0301 a", "é\u0301 a", "cell", ["e\u0301\u0301 a"]),
        ("%\u0323\u0301\u0323", "\u0323\u0323\u0301", "cell", ["\u0323\u0301\u0323"]),
        ("東京都港区", "港区", "cell", ["港区"]),
        ("a a a", "a", "cell", ["a", "a", "a"]),
        ("a b", " a", "cell", []),
        ("a b", "", "cell", []),
        ('say "hi" \\ now', 'hi" \\ now', "cell", ['hi" \\ now']),
    ],
)  # fmt: skip
def test_a_text_is_quoted_where_it_stands(text: str, value: str, within: Any, found: list[str]) -> None:
    assert quoted(text, value, within) == found


def test_every_quotation_stands_in_the_text_as_it_was_given() -> None:
    r = Random(5)
    for _ in range(300):
        text = "".join(r.choice("aB1é\u0301-. \n\t|,ㄱᅡ") for _ in range(r.randint(0, 20)))
        for within in ("cell", "line", "paragraph"):
            quotes = QuotableText(text, within)
            lines = quotes.compared
            for start in range(len(lines)):
                for end in range(start + 1, len(lines) + 1):
                    value = lines[start:end]
                    if not quotes.starts[start] or not quotes.ends[end] or "\n" in value:
                        continue
                    places = quotes.find(value)
                    assert places, (text, value)
                    for a, b in places:
                        stands = " ".join(unicodedata.normalize("NFC", text[a:b]).split())
                        assert within == "paragraph" or value in (stands, " ".join(value.split())), (text, value)


def test_what_a_text_may_be_quoted_as_is_found_in_it() -> None:
    r = Random(7)
    chars = "ab-\n ᄀ가ᅡᆨe\u0301\u0323\u0f71\u0f72\u0f73\u0344\u09c7\u09be<\u0338"
    for _ in range(2_000):
        quotes = QuotableText("".join(r.choice(chars) for _ in range(r.randint(0, 10))), "paragraph")
        assert unicodedata.is_normalized("NFC", quotes.compared), quotes.text
        for start, end in itertools.combinations(range(len(quotes.compared) + 1), 2):
            value = quotes.compared[start:end]
            if quotes.starts[start] and quotes.ends[end] and "\n" not in value:
                assert quotes.find(value), (quotes.text, value)


def test_the_normal_form_is_the_one_of_unicode() -> None:
    r = Random(8)
    chars = "aé\u0301\u0323\u0f71\u0f72\u0f73\u0344\u09c7\u09beᄀ가ᅡᆨ"
    for length in (0, 3, 20, 80) * 50:
        text = "".join(r.choice(chars) for _ in range(length))
        text += "".join(r.choice("\u0301\u0323\u0f73") for _ in range(length))
        assert nfc(text) == unicodedata.normalize("NFC", text), text
        parts = [text[start:end] for start, end in clusters(text)]
        assert "".join(parts) == text
        assert "".join(map(nfc, parts)) == nfc(text), text


@pytest.mark.parametrize(
    ("text", "schema", "value", "places"),
    [
        ("שם: \u200fדוד\u200f \u200fלוי\u200f, חיפה", {"type": "string"}, "דוד לוי", ["דוד\u200f \u200fלוי"]),
        ("שם: \u200fדוד\u200f לוי", {"type": "string"}, "\u200fדוד\u200f לוי", ["דוד\u200f לוי"]),
        ("the soft\u00adware of zero\u200bwidth", {"type": "string"}, "software", ["soft\u00adware"]),
        ("\ufeffAnna", {"type": "string"}, "Anna", ["Anna"]),
        ("في 14\u200f/05\u200f/2026", {"type": "string", "format": "date"}, "2026-05-14", ["14\u200f/05\u200f/2026"]),
        ("-\u200e$\xa045.25", {"type": "number"}, -45.25, ["-\u200e$\xa045.25"]),
    ],
)
def test_marks_that_nobody_sees_do_not_count(text: str, schema: Any, value: Any, places: list[str]) -> None:
    compiled, sources = guard.compile({**schema, KEYWORD: "input"}), Sources({"text": text})
    written = json.dumps(value, ensure_ascii=False)
    found = GroundingChecker(compiled).check(written, sources)
    assert not found.findings
    assert [text[start:end] for _, start, end in found.places[""]] == places
    matcher = compiled.grounded(sources).matcher(single_bytes())
    assert all(map(matcher.accept, written.replace("\u200f", "").encode()))
    assert matcher.can_stop()


@given(st.text(st.sampled_from("aB1 .\n\u00ad\u200b\u200e\u200f\u202e\u2066\ufeff")))
def test_a_seen_text_knows_where_it_stood(text: str) -> None:
    found = SeenText(text)
    assert seen(found.text) == found.text
    for start, end in itertools.combinations(range(len(found.text) + 1), 2):
        first, last = found.place((start, end))
        assert seen(text[first:last]).replace("-", "") == found.text[start:end].replace("-", "")
        assert (text[first], text[last - 1]) == tuple(found.text[at].replace("-", "\xad") for at in (start, end - 1))


@pytest.mark.parametrize("within", ["cell", "line", "paragraph"])
@given(text=st.text(st.sampled_from("ab1- \n\u00ad\u200b\u200e\u0301")))
def test_what_may_be_quoted_of_a_text_with_unseen_marks_is_found_in_it(within: Any, text: str) -> None:
    sources, rule = Sources({"text": text}), SourceRule("quoted", within=within)
    _, compared, starts, ends = sources.tree(rule)
    for start, end in itertools.combinations(range(len(compared) + 1), 2):
        value = compared[start:end]
        if starts[start] and ends[end] and "\n" not in value:
            assert sources.places(rule, value), (text, value)


def test_overlapping_places_are_all_found() -> None:
    r = Random(9)
    for _ in range(3_000):
        word = "".join(r.choice("xy ") for _ in range(r.randint(1, 4)))
        text = "".join(r.choice([word * 3, word[:2], "x", "y ", " "]) for _ in range(r.randint(0, 8)))
        quotes = QuotableText(text, "cell")
        lines = quotes.compared
        for start, end in itertools.combinations(range(len(lines) + 1), 2):
            value = lines[start:end]
            if value.strip() == value and "\n" not in value:
                at = [i for i in range(len(lines)) if lines.startswith(value, i)]
                right = [i for i in at if quotes.starts[i] and quotes.ends[i + len(value)]]
                assert list(quotes._quoted(value)) == right, (text, value)


@pytest.mark.parametrize("text", ["a" + "\u0301" * 40_000, "a" + "\u0301\u0323" * 20_000, "\u0f73" * 40_000])
def test_many_marks_of_one_letter_take_no_longer_than_others(text: str) -> None:
    began = time.process_time()
    assert QuotableText(text, "cell").find(text)
    assert time.process_time() - began < 3


@pytest.mark.parametrize(
    ("text", "value"), [("x" * 400_000, "x" * 16_000), ("xx " * 100_000, "x xx " + "xx " * 5_000 + "x")]
)
def test_a_long_value_is_looked_for_in_linear_time(text: str, value: str) -> None:
    quotes = QuotableText(text, "cell")
    began = time.process_time()
    assert quotes.find(value) == []
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    ("text", "locales", "found"),
    [
        ("total 1,204.50", (), {"1204.5"}),
        ("SUMME 1.204,50", (), {"1204.5"}),
        ("12,50 EUR", (), {"12.5"}),
        ("1.234", (), {"1234", "1.234"}),
        ("1.234", ("de",), {"1234"}),
        ("1.234", ("en",), {"1.234"}),
        ("4 x 2", (), {"4", "2"}),
        ("Receipt 004417", (), {"4417"}),
        ("14/05/2026 18:42", (), set()),
        ("on 2026-05-14", (), set()),
        ("PP-77Q1-D, LS6 2AB", (), set()),
        ("Tel 0113 555 0187", (), set()),
        ("+49 (0)761 203-4567", (), set()),
        ("22 12 34 56", (), set()),
        ("12345678", (), {"12345678"}),
        ("2   1   2", (), {"2", "1"}),
        ("120   240   360", (), {"120", "240", "360"}),
        ("2026-05-14 12 units", (), {"12"}),
        ("host 10.0.0.1 v1.2.3", (), set()),
        ("-0.45", (), {"-0.45", "0.45"}),
        ("45k", (), {"45000"}),
        ("750g", (), {"750"}),
        ("key=1205", (), {"1205"}),
        ("EUR13.50", (), {"13.5"}),
        ("12'345.60", ("de_CH",), {"12345.6"}),
        ("sizes 100 200 300", (), {"100200300", "100", "200", "300"}),
        ("1 234 567,89", (), {"1234567.89"}),
        ("2 3,5", (), {"2", "3.5"}),
        ("-1 234", (), {"1234", "-1234", "1", "-1", "234"}),
        ("1 200k", (), {"1200000", "1", "200000"}),
        ("rooms 12,13", (), {"12.13"}),
        ("1e5 -2.5E-3 1e500", (), {"100000", "0.0025", "-0.0025"}),
        ("1234567890", (), {"1234567890"}),
        ("123456789 EUR", (), {"123456789"}),
        ("0123456789 +491234567890", (), set()),
        ("DE89 3704 0044 0532 0130 00", (), set()),
        ("45\nk", (), {"45"}),
        ("٣٤٥", (), {"345"}),
        ("0.1234567890123456789012345678901234567", (), {"0.1234567890123456789012345678901234567"}),
        ("-$45.25", (), {"45.25", "-45.25"}),
        ("−US$ 45", (), {"45", "-45"}),
        ("CHF-45.25", ("de_CH",), {"45.25", "-45.25"}),
        ("(1,204.50)", (), {"1204.5", "-1204.5"}),
        ("($7), (7 EUR), (7), (0.00)", (), {"7", "-7", "0"}),
        ("1.204,50- EUR", (), {"1204.5", "-1204.5"}),
        ("pages 4- and 1.5--", (), {"4", "1.5"}),
        ("SEK12 CAD12.50 PLN5", (), {"12", "12.5", "5"}),
        ("Qty:12 total:12.50 No.5 Rs.500", (), {"12", "12.5", "5", "500"}),
        ("um:14:30 fe80:12:1 v.1.2.3 Tel:0113 555 0187", (), set()),
        ("a 12-month contract, 24-Stunden, 3-year-old", (), {"12", "24", "3"}),
        ("12-34-AB, 12-AB, 10-12", (), set()),
        ("*7* **12** and **13 EUR** of ****4411 and ****4412", (), {"7", "12", "13"}),
        ("١٬٢٠٤٫٥٠", ("ar",), {"1204.5"}),
    ],
)
def test_numbers_count_by_value_where_they_stand_as_numbers(text: str, locales: Any, found: set[str]) -> None:
    assert set(numbers(text, locales)) == {Decimal(value) for value in found}


@pytest.mark.parametrize("locale", ["en", "de", "de_AT", "de_CH", "fr", "es", "it", "nl", "pt_BR", "pl", "sv", "hi"])
def test_amounts_are_read_as_cldr_writes_them(locale: str) -> None:
    """Below zero most were not: -$45.25 and ($45.25) stated 45.25 alone, and CHF-45.25 nothing."""
    amounts = [Decimal(value) for value in ("-45.25", "-1204.5", "1234567.89", "0.07", "12")]
    for amount, currency, form in itertools.product(amounts, ("EUR", "CHF", "SEK", "INR"), ("standard", "accounting")):
        written = babel.numbers.format_currency(amount, currency, locale=locale, format_type=form)
        for locales in ((), (locale,)):
            assert amount in numbers(f"Sum: {written}.", locales), (written, locales)


def test_places_of_an_amount_have_its_signs() -> None:
    text = "-$45.25, (1,204.50), 7.50-"
    found = {str(value): [text[start:end] for start, end in spans] for value, spans in numbers(text).items()}
    assert found == {
        "45.25": ["45.25"],
        "-45.25": ["-$45.25"],
        "1204.50": ["1,204.50"],
        "-1204.50": ["(1,204.50)"],
        "7.50": ["7.50"],
        "-7.50": ["7.50-"],
    }


@pytest.mark.parametrize("text", ["*1" * 50_000, "**1 " * 50_000, "(" * 100_000, "a:1" * 60_000, "1-a" * 60_000])
def test_signs_around_numbers_take_no_longer_than_other_texts(text: str) -> None:
    began = time.process_time()
    numbers(text)
    assert time.process_time() - began < 3


def test_a_power_of_ten_and_many_digits_are_masked_as_they_are_checked() -> None:
    compiled = guard.compile({"type": "number", KEYWORD: "input"})
    for said, written in (("1e5", "100000"), ("1234567890",) * 2, ("1e-9", "0.000000001"), (f"0.{'12' * 17}",) * 2):
        sources = Sources({"text": f"it is {said} now"})
        matcher = compiled.grounded(sources).matcher(single_bytes())
        assert all(map(matcher.accept, written.encode())), said
        assert matcher.can_stop()
        assert not GroundingChecker(compiled).check(written, sources).findings


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("on 2026-05-14", {"2026-05-14"}),
        ("born 04/11/1948", {"1948-11-04", "1948-04-11"}),
        ("14.05.26", {"2026-05-14"}),
        ("3 February 2026", {"2026-02-03"}),
        ("February 3rd, 2026", {"2026-02-03"}),
        ("am 9. November 2025", {"2025-11-09"}),
        ("le 1er août 2025", {"2025-08-01"}),
        ("3 de marzo de 2026", {"2026-03-03"}),
        ("before 28 February (2026 season)", {"2026-02-28"}),
        ("31/02/2026", set()),
        ("no date 99", set()),
        ("3 Auguſt 1795", {"1795-08-03"}),
        ("3 APRİL 2026", {"2026-04-03"}),
        ("3 aprıl 2026", {"2026-04-03"}),
        ("0026-05-14", {"0026-05-14"}),
        ("14.05.0026", {"0026-05-14"}),
        ("12.05.2026-14.05.2026", {"2026-05-12", "2026-05-14"}),
        ("2026-05-12/2026-05-14", {"2026-05-12", "2026-05-14"}),
        ("2026-05-12-2026-05-14", {"2026-05-12", "2026-05-14"}),
        ("2026-05-12T08:00Z/2026-05-14T18:00Z", {"2026-05-12", "2026-05-14"}),
        ("3 May 2026-14 May 2026", {"2026-05-03", "2026-05-14"}),
        ("12-14 May 2026", {"2026-05-12", "2026-05-14"}),
        ("May 12–14, 2026", {"2026-05-12", "2026-05-14"}),
        ("the code 12-34-2026-05-12", set()),
        ("2026年5月14日、2026년 5월 15일", {"2026-05-14", "2026-05-15"}),
        ("Kelt: 2026. 05. 14.", {"2026-05-14"}),
    ],
)
def test_dates_have_all_their_readings(text: str, found: set[str]) -> None:
    assert set(dates(text)) == found
    assert not found & set(map(str, numbers(text)))


def test_a_month_counts_in_every_case_that_its_pattern_takes() -> None:
    for locale in ((), ("tr",), ("el",), ("az",), ("ru",)):
        for name, number in months(locale).items():
            for case in (name, name.upper(), name.title(), name.replace("s", "ſ"), name.upper().replace("I", "İ")):
                found = dates(f"3 {case} 2026", locale)
                assert not re.fullmatch(name, case, re.I) or f"2026-{number:02}-03" in found, case


def test_every_letter_folds_as_a_pattern_takes_it() -> None:
    letters = sorted(
        {letter for locale in ("en", "fr", "tr", "el", "ru", "vi") for letter in "".join(months((locale,)))}
    )
    takes = re.compile("[" + re.escape("".join(letters)) + "]", re.I)
    for char in filter(takes.match, map(chr, range(0x110000))):
        assert any(_folded(char) == _folded(one) for one in letters if re.fullmatch(re.escape(one), char, re.I)), char


def test_a_day_without_a_year_takes_each_year_that_is_stated() -> None:
    text = "28 February; 29 February 2024; of 2023 and 2024, or 2025: 1 May, May 1st"
    found = dates(text)
    assert {date: [text[start:end] for start, end in spans] for date, spans in found.items()} == {
        **{f"{year}-02-28": ["28 February"] for year in (2023, 2024, 2025)},
        **{f"{year}-05-01": ["1 May", "May 1st"] for year in (2023, 2024, 2025)},
        "2024-02-29": ["29 February 2024"],
    }


def test_days_times_years_take_no_longer_than_both() -> None:
    years = "; ".join(map(str, range(1900, 2100)))
    began = time.process_time()
    found = dates(f"{years}\n{'1 May ' * 8_000}")
    assert len(found) == 200
    assert {len(found[date]) for date in found} == {MOST_PLACES}
    assert set(numbers(f"{years}\n{'1 May ' * 8_000}")) == {Decimal(year) for year in range(1900, 2100)}
    assert time.process_time() - began < 3


def test_types_say_it_in_their_schemas() -> None:
    class Letter(BaseModel):
        sender: Annotated[str, guard.Quoted()]
        total: Annotated[float | None, guard.Stated(locales=("de",))]
        due: Annotated[datetime.date, guard.Stated(input="letter")]
        items: Annotated[list[str], guard.Quoted(within="line", once=True)]

    said = types.json_schema(Letter)["properties"]
    assert said["sender"][KEYWORD] == "input"
    assert said["total"]["anyOf"][0][KEYWORD] == {"input": "input", "locales": ["de"]}
    assert said["due"][KEYWORD] == "/letter"
    assert said["items"]["uniqueItems"]
    assert said["items"]["items"][KEYWORD] == {"input": "input", "within": "line", "once": True}


def test_a_mark_on_a_decimal_is_refused_with_a_way_out() -> None:
    with pytest.raises(guard.SchemaError, match="a Decimal is a text in JSON: mark a float instead"):
        types.described(Annotated[Decimal | None, guard.Stated()])


@pytest.mark.parametrize("written", ["7", "7.50", "12345678901234567891", "1E+400"])
def test_a_finding_shows_a_number_as_it_was_written(written: str) -> None:
    """The model was told that it had said 7.0, or 1.2345678901234567e+19."""
    compiled = guard.compile({"type": "number", KEYWORD: "input"})
    (finding,) = GroundingChecker(compiled).check(written, Sources({"text": "8"})).findings
    assert finding.got == written


def test_a_mark_on_another_type_is_refused() -> None:
    for wanted in (Annotated[bool, guard.Stated()], Annotated[float, guard.Quoted()]):
        with pytest.raises(guard.SchemaError, match="is marked as one that the input states"):
            types.described(wanted)


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({KEYWORD: "input"}, "needs a type beside it"),
        ({"type": "boolean", KEYWORD: "input"}, "needs a type beside it"),
        ({"type": "string", KEYWORD: "text"}, "JSON Pointer to one input"),
        ({"type": "string", KEYWORD: 1}, "expected"),
        ({"type": "string", KEYWORD: {"input": "input", "wihtin": "line"}}, "'wihtin' is none"),
        ({"type": "string", KEYWORD: {"within": "page"}}, "within='page'"),
        ({"type": "number", KEYWORD: {"locales": ["xx"]}}, "no locale"),
        ({"type": "string", "format": "date-time", KEYWORD: "input"}, "date-time"),
        ({"type": "string", KEYWORD: {"once": True}}, "once is said of items"),
        ({"items": {"type": "string", KEYWORD: {"once": True}}}, "once is said of items"),
        ({"not": {"type": "string", KEYWORD: "input"}}, "below not"),
        ({"patternProperties": {"a": {"type": "string", KEYWORD: "input"}}}, "below patternProperties"),
    ],
)
def test_what_can_not_be_exact_is_refused(schema: Any, words: str) -> None:
    with pytest.raises(guard.SchemaError, match=words):
        guard.compile(schema)


def test_the_keyword_is_enforced_and_part_of_the_hash() -> None:
    schema = {"type": "string", KEYWORD: "input"}
    compiled = guard.compile(schema)
    assert [(line.keyword, line.status) for line in compiled.report][1] == (KEYWORD, "enforced")
    assert compiled.is_grounded
    assert not guard.compile({"type": "string"}).is_grounded
    of_call = compiled.grounded(Sources({"text": "a b"}))
    others = {compiled.hash, of_call.hash, compiled.grounded(Sources({"text": "a c"})).hash}
    assert len(others) == 3
    assert pickle.loads(pickle.dumps(of_call)).hash == of_call.hash


def test_a_rule_is_read_with_all_it_says() -> None:
    said = {"input": "/a~1b", "within": "line", "once": True, "locales": ["de", "en"]}
    rule = rule_of({"type": ["integer", "null"], KEYWORD: said})
    assert rule == SourceRule("number", "a/b", "line", True, ("de", "en"))


def test_inputs_are_told_apart_by_name() -> None:
    sources = Sources({"a": "Anna 7", "b": "Berta 8"})
    assert sources.places(SourceRule("quoted", "a"), "Berta") == []
    assert sources.places(SourceRule("quoted"), "Berta") == [("b", 0, 5)]
    assert sources.numbers(SourceRule("number")) == [7, 8]
    assert sources.places(SourceRule("number", "b"), Decimal(8)) == [("b", 6, 7)]


def test_the_common_names_of_months_are_those_of_cldr() -> None:
    ours = months(())
    assert months(("en", "de", "fr", "es", "it", "nl", "pt")).items() <= ours.items()
    assert set(ours.values()) == set(range(1, 13))
