"""apply_bitmask_ on a CPU: the C++ kernel against a NumPy twin, over types, strides, paddings and ways in."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guard.kernels.bitmask import allocate_bitmask, apply_bitmask_

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def apply_numpy(logits, bitmask):
    """Return what the logits should become, one token at a time."""
    expected = logits.copy()
    for row in range(logits.shape[0]):
        for token in range(logits.shape[1]):
            word = int(bitmask[row, token // 32]) if token // 32 < bitmask.shape[1] else 0
            if not word >> (token % 32) & 1:
                expected[row, token] = -np.inf
    return expected


@dataclass
class Case:
    """Logits somewhere inside a larger buffer, and a mask for them."""

    dtype: torch.dtype
    rows: int
    width: int
    offset: int
    step: int
    padding: int
    mask: np.ndarray

    def buffer(self):
        """Finite values, the same for the same case; padding around the rows tells of writes out of bounds."""
        columns = self.offset + self.width * self.step + self.padding
        values = np.random.default_rng(7).standard_normal((self.rows, columns))
        return torch.from_numpy(values).to(self.dtype)

    def view(self, buffer):
        """The logits in a buffer."""
        return buffer[:, self.offset : self.offset + self.width * self.step : self.step]


@st.composite
def cases(draw, dtypes=tuple(DTYPES)):
    """Odd widths, masks narrower and wider than the logits, and words that are full, empty and mixed."""
    rows, width = draw(st.integers(0, 3)), draw(st.integers(0, 140))
    word = st.sampled_from([0, -1]) | st.integers(-(2**31), 2**31 - 1)
    words = draw(st.integers(0, 6))
    flat = draw(st.lists(word, min_size=rows * words, max_size=rows * words))
    return Case(
        dtype=draw(st.sampled_from(dtypes)),
        rows=rows,
        width=width,
        offset=draw(st.integers(0, 9)),
        step=draw(st.sampled_from([1, 1, 2, 3])),
        padding=draw(st.integers(0, 9)),
        mask=np.array(flat, dtype=np.int32).reshape(rows, words),
    )


def expected_buffer(case):
    """The whole buffer as it should become, in double precision."""
    expected = case.buffer().double().numpy()
    view = case.view(expected)
    view[...] = apply_numpy(view, case.mask)
    return expected


@given(cases())
def test_the_kernel_agrees_with_numpy_and_writes_nowhere_else(case):
    buffer = case.buffer()
    apply_bitmask_(case.view(buffer), case.mask)
    np.testing.assert_array_equal(buffer.double().numpy(), expected_buffer(case))


@given(cases(dtypes=(torch.float16, torch.float32, torch.float64)))
def test_numpy_arrays_and_torch_masks_mean_the_same(case):
    buffer = case.buffer().numpy()
    apply_bitmask_(case.view(buffer), torch.from_numpy(case.mask))
    np.testing.assert_array_equal(buffer.astype(np.float64), expected_buffer(case))


@given(cases(dtypes=(torch.float16, torch.float32, torch.float64)))
def test_rows_and_tokens_may_run_backwards(case):
    backwards = case.buffer().numpy()[::-1, ::-1].copy()[::-1, ::-1]
    apply_bitmask_(case.view(backwards), case.mask)
    np.testing.assert_array_equal(backwards.astype(np.float64), expected_buffer(case))


@given(cases())
def test_masks_may_be_transposed_or_rows_of_something_larger(case):
    buffer = case.buffer()
    wide = np.full((2 * case.rows, case.mask.shape[1] + 3), -1, dtype=np.int32)
    wide[::2, 1:-2] = case.mask
    apply_bitmask_(case.view(buffer), wide[::2, 1:-2])
    again = case.buffer()
    apply_bitmask_(case.view(again), np.asfortranarray(case.mask))
    np.testing.assert_array_equal(buffer.double().numpy(), expected_buffer(case))
    np.testing.assert_array_equal(again.double().numpy(), expected_buffer(case))


@given(cases())
def test_one_row_may_come_without_its_dimension(case):
    for row in range(case.rows):
        buffer = case.buffer()
        apply_bitmask_(case.view(buffer)[row], case.mask[row])
        np.testing.assert_array_equal(buffer[row].double().numpy(), expected_buffer(case)[row])


@given(st.sampled_from(DTYPES), st.integers(0, 2**32 - 1))
def test_infinities_and_nans_of_allowed_tokens_stay_as_they_are(dtype, word):
    values = torch.tensor([torch.inf, -torch.inf, torch.nan, 0.0] * 8, dtype=dtype)
    logits = values.clone()
    apply_bitmask_(logits, np.array([word], dtype=np.uint32).view(np.int32))
    allowed = torch.tensor([bool(word >> token & 1) for token in range(32)])
    torch.testing.assert_close(logits, torch.where(allowed, values, -torch.inf), equal_nan=True, rtol=0, atol=0)


def test_logits_that_need_a_gradient_are_masked_too():
    logits = torch.zeros(1, 3, requires_grad=True)
    apply_bitmask_(logits, np.array([[0b101]], dtype=np.int32))
    assert logits.tolist() == [[0.0, -torch.inf, 0.0]]


def test_a_new_mask_allows_nothing_and_has_a_word_for_every_32_tokens():
    assert allocate_bitmask(2, 33).tolist() == [[0, 0], [0, 0]]
    assert allocate_bitmask(0, 64).shape == (0, 2)
    with pytest.raises(ValueError, match=r"rows=-1 and size=3 must be at least 0"):
        allocate_bitmask(-1, 3)


@pytest.mark.parametrize(
    ("logits", "bitmask", "message"),
    [
        (np.zeros((1, 4), dtype=np.int64), np.zeros((1, 1), dtype=np.int32), "logits of int64 must be of a float type"),
        (torch.zeros(1, 4, dtype=torch.int32), np.zeros((1, 1), dtype=np.int32), "logits of torch.int32 must be"),
        (np.zeros((1, 4)), np.zeros((1, 1), dtype=np.int64), "a bitmask of int64 must be int32"),
        (
            np.zeros((2, 4)),
            np.zeros((1, 1), dtype=np.int32),
            r"shape \(2, 4\) and a bitmask of shape \(1, 1\) must have",
        ),
        (np.zeros(4), np.zeros((1, 1), dtype=np.int32), r"shape \(4,\) and a bitmask of shape \(1, 1\) must have"),
        (np.zeros((1, 1, 4)), np.zeros((1, 1, 1), dtype=np.int32), "must have equally many rows"),
        (np.broadcast_to(np.zeros(4), (2, 4)), np.zeros((2, 1), dtype=np.int32), "logits must be writable"),
        ([[0.0]], np.zeros((1, 1), dtype=np.int32), "must be a NumPy array or a torch tensor, not list"),
    ],
)
def test_what_cannot_be_masked_is_a_value_error_that_shows_it(logits, bitmask, message):
    with pytest.raises(ValueError, match=message):
        apply_bitmask_(logits, bitmask)
