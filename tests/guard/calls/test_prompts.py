"""What a model is asked: the system's message, examples as turns, examples of fields, parts of content, one text."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

import pytest
import tiny
from pydantic import BaseModel, Field
from scripted import Scripted

import guard
from guard.models import chat_messages
from guard.models.base import Request
from guard.models.local.transformers import TransformersModel


class Person(BaseModel):
    """Who it is."""

    name: str = Field(description="as it is written", examples=["Ada", "Grace"])
    age: Annotated[int, Field(ge=0, examples=[36])]
    city: str = ""


ADA = '{"name": "Ada", "age": 36, "city": ""}'
FIELDS = '- name: as it is written (such as "Ada", "Grace")\n- age: such as 36'


def test_examples_of_fields_are_shown_with_their_descriptions() -> None:
    @guard.structured(model=Scripted(ADA))
    def read(text: str) -> Person:
        """Read the person."""

    (message,) = read.messages("Ada, 36")
    assert message == {"role": "user", "content": f"Ada, 36\n\nRead the person. Answer as JSON.\n{FIELDS}"}


def test_the_system_and_examples_come_before_the_question_as_turns_of_the_conversation() -> None:
    model = Scripted(ADA)

    @guard.structured(
        model=model, system="Be exact.", examples=[("Grace, 85", Person(name="Grace", age=85, city="NY"))]
    )
    def read(text: str) -> Person:
        """Read the person."""

    read("Ada, 36")
    asked = f"Read the person. Answer as JSON.\n{FIELDS}"
    assert list(model.requests[0].messages) == [
        {"role": "system", "content": "Be exact."},
        {"role": "user", "content": f"Grace, 85\n\n{asked}"},
        {"role": "assistant", "content": '{"name": "Grace", "age": 85, "city": "NY"}'},
        {"role": "user", "content": f"Ada, 36\n\n{asked}"},
    ]
    assert [message["role"] for message in read.using(system="", examples=()).messages("x")] == ["user"]
    assert len(read.using(examples=[("a", {"name": "A", "age": 1})] * 2).messages("x")) == 6


def test_examples_of_several_arguments_and_of_methods() -> None:
    class Desk:
        @guard.structured(
            model=Scripted(ADA), examples=[(("t", "en"), ADA_VALUE), ({"text": "u", "language": "de"}, ADA_VALUE)]
        )
        def read(self, text: str, language: str) -> Person:
            """Read the person."""

    messages = Desk().read.messages("v", "fr")
    assert [message["content"].split("\n\nRead")[0] for message in messages[::2]] == [
        "text:\nt\n\nlanguage:\nen",
        "text:\nu\n\nlanguage:\nde",
        "text:\nv\n\nlanguage:\nfr",
    ]


ADA_VALUE = Person(name="Ada", age=36)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"examples": [("text", {"name": "Ada", "age": -1})]}, r"examples\[0\]: the answer is not valid: /age"),
        ({"examples": [("text", ADA_VALUE, 3)]}, "must be a list of pairs"),
        ({"examples": {"text": ADA_VALUE}}, "must be a list of pairs"),
        ({"examples": [(("a", "b"), ADA_VALUE)]}, r"^$"),  # one argument, which may be a tuple
        ({"system": 3}, "system=3 must be a text"),
    ],
)
def test_a_wrong_example_is_an_error_where_the_function_is_decorated(settings: dict[str, Any], words: str) -> None:
    def read(text: object) -> Person:
        """Read the person."""

    if words == "^$":
        assert len(guard.structured(model=Scripted(ADA), **settings)(read).messages("x")) == 3
        return
    with pytest.raises(ValueError, match=words):
        guard.structured(model=Scripted(ADA), **settings)(read)


def test_messages_may_be_one_text_and_a_call_may_have_its_seed() -> None:
    model = Scripted(*[ADA] * 5)
    asking = guard.Guard(model, seed=5, system="Be exact.", examples=[("Grace, 85", {"name": "Grace", "age": 85})])
    assert asking.generate(Person, "Ada, 36", seed=11) == ADA_VALUE
    assert asking.traced(Person, "Ada, 36")[0] == ADA_VALUE
    assert [*asking.stream(Person, "Ada, 36", seed=12)][-1] == ADA_VALUE
    assert asyncio.run(asking.agenerate(Person, "Ada, 36", seed=13)) == ADA_VALUE
    assert asyncio.run(asking.atraced(Person, "Ada, 36", seed=14))[1].options["seed"] == 14
    assert [request.seed for request in model.requests] == [11, 5, 12, 13, 14]
    assert list(model.requests[0].messages) == [
        {"role": "system", "content": "Be exact."},
        {"role": "user", "content": "Grace, 85"},
        {"role": "assistant", "content": '{"name": "Grace", "age": 85}'},
        {"role": "user", "content": "Ada, 36"},
    ]
    with pytest.raises(ValueError, match="leave one out"):
        asking.generate(Person, [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "x"}])


@pytest.mark.parametrize("is_in_parts", [False, True])
def test_more_text_than_any_model_reads_is_refused_before_one_is_asked(is_in_parts: bool) -> None:
    most = "x" * chat_messages.MOST_TEXT
    parts = [{"type": "text", "text": most}, {"type": "text", "text": ""}]
    model = Scripted(*[ADA] * 2)
    for more, is_refused in (("", False), ("y", True)):
        parts[1]["text"] = more
        asked = [{"role": "user", "content": parts if is_in_parts else most + more}]
        if is_refused:
            with pytest.raises(guard.Truncated, match="more than any model reads"):
                guard.Guard(model).generate(Person, asked)
        else:
            guard.Guard(model).plan(guard.Guard(model).target(Person), asked)
    assert model.requests == []


PARTS = [{"type": "text", "text": "What is"}, {"type": "text", "text": "it?"}]
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


def test_parts_that_are_text_are_read_as_lines_and_a_picture_is_refused_by_name() -> None:
    model = TransformersModel("tiny", tiny.llama(), tiny.tokenizer())
    one = model._begin(Request(({"role": "user", "content": PARTS},), None, max_tokens=9))[0]
    other = model._begin(Request(({"role": "user", "content": "What is\nit?"},), None, max_tokens=9))[0]
    assert one == other
    with pytest.raises(
        guard.Unsupported, match=r"tiny reads text alone, and messages\[1\]\.content\[2\] is 'image_url'"
    ):
        model.generate(
            Request(({"role": "user", "content": "x"}, {"role": "user", "content": [*PARTS, PICTURE]}), None)
        )
    for wrong in (3, [3], [{"type": "text"}], {"type": "text", "text": "x"}):
        with pytest.raises(guard.Unsupported):
            chat_messages.as_texts([{"role": "user", "content": wrong}], "tiny")


def test_a_picture_goes_on_to_the_tier_that_takes_it() -> None:
    seeing = Scripted(ADA)
    asking = guard.Guard(TransformersModel("tiny", tiny.llama(), tiny.tokenizer()), escalate_to=seeing)
    messages = [{"role": "user", "content": [*PARTS, PICTURE]}]
    value, call = asking.traced(Person, messages)
    assert (value, call.escalations, call.served) == (ADA_VALUE, ("error",), "scripted-1")
    assert json.loads(json.dumps(list(seeing.requests[0].messages))) == messages
