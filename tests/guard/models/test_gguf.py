"""Hostile GGUF files: whatever a file says, the answer is a model or a typed error, in a time bounded by its size."""

from __future__ import annotations

import itertools
import random
import shutil
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from guard.errors import ModelError
from guard.models.local import gguf_header
from guard.models.local.gguf import convert

SECONDS = 20.0  #: Of processor time for one file of 100 kB; without the check of the header some took for ever.
LARGE = (2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**50, 2**63 - 1, 2**63, 2**64 - 1)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    tiny.write_gguf(path, tiny.rounded(tiny.llama()))
    gguf_header.check(path)
    return path.read_bytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("out")
    yield path
    shutil.rmtree(path)


def tried(data: bytes, folder: Path) -> str:
    """Convert a file's bytes; returns "" or what the typed error says."""
    path = folder / "mutated.gguf"
    path.write_bytes(data)
    start = time.process_time()
    try:
        convert(path, folder)
    except ModelError as error:
        words = str(error)
        assert words.startswith(("mutated.gguf ", "the GGUF file"))
        assert len(words) < 1_000
    else:
        words = ""
    assert time.process_time() - start < SECONDS
    return words


def header_size(data: bytes) -> int:
    reader_start = data.find(b"token_embd.weight")
    return reader_start + 4_000


def test_a_header_of_two_to_the_fifty_items_ends_at_once(folder: Path) -> None:
    head = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1) + b"a"
    array = head + struct.pack("<IIQ", 9, 8, 2**50)
    assert "1,125,899,906,842,624 items" in tried(array, folder)
    assert "fields" in tried(b"GGUF" + struct.pack("<IQQ", 3, 0, 2**50), folder)
    assert "tensors" in tried(b"GGUF" + struct.pack("<IQQ", 3, 2**50, 0), folder)
    assert "array of arrays" in tried(head + struct.pack("<IIQ", 9, 9, 1) * 1_000, folder)
    assert "ends before a does" in tried(head + struct.pack("<IQ", 8, 2**50), folder)


def test_every_truncation_of_a_header_is_a_typed_error(good: bytes, folder: Path) -> None:
    r = random.Random(1)
    for end in {*range(64), *(r.randrange(len(good)) for _ in range(150))}:
        assert tried(good[:end], folder)


def test_every_number_of_a_header_may_be_anything(good: bytes, folder: Path) -> None:
    """Each place of the first fields, and places drawn from the rest, as a number of 32 or of 64 bits."""
    r = random.Random(2)
    end = header_size(good)
    refused = 0
    for at in [*range(4, 120), *(r.randrange(4, end) for _ in range(150))]:
        size = r.choice((4, 8))
        value = r.choice((0, 1, r.randrange(2**16), *LARGE)) % 2 ** (8 * size)
        refused += bool(tried(good[:at] + value.to_bytes(size, "little") + good[at + size :], folder))
    assert refused > 100


@given(data=st.data())
@settings(max_examples=60)
def test_mutated_files_are_models_or_typed_errors(good: bytes, folder: Path, data: st.DataObject) -> None:
    end = header_size(good)
    changed = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, end))
        how = data.draw(st.sampled_from(["byte", "cut", "double", "insert"]))
        if how == "byte":
            changed[at] = data.draw(st.integers(0, 255))
        elif how == "cut":
            del changed[at : at + data.draw(st.integers(1, 300))]
        elif how == "double":
            changed[at:at] = changed[at : at + data.draw(st.integers(1, 300))]
        else:
            changed[at:at] = data.draw(st.binary(max_size=40))
    tried(bytes(changed), folder)


#: What a llama with a tokenizer must say, and what of it is of no use.
FIELDS: dict[str, list[Any]] = {
    "llama.attention.head_count": [None, 0, 3, "two", 2**31],
    "llama.attention.head_count_kv": [0, 3, "two"],
    "llama.embedding_length": [None, 0, "x"],
    "llama.feed_forward_length": [None, 0, "x"],
    "llama.context_length": [None, 0, "x"],
    "llama.block_count": [None, 0, "x"],
    "llama.attention.layer_norm_rms_epsilon": [None, float("nan"), float("inf"), -1.0, "x"],
    "llama.rope.freq_base": [float("nan"), 0.0, "x"],
    "tokenizer.ggml.tokens": [None, "x", [1, 2], ["a", "a", "a"]],
    "tokenizer.ggml.merges": [None, "x", ["a"], ["nobody knows"], [1]],
    "tokenizer.ggml.token_type": [None, "x", ["a"], [1]],
    "tokenizer.ggml.eos_token_id": [None, 2**31, "x"],
    "tokenizer.ggml.bos_token_id": [2**20, "x"],
    "tokenizer.ggml.model": [None, 3],
    "tokenizer.ggml.pre": [None, 3],
    "general.architecture": [None, 3],
    "tokenizer.chat_template": [3],
}


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, values in FIELDS.items() for v in values], ids=str)
def test_a_field_that_is_missing_or_of_no_use_is_named(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: Any
) -> None:
    add = gguf.GGUFWriter.add_key_value

    def changed(self: Any, key: str, val: Any, vtype: Any, *args: Any, **kwargs: Any) -> None:
        if key != name:
            add(self, key, val, vtype, *args, **kwargs)
        elif value is not None:
            kinds = {str: "STRING", float: "FLOAT32", int: "UINT32", list: "ARRAY"}
            add(self, key, value, gguf.GGUFValueType[kinds[type(value)]])

    monkeypatch.setattr(gguf.GGUFWriter, "add_key_value", changed)
    tiny.write_gguf(tmp_path / "tiny.gguf", tiny.rounded(tiny.llama()))
    words = tried((tmp_path / "tiny.gguf").read_bytes(), folder)
    assert name in words or any(part in words for part in ("architecture", "tokenizer is", "heads"))


def test_the_check_takes_what_the_format_allows(good: bytes, tmp_path: Path) -> None:
    """Both byte orders, both versions, every type of value."""
    for order, version in itertools.product("<>", (2, 3)):
        path = tmp_path / "other.gguf"
        values = b"".join(
            struct.pack(f"{order}Q", len(name)) + name + struct.pack(f"{order}I", kind) + bytes(size)
            for kind, size in ((0, 1), (2, 2), (5, 4), (6, 4), (7, 1), (10, 8), (12, 8), (8, 8))
            for name in (b"n%d" % kind,)
        )
        path.write_bytes(b"GGUF" + struct.pack(f"{order}IQQ", version, 0, 8) + values)
        gguf_header.check(path)
    assert good[:4] == b"GGUF"
