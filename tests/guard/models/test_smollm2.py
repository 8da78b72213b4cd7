"""SmolLM2 itself: fetched into the user's cache once, it reads a document and can't write anything invalid."""

from __future__ import annotations

import json

import jsonschema
import pytest

import guard
from guard import models
from guard.models.base import Model, Request

INVOICE = {
    "type": "object",
    "properties": {
        "vendor": {"type": "string", "maxLength": 40},
        "date": {"type": "string", "pattern": "^\\d{4}-\\d{2}-\\d{2}$"},
        "quantity": {"type": "integer"},
        "paid": {"type": "boolean"},
    },
    "required": ["vendor", "date", "quantity", "paid"],
    "additionalProperties": False,
}
DOCUMENT = "Invoice from Northwind Traders, issued on 2024-03-05, for 12 garden chairs. It has not been paid yet."
MESSAGES = (
    {"role": "system", "content": "You extract data as JSON."},
    {"role": "user", "content": f"{DOCUMENT}\n\nGive the vendor, date, quantity and paid as JSON."},
)


@pytest.fixture(scope="module")
def model() -> Model:
    """Load the embedded default, fetched where it is not in the cache."""
    return models.load("smollm2")


def test_its_plain_answer_is_sensible(model: Model) -> None:
    """The weights, the tokenizer and the chat template are the model's own."""
    messages = ({"role": "user", "content": "What is the capital of France?"},)
    reply = model.generate(Request(messages, None, max_tokens=20))
    assert (reply.text, reply.finish) == ("The capital of France is Paris.", "stop")
    assert reply.completion_tokens == 8


def test_a_document_becomes_the_value_that_it_states(model: Model) -> None:
    """A third of the tokens at least cost no forward pass."""
    reply = model.generate(Request(MESSAGES, guard.compile(INVOICE), max_tokens=100))
    assert json.loads(reply.text) == {
        "vendor": "Northwind Traders",
        "date": "2024-03-05",
        "quantity": 12,
        "paid": False,
    }
    assert reply.finish == "stop"
    assert reply.forced_tokens > reply.completion_tokens / 3
    assert not reply.text.startswith(" ")


@pytest.mark.parametrize("seed", range(3))
def test_the_least_budget_is_enough(model: Model, seed: int) -> None:
    """Hot sampling under the tightest budget still ends in a valid value."""
    compiled = guard.compile(INVOICE)
    least = compiled.matcher(model.vocabulary).distance()
    reply = model.generate(Request(MESSAGES, compiled, max_tokens=least, temperature=3.0, seed=seed))
    assert reply.completion_tokens <= least
    jsonschema.validate(json.loads(reply.text), INVOICE)
