"""GGUF to the folder that transformers loads: weights as bfloat16 safetensors, configuration, tokenizer, chat template.

The `gguf` package reads and dequantises, once the header was checked (guard/models/local/gguf_header.py); this module
only renames, undoes llama.cpp's reordering of the query and key rows, and writes. Weights in blocks of four or eight
bits are written as they are, too: a CPU decodes by them (guard/models/local/llama.py). It knows the llama architecture
with a byte-level BPE tokenizer of the kinds in PRE_TOKENIZERS, and refuses everything else by name. bfloat16 is what
such models were trained in; its rounding (2^-9) is far below the quantisation's.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guard.errors import ModelError
from guard.models.local import gguf_header
from guard.models.local.cache import Progress
from guard.support.clipping import clipped

if TYPE_CHECKING:
    import numpy as np
    from gguf import GGUFReader
    from numpy.typing import NDArray

#: GGUF's name of a block's tensor → transformers'.
BLOCK_TENSORS = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
#: The tensors outside blocks.
OTHER_TENSORS = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
#: By GGUF's name of a pre-tokenizer, whether it splits digits one by one.
PRE_TOKENIZERS = {"smollm": True, "gpt-2": False}
#: Architectures whose GGUF transformers itself reads, tokenizer included, as tested.
BY_TRANSFORMERS = ("gemma3",)
MOST = 2**31 - 1  #: The largest count in a model.
#: GGUF's token types: control tokens, and tokens that were added without being control.
CONTROL, USER_DEFINED = 3, 4


def convert(path: Path, folder: Path, progress: Progress | None = None) -> None:
    """Write a GGUF file's model into a folder that `transformers.AutoModelForCausalLM` and `AutoTokenizer` load."""
    from gguf import GGUFReader

    gguf_header.check(path)
    try:
        reader = GGUFReader(path)
        fields = _Fields(path.name, {name: field.contents() for name, field in reader.fields.items()})
    except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
        raise ModelError(f"{path.name} is no GGUF file that can be read: {error}") from error
    architecture = fields.text("general.architecture", "none")
    if architecture in BY_TRANSFORMERS:
        _convert_by_transformers(path, folder, progress)
        return
    if architecture != "llama":
        known = ", ".join(["llama", *BY_TRANSFORMERS])
        raise ModelError(
            f"{path.name} holds the architecture {architecture!r}; only {known} can be converted; llama.cpp may run it:"
            " llamacpp:FILE"
        )
    config = _config(fields, {tensor.name for tensor in reader.tensors})
    _write_json(folder / "config.json", config)
    _write_json(
        folder / "generation_config.json",
        {name: config[name] for name in ("bos_token_id", "eos_token_id", "pad_token_id")},
    )
    _write_tokenizer(fields, folder)
    _write_weights(reader, config, folder, progress)
    _write_blocks(reader, config, folder)


def _convert_by_transformers(path: Path, folder: Path, progress: Progress | None) -> None:
    """Convert a file by transformers, which reads and writes it."""
    import torch
    import transformers
    from safetensors.torch import save_file

    def step(number: int) -> None:
        if progress is not None:
            progress("converting", number, 3)

    step(0)
    where, file = str(path.parent), path.name
    logging = transformers.utils.logging
    said = logging.get_verbosity()
    logging.set_verbosity_error()  # it advises how to run such a file packed, which nobody does here
    logging.disable_progress_bar()
    try:
        model: Any = transformers.AutoModelForCausalLM.from_pretrained(where, gguf_file=file, dtype=torch.bfloat16)
        step(1)
        tokenizer = transformers.AutoTokenizer.from_pretrained(where, gguf_file=file)
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        raise ModelError(f"{file} can't be converted: {next(iter(str(error).splitlines()), '')}") from error
    finally:
        logging.set_verbosity(said)
        logging.enable_progress_bar()
    step(2)
    config = model.config.to_dict()
    config.pop("quantization_config", None)
    _write_json(folder / "config.json", {**config, "architectures": [type(model).__name__], "dtype": "bfloat16"})
    ends = ("bos_token_id", "eos_token_id", "pad_token_id")
    _write_json(folder / "generation_config.json", {name: config.get(name) for name in ends})
    tokenizer.save_pretrained(folder)
    tied = {"lm_head.weight"} if model.config.tie_word_embeddings else set()
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items() if name not in tied}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    step(3)


