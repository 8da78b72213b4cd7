"""Shared forward passes: what a request gets does not depend on who else asks, and nobody waits for ever."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import pytest
import tiny
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    PreTrainedConfig,
    Qwen3Config,
)

import guard
from guard.errors import ModelError
from guard.models.base import Reply, Request
from guard.models.local.batching import ATTENTION
from guard.models.local.packed_linear import PackedLinear, is_fast_in_bfloat16, pack
from guard.models.local.passes import Way
from guard.models.local.row_invariant import pieces, take_apart
from guard.models.local.transformers import TransformersModel

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "numbers": {"type": "array", "items": {"type": "integer"}, "maxItems": 4},
        "ok": {"type": "boolean"},
    },
    "required": ["name", "numbers", "ok"],
    "additionalProperties": False,
}
REQUESTS = [
    Request(({"role": "user", "content": f"n {'and more ' * number}{number}"},), guard.compile(SCHEMA), 80)
    for number in range(6)
]
SIZES: dict[str, Any] = {
    "vocab_size": 384,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "head_dim": 8,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 2,
}


def _model(config: PreTrainedConfig | None = None, *, share: bool | None, dtype: Any = torch.float32) -> Any:
    llama = tiny.llama()
    if config is not None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            llama = AutoModelForCausalLM.from_config(config)
        with torch.no_grad():
            llama.get_output_embeddings().weight.mul_(20.0)
    return TransformersModel("tiny", llama.to(dtype), tiny.tokenizer(), share=share)


def _together(model: TransformersModel, requests: list[Request]) -> list[Reply]:
    """Ask all at the same moment."""
    barrier = threading.Barrier(len(requests))

    def ask(request: Request) -> Reply:
        barrier.wait(30)
        return model.generate(request)

    with ThreadPoolExecutor(len(requests)) as pool:
        return list(pool.map(ask, requests))


def _timeless(replies: list[Reply]) -> list[Reply]:
    return [dataclasses.replace(reply, seconds=0, mask_seconds=0) for reply in replies]


class _Sizes:
    """How many sequences were in each pass of a model."""

    def __init__(self, model: TransformersModel) -> None:
        self.seen: list[int] = []
        self._model = model

    def __enter__(self) -> Self:
        self._hook = self._model.model.register_forward_hook(self._watch, with_kwargs=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._hook.remove()

    def _watch(self, _module: Any, _arguments: Any, kwargs: dict[str, Any], _outputs: Any) -> None:
        cache = kwargs.get("cache", kwargs.get("past_key_values"))
        self.seen.append(len(getattr(cache, "caches", [cache])))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_reply_is_the_same_to_the_bit_in_any_company(dtype: Any) -> None:
    """By default, on a CPU, every token and every probability; whether passes are shared depends on the machine."""
    # Sizes as real models have them: of odd ones, products of two rows round differently from those of more.
    config = LlamaConfig(**{**SIZES, "hidden_size": 64, "intermediate_size": 128, "head_dim": 16})
    model = _model(config, share=None, dtype=dtype)
    sampled = [dataclasses.replace(r, temperature=1.0, seed=seed) for seed, r in enumerate(REQUESTS)]
    requests = [*REQUESTS[:3], *sampled[3:]]
    alone = [model.generate(request) for request in requests]
    assert model.passes.is_independent
    for _ in range(2):
        assert _timeless(_together(model, requests)) == _timeless(alone)


def test_requests_at_the_same_time_share_passes() -> None:
    """All of them most of the time; the text is each one's own."""
    model = _model(share=True)
    alone = [model.generate(request).text for request in REQUESTS]
    assert model.passes.is_shared
    with _Sizes(model) as sizes:
        replies = _together(model, REQUESTS)
    assert [reply.text for reply in replies] == alone
    assert max(sizes.seen) >= len(REQUESTS)
    asked = sum(reply.completion_tokens - reply.forced_tokens for reply in replies)
    assert len(sizes.seen) < asked / 2


@pytest.mark.usefixtures("trace_file")
def test_the_calls_of_a_run_of_many_share_passes() -> None:
    model = _model(share=True)

    @guard.structured(model=model, retries=0, max_tokens=30)
    def read(text: str) -> list[int]:
        """Count."""

    texts = [f"{number} things" for number in range(12)]
    alone = [read.traced(text)[1].text for text in texts]
    with _Sizes(model) as sizes:
        found = [result.call.text for result in guard.map(read, texts, concurrency=4) if result.call]
    assert found == alone
    assert 2 < max(sizes.seen) <= 4


