"""Every field by which clients of OpenAI, vLLM, SGLang, llama.cpp, Ollama, TGI, NIM say what an answer must be.

Each is enforced, or refused with 400 and its name: on a model that decodes here, and before a provider.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat.completion_create_params import CompletionCreateParamsBase
from sidecars import Reply, Sidecar, serving_here

import guard
from guard.sidecar import constraints
from guard.sidecar.endpoints import chat
from guard.sidecar.errors import ApiError
from guard.testing import fake_server

SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer", "maximum": 9}},
    "required": ["n"],
    "additionalProperties": False,
}
TEXT = json.dumps(SCHEMA)
WRAPPED = {"name": "n", "schema": SCHEMA}
CHOICE = ["yes", "no", 'a "quoted" one']
PATTERN = r"[ab]{3}-\d"

#: Ways to ask for SCHEMA.
SCHEMAS: dict[str, dict[str, Any]] = {
    "OpenAI": {"response_format": {"type": "json_schema", "json_schema": WRAPPED}},
    "vLLM guided_json": {"guided_json": SCHEMA},
    "vLLM guided_json, text": {"guided_json": TEXT, "guided_decoding_backend": "xgrammar"},
    "vLLM structured_outputs": {"structured_outputs": {"json": SCHEMA, "disable_fallback": True}},
    "vLLM structured_outputs, text": {"structured_outputs": {"json": TEXT}},
    "SGLang json_schema": {"json_schema": TEXT},
    "llama.cpp json_schema": {"json_schema": SCHEMA},
    "NIM nvext": {"nvext": {"guided_json": SCHEMA, "top_n_tokens": None}},
    "llama.cpp response_format": {"response_format": {"type": "json_schema", "schema": SCHEMA}},
    "llama.cpp json_object": {"response_format": {"type": "json_object", "schema": SCHEMA}},
    "Ollama format": {"format": SCHEMA},
    "Anthropic output_format": {"output_format": {"type": "json_schema", "schema": SCHEMA}},
    "Anthropic output_config": {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
    "TGI response_format": {"response_format": {"type": "json_object", "value": SCHEMA}},
    "TGI grammar": {"grammar": {"type": "json", "value": SCHEMA}},
    "two that are one": {"guided_json": SCHEMA, "response_format": {"type": "json_object", "schema": SCHEMA}},
}
#: Ways to ask for any object.
OBJECTS: dict[str, dict[str, Any]] = {
    "OpenAI": {"response_format": {"type": "json_object"}},
    "vLLM guided": {"guided_json_object": True},
    "vLLM": {"structured_outputs": {"json_object": True}},
    "Ollama": {"format": "json"},
}
#: Ways to ask for plain text of a language.
PATTERNS: dict[str, dict[str, Any]] = {
    "vLLM guided_regex": {"guided_regex": PATTERN},
    "vLLM structured_outputs": {"structured_outputs": {"regex": PATTERN}},
    "SGLang regex": {"regex": PATTERN},
    "TGI grammar": {"grammar": {"type": "regex", "value": PATTERN}},
    "Together response_format": {"response_format": {"type": "regex", "pattern": PATTERN}},
    "LMDeploy response_format": {"response_format": {"type": "regex_schema", "regex_schema": PATTERN}},
    "NIM nvext": {"nvext": {"guided_regex": PATTERN}},
    "anchored": {"guided_regex": f"^{PATTERN}$"},
    "with a flag": {"guided_regex": f"(?u){PATTERN}"},
}
CHOICES: dict[str, dict[str, Any]] = {
    "vLLM guided_choice": {"guided_choice": CHOICE},
    "vLLM structured_outputs": {"structured_outputs": {"choice": CHOICE}},
}
GRAMMAR = """root ::= name "-" [0-9]
name ::= [ab] [ab] [ab]
"""
LARK = """start: NAME "-" /[0-9]/
NAME: /[ab]{3}/
"""
#: Ways to ask for a text of GRAMMAR, which PATTERN matches.
GRAMMARS: dict[str, dict[str, Any]] = {
    "vLLM guided_grammar": {"guided_grammar": GRAMMAR},
    "vLLM structured_outputs": {"structured_outputs": {"grammar": GRAMMAR}},
    "vLLM structured_outputs, Lark": {"structured_outputs": {"grammar": LARK}},
    "llama.cpp grammar": {"grammar": GRAMMAR},
    "SGLang ebnf": {"ebnf": GRAMMAR},
    "NIM nvext": {"nvext": {"guided_grammar": GRAMMAR}},
    "Fireworks response_format": {"response_format": {"type": "grammar", "grammar": GRAMMAR}},
}
TAG: dict[str, Any] = {
    "type": "structural_tag",
    "format": {
        "type": "tag",
        "begin": "<n>",
        "content": {"type": "json_schema", "json_schema": SCHEMA},
        "end": ["</n>"],
    },
}
OLDER_TAG: dict[str, Any] = {
    "type": "structural_tag",
    "structures": [{"begin": "<n>", "schema": SCHEMA, "end": "</n>"}],
    "triggers": ["<n>"],
}
#: Ways to ask for a turn of TAG.
TAGS: dict[str, dict[str, Any]] = {
    "vLLM structured_outputs": {"structured_outputs": {"structural_tag": TAG}},
    "vLLM structured_outputs, text": {"structured_outputs": {"structural_tag": json.dumps(TAG)}},
    "vLLM guided_structural_tag": {"guided_structural_tag": TAG},
    "OpenAI servers' response_format": {"response_format": TAG},
    "SGLang structural_tag": {"structural_tag": json.dumps(TAG)},
}
_TEXTS = {"pattern": PATTERNS, "choice": CHOICES, "grammar": GRAMMARS}
RECURSIVE = 'root ::= "a" root "b" | "c"'
TEXTS = {f"{field} {name}": asked for field, ways in _TEXTS.items() for name, asked in ways.items()}
#: What nothing here can check, by the field that is to be named.
REFUSED: dict[str, Any] = {
    "guided_grammar": RECURSIVE,
    "grammar": RECURSIVE,
    "ebnf": 'root ::= "a',
    "lark": 3,
    "structural_tag": {"type": "structural_tag", "structures": []},
    "guided_structural_tag": {"type": "structural_tag", "format": {"type": "token", "token": "<|im_end|>"}},
    "structured_outputs.grammar": RECURSIVE,
    "structured_outputs.structural_tag": "{}",
    "structured_outputs.whitespace_pattern": " ",
    "structured_outputs.disable_any_whitespace": True,
    "structured_outputs.disable_additional_properties": True,
    "structured_outputs.nonesuch": 1,
    "guided_whitespace_pattern": " ",
    "guided_decoding_params": {"grammar": "x"},
    "nvext.guided_grammar": RECURSIVE,
    "stop_regex": "a+",
    "custom_logit_processor": "x",
    "logits_processors": ["x"],
    "grammar_lazy": True,
    "grammar_triggers": [{}],
    "grammar_string": "x",
    "extra_body": {"guided_json": SCHEMA},
    "response_format": {**TAG, "strict": True},
    "response_format.type": {"type": "nonesuch"},
    "guided_choice": [],
    "guided_regex": "a)|(?:b",
    "sampling_params": {"regex": "a"},
    "guided_decoding": {"regex": "a"},
    "guided_json": "no schema",
    "json_schema": 3,
}
#: What only a model's server can do, or a model here: there it is named, and a provider is sent it as it came.
SERVERS_OWN: dict[str, Any] = {
    "logit_bias": {"50256": -100},
    "allowed_token_ids": [1, 2],
    "bad_words": ["x"],
    "min_tokens": 5,
    "ignore_eos": True,
    "stop_token_ids": [7],
    "top_k": 3,
    "min_p": 0.1,
    "repetition_penalty": 1.2,
    "repeat_penalty": 1.2,
    "dry_multiplier": 0.5,
    "mirostat": 2,
    "typical_p": 0.5,
    "n_predict": 5,
    "nvext.max_thinking_tokens": 5,
    "t_max_predict_ms": 100,
    "options": {"num_predict": 5},
    "use_beam_search": True,
    "continue_final_message": True,
    "chat_template_kwargs": {"enable_thinking": True},
    "modalities": ["text", "audio"],
    "audio": {"voice": "alloy", "format": "wav"},
    "prediction": {"type": "content", "content": "x"},
    "web_search_options": {"search_context_size": "low"},
    "verbosity": "low",
    "reasoning_effort": "high",
    "reasoning": {"effort": "high"},
}
#: How those are called that a path has other words for.
NAMED = {"/v1/responses": {"reasoning": "reasoning.effort"}}
PATHS = ("/v1/chat/completions", "/v1/completions")
ALL_PATHS = (*PATHS, "/v1/responses", "/v1/messages")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    """Start a sidecar whose model decodes here."""
    with serving_here(tmp_path_factory.mktemp("local")) as sidecar:
        yield sidecar


def ask(sidecar: Sidecar, path: str, **fields: Any) -> Reply:
    asked: Any = [{"role": "user", "content": "Say something."}]
    what: dict[str, Any] = {
        "/v1/chat/completions": {"messages": asked},
        "/v1/completions": {"prompt": "Say something."},
        "/v1/responses": {"input": "Say something."},
        "/v1/messages": {"messages": asked},
    }[path]
    if path == "/v1/responses" and "max_tokens" in fields:
        fields["max_output_tokens"] = fields.pop("max_tokens")
    return sidecar.ask("POST", path, {"model": "m", **what, **fields})


def text_of(reply: Reply) -> str:
    assert reply.status == 200, reply.data
    choices = [e["choices"][0] for e in reply.events if e != "[DONE]"] if reply.events else [reply.json["choices"][0]]
    parts = [c.get("text") or (c.get("message") or c.get("delta") or {}).get("content") or "" for c in choices]
    return "".join(parts)


def nested(field: str, value: Any) -> dict[str, Any]:
    if field == "response_format.type":
        return {"response_format": value}
    outer, _, inner = field.partition(".")
    return {outer: {inner: value} if inner else value}


def says(text: str) -> fake_server.Answer:
    """Answer a chat or a completion with a text, whatever it asks for."""
    choice = {"index": 0, "text": text, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return fake_server.Answer(raw=json.dumps({"model": "served-1", "choices": [choice]}).encode())


# ---- a model that decodes here ----


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("fields", SCHEMAS.values(), ids=SCHEMAS.keys())
def test_a_model_here_keeps_a_schema_in_every_spelling(here: Sidecar, path: str, fields: dict[str, Any]) -> None:
    for stream in (False, True):
        reply = ask(here, path, stream=stream, max_tokens=60, **fields)
        jsonschema.validate(json.loads(text_of(reply)), SCHEMA)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("fields", OBJECTS.values(), ids=OBJECTS.keys())
def test_a_model_here_writes_an_object(here: Sidecar, path: str, fields: dict[str, Any]) -> None:
    assert isinstance(json.loads(text_of(ask(here, path, max_tokens=60, **fields))), dict)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("fields", TEXTS.values(), ids=TEXTS)
def test_a_model_here_writes_plain_text_of_a_language(here: Sidecar, path: str, fields: dict[str, Any]) -> None:
    for stream in (False, True):
        text = text_of(ask(here, path, stream=stream, max_tokens=60, temperature=1, **fields))
        assert text in CHOICE if fields in CHOICES.values() else re.fullmatch(PATTERN, text)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("fields", TAGS.values(), ids=TAGS)
def test_a_model_here_writes_a_turn_of_a_structural_tag(here: Sidecar, path: str, fields: dict[str, Any]) -> None:
    for stream in (False, True):
        text = text_of(ask(here, path, stream=stream, max_tokens=60, temperature=1, **fields))
        assert text[:3] + text[-4:] == "<n></n>"
        jsonschema.validate(json.loads(text[3:-4]), SCHEMA)


def test_a_model_here_is_held_to_the_older_form_of_a_structural_tag(here: Sidecar) -> None:
    turns = guard.compile(OLDER_TAG)
    for seed in range(8):
        asked = {"response_format": OLDER_TAG, "max_tokens": 60, "temperature": 1, "seed": seed}
        turns.read(text_of(ask(here, PATHS[0], **asked)))


def test_what_is_wrong_with_a_structural_tag_is_said_with_its_place(here: Sidecar) -> None:
    wrong = {**TAG, "format": {**TAG["format"], "content": {"type": "regex", "pattern": "("}}}
    for fields, field, place in (
        ({"structured_outputs": {"structural_tag": wrong}}, "structured_outputs.structural_tag", "/format/content"),
        ({"response_format": {**OLDER_TAG, "triggers": ["<b>"]}}, "response_format", "/structures/0/begin"),
        ({"guided_grammar": RECURSIVE}, "guided_grammar", "root"),
    ):
        said = ask(here, PATHS[0], **fields).json["error"]
        assert said["param"] == field
        assert place in said["message"]


@pytest.mark.parametrize("path", ALL_PATHS)
@pytest.mark.parametrize("field", [*REFUSED, *SERVERS_OWN])
def test_a_model_here_refuses_what_it_can_not_keep_by_name(here: Sidecar, path: str, field: str) -> None:
    reply = ask(here, path, max_tokens=20, **nested(field, {**REFUSED, **SERVERS_OWN}[field]))
    assert reply.status == 400, reply.data
    named = field.partition(".")[0] if path == "/v1/messages" else field  # which has none of these, whatever they hold
    assert reply.json["error"]["param"] == NAMED.get(path, {}).get(field, named)


def test_responses_are_held_by_the_same_words(here: Sidecar) -> None:
    def respond(**fields: Any) -> Reply:
        return here.ask("POST", "/v1/responses", {"model": "m", "input": "?", "max_output_tokens": 60, **fields})

    def text(**fields: Any) -> str:
        reply = respond(**fields)
        assert reply.status == 200, reply.data
        return str(reply.json["output"][0]["content"][0]["text"])

    for fields in (SCHEMAS["vLLM guided_json"], SCHEMAS["llama.cpp json_object"], SCHEMAS["Ollama format"]):
        jsonschema.validate(json.loads(text(**fields)), SCHEMA)
    assert text(**CHOICES["vLLM guided_choice"]) in CHOICE
    assert re.fullmatch(PATTERN, text(**PATTERNS["SGLang regex"]))
    assert re.fullmatch(PATTERN, text(**GRAMMARS["SGLang ebnf"]))
    assert text(**TAGS["vLLM structured_outputs"]).startswith("<n>{")
    for field in ("grammar", "guided_grammar", "logit_bias", "min_tokens", "top_k"):
        reply = respond(**nested(field, {**REFUSED, **SERVERS_OWN}[field]))
        assert (reply.status, reply.json["error"]["param"]) == (400, field)
    reply = respond(text={"verbosity": "low"})
    assert (reply.status, reply.json["error"]["param"]) == (400, "text.verbosity")
    for asked in ({"top_logprobs": 3}, {"include": ["message.output_text.logprobs"]}):  # of which nothing is told
        reply = respond(**asked)
        assert (reply.status, reply.json["error"]["param"]) == (400, *asked)
    assert respond(include=["reasoning.encrypted_content"]).status == 200


def test_a_field_that_nobody_knows_is_refused_here_and_one_that_asks_for_nothing_is_not(here: Sidecar) -> None:
    for field in ("constrained_to", "nvext"):
        reply = ask(here, PATHS[0], **{field: "x"})
        assert (reply.status, reply.json["error"]["param"]) == (400, field)
    nothing: dict[str, Any] = {
        "guided_json": None,
        "grammar": "",
        "structured_outputs": {},
        "logit_bias": {},
        "min_tokens": 0,
        "top_k": -1,
        "repetition_penalty": 1.0,
        "modalities": ["text"],
        "response_format": {"type": "text"},
        "tools": [],
        "functions": [],
        "stop_token_ids": [],
        "reasoning": {},
        "echo": False,
        "skip_special_tokens": True,
        "chat_template_kwargs": {"enable_thinking": False},
        "verbosity": "medium",
        "reasoning_effort": "none",
        "user": "u",
        "metadata": {"a": "b"},
        "store": True,
    }
    assert ask(here, PATHS[0], max_tokens=5, **nothing).status == 200


EMPTY: dict[str, Any] = {
    "web_search_options": {},  # which turns the search on
    "audio": {},
    "prediction": {},
    "functions": {},
    "reasoning_effort": [],
    "thinking": {},
    "constrained_to": [],
    "guided_regex": {},
    "guided_json_object": [],
    "structured_outputs.nonesuch": {},
    "skip_special_tokens": False,
}


@pytest.mark.parametrize("field", EMPTY)
def test_an_empty_value_that_asks_for_something_is_refused_here(here: Sidecar, field: str) -> None:
    reply = ask(here, PATHS[0], max_tokens=5, **nested(field, EMPTY[field]))
    assert (reply.status, reply.json["error"]["param"]) == (400, field)


@pytest.mark.parametrize("empty", [[], {}])
@pytest.mark.parametrize("field", sorted(CompletionCreateParamsBase.__annotations__.keys() - constraints.NOTES))
def test_openais_fields_are_honoured_or_refused_where_they_are_empty(field: str, empty: Any) -> None:
    honoured = (*chat.HEEDED, *chat.SAMPLING)
    asks = field not in honoured and {"functions": [], "logit_bias": {}}.get(field) != empty
    with pytest.raises(ApiError, match=f"^{field} ") if asks else contextlib.nullcontext():
        constraints.check_known({field: empty}, honoured, "m")


# ---- before a provider ----


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("fields", SCHEMAS.values(), ids=SCHEMAS.keys())
def test_a_provider_is_sent_the_schema_and_its_answer_is_checked(
    sidecar: Sidecar, provider: fake_server.Server, path: str, fields: dict[str, Any]
) -> None:
    provider.answers = [says("prose"), says('{"n": 3}')]
    assert text_of(ask(sidecar, path, **fields)) == '{"n": 3}'
    sent = provider.requests[0].body
    if "chat" in path:
        assert sent["response_format"]["json_schema"]["schema"]["properties"] == SCHEMA["properties"]
    else:
        assert sent.items() >= fields.items()
    assert len(provider.requests) == 2
    provider.answers = [says("prose")]
    assert ask(sidecar, path, **fields).status == 422


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("fields", OBJECTS.values(), ids=OBJECTS.keys())
def test_a_provider_is_held_to_an_object(
    sidecar: Sidecar, provider: fake_server.Server, path: str, fields: dict[str, Any]
) -> None:
    provider.answers = [says("[]"), says("{}")]
    assert text_of(ask(sidecar, path, **fields)) == "{}"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("fields", [*TEXTS.values(), *TAGS.values()], ids=[*TEXTS, *TAGS])
def test_a_provider_is_sent_a_language_as_it_came_and_its_text_is_checked(
    sidecar: Sidecar, provider: fake_server.Server, path: str, fields: dict[str, Any]
) -> None:
    good = CHOICE[2] if fields in CHOICES.values() else '<n>{"n": 3}</n>' if fields in TAGS.values() else "aba-7"
    for stream in (False, True):
        provider.requests.clear()
        provider.answers = [says(f"It is {good}."), says(good)]
        assert text_of(ask(sidecar, path, stream=stream, **fields)) == good
        assert all(request.body.items() >= fields.items() for request in provider.requests)
    assert "It is " in json.dumps(provider.requests[1].body)
    provider.answers = [says("prose")]
    reply = ask(sidecar, path, **fields)
    assert (reply.status, reply.json["error"]["code"]) == (422, "validation_failed")


@pytest.mark.parametrize("path", ALL_PATHS[:3])
@pytest.mark.parametrize("field", REFUSED)
def test_what_can_not_be_checked_is_refused_before_a_provider_too(
    sidecar: Sidecar, provider: fake_server.Server, path: str, field: str
) -> None:
    reply = ask(sidecar, path, **nested(field, REFUSED[field]))
    assert (reply.status, reply.json["error"]["param"]) == (400, field), reply.data
    assert provider.requests == []


@pytest.mark.parametrize("field", SERVERS_OWN)
def test_what_is_a_servers_own_goes_to_it(sidecar: Sidecar, provider: fake_server.Server, field: str) -> None:
    for more in ({}, SCHEMAS["OpenAI"]):
        provider.requests.clear()
        provider.answers = [says('{"n": 3}')]
        reply = ask(sidecar, PATHS[0], **nested(field, SERVERS_OWN[field]), **more)
        assert text_of(reply) == '{"n": 3}'
        assert provider.requests[0].body.items() >= nested(field, SERVERS_OWN[field]).items()


@pytest.mark.parametrize("field", ["guided_json", "json_schema", "format"])
def test_an_empty_schema_is_one_too(sidecar: Sidecar, provider: fake_server.Server, field: str) -> None:
    provider.answers = [says("prose"), says("[3]")]
    assert text_of(ask(sidecar, PATHS[0], **{field: {}})) == "[3]"


#: Formats with a member that their type does not read, and that member.
UNREAD: tuple[tuple[dict[str, Any], str], ...] = (
    ({"type": "text", "regex": PATTERN}, "regex"),
    ({"type": "text", "schema": SCHEMA}, "schema"),
    ({"type": "json_object", "pattern": PATTERN}, "pattern"),
    ({"type": "json_object", "schema": SCHEMA, "value": {"type": "array"}}, "value"),
    ({"type": "regex", "pattern": PATTERN, "schema": SCHEMA}, "schema"),
    ({"type": "grammar", "grammar": GRAMMAR, "syntax": "lark"}, "syntax"),
)


@pytest.mark.parametrize("model", ["here", "sidecar"])
@pytest.mark.parametrize(("form", "member"), UNREAD)
def test_what_a_format_says_beside_what_its_type_reads_is_refused(
    request: pytest.FixtureRequest, model: str, form: dict[str, Any], member: str
) -> None:
    sidecar: Sidecar = request.getfixturevalue(model)
    for path in PATHS:
        reply = ask(sidecar, path, response_format=form)
        assert (reply.status, reply.json["error"]["param"]) == (400, f"response_format.{member}")
    reply = ask(sidecar, "/v1/responses", text={"format": form})
    assert (reply.status, reply.json["error"]["param"]) == (400, f"text.format.{member}")


def test_a_response_names_its_format_once_and_where_it_belongs(here: Sidecar) -> None:
    named = {"type": "json_schema", "name": "n", "schema": SCHEMA}
    for fields, param in (
        ({"text": {"guided_json": SCHEMA}}, "text.guided_json"),
        ({"text": {"format": {"type": "text"}}, "response_format": {"type": "json_object"}}, "response_format"),
        ({"text": {"format": named}, **OBJECTS["OpenAI"]}, "response_format"),
    ):
        reply = ask(here, "/v1/responses", **fields)
        assert (reply.status, reply.json["error"]["param"]) == (400, param)


def test_a_prompt_may_be_a_list_of_one_text(here: Sidecar, sidecar: Sidecar, provider: fake_server.Server) -> None:
    def complete(server: Sidecar, prompt: Any, **fields: Any) -> Reply:
        return server.ask("POST", "/v1/completions", {"model": "m", "prompt": prompt, "max_tokens": 30, **fields})

    for fields in ({}, SCHEMAS["vLLM guided_json"], PATTERNS["SGLang regex"]):
        assert text_of(complete(here, ["Say it."], **fields)) == text_of(complete(here, "Say it.", **fields))
        for wrong in (["Say it.", "Say it."], [1, 2], []):
            reply = complete(here, wrong, **fields)
            assert (reply.status, reply.json["error"]["param"]) == (400, "prompt")
    provider.answers = [says("prose"), says('{"n": 3}')]
    assert text_of(complete(sidecar, ["Say it."], **SCHEMAS["vLLM guided_json"])) == '{"n": 3}'
    assert provider.requests[0].body["prompt"] == ["Say it."]


def test_two_different_wishes_are_refused(sidecar: Sidecar, provider: fake_server.Server) -> None:
    for fields in (
        {"guided_json": SCHEMA, "json_schema": {"type": "array"}},
        {"regex": "a", "guided_choice": ["a"]},
        {"response_format": {"type": "json_object"}, "regex": "a"},
    ):
        assert ask(sidecar, PATHS[0], **fields).status == 400
    assert provider.requests == []


# ---- the reading itself ----


SAID = st.none() | st.booleans() | st.text(max_size=3) | st.just({}) | st.lists(st.text(max_size=2), max_size=2)
INNER = st.dictionaries(st.sampled_from(["json", "regex", "choice", "type", "schema", "value"]), SAID, max_size=3)
OUTER = st.sampled_from(sorted({field.partition(".")[0] for field in constraints._ALL}))


@given(st.dictionaries(OUTER, SAID | INNER, max_size=4))
def test_whatever_such_a_field_holds_it_is_neutral_kept_or_refused_by_name(body: dict[str, Any]) -> None:
    refused: str | None = None
    words, language = body, None
    try:
        words, language, _ = constraints.understood(body)
    except ApiError as error:
        refused = error.param
    is_kept = refused is not None or language is not None or words.get("response_format") is not None
    # An engine's name; NIM's and Anthropic's other settings.
    unread = ("structured_outputs", "nvext", "output_config", *constraints.ENGINES)
    assert is_kept or all(constraints.is_neutral(field, said) or field in unread for field, said in body.items())
