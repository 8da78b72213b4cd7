"""Grammars against Python's `re`: one expression, written down in each notation, says the same texts."""

import re

import clock
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import guard
from guard import formats

CHARS = 'ab-]^"\\/[é\n~😀'


def says(compiled, text):
    """Whether a text is one of the format's."""
    try:
        compiled.read(text)
    except ValueError:
        return False
    return True


# ---- expressions in three notations ----------------------------------------------------------------------------------


def quoted(text):
    """A text as JSON's escapes write it, which all notations read."""
    return "".join(f"\\U{ord(c):08x}" if ord(c) > 0xFFFF else f"\\u{ord(c):04x}" if c in '\\"\n' else c for c in text)


def in_set(char):
    return f"\\x{ord(char):02x}" if char in "]^-\\\n[" else char


def text(value):
    return {"re": re.escape(value), "gbnf": f'"{quoted(value)}"', "lark": f'"{quoted(value)}"'}


def ranged(low, high, is_negated):
    low, high = sorted((low, high))
    pattern = f"[{'^' if is_negated else ''}{re.escape(low)}-{re.escape(high)}]"
    gbnf = f"[{'^' if is_negated else ''}{in_set(low)}-{in_set(high)}]"
    lark = (
        f"/{pattern.replace('/', chr(92) + '/')}/".replace("\n", "n")
        if is_negated
        else f'"{quoted(low)}".."{quoted(high)}"'
    )
    return {"re": pattern, "gbnf": gbnf, "lark": lark}


def members(chars):
    return {
        "re": "[" + "".join(map(re.escape, chars)) + "]",
        "gbnf": "[" + "".join(map(in_set, chars)) + "]",
        "lark": "(" + "|".join(f'"{quoted(char)}"' for char in chars) + ")",
    }


def joined(between):
    def join(parts):
        return {name: "(" + between[name].join(one[name] for one in parts) + ")" for name in ("re", "gbnf", "lark")}

    return join


def repeated(part, count):
    least, most = count
    lark = {(0, 1): "?", (0, None): "*", (1, None): "+"}.get(count, f"~{least}..{most}")
    braces = f"{{{least},{'' if most is None else most}}}"
    return {"re": f"({part['re']}){braces}", "gbnf": f"({part['gbnf']}){braces}", "lark": f"({part['lark']}){lark}"}


COUNTS = st.sampled_from([(0, 1), (0, None), (1, None), (2, 3), (0, 2), (3, 3)])
LEAVES = st.one_of(
    st.text(CHARS, max_size=3).map(text),
    st.builds(ranged, st.sampled_from("ab-~é"), st.sampled_from("ab-~é"), st.booleans()),
    st.lists(st.sampled_from(CHARS), min_size=1, max_size=4).map(members),
)
EXPRESSIONS = st.recursive(
    LEAVES,
    lambda below: st.one_of(
        st.lists(below, min_size=1, max_size=3).map(joined({"re": "", "gbnf": " ", "lark": " "})),
        st.lists(below, min_size=1, max_size=3).map(joined({"re": "|", "gbnf": " | ", "lark": "|"})),
        st.builds(repeated, below, COUNTS),
    ),
    max_leaves=8,
)


@settings(max_examples=400)
@given(expression=EXPRESSIONS, data=st.data())
def test_a_grammar_says_what_the_same_pattern_says(expression, data):
    pattern = re.compile(expression["re"], re.DOTALL)
    gbnf = guard.compile(formats.grammar(f"root ::= {expression['gbnf']} # the end"))
    lark = guard.compile(formats.grammar(f"start: {expression['lark']} // the end"))
    matching = st.from_regex(pattern, fullmatch=True)
    for one in data.draw(st.lists(st.one_of(matching, st.text(CHARS, max_size=6)), min_size=1, max_size=8)):
        if "\ud800" <= max(one, default="") <= "\udfff":
            continue
        expected = pattern.fullmatch(one) is not None
        assert says(gbnf, one) == expected, (expression, one)
        assert says(lark, one) == expected, (expression, one)


