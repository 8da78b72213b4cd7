"""The matcher: masks against accept, budgets, forced bytes, the end, ways back, arrays, and bad arguments."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule
from properties import allowed, bits, check_forced_bytes, check_masks, within_limits
from strategies import MERGES, OPTIONS, Case, byte_vocabulary, cases, vocabularies, vocabulary

import guard
from guard.kernels import fill_bitmasks
from guard.kernels._native import allow_tokens
from guard.kernels.bitmask import allocate_bitmask

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
EVERY_OPTION = [
    {"key_order": order, "whitespace": space, "spelling": spelling}
    for order in OPTIONS["key_order"]
    for space in OPTIONS["whitespace"]
    for spelling in OPTIONS["spelling"]
]
END = 256  #: The end-of-sequence token of byte_vocabulary().


def matcher_of(schema: Any, **options: Any) -> Any:
    """A matcher over bytes."""
    return guard.compile(schema, **options).matcher(byte_vocabulary())


# ---- masks, budgets, forced bytes ------------------------------------------------------------------------------------


@given(cases(), vocabularies())
def test_a_mask_allows_what_accept_takes_and_a_budget_what_leaves_room_for_an_end(
    case: Case, tokens: guard.Vocabulary
) -> None:
    """In every state of a random walk: mask, accept, distance, can_stop and budgets say the same."""
    within_limits(check_masks, case, tokens)


@pytest.mark.parametrize("options", EVERY_OPTION, ids=lambda options: "-".join(options.values()))
def test_masks_and_accept_agree_under_every_option(options: dict[str, str]) -> None:
    """One schema that all options bear on, under each of their combinations."""
    schema = {
        "type": "object",
        "properties": {"b": {"enum": ["a", 'é"']}, "a": {"type": "array", "items": {"type": "number"}}},
        "patternProperties": {"^x": {"type": "string", "maxLength": 2}},
        "required": ["a"],
    }
    for seed in range(8):
        check_masks(Case(schema, options, seed), vocabulary(seed), steps=20)


@given(cases())
def test_forced_bytes_are_all_that_may_follow_and_end_where_there_is_a_choice(case: Case) -> None:
    """Byte by byte: nothing else is allowed before each of them, and something else after the last."""
    within_limits(check_forced_bytes, case)


@given(cases(), st.binary(min_size=1, max_size=4) | st.just(b" \t\r\n"))
def test_forced_bytes_without_some_are_what_all_others_begin_with(case: Case, without: bytes) -> None:
    """Each first byte is tried: where one is left, it and what is forced behind it."""
    r = Random(case.seed)
    try:
        matcher = case.matcher(byte_vocabulary())
        for _ in range(4):
            going = [token for token in allowed(matcher, byte_vocabulary()).tolist() if token != END]
            kept = [byte for byte in going if byte not in without]
            expected = b""
            if len(kept) == 1 and not matcher.can_stop():
                assert matcher.accept(kept[0])
                expected = bytes(kept) + matcher.forced_bytes()
                matcher.rollback()
            assert matcher.forced_bytes(without) == expected[:4096]
            if not going:
                break
            assert matcher.accept(r.choice(going))
    except guard.SchemaError as error:
        if error.limit is None:
            raise


def test_forced_bytes_run_to_the_next_choice() -> None:
    """The text of a closed object: what is forced, with what a model chooses in between."""
    matcher = matcher_of(PERSON, whitespace="compact")
    assert (matcher.forced_bytes(), matcher.distance()) == (b'{"name":"', 20)
    assert matcher.accept_bytes(b'{"name":"')
    assert (matcher.forced_bytes(), matcher.distance()) == (b"", 11)
    assert matcher.accept_bytes(b'x"')
    assert (matcher.forced_bytes(), matcher.distance()) == (b',"age":', 10)
    assert matcher.accept_bytes(b',"age":0')
    assert (matcher.forced_bytes(), matcher.distance()) == (b"}", 2)
    assert matcher.accept_bytes(b"}")
    assert (matcher.forced_bytes(), matcher.distance(), matcher.can_stop()) == (b"", 1, True)


def test_forced_bytes_of_a_long_constant_come_in_parts() -> None:
    """At most 4,096 bytes a call, and all of them in the end."""
    text = "x" * 10_000
    matcher = matcher_of({"const": text}, whitespace="compact")
    assert matcher.distance() == len(text) + 3
    written = b""
    while forced := matcher.forced_bytes():
        assert len(forced) <= 4096
        assert matcher.accept_bytes(forced)
        written += forced
    assert written == f'"{text}"'.encode()
    assert matcher.can_stop()


# ---- the end ---------------------------------------------------------------------------------------------------------


def test_after_an_end_only_ends_are_allowed_and_nothing_is_left() -> None:
    """Several end-of-sequence tokens: each finishes, and after one there is nothing but ends."""
    tokens = guard.Vocabulary.from_bytes(
        [*(bytes([byte]) for byte in range(256)), b"</s>", b"", b"1"], eos=[256, 257], special=[258]
    )
    for end in (256, 257):
        matcher = guard.compile({"type": "integer"}).matcher(tokens)
        assert not matcher.accept(end)
        assert not matcher.accept(258)
        assert matcher.accept(ord("7"))
        assert matcher.accept(end)
        assert matcher.is_finished()
        assert (matcher.can_stop(), matcher.forced_bytes(), matcher.distance()) == (True, b"", 0)
        assert allowed(matcher, tokens).tolist() == [256, 257]
        assert not matcher.accept(ord("1"))
        assert not matcher.accept_bytes(b"1")
        matcher.rollback()
        assert not matcher.is_finished()
        assert matcher.accept(ord("1"))


@pytest.mark.parametrize("schema", [False, {"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 1}])
def test_a_schema_without_values_allows_nothing_and_says_so(schema: Any) -> None:
    """It compiles: distance() is -1, the mask is empty, and nothing is accepted."""
    matcher = matcher_of(schema)
    assert (matcher.distance(), matcher.can_stop(), matcher.forced_bytes()) == (-1, False, b"")
    assert not allowed(matcher, byte_vocabulary()).size
    assert not allowed(matcher, byte_vocabulary(), 100).size
    assert not any(matcher.accept(token) for token in range(257))


@pytest.mark.parametrize(
    "data", [b'"\xff', b'"\xc3"', b'"\xed\xa0\x80', b'"\xc0\x80', b'"\xf5', b'"\n', b'"\\ud800"', b'"\\x']
)
def test_bytes_that_are_no_text_are_never_accepted(data: bytes) -> None:
    """Broken UTF-8, surrogates, control characters and escapes that JSON has not."""
    assert not matcher_of({"type": "string"}, spelling="any").accept_bytes(data)


# ---- ways back -------------------------------------------------------------------------------------------------------


class Replayed(RuleBasedStateMachine):
    """Matchers that step, go back, fork and start over, each against a fresh one that only goes forward."""

    matchers = Bundle("matchers")

    @initialize(target=matchers, case=cases(), number=st.integers(0, 3))
    def start(self, case: Case, number: int) -> tuple[Any, list[int | bytes]]:
        """Compile a schema; a matcher is kept with the steps that it has taken."""
        self.vocabulary = vocabulary(number)
        try:
            self.compiled = case.compile()
            self.compiled.matcher(self.vocabulary).distance()
        except guard.SchemaError:  # a limit
            assume(False)
        self.live: list[tuple[Any, list[int | bytes]]] = []
        return self.keep(self.compiled.matcher(self.vocabulary), [])

    def keep(self, matcher: Any, steps: list[int | bytes]) -> tuple[Any, list[int | bytes]]:
        """Remember a matcher for the invariant."""
        self.live.append((matcher, steps))
        return self.live[-1]

    def replay(self, steps: list[int | bytes]) -> Any:
        """Take steps from the start."""
        fresh = self.compiled.matcher(self.vocabulary)
        for step in steps:
            assert fresh.accept_bytes(step) if isinstance(step, bytes) else fresh.accept(step)
        return fresh

    @rule(at=matchers, seed=st.integers(0, 2**32 - 1), count=st.integers(1, 6))
    def accept(self, at: tuple[Any, list[int | bytes]], seed: int, count: int) -> None:
        """Take tokens that the mask allows."""
        matcher, steps = at
        r = Random(seed)
        for _ in range(count):
            choice = allowed(matcher, self.vocabulary).tolist()
            if choice:
                steps.append(r.choice(choice))
                assert matcher.accept(steps[-1])

    @rule(at=matchers, token=st.integers(0, 400))
    def try_token(self, at: tuple[Any, list[int | bytes]], token: int) -> None:
        """Offer any token; a refusal changes nothing."""
        matcher, steps = at
        if matcher.accept(token):
            steps.append(token)

    @rule(at=matchers, data=st.sampled_from(MERGES) | st.binary(max_size=2) | st.sampled_from([b"1", b"{}", b"[]"]))
    def try_bytes(self, at: tuple[Any, list[int | bytes]], data: bytes) -> None:
        """Offer any bytes: all of them are one step, or nothing changes."""
        matcher, steps = at
        if matcher.accept_bytes(data):
            steps.append(data)

    @rule(at=matchers, portion=st.floats(0, 1))
    def rollback(self, at: tuple[Any, list[int | bytes]], portion: float) -> None:
        """Go back some steps; more than there are is an error that changes nothing."""
        matcher, steps = at
        with pytest.raises(ValueError, match="steps="):
            matcher.rollback(len(steps) + 1)
        count = round(portion * len(steps))
        matcher.rollback(count)
        del steps[len(steps) - count :]

    @rule(at=matchers)
    def reset(self, at: tuple[Any, list[int | bytes]]) -> None:
        """Start over."""
        matcher, steps = at
        matcher.reset()
        steps.clear()

    @rule(target=matchers, at=matchers)
    def copy(self, at: tuple[Any, list[int | bytes]]) -> tuple[Any, list[int | bytes]]:
        """Fork: from here both go their own ways."""
        matcher, steps = at
        return self.keep(matcher.copy(), list(steps))

    @invariant()
    def every_matcher_is_where_its_replay_is(self) -> None:
        """Masks, distance, end and forced bytes are those of a matcher that only went forward."""
        for matcher, steps in getattr(self, "live", [])[-3:]:
            fresh = self.replay(steps)
            assert self.seen(matcher) == self.seen(fresh), steps

    def seen(self, matcher: Any) -> tuple[Any, ...]:
        """All that a matcher says of its state."""
        try:
            mask = allowed(matcher, self.vocabulary).tolist()
        except guard.SchemaError as error:
            return error.pointer, error.limit
        return matcher.distance(), matcher.can_stop(), matcher.is_finished(), matcher.forced_bytes(), mask


TestReplayed = Replayed.TestCase
TestReplayed.settings = settings(max_examples=60, stateful_step_count=25)


def test_matchers_outlive_what_they_came_from() -> None:
    """A copy keeps engine, vocabulary and the states of its origin alive."""
    matcher = guard.compile(PERSON).matcher(
        guard.Vocabulary.from_bytes([bytes([b]) for b in range(256)] + [b""], eos=[256])
    )
    assert matcher.accept_bytes(b'{"name": "')
    copy = matcher.copy()
    del matcher
    assert copy.accept_bytes(b'x", "age": 1}')
    copy.rollback()
    assert copy.accept_bytes(b'y", "age": 2}')
    assert copy.can_stop()


# ---- arrays ----------------------------------------------------------------------------------------------------------


def test_masks_are_written_to_numpy_and_torch_and_to_one_row_alone() -> None:
    """The same bits in each kind of array; other rows stay as they are."""
    matcher = matcher_of({"enum": [1, 23, "x"]}, whitespace="compact")
    expected = [ord('"'), ord("1"), ord("2")]
    flat = np.full(9, -1, dtype=np.int32)
    matcher.fill_bitmask(flat)
    rows = np.full((3, 9), -1, dtype=np.int32)
    matcher.fill_bitmask(rows, 1)
    tensor = torch.full((3, 9), -1, dtype=torch.int32)
    matcher.fill_bitmask(tensor, row=2)
    assert bits(flat).tolist() == bits(rows[1]).tolist() == bits(tensor[2].numpy()).tolist() == expected
    assert (rows[[0, 2]] == -1).all()
    assert (tensor[:2] == -1).all()


@given(cases(), vocabularies(), st.integers(0, 4))
def test_bits_beyond_the_vocabulary_are_0_in_rows_of_any_width(
    case: Case, tokens: guard.Vocabulary, extra: int
) -> None:
    """Padded logits come with masks wider than the vocabulary."""
    matcher = case.matcher(tokens)
    words = -(-tokens.size // 32)
    wide = np.full((2, words + extra), -1, dtype=np.int32)
    matcher.fill_bitmask(wide, 1)
    assert bits(wide[1]).tolist() == allowed(matcher, tokens).tolist()
    assert (wide[0] == -1).all()


@given(st.lists(cases(), min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_a_batch_is_filled_as_its_rows_are(batch: list[Case], r: Random) -> None:
    """Several schemas and vocabularies in one batch, rows in any order, some with budgets."""
    sizes = [vocabulary(r.randrange(4)) for _ in batch]
    matchers = [case.matcher(tokens) for case, tokens in zip(batch, sizes, strict=True)]
    for matcher, tokens in zip(matchers, sizes, strict=True):
        for _ in range(r.randrange(4)):
            choice = allowed(matcher, tokens).tolist()
            assert not choice or matcher.accept(r.choice(choice))
    rows = r.sample(range(len(batch) + 2), len(batch))
    remaining = [r.choice([None, matcher.distance() + 1, 9]) for matcher in matchers]
    width = max(-(-tokens.size // 32) for tokens in sizes) + r.randrange(2)
    expected = np.full((len(batch) + 2, width), -1, dtype=np.int32)
    for matcher, row, left in zip(matchers, rows, remaining, strict=True):
        matcher.fill_bitmask(expected, row, left)
    filled = np.full_like(expected, -1)
    fill_bitmasks(matchers, filled, rows, remaining)
    np.testing.assert_array_equal(filled, expected)
    fresh = [case.matcher(tokens) for case, tokens in zip(batch, sizes, strict=True)]
    in_order = np.full_like(expected, -1)
    fill_bitmasks(fresh, in_order)
    for row, (matcher, tokens) in enumerate(zip(fresh, sizes, strict=True)):
        assert bits(in_order[row]).tolist() == allowed(matcher, tokens).tolist()


# ---- arrays ----------------------------------------------------------------------------------------------------------


class Subclass(np.ndarray[Any, Any]):
    """Not NumPy's own type."""


