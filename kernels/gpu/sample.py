"""The next token of each row, drawn from masked logits on a GPU: mask, temperature, top-k, top-p, seeded sampling.

`sample` is the public wrapper over three Triton kernels, `sample_torch` the plain twin: the judge in the kernels' test,
and what runs on devices that Triton does not serve. Logits are read and never written.

What a row's token is, exactly, for logits x of the allowed tokens in fp32 and a temperature T:

- T below `LEAST_TEMPERATURE`: the greatest x; of equal ones the lowest token.
- top-k, k > 0: kept is every x that is at least the k-th greatest. Tokens that tie with it are kept too.
- top-p, p < 1: each x that is kept weighs floor(2**30 * exp((x - greatest) / T)). With F(v) the weight of all x >= v,
  the floor is the greatest v with F(v) >= p * F(-inf): kept are the fewest greatest tokens that hold p of the weight,
  and all that tie with the last of them. Weights are integers, so that no order of summation matters.
- Then the greatest x / T - log(E) among the kept, with E exponentially distributed: token t is drawn with probability
  proportional to exp(x / T) (the Gumbel-max trick; Gumbel 1954, Maddison, Tarlow and Minka 2014).
- E = -log(1 - u), and u = (r + 1/2) / 2**31, at most 1 - 2**-24, where r is the upper 31 bits of output t % 4 of
  Philox4x32-10 (Salmon et al. 2011) under the row's seed as key and the counter (t // 4, step, 0, 0). So a token
  depends on (seed, step, logits, mask) and on nothing else: neither on the batch nor on how the kernels cut a row.
  Devices round exp and log differently: where two scores are that close, they may differ.

A row with no allowed token gets NOTHING. One where an allowed logit is NaN or +inf gets NOT_A_NUMBER. Where every
allowed logit is -inf, the model rules out what the mask allows, and the lowest allowed token is taken.
"""

from __future__ import annotations

import math

import torch

from guard.kernels.gpu.apply import is_interpreted

try:
    import triton
    import triton.language as tl
except ImportError:
    triton = None

NOTHING = -1  #: Instead of a token: the mask allows none.
NOT_A_NUMBER = -2  #: Instead of a token: an allowed logit is NaN or +inf.
LEAST_TEMPERATURE = 1e-3  #: Below it sampling is greedy: fp32 can't tell what it would do.
BLOCK = 1024  #: Tokens a program of the draw.
SEARCH_BLOCK = 1024  #: Tokens a turn of the search, 16 sums each: with SEARCH_WARPS 64 registers a thread.
SEARCH_WARPS = 16

_NONE = 2**31 - 1  # no token: past all of them
_SHARE = 2**30  # of the greatest logit: the weight of 2**33 tokens fits in 63 bits

