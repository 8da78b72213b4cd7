"""Of several things that are wrong with an answer the model is told the first alone, and asked again for each."""

from __future__ import annotations

from openai import OpenAI
from pydantic import BaseModel, Field, ValidationError
from testing.planted.strict import strictly


class Address(BaseModel):
    """Where a parcel goes."""

    street: str = Field(min_length=1)
    postcode: str = Field(pattern=r"^[0-9]{5}$")
    floor: int = Field(ge=0, le=90)


FORMAT = {"type": "json_schema", "json_schema": {"name": "Address", "schema": Address.model_json_schema()}}


def _ask(label: str, client: OpenAI, shown: int | None) -> Address:
    messages = [{"role": "user", "content": f"Read the address:\n{label}"}]
    for _ in range(3):
        choice = client.chat.completions.create(model="m", messages=messages, response_format=FORMAT).choices[0]
        if choice.finish_reason != "stop" or choice.message.content is None:
            raise RuntimeError(f"no answer: {choice.finish_reason}")
        try:
            return Address.model_validate(strictly(choice.message.content))
        except ValidationError as error:
            lines = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()][:shown]
            messages += [
                {"role": "assistant", "content": choice.message.content},
                {"role": "user", "content": "Not valid:\n" + "\n".join(lines)},
            ]
    raise RuntimeError("no valid address in 3 attempts")


def broken(label: str, client: OpenAI) -> Address:
    """Read an address."""
    return _ask(label, client, 1)


def mended(label: str, client: OpenAI) -> Address:
    """Read an address."""
    return _ask(label, client, None)