@pytest.mark.parametrize(
    "rows_of",
    [
        lambda memory: memory[:27].reshape(3, 9),
        lambda memory: memory.view(np.uint32)[:27].reshape(3, 9),
        lambda memory: memory[:36].reshape(3, 12)[:, 1:11],
        lambda memory: memory[:54].reshape(6, 9)[::2],
        lambda memory: memory[:27].reshape(3, 9)[::-1],
        lambda memory: memory[:27].reshape(3, 9).view(Subclass),
        lambda memory: memory.view(np.uint8)[1:109].view(np.int32).reshape(3, 9),
        lambda memory: torch.from_numpy(memory)[:27].reshape(3, 9),
        lambda memory: torch.from_numpy(memory)[:54].reshape(6, 9)[::2],
    ],
    ids=["rows", "unsigned", "within", "every other", "backwards", "subclass", "unaligned", "torch", "strided torch"],
)
def test_rows_of_any_array_are_filled_alike(rows_of: Callable[[np.ndarray[Any, Any]], Any]) -> None:
    """The words beyond the vocabulary are zeros; other rows, and the memory around the array, stay as they are."""
    matcher = matcher_of({"type": "integer"})
    expected = np.zeros((1, 10), dtype=np.int32)
    matcher.fill_bitmask(expected)
    memory = np.full(60, -1, dtype=np.int32)
    rows = rows_of(memory)
    matcher.fill_bitmask(rows, 1)
    filled = np.asarray(rows).view(np.ndarray).astype(np.int64)
    np.testing.assert_array_equal(filled[1].astype(np.int32), expected[0, : filled.shape[1]])
    rows[1] = rows[0]
    assert (memory == -1).all()