def test_passes_are_not_shared_where_that_was_refused() -> None:
    """The model's attention is left as it was."""
    model = _model(share=False)
    with _Sizes(model) as sizes:
        _together(model, REQUESTS[:3])
    assert set(sizes.seen) == {1}
    assert not model.passes.is_shared
    assert model.model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize(
    ("config", "is_shared"),
    [
        (Qwen3Config(**SIZES), True),
        (LlamaConfig(**{**SIZES, "num_key_value_heads": 4}), True),
        (MistralConfig(**SIZES, sliding_window=None), True),
        (MistralConfig(**SIZES, sliding_window=8), False),
        (Gemma2Config(**SIZES, sliding_window=8), False),
        (LlamaConfig(**SIZES, rope_parameters={"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}), False),
        (GPT2Config(vocab_size=384, n_positions=512, n_embd=32, n_layer=2, n_head=4, eos_token_id=2), None),
    ],
    ids=["qwen3", "llama", "mistral", "mistral-sliding", "gemma2", "llama-dynamic", "gpt2"],
)
def test_only_what_can_be_shared_is(config: PreTrainedConfig, is_shared: bool | None) -> None:
    """Whatever the architecture, requests at the same time get what each gets alone."""
    model = _model(config, share=True)
    alone = [model.generate(request).text for request in REQUESTS[:4]]
    assert [reply.text for reply in _together(model, REQUESTS[:4])] == alone
    if is_shared is not None:
        assert model.passes.is_shared == is_shared
    assert (model.model.config._attn_implementation == ATTENTION) == model.passes.is_shared


def test_a_pass_that_fails_is_everyone_s_error_and_the_model_goes_on() -> None:
    """Nobody waits for ever."""
    model = _model(share=True)
    expected = [model.generate(request).text for request in REQUESTS[:4]]
    calls = iter(range(1000))

    def fail(*_: Any) -> None:
        if next(calls) == 5:
            raise RuntimeError("out of memory\nand more")

    hook = model.model.register_forward_pre_hook(fail)
    barrier = threading.Barrier(4)

    def ask(request: Request) -> str:
        barrier.wait(30)
        try:
            return model.generate(request).text
        except ModelError as error:
            return str(error)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(ask, REQUESTS[:4]))
    hook.remove()
    assert "tiny failed: out of memory" in found
    assert all(text in ("tiny failed: out of memory", right) for text, right in zip(found, expected, strict=True))
    assert [reply.text for reply in _together(model, REQUESTS[:4])] == expected


def test_a_stream_whose_caller_is_busy_holds_nobody_up() -> None:
    """Others are asked while it waits, from the same thread too; then it goes on as if nothing had been."""
    model = _model(share=True)
    expected = [model.generate(request).text for request in REQUESTS[:2]]
    stream: Iterator[Any] = model.stream(REQUESTS[0])
    pieces = [next(stream), next(stream)]
    with _Sizes(model) as sizes:
        assert model.generate(REQUESTS[1]).text == expected[1]
    assert set(sizes.seen) <= {1, 2}  # the second is what fills a pass up
    *rest, reply = stream
    assert "".join([*pieces, *rest]) == reply.text == expected[0]
    assert model.passes._here == 0


#: oneDNN rounds a product of one row otherwise than of several where rows are longer than 1,024: here one layer's.
LONG = LlamaConfig(**{**SIZES, "hidden_size": 256, "intermediate_size": 1536, "head_dim": 64})
#: What these tests hold to is oneDNN's rounding on such a processor; on others nothing is packed, and a trial decides.
needs_bfloat16 = pytest.mark.skipif(not is_fast_in_bfloat16(), reason="this processor multiplies no bfloat16")


@needs_bfloat16
@pytest.mark.parametrize("is_packed", [True, False])
def test_no_bit_depends_on_forced_text_or_company(is_packed: bool) -> None:
    """Passes over several tokens, of several sequences, and transformers' own, token by token."""
    model, plain = (_model(LONG, share=share, dtype=torch.bfloat16) for share in (None, False))
    if is_packed:
        for each in (model, plain):
            pack(each.model)
    assert model.passes.is_by_token
    random = torch.Generator().manual_seed(1)
    prompts = [torch.randint(3, 350, (length,), generator=random).tolist() for length in (1, 2, 30, 40, 130, 200)]
    ours, own = ([each._prepare(prompt, 300) for prompt in prompts] for each in (model, plain))
    for step in range(8):
        lengths = torch.randint(1, 12, (6,), generator=random).tolist()
        tokens = [torch.randint(3, 350, (length,), generator=random).tolist() for length in lengths]
        alone = [forward(prompt)[0] for forward, prompt in zip(own, prompts, strict=True)] if not step else []
        alone = [[forward([token])[0] for token in new][-1] for forward, new in zip(own, tokens, strict=True)]
        asked = [prompt + new for prompt, new in zip(prompts, tokens, strict=True)] if not step else tokens
        found: list[Any] = [None] * 6
        together = torch.randperm(6, generator=random).tolist()[: 2 + step % 5]
        with contextlib.ExitStack() as here:  # some pass together, then the others alone
            for _ in together:
                here.enter_context(model.passes.here())

            def ask(number: int, found: list[Any] = found, asked: list[Any] = asked) -> None:
                found[number] = model.passes(ours[number], asked[number])[0]

            asking = [threading.Thread(target=ask, args=(number,)) for number in together]
            for thread in asking:
                thread.start()
            for thread in asking:
                thread.join()
        for number in {*range(6)} - {*together}:
            found[number] = model.passes(ours[number], asked[number])[0]
        assert all(map(torch.equal, found, alone)), step


@needs_bfloat16
def test_where_most_products_round_a_row_alone_otherwise_passes_are_filled_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Taken apart they would cost what passes apart do; results are still the same in any company."""
    monkeypatch.setattr("guard.models.local.row_invariant._is_even", lambda *_: False)  # as oneDNN's without AMX are
    config = LlamaConfig(**{**SIZES, "hidden_size": 1088, "intermediate_size": 1536, "head_dim": 64})
    model = _model(config, share=None, dtype=torch.bfloat16)
    assert model.passes.is_independent
    assert not model.passes.is_by_token
    assert model.passes._way is Way.FILLED
    random = torch.Generator().manual_seed(1)
    prompts = [torch.randint(3, 350, (length,), generator=random).tolist() for length in (1, 2, 31, 32, 33, 130)]
    apart, ours = ([model._prepare(prompt, 300) for prompt in prompts] for _ in range(2))
    new = prompts
    for _ in range(4):
        alone = [model.passes(forward, tokens)[0] for forward, tokens in zip(apart, new, strict=True)]
        together = model.passes._model.run(ours, new, Way.FILLED)
        assert all(map(torch.equal, together, alone))
        lengths = torch.randint(1, 12, (6,), generator=random).tolist()
        new = [torch.randint(3, 350, (length,), generator=random).tolist() for length in lengths]


@needs_bfloat16
@pytest.mark.parametrize("width", [64, 1536])
def test_a_packed_layer_gives_the_numbers_of_the_plain_one(width: int) -> None:
    """With and without a bias; the layers of a model are replaced, others are left. AMX has further kernels."""
    random = torch.Generator().manual_seed(2)
    model = torch.nn.Sequential(
        torch.nn.Linear(width, 40), torch.nn.Linear(40, width, bias=False), torch.nn.Linear(width, 8).to(torch.float64)
    )
    model[:2].to(torch.bfloat16)
    plain = [*model]
    pack(model)
    assert [type(layer) for layer in model] == [PackedLinear, PackedLinear, torch.nn.Linear]
    for rows in (1, 2, 5, 16, 32, 67):
        for layer, packed in zip(plain[:2], model[:2], strict=True):
            batch = torch.randn((2, rows, layer.in_features), generator=random).to(torch.bfloat16)
            with torch.no_grad():
                torch.testing.assert_close(packed(batch), layer(batch))
                if not torch.cpu.get_capabilities().get("amx_bf16"):
                    assert torch.equal(packed(batch), layer(batch))


@needs_bfloat16
def test_taking_apart_is_undone() -> None:
    """A piece has the bits it has alone while the pieces are told, and afterwards the layer is as it was."""
    torch.manual_seed(3)  # with some weights both have the same bits
    layer = torch.nn.Linear(1536, 512, bias=False).to(torch.bfloat16)
    model: Any = torch.nn.Sequential(layer, torch.nn.Linear(64, 20000).to(torch.bfloat16))
    model.dtype = torch.bfloat16
    rows = torch.randn((1, 64, 1536), generator=torch.Generator().manual_seed(3)).to(torch.bfloat16)
    with torch.no_grad():
        alone = torch.cat([layer(rows[:, at : at + 1]) for at in range(64)], dim=1)
        together = layer(rows)
        assert not torch.equal(alone, together)
        apart = take_apart(model)
        assert apart.is_cheap
        assert torch.equal(layer(rows), together)  # in nobody's pass
        with pieces([1] * 60 + [4]):
            assert torch.equal(layer(rows)[:, :60], alone[:, :60])
        apart.undo()
        with pieces([1] * 64):
            assert torch.equal(layer(rows), together)
