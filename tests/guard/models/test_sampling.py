"""How tokens are drawn on models that decode here, against the definitions, written out slowly."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sidecars import Sidecar, serving_here

from guard.models.base import Sampling
from guard.models.local.sampling import Sampler

LOGITS = st.lists(st.floats(-20, 20, width=32) | st.just(-math.inf), min_size=3, max_size=12)


def penalised(logits: list[float], written: list[int], frequency: float, presence: float) -> list[float]:
    seen = Counter(written)
    return [logit - frequency * seen[t] - presence * (seen[t] > 0) for t, logit in enumerate(logits)]


def nucleus(logits: list[float], top_p: float, temperature: float) -> set[int]:
    """Take tokens, the likeliest first, until they have top_p of the probability."""
    weights = {t: math.exp(logit / temperature) for t, logit in enumerate(logits) if logit > -math.inf}
    taken: set[int] = set()
    for token in sorted(weights, key=lambda t: (-weights[t], t)):
        if taken and sum(weights[t] for t in taken) >= top_p * sum(weights.values()):
            break
        taken.add(token)
    return taken


@given(LOGITS, st.lists(st.integers(0, 2), max_size=6), st.floats(-2, 2), st.floats(-2, 2))
def test_penalties_are_of_what_was_written(
    logits: list[float], written: list[int], frequency: float, presence: float
) -> None:
    sampler = Sampler(Sampling(frequency_penalty=frequency, presence_penalty=presence), 1.0)
    found = sampler.apply(written, np.array(logits, dtype=np.float32))
    assert found.tolist() == pytest.approx(penalised(logits, written, frequency, presence), abs=1e-4)


@given(LOGITS, st.floats(0, 1), st.sampled_from([0.5, 1.0, 2.0]))
def test_the_nucleus_is_the_least_set_that_has_so_much(logits: list[float], top_p: float, temperature: float) -> None:
    given_ = np.array(logits, dtype=np.float32)
    found = Sampler(Sampling(top_p=top_p), temperature).apply([], given_)
    kept = {token for token in range(len(logits)) if found[token] > -np.inf}
    assert all(found[token] == given_[token] for token in kept)
    sizes = [len(nucleus(given_.tolist(), p, temperature)) for p in (max(0.0, top_p - 1e-6), min(1.0, top_p + 1e-6))]
    finite = int((given_ > -np.inf).sum())
    assert min(sizes) <= len(kept) <= (finite if top_p == 1 else max(sizes))
    if kept:
        assert min(given_[list(kept)]) >= max([given_[t] for t in range(len(logits)) if t not in kept], default=-np.inf)


@given(LOGITS, st.integers(0, 5))
def test_the_likeliest_are_told_with_their_probabilities(logits: list[float], count: int) -> None:
    found = Sampler(Sampling(top_logprobs=count), 0.0).likeliest(np.array(logits, dtype=np.float32))
    whole = sum(math.exp(logit) for logit in logits)
    allowed = sorted((logit for logit in logits if logit > -math.inf), reverse=True)[:count]
    assert [math.exp(logprob) for _, logprob in found] == pytest.approx(
        [math.exp(logit) / whole for logit in allowed], rel=1e-3, abs=1e-6
    )


# ---- by the sidecar ----


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    """Start a sidecar whose model decodes here."""
    with serving_here(tmp_path_factory.mktemp("local")) as sidecar:
        yield sidecar


def choice(sidecar: Sidecar, **fields: Any) -> Any:
    reply = sidecar.chat(**{"max_tokens": 60, **fields})
    assert reply.status == 200, reply.data
    return reply.json["choices"][0]


def test_a_nucleus_of_nothing_is_the_likeliest_token(here: Sidecar) -> None:
    greedy = choice(here)["message"]["content"]
    hot = {"temperature": 2, "seed": 5}
    assert choice(here, **hot)["message"]["content"] != greedy
    assert choice(here, **hot, top_p=0)["message"]["content"] == greedy


def test_a_penalty_takes_repetition_away_and_its_opposite_brings_it(here: Sidecar) -> None:
    schema = {"type": "array", "items": {"enum": ["a", "b", "c", "d"]}, "minItems": 8, "maxItems": 8}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}

    def kinds(penalty: float) -> int:
        text = choice(here, response_format=wanted, frequency_penalty=penalty, temperature=1)["message"]["content"]
        return len(set(text))

    assert kinds(-2) <= kinds(0) + 1
    assert kinds(2) >= kinds(-2)


def test_the_likeliest_tokens_stand_beside_each(here: Sidecar) -> None:
    fields = {"logprobs": True, "top_logprobs": 3, "response_format": {"type": "json_object"}}
    tokens = choice(here, **fields)["logprobs"]["content"]
    asked = [token for token in tokens if token["top_logprobs"]]
    assert asked
    for token in asked:  # greedily, the likeliest was taken
        first = token["top_logprobs"][0]
        assert first["logprob"] == pytest.approx(token["logprob"], abs=1e-4)
        if "\ufffd" not in first["token"]:  # half of a character has no text of its own
            assert token["token"] == first["token"]
        assert len(token["top_logprobs"]) <= 3


def test_the_bytes_of_the_likeliest_tokens_are_their_own_also_of_half_a_character(here: Sidecar) -> None:
    plain = choice(here, logprobs=True, top_logprobs=1, max_tokens=8)
    taken = b"".join(bytes(token["top_logprobs"][0]["bytes"]) for token in plain["logprobs"]["content"])
    assert taken.decode(errors="replace") == plain["message"]["content"]
    with pytest.raises(UnicodeDecodeError):  # this model writes bytes that are no character by themselves
        taken.decode()


@pytest.mark.parametrize(
    "fields", [{"top_p": 1.5}, {"top_p": "x"}, {"frequency_penalty": 3}, {"presence_penalty": -3}, {"top_logprobs": 2}]
)
@pytest.mark.parametrize("how", [{}, {"response_format": {"type": "json_object"}}])
def test_what_is_out_of_bounds_is_400(here: Sidecar, fields: dict[str, Any], how: dict[str, Any]) -> None:
    reply = here.chat(**fields, **how)
    assert (reply.status, reply.json["error"]["param"]) == (400, next(iter(fields)))


@pytest.mark.parametrize("path", ["chat/completions", "completions"])
def test_a_plain_stream_tells_what_it_used(here: Sidecar, path: str) -> None:
    body: dict[str, Any] = {"model": "m", "max_tokens": 12}
    body |= {"messages": [{"role": "user", "content": "Hi."}]} if "chat" in path else {"prompt": "Hi."}
    whole = here.ask("POST", f"/v1/{path}", body).json["usage"]
    streamed = here.ask("POST", f"/v1/{path}", {**body, "stream": True, "stream_options": {"include_usage": True}})
    assert streamed.events[-2]["usage"] == whole
    assert whole["completion_tokens"] > 0
    assert streamed.events[-2]["choices"] == []