@pytest.mark.parametrize("reason", ["read-only", "of the other byte order"])
def test_an_array_that_may_not_be_written_is_refused(reason: str) -> None:
    """Nothing is written."""
    array = np.zeros((1, 9), dtype=np.int32)
    if reason == "read-only":
        array.flags.writeable = False
    else:
        array = array.astype(array.dtype.newbyteorder())
    with pytest.raises(TypeError, match="an int32 array of NumPy or torch on the CPU"):
        matcher_of({"type": "integer"}).fill_bitmask(array)
    assert not array.any()


# ---- bad arguments ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((np.zeros((1, 9), dtype=np.int64),), TypeError, "bitmask must be int32"),
        ((torch.zeros((1, 9)),), TypeError, "bitmask must be int32"),
        ((np.zeros((1, 8), dtype=np.int32),), ValueError, "a row of bitmask has 8 words; the vocabulary needs 9"),
        ((np.zeros((1, 1, 9), dtype=np.int32),), ValueError, "one or two dimensions"),
        ((np.zeros((1, 18), dtype=np.int32)[:, ::2],), ValueError, "the rows of bitmask must be contiguous"),
        ((np.zeros((2, 9), dtype=np.int32), 2), IndexError, "row=2 is not a row of the bitmask"),
        ((np.zeros((2, 9), dtype=np.int32), -1), IndexError, "row=-1 is not a row of the bitmask"),
        ((np.zeros((2, 9), dtype=np.int32), 0, -1), ValueError, "remaining=-1 must be at least 0"),
        (([0] * 9,), TypeError, r"takes .*an int32 array of NumPy or torch on the CPU.*, not \(.*list\)"),
    ],
)
def test_a_bitmask_that_cannot_be_filled_is_an_error_that_says_why(
    arguments: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    """Wrong types, shapes, rows and budgets; alone and in a batch."""
    matcher = matcher_of({"type": "integer"})
    with pytest.raises(error, match=message):
        matcher.fill_bitmask(*arguments)
    bitmask, *more = arguments
    with pytest.raises(error, match=message):
        fill_bitmasks([matcher], bitmask, *([argument] for argument in more))
    assert matcher.distance() == 2


@pytest.mark.parametrize(
    ("method", "arguments", "message"),
    [
        (
            "fill_bitmask",
            (None,),
            "takes bitmask: an int32 array of NumPy or torch on the CPU, row: int = 0, .*not .None.",
        ),
        ("fill_bitmask", (), r", not \(\)"),
        ("accept", (None,), r"takes one token: int, not \(None\)"),
        ("accept", (1.5,), r"takes one token: int, not \(float\)"),
        ("accept", (1, 2), r"takes one token: int, not \(int, int\)"),
        ("accept_bytes", ("1",), r"takes data: bytes, not \(str\)"),
        ("rollback", (None,), r"takes steps: int = 1, not \(None\)"),
    ],
)
def test_arguments_of_another_type_are_refused_in_one_line(
    method: str, arguments: tuple[Any, ...], message: str
) -> None:
    matcher = matcher_of({"type": "integer"})
    with pytest.raises(TypeError, match=rf"^{method}\(\) {message if message[0] != ',' else '.*' + message}$"):
        getattr(matcher, method)(*arguments)
    assert matcher.distance() == 2


def test_arguments_that_convert_are_taken() -> None:
    matcher = matcher_of({"type": "integer"})
    row = np.zeros((2, 9), dtype=np.int32)
    matcher.fill_bitmask(bitmask=row, row=np.int64(1), remaining=np.int32(5))
    assert row[1].any()
    matcher.rollback(np.int64(0))
    with pytest.raises(TypeError, match=r"^fill_bitmasks\(\) takes matchers: .*, not \(list, bitmask=None\)$"):
        fill_bitmasks([matcher], bitmask=None)


def test_a_bitmask_that_may_not_be_written_is_left_alone() -> None:
    """A read-only array is refused, not written to."""
    row = np.zeros((1, 9), dtype=np.int32)
    row.flags.writeable = False
    with pytest.raises((TypeError, ValueError)):
        matcher_of({"type": "integer"}).fill_bitmask(row)
    assert not row.any()


def test_batches_need_as_many_rows_and_budgets_as_matchers() -> None:
    """Lists of another length are refused before anything is written."""
    matcher = matcher_of({"type": "integer"})
    rows = allocate_bitmask(2, 257)
    with pytest.raises(ValueError, match="rows must have an item for each matcher"):
        fill_bitmasks([matcher], rows, [0, 1])
    with pytest.raises(ValueError, match="remaining must have an item for each matcher"):
        fill_bitmasks([matcher], rows, [0], [])
    with pytest.raises(IndexError, match="row=1 is not a row"):
        fill_bitmasks([matcher, matcher], rows[:1])
    assert not rows.any()


@given(st.data())
def test_a_row_may_be_left_one_token(data: st.DataObject) -> None:
    """Of a bitmask of any width, in any rows, twice in one too; all others stay."""
    count, words = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 9))
    rows = data.draw(st.lists(st.integers(0, count - 1), max_size=6))
    tokens = [data.draw(st.integers(0, 32 * words - 1)) for _ in rows]
    bitmask = np.full((count, words), 7, dtype=np.int32)
    expected = bitmask.copy()
    for row, token in zip(rows, tokens, strict=True):
        expected[row] = 0
        expected[row].view(np.uint32)[token // 32] = 1 << token % 32
    allow_tokens(bitmask, rows, tokens)
    np.testing.assert_array_equal(bitmask, expected)


@pytest.mark.parametrize(
    ("rows", "tokens", "error", "message"),
    [
        ([0, 2], [1, 1], IndexError, "row=2 is not a row of the bitmask"),
        ([0, 1], [1, 64], IndexError, "token 64 is not in the bitmask"),
        ([0, 1], [1, -1], IndexError, "token -1 is not in the bitmask"),
        ([0], [1, 2], ValueError, "tokens must have an item for each row"),
        ([0], ["a"], TypeError, r"^allow_tokens\(\) takes bitmask: "),
    ],
)
def test_a_token_or_row_that_is_not_there_is_an_error_and_nothing_is_written(
    rows: list[int], tokens: list[Any], error: type[Exception], message: str
) -> None:
    bitmask = np.full((2, 2), 7, dtype=np.int32)
    with pytest.raises(error, match=message):
        allow_tokens(bitmask, rows, tokens)
    assert (bitmask == 7).all()


@pytest.mark.parametrize("steps", [-1, 1, 2**40])
def test_rolling_back_what_was_not_accepted_is_an_error(steps: int) -> None:
    """The message names both numbers."""
    matcher = matcher_of({"type": "integer"})
    with pytest.raises(ValueError, match=f"steps={steps} must be at least 0 and at most 0, the steps accepted"):
        matcher.rollback(steps)


@pytest.mark.parametrize("token", [-1, 257, 2**31 - 1])
def test_a_token_that_is_not_in_the_vocabulary_is_not_accepted(token: int) -> None:
    """It is False, as for any other token that is not allowed."""
    assert not matcher_of(True).accept(token)


def test_tokens_are_ints_and_bytes_are_bytes() -> None:
    """Anything else is a TypeError."""
    matcher = matcher_of(True)
    for call in (lambda: matcher.accept(b"1"), lambda: matcher.accept(49.0), lambda: matcher.accept_bytes("1")):
        with pytest.raises(TypeError):
            call()


def test_a_limit_met_while_decoding_is_a_schema_error_and_the_matcher_stays_as_it_was() -> None:
    """The error names the limit; the state before it still answers."""
    schema: Any = True
    for number in range(100):
        schema = {"properties": {"a": schema}, "minProperties": number % 3}
    matcher = matcher_of(schema, whitespace="compact", limits=guard.Limits(states=60))
    assert matcher.accept_bytes(b'{"a":')
    before = matcher.distance(), allowed(matcher, byte_vocabulary()).tolist()
    with pytest.raises(guard.SchemaError) as met:
        matcher.accept_bytes(b'{"a":' * 90)
    assert met.value.limit == "states"
    assert (matcher.distance(), allowed(matcher, byte_vocabulary()).tolist()) == before
    matcher.rollback()
    assert matcher.accept_bytes(b"{}")
