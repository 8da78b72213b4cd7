"""Models small enough for tests: a byte-level tokenizer of 350 tokens, a random llama, and a model that is noise."""

from __future__ import annotations

import functools
import json
from types import SimpleNamespace
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from guard import Vocabulary

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CONTEXT = 512  #: Positions of the tiny llama.


@functools.cache
def tokenizer() -> PreTrainedTokenizerFast:
    """Build a byte-level BPE tokenizer whose merges are those of JSON text."""
    value = {"name": "Alice", "names": ["a", "b"], "total": 1234.5, "ok": True, "none": None, "é": "naïve 文", "n": {}}
    text = [
        json.dumps(value, ensure_ascii=False),
        json.dumps([value, value]),
        "the customer's name and the total amount",
    ]
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        text,
        trainers.BpeTrainer(vocab_size=350, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=SPECIAL[1],
        eos_token=SPECIAL[2],
        pad_token=SPECIAL[2],
        chat_template=TEMPLATE,
    )


@functools.cache
def vocabulary() -> Vocabulary:
    """Read the tokenizer's vocabulary, with two end-of-sequence tokens."""
    return Vocabulary.from_tokenizer(tokenizer(), eos=[2, 0])


def llama(seed: int = 0, *, padded_to: int = 384, scale: float = 20.0) -> LlamaForCausalLM:
    """Make a llama of random weights whose logits are wider than the vocabulary and far apart."""
    config = LlamaConfig(
        vocab_size=padded_to,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=False,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        model.lm_head.weight.mul_(scale)
    return model


class Noise:
    """A model whose logits are noise, whatever it is fed: the adversary. It counts what it is fed."""

    def __init__(self, seed: int, width: int) -> None:
        self.fed = 0
        self._width = width
        self._generator = torch.Generator().manual_seed(seed)

    def forward(self, input_ids: torch.Tensor, cache: Any = None, **_: Any) -> Any:
        """Return logits for the last position."""
        self.fed += input_ids.shape[1]
        logits = torch.randn((1, 1, self._width), generator=self._generator) * 10
        return _Outputs(logits=logits, cache=cache)

    __call__ = forward


class _Outputs(SimpleNamespace):
    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)