if triton is not None:

    @triton.jit  # type: ignore[untyped-decorator, unused-ignore]  # Triton has no types, or is not there
    def _load(logits, mask, token, width, masked, stride_t, stride_w):  # type: ignore[no-untyped-def]
        """Return the logits of some tokens of a row as fp32, and which of them are allowed."""
        words = tl.load(mask + token // 32 * stride_w, mask=token < masked, other=0)
        allowed = ((words >> (token % 32).to(tl.int32)) & 1 == 1) & (token < width)
        return tl.load(logits + token * stride_t, mask=allowed, other=float("-inf")).to(tl.float32), allowed

    @triton.jit  # type: ignore[untyped-decorator, unused-ignore]
    def _key(x):  # type: ignore[no-untyped-def]
        """Return int32 in the order of the floats; both zeros are one."""
        bits = tl.where(x == 0, 0.0, x).to(tl.int32, bitcast=True)
        return bits ^ ((bits >> 31) & 0x7FFFFFFF)

    @triton.jit  # type: ignore[untyped-decorator, unused-ignore]
    def _weight(x, best, temperature, SHARE: tl.constexpr):  # type: ignore[no-untyped-def]
        """Return floor(SHARE * exp((x - best) / temperature)); of what is no number 0. Requires a finite best."""
        return (tl.exp((tl.where(x < float("inf"), x, float("-inf")) - best) / temperature) * SHARE).to(tl.int64)

    @triton.jit  # type: ignore[untyped-decorator, unused-ignore]
    def _search(  # type: ignore[no-untyped-def]
        logits, mask, width, masked, stride_t, stride_w, best, temperature, floor, target,
        WEIGHED: tl.constexpr, PASSES: tl.constexpr, SHARE: tl.constexpr, BLOCK: tl.constexpr,
    ):  # fmt: skip
        """Return the greatest key v such that the tokens of keys >= max(v, floor) count, or weigh, at least `target`.

        Four bits a pass, from the highest: of 16 candidates the greatest that reaches the target. The sums of a pass
        meet only at its end, so that its turns need not wait for each other."""
        found = tl.full([], 0, tl.int64)  # above the least key
        for turn in range(PASSES):
            shift = 28 - 4 * turn
            candidates = (found + (tl.arange(0, 16).to(tl.int64) << shift) - 2147483648).to(tl.int32)  # [16]
            sums = tl.full([BLOCK, 16], 0, tl.int64 if WEIGHED else tl.int32)
            for start in range(0, width, BLOCK):
                token = start + tl.arange(0, BLOCK).to(tl.int64)
                x, allowed = _load(logits, mask, token, width, masked, stride_t, stride_w)
                key = _key(x)
                weight = _weight(x, best, temperature, SHARE) if WEIGHED else tl.full([BLOCK], 1, tl.int32)
                weight = tl.where(allowed & (key >= floor), weight, 0)
                sums += tl.where(key[:, None] >= candidates[None, :], weight[:, None], 0)
            reached = tl.sum((tl.sum(sums, axis=0) >= target).to(tl.int64), axis=0)  # of the 16, the first ones
            found += tl.where(reached > 0, reached - 1, 0) << shift
        return (found - 2147483648).to(tl.int32)

    @triton.jit  # type: ignore[untyped-decorator, unused-ignore]
    def _find_floor(  # type: ignore[no-untyped-def]
        logits, masks, at, temperatures, top_k, top_p, floors, width, masked,
        stride_l, stride_t, stride_m, stride_w,
        PASSES: tl.constexpr, SHARE: tl.constexpr, LEAST: tl.constexpr, BLOCK: tl.constexpr,
    ):  # fmt: skip
        """In logits: float[rows, width]; masks: int32[any, masked / 32]; at: int32[rows], a row's mask; temperatures,
        top_p: float32[rows]; top_k: int32[rows]; out floors: int32[rows]. Strides in elements, row and column.
        semantics: floors[r] is the least _key() that top-k and top-p keep; -2**31 where neither applies.
        grid: (rows,)."""
        row = tl.program_id(0).to(tl.int64)
        logits += row * stride_l
        mask = masks + tl.load(at + row).to(tl.int64) * stride_m
        temperature, k, p = tl.load(temperatures + row), tl.load(top_k + row), tl.load(top_p + row)
        floor = tl.full([], -2147483648, tl.int32)
        if temperature >= LEAST:
            if k > 0:
                floor = _search(
                    logits, mask, width, masked, stride_t, stride_w, 0.0, temperature, floor, k,
                    False, PASSES, SHARE, BLOCK,
                )  # fmt: skip
            if p < 1:
                best = tl.full([], float("-inf"), tl.float32)
                for start in range(0, width, BLOCK):
                    token = start + tl.arange(0, BLOCK).to(tl.int64)
                    x, _ = _load(logits, mask, token, width, masked, stride_t, stride_w)
                    best = tl.maximum(best, tl.max(tl.where(x < float("inf"), x, float("-inf")), axis=0))
                best = tl.where(best > float("-inf"), best, 0.0)
                total = tl.full([], 0, tl.int64)
                for start in range(0, width, BLOCK):
                    token = start + tl.arange(0, BLOCK).to(tl.int64)
                    x, allowed = _load(logits, mask, token, width, masked, stride_t, stride_w)
                    weight = _weight(x, best, temperature, SHARE)
                    total += tl.sum(tl.where(allowed & (_key(x) >= floor), weight, 0), axis=0)
                target = tl.ceil(p.to(tl.float64) * total.to(tl.float64)).to(tl.int64)
                target = tl.where(target > 1, target, 1)
                floor = _search(
                    logits, mask, width, masked, stride_t, stride_w, best, temperature, floor, target,
                    True, PASSES, SHARE, BLOCK,
                )  # fmt: skip
        tl.store(floors + row, floor)

    @triton.jit  # type: ignore[untyped-decorator, unused-ignore]
    def _philox(seed, c0, c1):  # type: ignore[no-untyped-def]
        """Return the four outputs, uint32, of Philox4x32-10 for a key of 64 bits and the counter (c0, c1, 0, 0)."""
        k0, k1 = (seed & 0xFFFFFFFF).to(tl.uint32), ((seed >> 32) & 0xFFFFFFFF).to(tl.uint32)
        c0, c1 = c0.to(tl.uint32), c0.to(tl.uint32) * 0 + c1.to(tl.uint32)
        c2, c3 = c0 * 0, c0 * 0
        a, b = tl.full([], 0xD2511F53, tl.uint32), tl.full([], 0xCD9E8D57, tl.uint32)
        for turn in tl.static_range(10):
            if turn > 0:
                k0 = tl.add(k0, tl.full([], 0x9E3779B9, tl.uint32), sanitize_overflow=False)
                k1 = tl.add(k1, tl.full([], 0xBB67AE85, tl.uint32), sanitize_overflow=False)
            high, low = tl.umulhi(b, c2), tl.mul(b, c2, sanitize_overflow=False)
            c2 = tl.umulhi(a, c0) ^ c3 ^ k1
            c3 = tl.mul(a, c0, sanitize_overflow=False)
            c0, c1 = high ^ c1 ^ k0, low
        return c0, c1, c2, c3

    @triton.jit  # type: ignore[untyped-decorator, unused-ignore]
    def _draw(  # type: ignore[no-untyped-def]
        logits, masks, at, temperatures, seeds, steps, floors, scores, tokens, width, masked,
        stride_l, stride_t, stride_m, stride_w, blocks,
        NONE: tl.constexpr, FAULT: tl.constexpr, LEAST: tl.constexpr, BLOCK: tl.constexpr,
    ):  # fmt: skip
        """In as in _find_floor, and seeds: int64[rows]; steps: int32[rows]; floors: int32[rows].
        Out scores: float32[rows, blocks]; tokens: int32[rows, blocks].
        semantics: the greatest score of a block and its lowest token, NONE where nothing is kept; a logit that is not a
        number beats all scores.  grid: (rows, blocks)."""
        row, block = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
        token = block * BLOCK + tl.arange(0, BLOCK)  # [BLOCK]
        mask = masks + tl.load(at + row).to(tl.int64) * stride_m
        x, allowed = _load(logits + row * stride_l, mask, token, width, masked, stride_t, stride_w)
        temperature = tl.load(temperatures + row)
        score = x
        if temperature >= LEAST:
            four = block * (BLOCK // 4) + tl.arange(0, BLOCK // 4)  # [BLOCK / 4]
            r0, r1, r2, r3 = _philox(tl.load(seeds + row), four, tl.load(steps + row))
            bits = tl.reshape(tl.join(tl.join(r0, r2), tl.join(r1, r3)), [BLOCK])  # output t % 4 for token t
            u = tl.minimum(((bits >> 1).to(tl.float32) + 0.5) * 4.656612873077393e-10, 0.9999999403953552)
            series = u * (1 + u * (0.5 + u * (0.3333333432674408 + u * 0.25)))  # where 1 - u would lose u
            score = tl.div_rn(x, temperature) - tl.log(tl.where(u < 0.015625, series, -tl.log(1 - u)))
        kept = allowed & (_key(x) >= tl.load(floors + row))
        best = tl.max(tl.where(kept, score, float("-inf")), axis=0)
        first = tl.min(tl.where(kept & (score == best), token.to(tl.int32), NONE), axis=0)
        fault = tl.max((allowed & ((x != x) | (x == float("inf")))).to(tl.int32), axis=0) == 1
        tl.store(scores + row * blocks + block, tl.where(fault, float("inf"), best))
        tl.store(tokens + row * blocks + block, tl.where(fault, FAULT, first))

    @triton.jit  # type: ignore[untyped-decorator, unused-ignore]
    def _pick(  # type: ignore[no-untyped-def]
        scores, tokens, out, blocks, NONE: tl.constexpr, NOTHING: tl.constexpr, WIDTH: tl.constexpr
    ):
        """In scores, tokens: float32, int32[rows, blocks]; out: int32[rows].
        semantics: the lowest token of the greatest score; NOTHING where there is none.  grid: (rows,)."""
        row, block = tl.program_id(0).to(tl.int64), tl.arange(0, WIDTH)
        score = tl.load(scores + row * blocks + block, mask=block < blocks, other=float("-inf"))
        token = tl.load(tokens + row * blocks + block, mask=block < blocks, other=NONE)
        first = tl.min(tl.where(score == tl.max(score, axis=0), token, NONE), axis=0)
        tl.store(out + row, tl.where(first == NONE, NOTHING, first))


def sample(
    logits: torch.Tensor,
    bitmask: torch.Tensor,
    temperature: torch.Tensor,
    top_k: torch.Tensor,
    top_p: torch.Tensor,
    seed: torch.Tensor,
    step: torch.Tensor,
    *,
    at: torch.Tensor | None = None,
) -> torch.Tensor:
    """Draw a token for each row, as the module says: int32[rows], NOTHING and NOT_A_NUMBER among them.

    `logits`: float[rows, width] of 16, 32 or 64 bits, any strides, read as fp32; `bitmask`: int32[any, words], of which
    row r reads row `at[r]` (int32[rows]; None: r itself); `temperature`, `top_p`: float32[rows]; `top_k`: int32[rows],
    0: all; `seed`: int64[rows]; `step`: int32[rows]. All on one device; nothing is synchronised, and it can be captured
    in a CUDA graph. A row's allowed logits are read once, 8 times more (4 in bf16) for top-k, and 10 for top-p.
    """
    at = _check(logits, bitmask, temperature, top_k, top_p, seed, step, at)
    if triton is None or not (logits.is_cuda or is_interpreted()):
        return sample_torch(logits, bitmask, temperature, top_k, top_p, seed, step, at=at)
    rows, width = logits.shape
    blocks = max(1, -(-width // BLOCK))
    scores = torch.empty((rows, blocks), dtype=torch.float32, device=logits.device)
    tokens = torch.empty((rows, blocks), dtype=torch.int32, device=logits.device)
    out = torch.empty(rows, dtype=torch.int32, device=logits.device)
    if rows == 0:
        return out
    sizes = (width, min(width, bitmask.shape[1] * 32), *logits.stride(), *bitmask.stride())
    with torch.cuda.device(logits.get_device()):  # -1, a CPU's under the interpreter, changes nothing
        floors = find_floors(logits, bitmask, temperature, top_k, top_p, at)
        _draw[rows, blocks](
            logits, bitmask, at, temperature, seed, step, floors, scores, tokens, *sizes, blocks,
            NONE=_NONE, FAULT=NOT_A_NUMBER, LEAST=LEAST_TEMPERATURE, BLOCK=BLOCK, enable_fp_fusion=False,
        )  # fmt: skip
        _pick[rows,](scores, tokens, out, blocks, NONE=_NONE, NOTHING=NOTHING, WIDTH=triton.next_power_of_2(blocks))
    return out


def find_floors(
    logits: torch.Tensor,
    bitmask: torch.Tensor,
    temperature: torch.Tensor,
    top_k: torch.Tensor,
    top_p: torch.Tensor,
    at: torch.Tensor,
) -> torch.Tensor:
    """Run the kernel that finds each row's floor: int32[rows], in the order of _key(). As in sample, and unchecked."""
    floors = torch.empty(logits.shape[0], dtype=torch.int32, device=logits.device)
    _find_floor[logits.shape[0],](
        logits, bitmask, at, temperature, top_k, top_p, floors,
        logits.shape[1], min(logits.shape[1], bitmask.shape[1] * 32), *logits.stride(), *bitmask.stride(),
        PASSES=4 if logits.dtype == torch.bfloat16 else 8, SHARE=_SHARE, LEAST=LEAST_TEMPERATURE,
        BLOCK=SEARCH_BLOCK, num_warps=SEARCH_WARPS,
    )  # fmt: skip
    return floors


def sample_torch(
    logits: torch.Tensor,
    bitmask: torch.Tensor,
    temperature: torch.Tensor,
    top_k: torch.Tensor,
    top_p: torch.Tensor,
    seed: torch.Tensor,
    step: torch.Tensor,
    *,
    at: torch.Tensor | None = None,
) -> torch.Tensor:
    """Do what `sample` does in plain torch, by sorting, on any device. O(rows * width * log(width))."""
    at = _check(logits, bitmask, temperature, top_k, top_p, seed, step, at)
    rows, width = logits.shape
    if rows == 0 or width == 0:
        return torch.full((rows,), NOTHING, dtype=torch.int32, device=logits.device)
    x, kept = kept_torch(logits, bitmask, temperature, top_k, top_p, at)
    fault = (x.isnan() | (x == math.inf)).any(1)
    heat = temperature[:, None]
    u = ((philox_torch(seed, step, width).bitwise_right_shift(1).float() + 0.5) * 2.0**-31).clamp(max=1 - 2.0**-24)
    exponential = torch.where(u < 2.0**-6, u * (1 + u * (1 / 2 + u * (1 / 3 + u / 4))), -(1 - u).log())
    score = torch.where(heat >= LEAST_TEMPERATURE, x / heat.clamp(min=LEAST_TEMPERATURE) - exponential.log(), x)
    score = torch.where(kept, score, -math.inf)
    first = (kept & (score == score.amax(1, keepdim=True))).int().argmax(1)
    out = torch.where(kept.any(1), first, NOTHING)
    return torch.where(fault, NOT_A_NUMBER, out).to(torch.int32)


def kept_torch(
    logits: torch.Tensor,
    bitmask: torch.Tensor,
    temperature: torch.Tensor,
    top_k: torch.Tensor,
    top_p: torch.Tensor,
    at: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the allowed logits as fp32, others -inf, and which tokens mask, top-k and top-p keep. Rows of a width > 0.

    In rows that hold NaN or +inf what is kept means nothing.
    """
    rows, width = logits.shape
    bits = torch.arange(32, dtype=torch.int32, device=logits.device)
    allowed = ((bitmask[at.long()].unsqueeze(-1) >> bits) & 1).bool().reshape(rows, bitmask.shape[1] * 32)[:, :width]
    allowed = torch.nn.functional.pad(allowed, (0, width - allowed.shape[1]))
    x = torch.where(allowed, logits.to(torch.float32), -math.inf)
    kept = allowed.clone()
    heat = temperature[:, None]
    ordered, order = x.sort(dim=1, descending=True)
    kth = ordered.gather(1, (top_k.long() - 1).clamp(0, width - 1)[:, None])
    kept &= (top_k[:, None] <= 0) | (top_k[:, None] > allowed.sum(1, keepdim=True)) | (x >= kth)
    share = ((x - ordered[:, :1]) / heat.clamp(min=LEAST_TEMPERATURE)).exp().nan_to_num(0.0)
    weights = torch.where(kept, share * _SHARE, 0.0).long()
    held = weights.gather(1, order).cumsum(1)
    target = (top_p.double()[:, None] * held[:, -1:].double()).ceil().long().clamp(min=1)
    last = (held < target).sum(1, keepdim=True)  # where the sum reaches the target; width: it never does
    kept &= (top_p[:, None] >= 1) | (last == width) | (x >= ordered.gather(1, last.clamp(max=width - 1)))
    return x, torch.where(heat >= LEAST_TEMPERATURE, kept, allowed)


def philox_torch(seed: torch.Tensor, step: torch.Tensor, width: int) -> torch.Tensor:
    """Return Philox4x32-10's output for each token: int64[rows, width] in [0, 2**32). See the module."""
    low = 0xFFFFFFFF
    rows, token = seed.shape[0], torch.arange(width, device=seed.device)
    k0, k1 = (seed & low)[:, None], (seed >> 32 & low)[:, None]
    c = [(token // 4).expand(rows, width), (step.long() & low)[:, None].expand(rows, width)]
    c += [torch.zeros_like(c[0])] * 2
    for turn in range(10):
        if turn:
            k0, k1 = k0 + 0x9E3779B9 & low, k1 + 0xBB67AE85 & low
        first, second = c[0] * 0xD2511F53, c[2] * 0xCD9E8D57  # modulo 2**64
        c = [second >> 32 & low ^ c[1] ^ k0, second & low, first >> 32 & low ^ c[3] ^ k1, first & low]
    return torch.stack(c).gather(0, (token % 4).expand(1, rows, width))[0]


def _check(
    logits: torch.Tensor,
    bitmask: torch.Tensor,
    temperature: torch.Tensor,
    top_k: torch.Tensor,
    top_p: torch.Tensor,
    seed: torch.Tensor,
    step: torch.Tensor,
    at: torch.Tensor | None,
) -> torch.Tensor:
    if logits.ndim != 2 or bitmask.ndim != 2:
        raise ValueError(f"logits of shape {tuple(logits.shape)} and a bitmask of {tuple(bitmask.shape)} must be rows")
    if not logits.is_floating_point() or bitmask.dtype != torch.int32:
        raise ValueError(f"logits of {logits.dtype} must be floats and a bitmask of {bitmask.dtype} int32")
    if at is None:
        if bitmask.shape[0] != logits.shape[0]:
            shape, words = tuple(logits.shape), tuple(bitmask.shape)
            raise ValueError(f"logits of shape {shape} and a bitmask of {words} must have equally many rows")
        at = torch.arange(logits.shape[0], dtype=torch.int32, device=logits.device)
    for name, tensor, dtype in (
        ("temperature", temperature, torch.float32),
        ("top_k", top_k, torch.int32),
        ("top_p", top_p, torch.float32),
        ("seed", seed, torch.int64),
        ("step", step, torch.int32),
        ("at", at, torch.int32),
    ):
        if tensor.dtype != dtype or tensor.shape != logits.shape[:1] or not tensor.is_contiguous():
            shape = tuple(tensor.shape)
            raise ValueError(f"{name} of {tensor.dtype}{shape} must be {dtype}[{logits.shape[0]}], contiguous")
        if tensor.device != logits.device or bitmask.device != logits.device:
            raise ValueError(f"{name} on {tensor.device} must be where the logits are, on {logits.device}")
    return at