@settings(max_examples=50)
@given(parts=st.lists(EXPRESSIONS, min_size=2, max_size=4), data=st.data())
def test_a_rule_that_goes_on_with_itself_is_a_repetition(parts, data):
    *again, last = [{name: f"({one[name]})" for name in one} for one in parts]
    pattern = re.compile(f"(?:{'|'.join(one['re'] for one in again)})*(?:{last['re']})", re.DOTALL)
    gbnf = " | ".join([*(f"{one['gbnf']} root" for one in again), last["gbnf"]])
    lark = " | ".join([*(f"x{number} start" for number in range(len(again))), last["lark"]])
    rules = "".join(f"\nx{number}: {one['lark']}" for number, one in enumerate(again))
    compiled = [guard.compile(formats.grammar(one)) for one in (f"root ::= {gbnf}", f"start: {lark}{rules}")]
    for one in data.draw(st.lists(st.text(CHARS, max_size=6), min_size=1, max_size=6)):
        for grammar in compiled:
            assert says(grammar, one) == (pattern.fullmatch(one) is not None)


# ---- literal examples ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("grammar", "yes", "no"),
    [
        (r'root ::= "\x41\u00e9\U0001F600\n\t\"\\"', ['Aé😀\n\t"\\'], ["A"]),
        (r"root ::= [^\x00-\x1f\]]+", ["ab^-[", "é"], ["", "]", "\n"]),
        (r"root ::= [a\-z]+", ["a-z"], ["b"]),
        ("root ::= [a-]+", ["a-"], ["b"]),
        ("root ::= [-a]+", ["a-"], ["b"]),
        ('root ::= "a"{,2}', ["", "a", "aa"], ["aaa"]),
        ('root ::= "a"{2}{2}', ["aaaa"], ["aa", "aaa"]),
        ('root ::= "a" | | "b"', ["", "a", "b"], ["ab"]),
        ('root ::= "#" [#] # "#"', ["##"], ["#", "###"]),
        ('root ::= x-y\nx-y ::= "a"\n  | "b"\n\n  | "c"', ["a", "b", "c"], [""]),
        ("root ::= .", ["a", "😀", "\n"], ["", "ab"]),
        ('root ::= root | "a"', ["a"], ["", "aa"]),
        ('root ::= "x" root | "a"', ["a", "xxa"], ["", "x", "aa"]),
        ('root ::= item+\nitem ::= "(" [0-9]{1,3} ")"', ["(1)(22)"], ["()", "(1234)"]),
        ('start: ["a" ["b"]] "c"', ["c", "ac", "abc"], ["bc", "ab"]),
        ('start: "a".."c"+ // x', ["abc"], ["d", ""]),
        ('start: "ab"i', ["AB", "aB", "ab"], ["a"]),
        ('start: "ß"i "İ"i', ["ßİ"], ["SSİ", "ßi̇"]),
        ('start: "a//b" /c\\/d/', ["a//bc/d"], ["a"]),
        ('?start: x -> y\n!x.2: "a"', ["a"], ["x"]),
        ('start: "a"~2 "b"~0..1', ["aa", "aab"], ["a", "aabb"]),
        ("start: X _Y\nX: /[0-9]+/\n_Y: X | X _Y", ["12", "345"], ["1", ""]),
    ],
)
def test_examples(grammar, yes, no):
    compiled = guard.compile(formats.grammar(grammar))
    assert [one for one in yes if not says(compiled, one)] == []
    assert [one for one in no if says(compiled, one)] == []


@pytest.mark.parametrize(
    ("grammar", "rule"),
    [
        ('root ::= "(" root ")" | "x"', "root"),
        ('root ::= root "a" | "b"', "root"),
        ('root ::= ("a" root)?', "root"),
        ('root ::= a\na ::= b "x"\nb ::= "y" a | "z"', "a"),
        ('start: value\nvalue: "[" value "]" | "x"', "value"),
        ('root ::= "a" root', "root"),
        ("root ::= root", "root"),
    ],
)
def test_any_other_recursion_is_refused_and_names_the_rule(grammar, rule):
    with pytest.raises(guard.SchemaError, match=f"'{rule}'"):
        guard.compile(formats.grammar(grammar))