class _Fields:
    """The metadata of a file, by name and type. Raises ModelError for a missing or unusable field."""

    def __init__(self, file: str, values: Mapping[str, Any]) -> None:
        self._file, self._values = file, values

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def count(self, name: str, otherwise: int | None = None, least: int = 1) -> int:
        """Return a whole number of at least `least`."""
        value = self._value(name, otherwise)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MOST:
            raise self.error(f"{name} is {clipped(value)}, not a whole number from {least} to {MOST:,}")
        return value

    def number(self, name: str, otherwise: float | None = None) -> float:
        """Return a number above 0."""
        value = self._value(name, otherwise)
        if isinstance(value, bool) or not isinstance(value, float | int) or not 0 < value < math.inf:
            raise self.error(f"{name} is {clipped(value)}, not a finite number above 0")
        return float(value)

    def text(self, name: str, otherwise: str | None = None) -> str:
        """Return a text."""
        value = self._value(name, otherwise)
        if not isinstance(value, str):
            raise self.error(f"{name} is {clipped(value)}, not a text")
        return value

    def texts(self, name: str) -> list[str]:
        """Return a list of texts."""
        value = self._value(name, None)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.error(f"{name} is {clipped(value)}, not an array of texts")
        return value

    def counts(self, name: str) -> list[int]:
        """Return a list of whole numbers."""
        value = self._value(name, None)
        if not isinstance(value, list) or not all(type(item) is int for item in value):
            raise self.error(f"{name} is {clipped(value)}, not an array of whole numbers")
        return value

    def error(self, words: str) -> ModelError:
        """Return an error about this file."""
        return ModelError(f"{self._file} can't be converted: {words}")

    def _value(self, name: str, otherwise: Any) -> Any:
        value = self._values.get(name, otherwise)
        if value is None:
            raise self.error(f"it has no {name}")
        return value


def _config(fields: _Fields, tensors: set[str]) -> dict[str, Any]:
    heads = fields.count("llama.attention.head_count")
    groups = fields.count("llama.attention.head_count_kv", heads)
    hidden = fields.count("llama.embedding_length")
    size = fields.count("llama.attention.key_length", max(1, hidden // heads))
    if heads % groups or size % 2:
        raise fields.error(f"{heads} heads of {size} can't share {groups} of keys and values")
    theta = fields.number("llama.rope.freq_base", 10000.0)
    tokens = fields.texts("tokenizer.ggml.tokens")
    eos = _token(fields, "eos", tokens)
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "attention_bias": False,
        "bos_token_id": _token(fields, "bos", tokens) if "tokenizer.ggml.bos_token_id" in fields else None,
        "eos_token_id": eos,
        "pad_token_id": _token(fields, "padding", tokens) if "tokenizer.ggml.padding_token_id" in fields else eos,
        "dtype": "bfloat16",
        "torch_dtype": "bfloat16",  # what transformers called it before version 5
        "head_dim": size,
        "hidden_act": "silu",
        "hidden_size": hidden,
        "intermediate_size": fields.count("llama.feed_forward_length"),
        "max_position_embeddings": fields.count("llama.context_length"),
        "mlp_bias": False,
        "num_attention_heads": heads,
        "num_hidden_layers": fields.count("llama.block_count"),
        "num_key_value_heads": groups,
        # Stored as a float32.
        "rms_norm_eps": float(f"{fields.number('llama.attention.layer_norm_rms_epsilon'):.6g}"),
        "rope_theta": theta,  # before version 5
        "rope_parameters": {"rope_theta": theta, "rope_type": "default"},
        "tie_word_embeddings": "output.weight" not in tensors,
        "use_cache": True,
        "vocab_size": fields.count("llama.vocab_size", len(tokens)),
    }


def _token(fields: _Fields, role: str, tokens: list[str]) -> int:
    name = f"tokenizer.ggml.{role}_token_id"
    token = fields.count(name, least=0)
    if token >= len(tokens):
        raise fields.error(f"{name} is {token:,}, and there are {len(tokens):,} tokens")
    return token


def _write_weights(reader: GGUFReader, config: dict[str, Any], folder: Path, progress: Progress | None) -> None:
    import torch
    from gguf import dequantize
    from safetensors.torch import save_file

    weights: dict[str, torch.Tensor] = {}
    total = sum(int(tensor.n_bytes) for tensor in reader.tensors)
    done = 0
    for tensor in reader.tensors:
        values = dequantize(tensor.data, tensor.tensor_type)
        name, values = _rename(tensor.name, values, config)
        if name is not None:
            weights[name] = torch.from_numpy(values.copy()).to(torch.bfloat16)
        done += int(tensor.n_bytes)
        if progress is not None:
            progress("converting", done, total)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def _write_blocks(reader: GGUFReader, config: dict[str, Any], folder: Path) -> None:
    """Write the weights once more as the blocks that they are, where a product takes these (blocks.py)."""
    from safetensors.torch import save_file

    from guard.models.local import blocks

    tensors = {tensor.name: tensor for tensor in reader.tensors}
    if not any(name.startswith("rope_freqs") for name in tensors):
        found = blocks.from_llama(tensors, config)
        if found is not None:
            save_file(found, folder / blocks.FILE)


def _rename(name: str, values: NDArray[np.float32], config: dict[str, Any]) -> tuple[str | None, NDArray[np.float32]]:
    """Return a tensor with transformers' name and row order. The name is None where transformers needs none."""
    if name in OTHER_TENSORS:
        return OTHER_TENSORS[name], values
    if name.startswith("rope_freqs"):
        return None, values
    block, number, part, kind = (*name.split("."), "", "", "")[:4]
    if block != "blk" or part not in BLOCK_TENSORS or kind != "weight":
        raise ModelError(f"the GGUF file holds a tensor {name!r} that is not a llama model's")
    if part in ("attn_q", "attn_k"):
        heads = config["num_attention_heads"] if part == "attn_q" else config["num_key_value_heads"]
        if values.ndim != 2 or values.shape[0] % (2 * heads):
            raise ModelError(
                f"the GGUF file's tensor {name!r} has the shape {values.shape}, which {heads} heads can't have"
            )
        rows, columns = values.shape
        # llama.cpp rotates neighbouring rows, transformers the two halves of a head.
        values = values.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)
    return f"model.layers.{number}.{BLOCK_TENSORS[part]}.weight", values


