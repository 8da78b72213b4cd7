"""Models of llama.cpp: the masks hold, errors end a call, and requests that take turns do not show in each other."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import tiny

if "CI" not in os.environ:  # which has built it
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed: it is built from source; make llamacpp")

import guard
from guard import models
from guard.decoding.completion import Completion
from guard.errors import BudgetExceeded, ModelError
from guard.models.base import Model, Reply, Request
from guard.models.local.llamacpp import LlamaCppModel

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "kind": {"enum": ["invoice", "receipt"]},
        "totals": {"type": "array", "items": {"type": "integer"}, "maxItems": 3},
    },
    "required": ["name", "kind", "totals"],
    "additionalProperties": False,
}
MESSAGES = ({"role": "user", "content": "What is it?"},)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LlamaCppModel:
    """Write the tiny llama as a GGUF file and load it, with one thread: several wait for each other by spinning."""
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    tiny.write_gguf(path, tiny.llama(scale=6.0))
    return LlamaCppModel.from_file(path, n_threads=1, n_threads_batch=1)


def _request(**changes: Any) -> Request:
    return dataclasses.replace(Request(MESSAGES, guard.compile(SCHEMA), max_tokens=80), **changes)


def _timeless(reply: Any) -> Reply:
    assert isinstance(reply, Reply)
    return dataclasses.replace(reply, seconds=0, mask_seconds=0)


def test_a_name_loads_a_file_once(model: LlamaCppModel) -> None:
    path = model.name.removeprefix("llamacpp:")
    loaded = models.load(f"llamacpp:{path}")
    assert isinstance(loaded, LlamaCppModel)
    assert models.load(f"llamacpp:{path}") is loaded
    assert (loaded.name, loaded.generate(_request()).text) == (model.name, model.generate(_request()).text)


def test_its_vocabulary_and_prompt_are_those_of_the_tokenizer(model: LlamaCppModel) -> None:
    """Read from the GGUF file, they say what transformers' tokenizer says."""
    theirs, ours = tiny.vocabulary(), model.vocabulary
    spelled = [theirs.token_bytes(token) for token in range(theirs.size)]
    assert [ours.token_bytes(token) for token in range(theirs.size)] == spelled
    assert not any(ours.token_bytes(token) for token in range(theirs.size, ours.size))
    assert ours.eos == (2, 0)
    text = tiny.tokenizer().apply_chat_template(list(MESSAGES), add_generation_prompt=True, tokenize=False)
    assert model._render(MESSAGES, thinks=False) == text
    assert model._tokenize(text) == tiny.tokenizer().encode(text, add_special_tokens=False)


@pytest.mark.parametrize("temperature", [0.0, 1.0, 5.0])
@pytest.mark.parametrize("seed", range(3))
def test_whatever_it_writes_is_valid(model: LlamaCppModel, temperature: float, seed: int) -> None:
    """Under the least budget too."""
    request = _request(temperature=temperature, seed=seed)
    assert request.compiled is not None
    least = request.compiled.matcher(model.vocabulary).distance()
    for max_tokens in (80, least):
        reply = model.generate(dataclasses.replace(request, max_tokens=max_tokens))
        jsonschema.validate(json.loads(reply.text), SCHEMA)
        assert reply.completion_tokens <= max_tokens
        assert (reply.finish, reply.mode, reply.cost) == ("length" if reply.cut_at else "stop", "masks", 0.0)
        assert "".join(token.text for token in reply.tokens) == reply.text
        chosen = [token for token in reply.tokens if not token.forced]
        assert all(token.logprob <= 0 <= token.removed <= 1 for token in chosen)
        if max_tokens > least:  # the least budget may leave no choice
            assert any(token.margin is not None for token in chosen)


def test_a_cut_is_told_where_the_same_model_would_have_gone_on(model: LlamaCppModel) -> None:
    """The judge is the same model with all the room that it wants: greedy, it begins alike, up to the cut."""
    compiled = guard.compile({"type": "array", "items": {"enum": ["a", "bb", "ccc"]}, "maxItems": 6})
    whole = model.generate(_request(compiled=compiled, max_tokens=200))
    assert (whole.finish, whole.cut_at) == ("stop", ())
    for max_tokens in range(4, whole.completion_tokens + 20):
        reply = model.generate(_request(compiled=compiled, max_tokens=max_tokens))
        assert (reply.finish == "length") == bool(reply.cut_at) == (reply.text != whole.text)


def test_it_is_a_model_and_repeats_itself(model: LlamaCppModel) -> None:
    """Greedy and seeded sampling give the same every time; another seed does not."""
    assert isinstance(model, Model)
    assert model.is_masked
    for request in (_request(), _request(temperature=1.0, seed=7)):
        assert _timeless(model.generate(request)) == _timeless(model.generate(request))
    assert len({model.generate(_request(temperature=2.0, seed=seed)).text for seed in range(5)}) > 1


def test_an_error_while_decoding_ends_the_call(model: LlamaCppModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not swallowed on the way through llama.cpp, and the next call is as good as ever."""
    expected = model.generate(_request()).text
    calls = iter(range(1000))

    def fail(self: Completion, *arguments: Any, **kwargs: Any) -> None:
        if next(calls) == 3:
            raise ZeroDivisionError("a bug")
        take(self, *arguments, **kwargs)

    take = Completion.take
    monkeypatch.setattr(Completion, "take", fail)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        model.generate(_request())
    monkeypatch.undo()
    assert model.generate(_request()).text == expected
    with pytest.raises(BudgetExceeded, match="seconds=1e-09 were over"):
        model.generate(_request(seconds=1e-9))
    assert model.generate(_request()).text == expected


def test_threads_and_streams_get_what_one_gets(model: LlamaCppModel) -> None:
    """Requests in turns, and one in the midst of another's stream, from the same thread."""
    requests = [
        _request(messages=({"role": "user", "content": f"{'more ' * number}?"},), temperature=float(number % 2))
        for number in range(6)
    ]
    alone = [_timeless(model.generate(request)) for request in requests]
    with ThreadPoolExecutor(3) as pool:
        assert [_timeless(reply) for reply in pool.map(model.generate, requests)] == alone
    outer: Iterator[Any] = model.stream(requests[0])
    pieces = [next(outer), next(outer), next(outer)]
    inner: Iterator[Any] = model.stream(requests[1])
    next(inner)
    assert _timeless(model.generate(requests[2])) == alone[2]
    pieces.append(next(outer))
    inner.close()
    *rest, reply = outer
    assert _timeless(reply) == alone[0]
    assert "".join([*pieces, *rest]) == reply.text
    assert _timeless(model.generate(requests[3])) == alone[3]


@pytest.mark.parametrize(
    ("name", "message"),
    [("llamacpp:", "unknown model 'llamacpp:'"), ("llamacpp:/no/such.gguf", "no such file: /no/such.gguf")],
)
def test_a_file_that_is_not_there_is_one_line(name: str, message: str) -> None:
    """Before llama.cpp is asked."""
    with pytest.raises(ModelError, match=message):
        models.load(name)


def test_a_file_that_is_no_model_is_one_line(tmp_path: Path) -> None:
    """The line names the file."""
    (tmp_path / "no.gguf").write_bytes(b"no such thing at all")
    with pytest.raises(ModelError, match=r"can't load .*no\.gguf"):
        models.load(f"llamacpp:{tmp_path / 'no.gguf'}")
