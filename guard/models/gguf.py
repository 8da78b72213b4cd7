"""GGUF to the folder that transformers loads: weights as bfloat16 safetensors, configuration, tokenizer, chat template.

The `gguf` package reads and dequantises; this module only renames, undoes llama.cpp's reordering of the query and
key rows, and writes. It knows the llama architecture with a byte-level BPE tokenizer of the kinds in PRE_TOKENIZERS,
and refuses everything else by name. bfloat16 is what such models were trained in; its rounding (2^-9) is far below
the quantisation's.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guard.errors import ModelError
from guard.models.cache import Progress

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
#: GGUF's name of a way to split text before BPE → does it take digits one by one?
PRE_TOKENIZERS = {"smollm": True, "gpt-2": False}
#: GGUF's token types: control tokens, and tokens that were added without being control.
CONTROL, USER_DEFINED = 3, 4


def convert(path: Path, folder: Path, progress: Progress | None = None) -> None:
    """Write a GGUF file's model into a folder that `transformers.AutoModelForCausalLM` and `AutoTokenizer` load."""
    from gguf import GGUFReader

    try:
        reader = GGUFReader(path)
        fields = {name: field.contents() for name, field in reader.fields.items()}
    except (ValueError, IndexError, KeyError) as error:
        raise ModelError(f"{path.name} is no GGUF file that can be read: {error}") from error
    architecture = fields.get("general.architecture")
    if architecture != "llama":
        raise ModelError(f"{path.name} holds the architecture {architecture!r}; only 'llama' can be converted")
    config = _config(fields, {tensor.name for tensor in reader.tensors})
    _write_json(folder / "config.json", config)
    _write_json(
        folder / "generation_config.json",
        {name: config[name] for name in ("bos_token_id", "eos_token_id", "pad_token_id")},
    )
    _write_tokenizer(fields, folder)
    _write_weights(reader, config, folder, progress)


def _config(fields: dict[str, Any], tensors: set[str]) -> dict[str, Any]:
    heads = fields["llama.attention.head_count"]
    hidden = fields["llama.embedding_length"]
    theta = fields.get("llama.rope.freq_base", 10000.0)
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "attention_bias": False,
        "bos_token_id": fields.get("tokenizer.ggml.bos_token_id"),
        "eos_token_id": fields["tokenizer.ggml.eos_token_id"],
        "pad_token_id": fields.get("tokenizer.ggml.padding_token_id", fields["tokenizer.ggml.eos_token_id"]),
        "dtype": "bfloat16",
        "torch_dtype": "bfloat16",  # what transformers called it before version 5
        "head_dim": fields.get("llama.attention.key_length", hidden // heads),
        "hidden_act": "silu",
        "hidden_size": hidden,
        "intermediate_size": fields["llama.feed_forward_length"],
        "max_position_embeddings": fields["llama.context_length"],
        "mlp_bias": False,
        "num_attention_heads": heads,
        "num_hidden_layers": fields["llama.block_count"],
        "num_key_value_heads": fields.get("llama.attention.head_count_kv", heads),
        "rms_norm_eps": float(f"{fields['llama.attention.layer_norm_rms_epsilon']:.6g}"),  # stored as a float32
        "rope_theta": theta,  # before version 5
        "rope_parameters": {"rope_theta": theta, "rope_type": "default"},
        "tie_word_embeddings": "output.weight" not in tensors,
        "use_cache": True,
        "vocab_size": fields.get("llama.vocab_size", len(fields["tokenizer.ggml.tokens"])),
    }


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


def _rename(name: str, values: NDArray[np.float32], config: dict[str, Any]) -> tuple[str | None, NDArray[np.float32]]:
    """Give a tensor transformers' name and row order; no name where transformers computes it itself."""
    if name in OTHER_TENSORS:
        return OTHER_TENSORS[name], values
    if name.startswith("rope_freqs"):
        return None, values
    block, number, part, kind = (*name.split("."), "", "", "")[:4]
    if block != "blk" or part not in BLOCK_TENSORS or kind != "weight":
        raise ModelError(f"the GGUF file holds a tensor {name!r} that is not a llama model's")
    if part in ("attn_q", "attn_k"):
        heads = config["num_attention_heads"] if part == "attn_q" else config["num_key_value_heads"]
        rows, columns = values.shape
        # llama.cpp rotates neighbouring rows, transformers the two halves of a head.
        values = values.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)
    return f"model.layers.{number}.{BLOCK_TENSORS[part]}.weight", values


def _write_tokenizer(fields: dict[str, Any], folder: Path) -> None:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    kind, pre = fields["tokenizer.ggml.model"], fields.get("tokenizer.ggml.pre")
    if kind != "gpt2" or pre not in PRE_TOKENIZERS:
        raise ModelError(f"the GGUF file's tokenizer is {kind!r} with {pre!r}; only byte-level BPE can be converted")
    tokens: list[str] = fields["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ", 1)) for merge in fields["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE({token: number for number, token in enumerate(tokens)}, merges))
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, byte_level]) if PRE_TOKENIZERS[pre] else byte_level
    tokenizer.decoder = decoders.ByteLevel()
    for number, token_type in enumerate(fields["tokenizer.ggml.token_type"]):
        if token_type in (CONTROL, USER_DEFINED):
            token = AddedToken(tokens[number], normalized=False, special=token_type == CONTROL)
            tokenizer.add_special_tokens([token]) if token_type == CONTROL else tokenizer.add_tokens([token])
    tokenizer.save(str(folder / "tokenizer.json"))
    named = {
        f"{role}_token": tokens[fields[f"tokenizer.ggml.{name}_token_id"]]
        for role, name in (("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding"))
        if f"tokenizer.ggml.{name}_token_id" in fields
    }
    template = fields.get("tokenizer.chat_template")
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": fields["llama.context_length"],
            "clean_up_tokenization_spaces": False,
            **named,
            **({"chat_template": template} if template else {}),
        },
    )


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
