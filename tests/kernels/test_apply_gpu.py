"""The Triton kernel against its plain torch twin: under Triton's interpreter, and on a GPU where there is one."""

import importlib

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guard.kernels.gpu import apply

DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


@pytest.fixture(scope="module", params=DEVICES)
def device(request):
    """Where the kernel runs; on the CPU it is loaded anew, under the interpreter."""
    if request.param == "cuda":
        yield request.param
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        importlib.reload(apply)
        yield request.param
    importlib.reload(apply)


@st.composite
def shapes(draw):
    """Rows, width, words: around the sizes of words and of the kernel's blocks."""
    edge = draw(st.sampled_from([0, 1, 31, 32, 33, apply.BLOCK - 1, apply.BLOCK, apply.BLOCK + 1, 2 * apply.BLOCK + 7]))
    width = max(0, edge + draw(st.integers(-2, 2)))
    return draw(st.integers(0, 3)), width, max(0, -(-width // 32) + draw(st.integers(-2, 2)))


@given(
    shape=shapes(),
    dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
    step=st.integers(1, 3),
    transposed=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_the_kernel_agrees_with_its_twin_at_odd_widths_and_strides(device, shape, dtype, step, transposed, seed):
    rows, width, words = shape
    generator = torch.Generator().manual_seed(seed)
    columns = width * step + 5
    buffer = torch.randn(rows, columns, generator=generator).to(dtype).to(device)
    if transposed:
        buffer = buffer.T.contiguous().T
    bitmask = torch.randint(-(2**31), 2**31, (rows, words), generator=generator).to(torch.int32).to(device)
    bitmask[torch.rand(rows, words, generator=generator).to(device) < 0.3] = -1
    expected = buffer.clone()
    apply.apply_bitmask_torch_(expected[:, 2 : 2 + width * step : step], bitmask)
    apply.apply_bitmask_(buffer[:, 2 : 2 + width * step : step], bitmask)
    assert torch.equal(buffer, expected)


@given(width=st.integers(0, 100), words=st.integers(0, 4), seed=st.integers(0, 2**16))
def test_the_twin_says_what_the_layout_says(width, words, seed):
    bitmask = torch.randint(-(2**31), 2**31, (1, words), generator=torch.Generator().manual_seed(seed)).to(torch.int32)
    logits = torch.zeros(1, width)
    apply.apply_bitmask_torch_(logits, bitmask)
    allowed = [token // 32 < words and bool(int(bitmask[0, token // 32]) >> (token % 32) & 1) for token in range(width)]
    assert logits.tolist() == [[0.0 if is_allowed else -torch.inf for is_allowed in allowed]]


def test_one_row_may_come_without_its_dimension(device):
    logits = torch.zeros(40, device=device)
    apply.apply_bitmask_(logits, torch.tensor([5, 1], dtype=torch.int32, device=device))
    assert (logits == 0).nonzero().flatten().tolist() == [0, 2, 32]


@pytest.mark.parametrize(
    ("logits", "bitmask", "message"),
    [
        (torch.zeros(2, 4), torch.zeros(1, 1, dtype=torch.int32), "must have equally many rows"),
        (torch.zeros(4), torch.zeros(1, 1, dtype=torch.int32), "must have equally many rows"),
        (torch.zeros(1, 4), torch.zeros(1, 1), "a bitmask of torch.float32 int32"),
        (torch.zeros(1, 4, dtype=torch.int32), torch.zeros(1, 1, dtype=torch.int32), "logits of torch.int32 must be"),
        (torch.zeros(1, 4), torch.zeros(1, 1, dtype=torch.int32, device="meta"), "must be on the same device"),
    ],
)
def test_what_cannot_be_masked_is_a_value_error_that_shows_it(logits, bitmask, message):
    with pytest.raises(ValueError, match=message):
        apply.apply_bitmask_(logits, bitmask)
