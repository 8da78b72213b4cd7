"""Models small enough for tests: a byte-level tokenizer of 350 tokens, a random llama, and a model that is noise."""

from __future__ import annotations

import functools
import json
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gguf
import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from guard import Vocabulary

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
#: A reasoning model's: the place to think in is opened by the model, and closed where it must not think.
REASONING = TEMPLATE.replace(
    "assistant\n", "assistant\n{% if enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}"
)
#: Another's: the place is always open.
OPEN = TEMPLATE.replace("assistant\n", "assistant\n<think>\n")
#: A template that knows tools, as many models have it.
TOOLS = (
    "{% if tools %}<|im_start|>system\n{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] or '' }}"
    "{% for call in message['tool_calls'] or [] %}{% if message['content'] or not loop.first %}\n{% endif %}"
    '<tool_call>\n{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}\n'
    "</tool_call>{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
#: A reasoning model's that knows tools, as Qwen3 has it: earlier thinking is shown, and none where it must not think.
THINKING_TOOLS = TOOLS.replace(
    "\n{{ message['content'] or '' }}",
    "\n{% if message['role'] == 'assistant' %}<think>\n{{ message['reasoning_content'] or '' }}\n</think>\n\n"
    "{% endif %}{{ message['content'] or '' }}",
).replace(
    "assistant\n{% endif %}",
    "assistant\n{% if enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}",
)
#: Another's: the prompt opens the place, as Qwen3.5 has it.
OPENED_TOOLS = THINKING_TOOLS.replace("{% endif %}{% endif %}", "{% else %}<think>\n{% endif %}{% endif %}")
#: Templates with ids of their own: Kimi's name the tool and count the calls, Mistral's have nine characters.
KIMI = """\
{%- for message in messages %}<|im_{{ message.role }}|>{{ message.content or '' }}
{%- if message.tool_calls %}<|tool_calls_section_begin|>{% for call in message.tool_calls -%}
<|tool_call_begin|>{{ call.id }}<|tool_call_argument_begin|>{{ call.function.arguments | tojson }}<|tool_call_end|>
{%- endfor %}<|tool_calls_section_end|>{% endif %}
{%- if message.tool_call_id %}## Return of {{ message.tool_call_id }}{% endif %}<|im_end|>
{%- endfor %}{% if add_generation_prompt %}<|im_assistant|>{% endif %}
"""
MISTRAL = """\
{%- for message in messages %}{% if message.tool_calls %}[TOOL_CALLS][{% for call in message.tool_calls -%}
{% if call.id | length != 9 %}{{ raise_exception("ids have nine characters") }}{% endif -%}
{{ (call.function | tojson)[:-1] }}, "id": "{{ call.id }}"}{% if not loop.last %}, {% endif -%}
{% endfor %}]<|im_end|>{% elif message.role == 'tool' -%}
{% if message.tool_call_id | length != 9 %}{{ raise_exception("ids have nine characters") }}{% endif -%}
[TOOL_RESULTS]{"content": {{ message.content }}, "call_id": "{{ message.tool_call_id }}"}[/TOOL_RESULTS]
{%- elif message.role == 'assistant' %}{{ message.content }}<|im_end|>
{%- else %}[INST]{{ message.content }}[/INST]{% endif %}{% endfor %}
"""
#: A template that writes arguments member by member, as Qwen3-Coder has it, member by member.
TAGGED = """\
{% for message in messages %}<|im_start|>{{ message.role }}
{{ message.content or '' }}
{%- for call in message.tool_calls or [] %}
{%- if message.content or not loop.first %}{{ '\\n' }}{% endif %}
{{- '<tool_call>\\n<function=' + call.function.name + '>\\n' }}
{%- for key, value in call.function.arguments.items() %}
{{- '<parameter=' + key + '>\\n' + (value if value is string else value | tojson) + '\\n</parameter>\\n' }}
{%- endfor %}{{ '</function>\\n</tool_call>' }}{% endfor %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
#: The same on one line, as GLM has it: a JSON string can spell a call.
ONE_LINE = """\
{% for message in messages %}<|{{ message.role }}|>{{ message.content or '' }}
{%- for call in message.tool_calls or [] %}{{ '<tool_call>' + call.function.name }}
{%- for key, value in call.function.arguments.items() %}
{{- '<arg_key>' + key + '</arg_key><arg_value>' + (value if value is string else value | tojson) + '</arg_value>' }}
{%- endfor %}{{ '</tool_call>' }}{% endfor %}<|im_end|>
{%- endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"""
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
def words_tokenizer() -> PreTrainedTokenizerFast:
    """Make a BPE tokenizer of Llama 2's kind: no pieces, `▁` for the space, bytes as a last resort."""
    words = ["▁", *"abcdefghijklmnopqrstuvwxyzAZé0123456789\"':,{}[]_.-", '▁"', '":', '",', "na", "me", "name", "names"]
    words += ["▁na", "▁name", "to", "tal", "total", "▁▁", '["', "ta", "al"]
    tokens = {"<unk>": 0, "<s>": 1, "</s>": 2, **{f"<0x{byte:02X}>": byte + 3 for byte in range(256)}}
    for word in words:
        tokens.setdefault(word, len(tokens))
    merges = [(w[:cut], w[cut:]) for w in words for cut in range(1, len(w)) if w[:cut] in tokens and w[cut:] in tokens]
    backend = Tokenizer(models.BPE(tokens, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def reasoning_tokenizer(template: str = REASONING, *, tags: tuple[str, ...] = ("<think>", "</think>")) -> Any:
    """Give the tokenizer of a reasoning model, whose tags are tokens that spell themselves, or are text."""
    made = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(tokenizer().backend_tokenizer.to_str()),
        bos_token=SPECIAL[1],
        eos_token=SPECIAL[2],
        pad_token=SPECIAL[2],
        chat_template=template,
    )
    made.add_tokens(list(tags))
    return made


@functools.cache
def vocabulary() -> Vocabulary:
    """Read the tokenizer's vocabulary, with two end-of-sequence tokens."""
    return Vocabulary.from_tokenizer(tokenizer(), eos=[2, 0])


def llama(seed: int = 0, *, padded_to: int = 384, scale: float = 20.0, context: int = CONTEXT) -> LlamaForCausalLM:
    """Make a llama of random weights whose logits are wider than the vocabulary and far apart."""
    config = LlamaConfig(
        vocab_size=padded_to,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context,
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


def rounded(model: LlamaForCausalLM) -> LlamaForCausalLM:
    """The model with weights that bfloat16 can hold, so that a conversion loses nothing."""
    return model.to(torch.bfloat16).to(torch.float32)


def write_gguf(
    path: Path, model: LlamaForCausalLM, *, architecture: str = "llama", pre: str = "smollm", kind: str = "F32"
) -> None:
    """Write a llama and the tiny tokenizer as llama.cpp's converter does; matrices in blocks of that kind."""
    config, backend = model.config, tokenizer().backend_tokenizer
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    described = json.loads(backend.to_str())
    names = sorted(backend.get_vocab(), key=backend.get_vocab().__getitem__)
    names += [f"[PAD{number}]" for number in range(len(names), config.vocab_size)]
    types = [3 if name in SPECIAL else 5 if name.startswith("[PAD") else 1 for name in names]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(names)
    writer.add_token_types(types)
    writer.add_token_merges([" ".join(merge) for merge in described["model"]["merges"]])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_chat_template(TEMPLATE)
    from guard.models.local.gguf import BLOCK_TENSORS, OTHER_TENSORS

    blocks = gguf.GGMLQuantizationType[kind]

    def add(name: str, values: Any) -> None:
        if kind == "F32" or values.ndim < 2:
            writer.add_tensor(name, values)
        else:
            writer.add_tensor(name, gguf.quants.quantize(values, blocks), raw_dtype=blocks)

    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    for theirs, ours in OTHER_TENSORS.items():
        add(theirs, weights[ours])
    for layer in range(config.num_hidden_layers):
        for theirs, ours in BLOCK_TENSORS.items():
            values = weights[f"model.layers.{layer}.{ours}.weight"]
            heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}.get(theirs)
            if heads is not None:
                rows, columns = values.shape
                values = values.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)
            add(f"blk.{layer}.{theirs}.weight", np.ascontiguousarray(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
