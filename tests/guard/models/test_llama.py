"""A llama in blocks of four bits: the file's numbers, transformers' logits, and no bit depends on company."""

from __future__ import annotations

import dataclasses
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import tiny
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

import guard
from guard import models
from guard.models.base import Reply, Request
from guard.models.local import blocks
from guard.models.local.blocks import BLOCK, KINDS, BlockProduct, from_gguf
from guard.models.local.llama import Llama
from guard.models.local.transformers import TransformersModel, quiet
from guard.models.local.tree_passes import TreePasses, log_probabilities
from guard.schemas.grounding.sources import Sources

pytestmark = pytest.mark.skipif(not blocks.is_fast(), reason="this processor is not written for by torch's product")

SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 12}, "ok": {"type": "boolean"}, "n": {"type": "integer"}},
    "required": ["name", "ok", "n"],
    "additionalProperties": False,
}
REQUESTS = [
    Request(
        ({"role": "user", "content": f"n {'and more ' * number}{number}"},),
        guard.compile(SCHEMA),
        60,
        temperature=float(number % 2),
        seed=number,
    )
    for number in range(6)
]


def _model(*, tied: bool = False) -> LlamaForCausalLM:
    """A llama of sizes that blocks divide, with logits far apart."""
    config = LlamaConfig(
        vocab_size=384, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=16, max_position_embeddings=tiny.CONTEXT, tie_word_embeddings=tied,
        bos_token_id=1, eos_token_id=2, pad_token_id=2,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(20.0)
        for norm in (model.model.norm, *(layer.input_layernorm for layer in model.model.layers)):
            norm.weight.mul_(torch.linspace(0.5, 1.5, 64))
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pulled model in blocks of four bits."""
    return _pulled(tmp_path_factory.mktemp("q4"), "Q4_1")


def _pulled(place: Path, kind: str, *, tied: bool = False) -> Path:
    file = place / "tiny.gguf"
    tiny.write_gguf(file, _model(tied=tied), kind=kind)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GUARD_CACHE", str(place / "cache"))
        return models.pull(str(file))


def _by_transformers(folder: Path) -> Any:
    with quiet():
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)


@pytest.mark.parametrize("kind", KINDS)
def test_quants_are_the_file_s_and_scales_are_its_own_but_for_rounding(kind: str) -> None:
    """Of every kind: each number is within the rounding of its block's two numbers to bfloat16."""
    values = np.random.default_rng(1).standard_normal((48, 4 * BLOCK)).astype(np.float32)
    data = gguf.quants.quantize(values, gguf.GGMLQuantizationType[kind])
    expected = torch.from_numpy(gguf.quants.dequantize(data, gguf.GGMLQuantizationType[kind]))
    found = from_gguf(data, kind)
    assert found is not None
    most = expected.view(48, -1, BLOCK).abs().amax(-1, keepdim=True)
    assert ((_plain(*found) - expected).view(48, -1, BLOCK).abs() <= most * 2**-7).all()


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_whose_scales_bfloat16_holds_are_exact(kind: str) -> None:
    """A literal block: scale 0.5, offset -4 where there is one."""
    quants = bytes(range(0, 256, 16)) if kind != "Q8_0" else bytes((3 * n - 50) % 256 for n in range(BLOCK))
    numbers = np.float16(0.5).tobytes() + (np.float16(-4).tobytes() if kind == "Q4_1" else b"") + quants
    data = np.frombuffer(numbers * 16, np.uint8).reshape(16, -1)
    found = from_gguf(data, kind)
    assert found is not None
    first = {
        "Q4_0": [-4.0] * 16 + [(n - 8) / 2 for n in range(16)],
        "Q4_1": [-4.0] * 16 + [n / 2 - 4 for n in range(16)],
        "Q8_0": [(3 * n - 50) / 2 for n in range(BLOCK)],
    }[kind]
    assert _plain(*found)[0].tolist() == first


@pytest.mark.parametrize(
    ("kind", "rows", "size"), [("Q6_K", 16, 210), ("F32", 16, 128), ("Q4_1", 15, 20), ("Q4_0", 16, 20)]
)
def test_what_the_product_does_not_take_is_not_taken(kind: str, rows: int, size: int) -> None:
    """Other kinds, a number of rows that it can't have, and rows that are no whole blocks."""
    assert from_gguf(np.zeros((rows, size), np.uint8), kind) is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_product_is_the_plain_one_and_each_row_has_the_bits_it_has_alone(kind: str) -> None:
    generator = np.random.default_rng(2)
    columns = 8 * BLOCK
    data = gguf.quants.quantize(
        generator.standard_normal((80, columns)).astype(np.float32), gguf.GGMLQuantizationType[kind]
    )
    found = from_gguf(data, kind)
    assert found is not None
    product = BlockProduct(columns, *found)
    rows = torch.from_numpy(generator.standard_normal((67, columns)).astype(np.float32)).bfloat16()
    products = product(rows)
    expected = rows.double() @ _plain(*found).double().T
    assert torch.allclose(products.double(), expected, rtol=2**-7, atol=2**-7 * float(expected.std()))
    for count in (1, 2, 3, 4, 5, 33):
        assert torch.equal(torch.cat([product(part) for part in rows.split(count)]), products), count


def _plain(quants: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """A matrix in blocks as numbers, by the words of blocks.py: the twin of what the product does."""
    numbers = torch.stack([quants & 15, quants >> 4], -1).flatten(1).float().view(len(quants), -1, BLOCK)
    scale, offset = scales.float().transpose(0, 1).unbind(-1)
    halves = ((numbers - 8) * scale[..., None] + offset[..., None]).flatten(1)
    columns = 32 * (scales.shape[0] // 2)
    return halves[:, :columns] + halves[:, columns:] if _is_double(quants, scales) else halves


def _is_double(quants: torch.Tensor, scales: torch.Tensor) -> bool:
    """Whether it is of upper and lower halves: the scales of the first are 16 times those of the second."""
    count = scales.shape[0] // 2
    return count > 0 and torch.equal(scales[:count, :, 0], 16 * scales[count:, :, 0])


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_those_of_transformers(tmp_path: Path, kind: str, tied: bool) -> None:
    """But for rounding, at every position: a prompt at once, then tokens one by one, beyond the room that was made."""
    folder = _pulled(tmp_path, kind, tied=tied)
    tokens = torch.randint(3, 350, (90,), generator=torch.Generator().manual_seed(3)).tolist()
    with torch.no_grad():
        expected = _by_transformers(folder)(torch.tensor([tokens])).logits[0]
    forward = Llama.from_folder(folder).prepare(tokens[:20], 8)
    found = [forward(tokens[:20])[0], *(forward([token])[0] for token in tokens[20:])]
    for at, logits in enumerate(found, 19):
        difference = (logits.float() - expected[at]).norm() / expected[at].norm()
        assert difference < 0.03, at


def test_no_bit_depends_on_forced_text_or_company(folder: Path) -> None:
    """Passes over several tokens of several sequences are those of each token in a pass of its own."""
    llama = Llama.from_folder(folder)
    random = torch.Generator().manual_seed(4)
    prompts = [torch.randint(3, 350, (length,), generator=random).tolist() for length in (1, 2, 30, 130)]
    together, alone = ([llama.prepare(prompt, 4) for prompt in prompts] for _ in range(2))
    for step in range(6):
        lengths = torch.randint(1, 7, (4,), generator=random).tolist()
        tokens = [torch.randint(3, 350, (length,), generator=random).tolist() for length in lengths]
        if not step:
            for forward, prompt in zip(alone, prompts, strict=True):
                forward(prompt)
        expected = [[forward([token])[0] for token in new][-1] for forward, new in zip(alone, tokens, strict=True)]
        asked = [prompt + new for prompt, new in zip(prompts, tokens, strict=True)] if not step else tokens
        assert torch.equal(llama.run(together, asked), torch.stack(expected)), step


def test_a_pulled_model_in_blocks_decodes_by_them(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By default, on a CPU that is fast so; a named type, other weights, another processor are transformers'."""
    assert isinstance(TransformersModel.from_pretrained(folder).model, Llama)
    assert isinstance(TransformersModel.from_pretrained(folder, dtype="float32").model, LlamaForCausalLM)
    monkeypatch.setattr("guard.models.local.blocks.CAPABILITIES", ())
    assert isinstance(TransformersModel.from_pretrained(folder).model, LlamaForCausalLM)


@pytest.mark.parametrize("kind", ["F32", "Q5_0"])
def test_weights_of_another_kind_are_transformers(tmp_path: Path, kind: str) -> None:
    folder = _pulled(tmp_path, kind)
    assert not (folder / blocks.FILE).exists()
    assert isinstance(TransformersModel.from_pretrained(folder).model, LlamaForCausalLM)


def test_replies_are_the_same_to_the_bit_in_any_company(folder: Path) -> None:
    """Every token and every probability, greedy and sampled, under masks; and they are valid."""
    model = TransformersModel.from_pretrained(folder)
    assert model.passes.is_shared
    assert model.passes.is_by_token
    alone = [model.generate(request) for request in REQUESTS]
    for reply in alone:
        assert set(json.loads(reply.text)) == {"name", "ok", "n"}
        assert reply.forced_tokens
        assert all(token.logprob <= 0 and 0 <= token.removed <= 1 for token in reply.tokens)
    barrier = threading.Barrier(len(REQUESTS))

    def ask(request: Request) -> Reply:
        barrier.wait(30)
        return model.generate(request)

    with ThreadPoolExecutor(len(REQUESTS)) as pool:
        together = list(pool.map(ask, REQUESTS))
    assert [_timeless(reply) for reply in together] == [_timeless(reply) for reply in alone]
    apart = TransformersModel.from_pretrained(folder, share=False, name=model.name)
    assert [_timeless(apart.generate(request)) for request in REQUESTS] == [_timeless(reply) for reply in alone]


def _timeless(reply: Reply) -> Reply:
    return dataclasses.replace(reply, seconds=0, mask_seconds=0)


def test_smollm2_says_what_transformers_says() -> None:
    """Token by token behind a document: the likeliest is float32's, or its logit is within a near tie of it."""
    folder = models.pull("smollm2")
    model = TransformersModel.from_pretrained(folder)
    assert isinstance(model.model, Llama)
    text = Path("examples/invoice.txt").read_text() + '{"vendor": "NORTHWIND PAPER & PRINT LTD", "invoice_number": "NW-'
    tokens = model.tokenizer(text, add_special_tokens=False).input_ids
    with torch.no_grad():
        expected = _by_transformers(folder)(torch.tensor([tokens])).logits[0]
    start = len(tokens) - 40
    forward = model.model.prepare(tokens[:start], 40)
    found = torch.stack([forward(tokens[:start])[0], *(forward([token])[0] for token in tokens[start:-1])])
    best = expected[start - 1 : -1].gather(1, found.argmax(-1, keepdim=True))[:, 0]
    assert (expected[start - 1 : -1].max(-1).values - best < 0.2).all()


def test_a_tree_is_scored_as_its_ways_are_and_leaves_nothing(folder: Path) -> None:
    """Each token of a tree sees the prompt and its own way; what is fed afterwards has the bits of no tree."""
    tested = TransformersModel.from_pretrained(folder)
    llama = tested._runner
    prompt, ways = [*range(3, 27)], ([40], [40, 41], [40, 42], [50], [50, 51])
    plain, other = llama.prepare(prompt, 2), llama.prepare(prompt, 2)  # room for less than the tree
    assert torch.equal(plain(prompt), other(prompt))
    with TreePasses(tested._passes, other) as passes:
        first = passes([40, 50], [-1, -1])
        rows = [*first, *passes([41, 42, 51], [0, 0, 1])]
    for way, row in zip((ways[0], ways[3], ways[1], ways[2], ways[4]), rows, strict=True):
        alone = llama.prepare(prompt, 9)
        alone(prompt)
        assert np.abs(log_probabilities(alone(way))[0] - row).max() < 0.2, way
    for tokens in ([7], [8, 9], [10]):
        assert torch.equal(plain(tokens), other(tokens))


def test_values_are_chosen_whole(folder: Path) -> None:
    """A model in blocks scores them, as one of transformers' does."""
    text = "Alice Bell owes Bob Stone 1,234.50 EUR."
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string", "x-guard-from": "input"}},
        "required": ["name"],
    }
    compiled = guard.compile(schema).grounded(Sources({"text": text}))
    asked = Request(({"role": "user", "content": text},), compiled, 60, choose="score")
    reply = TransformersModel.from_pretrained(folder).generate(asked)
    assert json.loads(reply.text)["name"] in text
    assert reply.alternatives