def _write_tokenizer(fields: _Fields, folder: Path) -> None:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    kind, pre = fields.text("tokenizer.ggml.model"), fields.text("tokenizer.ggml.pre", "none")
    if kind != "gpt2" or pre not in PRE_TOKENIZERS:
        taken = " or ".join(PRE_TOKENIZERS)
        raise ModelError(f"the GGUF file's tokenizer is {kind!r} with {pre!r}; only gpt2 with {taken} can be converted")
    tokens = fields.texts("tokenizer.ggml.tokens")
    numbers = {token: number for number, token in enumerate(tokens)}
    if len(numbers) < len(tokens):
        raise fields.error("tokenizer.ggml.tokens has a token twice")
    merges = []
    for merge in fields.texts("tokenizer.ggml.merges"):
        left, _, right = merge.partition(" ")
        if not {left, right, left + right} <= numbers.keys():
            raise fields.error(f"tokenizer.ggml.merges has {clipped(merge)}, of which tokens are missing")
        merges.append((left, right))
    types = fields.counts("tokenizer.ggml.token_type")
    if len(types) != len(tokens):
        raise fields.error(f"tokenizer.ggml.token_type is of {len(types):,} tokens; there are {len(tokens):,}")
    tokenizer = Tokenizer(models.BPE(numbers, merges))
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, byte_level]) if PRE_TOKENIZERS[pre] else byte_level
    tokenizer.decoder = decoders.ByteLevel()
    for number, token_type in enumerate(types):
        if token_type in (CONTROL, USER_DEFINED):
            token = AddedToken(tokens[number], normalized=False, special=token_type == CONTROL)
            tokenizer.add_special_tokens([token]) if token_type == CONTROL else tokenizer.add_tokens([token])
    tokenizer.save(str(folder / "tokenizer.json"))
    named = {
        f"{role}_token": tokens[_token(fields, name, tokens)]
        for role, name in (("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding"))
        if f"tokenizer.ggml.{name}_token_id" in fields
    }
    template = fields.text("tokenizer.chat_template", "")
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": fields.count("llama.context_length"),
            "clean_up_tokenization_spaces": False,
            **named,
            **({"chat_template": template} if template else {}),
        },
    )


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
