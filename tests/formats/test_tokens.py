"""Formats of tokens: `token`, `exclude_token` and `any_tokens`, against derivatives over tokens (Brzozowski 1964)."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import guard
from guard import formats
from guard.kernels.bitmask import allocate_bitmask
from guard.kernels.errors import SchemaError

END = 7
TOKENS = [b"a", b"b", b"ab", b"\xe2", b"", b"", b"<t>", b"", b""]
NAMES = {"<A>": 4, "<B>": 5, "<t>": 6, "<end>": END}
VOCABULARY = guard.Vocabulary.from_bytes(TOKENS, eos=[END], special=[4, 5], alphabet=b"ab", names=NAMES)
SOME = [0, 1, 2, 3, 4, 5, 6]  # that are tokens, but for the end; 8 is a hole
NAMED = ["<A>", "<B>", "<t>"]


def allowed(matcher, remaining=None):
    """The tokens that may come next."""
    row = allocate_bitmask(1, VOCABULARY.size)
    matcher.fill_bitmask(row, remaining=remaining)
    bits = np.unpackbits(np.asarray(row).view(np.uint8), bitorder="little")[: VOCABULARY.size]
    return set(np.flatnonzero(bits).tolist())


# ---- the judge: expressions over tokens ------------------------------------------------------------------------------


def cat(*parts):
    parts = [part for part in parts if part != ("eps",)]
    return ("eps",) if not parts else parts[0] if len(parts) == 1 else ("cat", parts[0], cat(*parts[1:]))


def alt(*parts):
    flat = frozenset().union(*(part[1] if part[0] == "alt" else {part} for part in parts))
    return next(iter(flat)) if len(flat) == 1 else ("alt", flat)


def expression(form):
    """The expression of a format. Leaves: ("named", token), ("other", excluded tokens)."""
    kind = form["type"]
    if kind == "token":
        return ("named", NAMES[form["token"]])
    if kind in ("exclude_token", "any_tokens"):
        one = ("other", frozenset(NAMES[name] for name in form["exclude_tokens"]))
        if kind == "exclude_token":
            return one
        if form.get("max_tokens") is None:
            return ("star", one)
        out = ("eps",)
        for _ in range(form["max_tokens"]):
            out = alt(("eps",), cat(one, out))
        return out
    if kind == "sequence":
        return cat(*map(expression, form["elements"]))
    if kind == "or":
        return alt(*map(expression, form["elements"]))
    if kind == "tag":
        return cat(*(expression(form[part]) for part in ("begin", "content", "end")))
    inner = expression(form["content"])
    return (
        alt(("eps",), inner)
        if kind == "optional"
        else ("star", inner)
        if kind == "star"
        else cat(inner, ("star", inner))
    )


@cache
def is_nullable(e):
    if e[0] in ("eps", "star"):
        return True
    if e[0] == "cat":
        return is_nullable(e[1]) and is_nullable(e[2])
    return e[0] == "alt" and any(map(is_nullable, e[1]))


@cache
def leaves(e):
    """The leaves that may come first."""
    if e[0] in ("named", "other"):
        return frozenset([e])
    if e[0] == "star":
        return leaves(e[1])
    if e[0] == "cat":
        return leaves(e[1]) | (leaves(e[2]) if is_nullable(e[1]) else frozenset())
    return frozenset().union(*map(leaves, e[1])) if e[0] == "alt" else frozenset()


@cache
def behind(e, leaf):
    """What is left behind a leaf; None: nothing."""
    if e == leaf:
        return ("eps",)
    if e[0] == "star":
        return None if (rest := behind(e[1], leaf)) is None else cat(rest, e)
    if e[0] == "alt":
        found = [rest for part in e[1] if (rest := behind(part, leaf)) is not None]
        return alt(*found) if found else None
    if e[0] != "cat":
        return None
    found = [] if (rest := behind(e[1], leaf)) is None else [cat(rest, e[2])]
    if is_nullable(e[1]) and (rest := behind(e[2], leaf)) is not None:
        found.append(rest)
    return alt(*found) if found else None


@cache
def moves(e):
    """By token, what is left behind it: where a token is named, it is no other one."""
    out = {leaf[1]: behind(e, leaf) for leaf in leaves(e) if leaf[0] == "named"}
    named = {*out}
    for leaf in leaves(e):
        if leaf[0] == "other":
            out |= {token: behind(e, leaf) for token in SOME if token not in named and token not in leaf[1]}
    return out


def reachable(e):
    seen, waiting = {e}, [e]
    while waiting and len(seen) < 500:
        new = {*moves(waiting.pop()).values()} - seen
        seen |= new
        waiting += new
    return seen


def is_ambiguous(e):
    return any(len([leaf for leaf in leaves(state) if leaf[0] == "other"]) > 1 for state in reachable(e))


def nearest(e):
    """By state, how many tokens come at least, the end among them."""
    out = {state: 1 for state in reachable(e) if is_nullable(state)}
    for _ in range(100):
        for state in reachable(e):
            for rest in moves(state).values():
                if rest in out and out[rest] + 1 < out.get(state, 1_000):
                    out[state] = out[rest] + 1
    return out


# ---- the tests -------------------------------------------------------------------------------------------------------

named = st.sampled_from(NAMED).map(formats.token)
excluded = st.lists(st.sampled_from(NAMED), max_size=2, unique=True)
others = excluded.map(lambda names: formats.exclude_token(names))
any_tokens = st.builds(
    lambda names, most: formats.any_tokens(exclude=names, max_tokens=most), excluded, st.none() | st.integers(0, 3)
)
forms = st.recursive(
    named | others | any_tokens,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: formats.sequence(*parts))
        | st.lists(inner, min_size=1, max_size=3).map(lambda parts: formats.union(*parts))
        | inner.map(formats.optional)
        | inner.map(formats.star)
        | inner.map(formats.plus)
        | st.builds(formats.tag, named, inner, named)
    ),
    max_leaves=5,
)


@settings(max_examples=300, deadline=None)
@given(forms)
def test_masks_are_those_of_derivatives(form):
    e = expression(form)
    if is_ambiguous(e):
        with pytest.raises(SchemaError, match="any token could be of two parts"):
            guard.compile(form).matcher(VOCABULARY)
        return
    try:
        compiled = guard.compile(form)
    except SchemaError as error:
        raise AssertionError(f"refused: {error}") from error
    nearby = nearest(e)
    waiting, seen = [(e, ())], {e}
    while waiting:
        state, path = waiting.pop()
        matcher = compiled.matcher(VOCABULARY)
        assert all(map(matcher.accept, path))
        expected = {*moves(state)} | ({END} if is_nullable(state) else set())
        assert allowed(matcher) == expected
        assert matcher.can_stop() == is_nullable(state)
        assert matcher.distance() == nearby[state]
        for budget in range(nearby[state], nearby[state] + 3):
            near = {token for token, rest in moves(state).items() if nearby[rest] + 1 <= budget}
            assert allowed(matcher, budget) == near | (expected & {END})
        for token in range(VOCABULARY.size):
            tried = matcher.copy()
            assert tried.accept(token) == (token in expected), token
        for token, rest in moves(state).items():
            if rest not in seen and len(seen) < 40:
                seen.add(rest)
                waiting.append((rest, (*path, token)))


@pytest.mark.parametrize(("left", "may_begin"), [(2, False), (3, False), (4, True), (None, True)])
def test_a_token_that_is_named_where_any_may_come_needs_what_follows_its_name(left, may_begin):
    named = formats.sequence(formats.token("<A>"), formats.token("<B>"), formats.token("<A>"))
    matcher = guard.compile(formats.union(formats.any_tokens(max_tokens=1), named)).matcher(VOCABULARY)
    assert allowed(matcher, left) == {0, 1, 2, 3, 5, 6, END} | ({4} if may_begin else set())
    matcher.accept(4)
    assert allowed(matcher) == {5}


def test_thinking_is_cut_and_the_answer_is_not():
    thinking = formats.tag(
        formats.token("<A>"), formats.any_tokens(exclude=["<A>"], max_tokens=3), formats.token("<B>")
    )
    compiled = guard.compile(formats.sequence(thinking, formats.const("ab")))
    matcher = compiled.matcher(VOCABULARY)
    assert [matcher.accept(token) for token in (4, 2, 6, 0)] == [True] * 4
    assert allowed(matcher) == {5}
    assert [matcher.accept(token) for token in (5, 2)] == [True] * 2
    matcher.rollback(2)
    assert allowed(matcher) == {5}
    parts = compiled.read([4, 2, 6, 0, 5, 0, 1], VOCABULARY)
    said = [(part.kind, part.pointer, part.text) for part in parts]
    thought = "/format/elements/0/content"
    assert said == [
        ("token", "/format/elements/0", ""),
        ("text", thought, "ab<t>a"),
        ("token", "/format/elements/0", ""),
        ("text", "/format/elements/1", "ab"),
    ]
    assert [allowed(compiled.matcher(VOCABULARY), budget) for budget in (4, 5)] == [{4}, {4}]
    matcher = compiled.matcher(VOCABULARY)
    assert matcher.accept(4)
    assert allowed(matcher, 3) == {5}, "a budget cuts what is thought, and not what follows"
    assert 0 in allowed(matcher, 4)


def test_alternatives_may_begin_with_the_same_token():
    begun = formats.token("<A>")
    either = formats.union(formats.sequence(begun, formats.const("aa")), formats.sequence(begun, formats.const("b")))
    compiled = guard.compile(either)
    for turn in ([4, 0, 0], [4, 1]):
        assert [part.text for part in compiled.read(turn, VOCABULARY)] == [
            "",
            "a" * len(turn[2:]) + "a" if turn[1] == 0 else "b",
        ]
    tags = [
        {"type": "tag", "begin": begun, "content": formats.const(text), "end": formats.token("<B>")} for text in "ab"
    ]
    calls = guard.compile({"type": "token_triggered_tags", "trigger_tokens": ["<A>"], "tags": tags})
    matcher = calls.matcher(VOCABULARY)
    assert [matcher.accept(token) for token in (4, 1, 5, 0, 4, 0, 5)] == [True] * 7
    assert matcher.can_stop()


def test_text_is_not_forced_where_a_token_may_come():
    thinking = formats.tag(formats.token("<A>"), formats.any_tokens(), formats.token("<B>"))
    matcher = guard.compile(formats.sequence(formats.optional(thinking), formats.const("ab"))).matcher(VOCABULARY)
    assert matcher.forced_bytes() == b""
    assert all(map(matcher.accept, (4, 0, 5)))
    assert matcher.forced_bytes() == b"ab"


def test_values_behind_the_same_token_are_told_apart():
    begun = formats.token("<A>")
    parts = [formats.sequence(begun, formats.json({"type": kind})) for kind in ("integer", "number")]
    with pytest.raises(SchemaError, match="two values could begin at one place"):
        guard.compile(formats.union(*parts))


def test_a_named_token_that_spells_text_stands_in_its_part():
    compiled = guard.compile(formats.sequence(formats.const("a"), formats.token("<t>"), formats.const("b")))
    assert [(part.kind, part.text) for part in compiled.read([0, 6, 1], VOCABULARY)] == [
        ("text", "a"),
        ("token", "<t>"),
        ("text", "b"),
    ]


@pytest.mark.parametrize(
    ("behind_it", "found"),
    [
        (formats.const("a"), "text could go on where any token may come"),
        (formats.any_text(), "text could go on where any token may come"),
        (formats.json({"type": "object"}), "where any token may come"),
    ],
)
def test_only_a_token_or_the_end_may_follow_any_tokens(behind_it, found):
    with pytest.raises(SchemaError, match=found):
        guard.compile(formats.sequence(formats.any_tokens(), behind_it))


def test_a_number_needs_a_mark_in_front_of_any_tokens():
    with pytest.raises(SchemaError, match="a number could go on"):
        guard.compile(formats.sequence(formats.json({"type": "integer"}), formats.any_tokens()))
    closed = {"type": "array", "items": False}
    assert guard.compile(formats.sequence(formats.json(closed), formats.any_tokens())).matcher(VOCABULARY) is not None


def test_vocabularies_without_another_token():
    with pytest.raises(ValueError, match="they are all tokens"):
        guard.compile(formats.exclude_token(list(range(9)))).matcher(VOCABULARY)
    with pytest.raises(ValueError, match="the same token"):
        guard.compile(formats.union(formats.token("<A>"), formats.token(4))).matcher(VOCABULARY)


def test_text_is_not_counted_in_tokens():
    with pytest.raises(SchemaError, match="use max_chars; or any_tokens"):
        guard.compile({"type": "any_text", "max_tokens": 3})
