"""Custom tools, whose input is one text: free, of a regular expression, or of a grammar that is not recursive."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import tiny
from sidecars import Reply, Sidecar, model, serving, serving_here

import guard
from guard.schemas import compile as compiled
from guard.schemas.structural import grammar, trees
from guard.testing import fake_server

LARK = 'start: term (" + " term)*\nterm: NUMBER | "(" NUMBER ")"\nNUMBER: /[0-9]{1,2}/\n'
SUM = re.compile(r"(\d{1,2}|\(\d{1,2}\))( \+ (\d{1,2}|\(\d{1,2}\)))*")
PLATE = r"[A-Z]{1,3}-\d{2,4}"
FORMATS: dict[str, Any] = {
    "text": {"type": "text"},
    "regex": {"type": "grammar", "grammar": {"syntax": "regex", "definition": PLATE}},
    "lark": {"type": "grammar", "grammar": {"syntax": "lark", "definition": LARK}},
}
FITS = {"text": re.compile(r".*", re.DOTALL), "regex": re.compile(PLATE), "lark": SUM}
TEMPLATES = {"own form": tiny.TOOLS, "words": tiny.TEMPLATE}


@pytest.fixture(scope="module", params=TEMPLATES)
def here(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    """Start a sidecar whose model decodes here, with a template that knows tools and one that does not."""
    with serving_here(tmp_path_factory.mktemp("local"), template=TEMPLATES[request.param]) as sidecar:
        yield sidecar


def custom(form: str, name: str = "do") -> dict[str, Any]:
    return {"type": "custom", "custom": {"name": name, "description": "Do it.", "format": FORMATS[form]}}


def flat(form: str, name: str = "do") -> dict[str, Any]:
    given = FORMATS[form]
    told = {"type": given["type"], **given.get("grammar", {})}
    return {"type": "custom", "name": name, "description": "Do it.", "format": told}


ASKED: dict[str, Any] = {"temperature": 1.0, "max_tokens": 150}


def inputs(reply: Reply) -> list[str]:
    assert reply.status == 200, reply.json
    choice = reply.json["choices"][0]
    calls = choice["message"]["tool_calls"]
    assert all(call["type"] == "custom" and "function" not in call for call in calls)
    assert len({call["id"] for call in calls}) == len(calls)
    return [call["custom"]["input"] for call in calls]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("form", FORMATS)
def test_the_input_of_a_call_is_in_the_language_in_chats(here: Sidecar, form: str, seed: int) -> None:
    reply = here.chat(tools=[custom(form)], tool_choice="required", seed=seed, **ASKED)
    said = inputs(reply)
    assert said
    assert all(FITS[form].fullmatch(text) for text in said)
    events = here.chat(tools=[custom(form)], tool_choice="required", seed=seed, stream=True, **ASKED).events
    told: dict[int, list[str]] = {}
    for event in events[:-1]:
        for call in event["choices"][0]["delta"].get("tool_calls") or []:
            assert "function" not in call
            if "id" in call:
                assert (call["type"], call["custom"]["name"]) == ("custom", "do")
            told.setdefault(call["index"], []).append(call["custom"].get("input", ""))
    assert ["".join(parts) for parts in told.values()] == said


@pytest.mark.parametrize("form", FORMATS)
def test_the_input_of_a_call_is_in_the_language_in_responses(here: Sidecar, form: str) -> None:
    body: dict[str, Any] = {"model": "m", "input": "?", "tools": [flat(form)], "temperature": 1.0}
    body |= {"tool_choice": {"type": "custom", "name": "do"}, "max_output_tokens": 150}
    reply = here.ask("POST", "/v1/responses", body)
    assert reply.status == 200, reply.json
    (item,) = [item for item in reply.json["output"] if item["type"] == "custom_tool_call"]
    assert (item["name"], bool(FITS[form].fullmatch(item["input"]))) == ("do", True)
    events = here.ask("POST", "/v1/responses", {**body, "stream": True}).events
    deltas = [event["delta"] for event in events if event["type"] == "response.custom_tool_call_input.delta"]
    (done,) = [event for event in events if event["type"] == "response.custom_tool_call_input.done"]
    assert "".join(deltas) == done["input"] == item["input"]
    result = {"type": "custom_tool_call_output", "call_id": item["call_id"], "output": "done"}
    again = {**body, "input": [{"role": "user", "content": "?"}, item, result], "tool_choice": "none"}
    reply = here.ask("POST", "/v1/responses", again)
    assert reply.status == 200, reply.json
    assert reply.json["output"][-1]["type"] == "message"


def test_messages_call_a_function_custom(here: Sidecar) -> None:
    schema = {
        "type": "object",
        "properties": {"on": {"type": "boolean"}},
        "required": ["on"],
        "additionalProperties": False,
    }
    tool = {"type": "custom", "name": "lamp", "input_schema": schema}
    body = {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "?"}], "tools": [tool]}
    reply = here.ask("POST", "/v1/messages", {**body, "tool_choice": {"type": "tool", "name": "lamp"}})
    assert reply.status == 200
    assert reply.json["content"][-1]["input"].keys() == {"on"}
    grammars = {"type": "custom", "name": "do", "format": FORMATS["lark"]}  # which this protocol does not have
    assert here.ask("POST", "/v1/messages", {**body, "tools": [grammars]}).status == 400


def test_functions_and_custom_tools_beside_each_other(here: Sidecar) -> None:
    clock = {
        "type": "function",
        "function": {"name": "clock", "parameters": {"type": "object", "additionalProperties": False}},
    }
    tools = [clock, custom("lark")]
    for choice, kind in (
        ({"type": "custom", "custom": {"name": "do"}}, "custom"),
        ({"type": "function", "function": {"name": "clock"}}, "function"),
    ):
        reply = here.chat(tools=tools, tool_choice=choice, **ASKED)
        assert reply.status == 200, reply.json
        assert {call["type"] for call in reply.json["choices"][0]["message"]["tool_calls"]} == {kind}
    some = {"mode": "required", "tools": [{"type": "custom", "custom": {"name": "do"}}]}
    reply = here.chat(tools=tools, tool_choice={"type": "allowed_tools", "allowed_tools": some}, **ASKED)
    assert all(SUM.fullmatch(text) for text in inputs(reply))
    call = {"id": "call_1", "type": "custom", "custom": {"name": "do", "input": "1 + 2"}}
    messages = [
        {"role": "user", "content": "?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "3"},
    ]
    reply = here.chat(messages=messages, tools=tools, tool_choice="none", **ASKED)
    assert reply.status == 200, reply.json


def test_the_sdk_reads_custom_calls(here: Sidecar) -> None:
    with openai.OpenAI(base_url=here.url, api_key="unused", max_retries=0) as client:
        tools: Any = [custom("regex")]
        asked: Any = {"type": "custom", "custom": {"name": "do"}}
        messages: Any = [{"role": "user", "content": "Which car?"}]
        made = client.chat.completions.create(
            model="m", messages=messages, tools=tools, tool_choice=asked, max_tokens=100
        )
        (call,) = made.choices[0].message.tool_calls or []
        assert call.type == "custom"
        assert re.fullmatch(PLATE, call.custom.input)
        told: Any = [flat("regex")]
        answered = client.responses.create(model="m", input="Which car?", tools=told, tool_choice="required")
        item = answered.output[-1]
        assert item.type == "custom_tool_call"
        assert re.fullmatch(PLATE, item.input)


@pytest.mark.parametrize(
    ("form", "param", "words"),
    [
        ({"type": "grammar", "grammar": {"syntax": "lark", "definition": 'start: "(" start ")" | "x"'}}, "", "'start'"),
        ({"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: %"}}, "", "not expected"),
        ({"type": "grammar", "grammar": {"syntax": "regex", "definition": "(a"}}, "", "character"),
        ({"type": "grammar", "grammar": {"syntax": "regex", "definition": r"(a|b)\1"}}, "", "back-reference"),
        ({"type": "grammar", "grammar": {"syntax": "gbnf", "definition": "x"}}, "syntax", "lark, regex"),
        ({"type": "grammar"}, "-syntax", "lark, regex"),
        ({"type": "xml"}, "type", "text or grammar"),
    ],
)
def test_what_can_not_be_kept_is_refused_by_its_place(here: Sidecar, form: Any, param: str, words: str) -> None:
    tool = {"type": "custom", "custom": {"name": "do", "format": form}}
    error = here.chat(tools=[tool])
    assert error.status == 400
    place = f"tools.0.custom.format{'' if param in ('-syntax', 'type') else '.grammar'}"
    assert error.json["error"]["param"] == f"{place}.{param.removeprefix('-') or 'definition'}"
    assert words in error.json["error"]["message"]


def test_a_provider_behind_a_local_model_is_asked_in_its_own_words(tmp_path: Path) -> None:
    def answer(request: fake_server.ClientRequest) -> fake_server.Answer:
        assert request.body["tools"][0]["type"] == "custom"
        first = not any(message["role"] == "tool" for message in request.body["messages"])
        made = {"name": "do", "input": "1 plus 2" if first else "1 + 2"}
        call = {"id": "call_x", "type": "custom", "custom": made}
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
        said = {"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}], "model": "m"}
        return fake_server.Answer(raw=json.dumps(said).encode())

    with fake_server.Server(answer) as provider:
        tiny.llama().save_pretrained(tmp_path / "model")
        tiny.tokenizer().save_pretrained(tmp_path / "model")
        first = f'[serve.models.m]\nmodel = "transformers:{tmp_path / "model"}"\nretries = 1\nescalate_to = ["p"]\n'
        with serving(tmp_path, first + model(provider.url, "p")) as sidecar:
            # So few tokens that the model here gives no whole call.
            reply = sidecar.chat(tools=[custom("lark")], tool_choice="required", max_tokens=5)
            assert inputs(reply) == ["1 + 2"]
        again = provider.requests[-1].body["messages"]
        assert again[-2]["tool_calls"][0]["custom"] == {"name": "do", "input": "1 plus 2"}


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        (LARK, ["1", "(12) + 3"], ["", "1 +", "123", "1 + 2 "]),
        (
            'root ::= "a]\\\\" [^a-c\\n] | "é𝄞" digits\ndigits ::= [0-9] | [0-9] digits',
            ["a]\\x", "é𝄞07"],
            ["a]\\a", "é"],
        ),
        (r"start: /\bfoo\b(?! )/ | /^$/ | /[\]^-]+/", ["foo", "", "]^-"], ["foo ", "x"]),
        ('start: "Ab"i ~ 2..3', ["abAB", "aBabAB"], ["ab", "abababab"]),
    ],
)
def test_a_grammar_as_a_pattern_has_the_same_texts(text: str, inside: list[str], outside: list[str]) -> None:
    schema = {"type": "string", "pattern": grammar.as_pattern(text)}
    masked, bare = compiled(schema), compiled({"type": "grammar", "grammar": text})
    for given in (*inside, *outside):
        for one, written in ((masked, json.dumps(given, ensure_ascii=False)), (bare, given)):
            matcher = one.matcher(compiled_bytes())
            assert (matcher.accept_bytes(written.encode()) and matcher.can_stop()) == (given in inside), (given, one)


def test_a_grammar_that_grows_without_bound_is_refused() -> None:
    rules = [f'r{n}: r{n - 1} "+" r{n - 1}' for n in range(1, 40)]
    with pytest.raises(grammar.GrammarError, match=f"{trees.MOST_PATTERN:,}"):
        grammar.as_pattern("\n".join(["start: r39", *rules, 'r0: "x"']))


def compiled_bytes() -> Any:
    from guard.schemas.compiled import single_bytes

    return single_bytes()


@pytest.mark.parametrize(
    "form", [{"type": "regex", "pattern": r"(a|b)\1"}, {"type": "grammar", "grammar": r"start: /(a)\1/"}]
)
def test_a_back_reference_is_refused_in_formats(form: Any) -> None:
    with pytest.raises(guard.SchemaError, match="back-reference"):
        compiled(form)