# ---- wrong ones, and hostile ones ------------------------------------------------------------------------------------

WRONG = {
    "nothing": "",
    "white space": " \n ",
    "comments alone": "//" * 100_000,
    "a group that does not end": 'root ::= ("a"',
    "a group that does not begin": 'root ::= "a")',
    "a text that does not end": 'root ::= "a',
    "a text whose quote is escaped": 'root ::= "a\\"',
    "a set that does not end": "root ::= [a",
    "a set of nothing": "root ::= [^]",
    "a range backwards": "root ::= [z-a]",
    "a pattern that does not end": "start: /a",
    "a pattern that is none": "start: /a(/",
    "flags of a pattern": "start: /a/i",
    "no such rule": "root ::= a",
    "no root": 'x ::= "a"',
    "a rule twice": 'root ::= "a"\nroot ::= "b"',
    "nothing to repeat": "root ::= *",
    "counts backwards": 'root ::= "a"{3,1}',
    "no count": 'root ::= "a"{}',
    "half a count": 'root ::= "a"{,}',
    "a count of twenty digits": 'root ::= "a"{' + "9" * 20 + "}",
    "a count of a million digits": 'root ::= "a"{' + "9" * 900_000 + "}",
    "a surrogate": r'root ::= "\ud800"',
    "beyond Unicode": r'root ::= "\U00110000"',
    "no escape": r'root ::= "\q"',
    "an alias in GBNF": 'root ::= "a" -> b',
    "an import": "%import common.INT\nstart: INT",
    "a template": 'start{x}: "a"',
    "a range of texts": 'start: "aa".."b"',
    "rules without end": "\n".join(f"r{n} ::= r{n + 1}" for n in range(10_000)).replace("r0 ", "root ", 1)
    + '\nr10000 ::= "a"',
    "rules that double": "\n".join(f"r{n} ::= r{n + 1} r{n + 1}" for n in range(90)).replace("r0 ", "root ", 1)
    + '\nr90 ::= "a"',
    "deep groups": "root ::= " + "(" * 50_000 + '"a"' + ")" * 50_000,
    "deep optional parts": "start: " + '["a" ' * 50_000 + "]" * 50_000,
    "groups in rules in groups": "\n".join(f"r{n} ::= " + "(" * 60 + f"r{n + 1}" + ")" * 60 for n in range(60)).replace(
        "r0 ", "root ", 1
    )
    + '\nr60 ::= "a"',
    "open sets": "root ::= " + "[a" * 40_000,
    "open texts": "root ::= " + '"\\' * 40_000,
    "open patterns": "start: " + "\\/" * 40_000,
    "colons": ":" * 100_000,
    "starts": "start:" * 20_000,
    "a million letters": "a" * 900_000,
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_grammar_ends_in_one_line_within_a_second(name):
    with clock.working() as work, pytest.raises(guard.SchemaError) as caught:
        guard.compile(formats.grammar(WRONG[name]))
    assert work.seconds < 1.0
    (finding,) = caught.value.findings
    assert finding.pointer == "/format"
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "grammar",
    [
        'root ::= "a"{999999999}',
        'root ::= (("a"{1000}){1000}){1000}',
        'root ::= (("a"*)*)* "b"',
        'root ::= ("a" | "aa" | "aaa")* "b"{1,9999}',
        "root ::= " + '"a"? ' * 3000 + '"a" ' * 3000,
        "root ::= " + " | ".join(f"r{n}" for n in range(10_000)) + "".join(f'\nr{n} ::= "a{n}"' for n in range(10_000)),
        'start: "a" ' + "// x\n" * 30_000,
    ],
)
def test_a_large_grammar_takes_a_second_at_most(grammar):
    with clock.working() as work:
        compiled = guard.compile(formats.grammar(grammar))
        says(compiled, "a" * 50)
    assert work.seconds < 1.0
