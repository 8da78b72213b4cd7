"""Tool formats derived from chat templates: what a template renders is let through, and read back equal."""

import os
import random
import re
import tarfile
import time
from pathlib import Path
from typing import Any

import jsonschema_rs
import numpy as np
import pytest
import tiny

import guard
from guard import formats
from guard.kernels.bitmask import allocate_bitmask
from guard.schemas.compiled import single_bytes
from guard.turns import trials
from guard.turns.pieces import CallPiece
from guard.turns.probes import MANNERS, probes
from guard.turns.reading import ReadCall
from guard.turns.rendering import TemplateInput, render

DATA = Path(os.environ.get("GUARD_DATA") or Path(__file__).parents[4] / "shared" / "data")
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
#: One of each shape; `python -m benchmarks.templates` tries them all.
SHAPES = {
    "llama.cpp/Qwen-QwQ-32B": "json",
    "llama.cpp/Apriel-1.6-15b-Thinker-fixed": "json",  # a list; thinking that nothing begins
    "llama.cpp/Kimi-K2-Thinking": "json",  # calls with numbers
    "llama.cpp/mistralai-Mistral-Nemo-Instruct-2407": "json",  # with ids
    "llama.cpp/openai-gpt-oss-120b": "json",  # Harmony; one call
    "llama.cpp/CohereForAI-c4ai-command-r-plus-tool_use": "json",  # indented
    "llama.cpp/Qwen3.5-4B": "tagged",
    "llama.cpp/GLM-4.7-Flash": "tagged",
    "llama.cpp/deepseek-ai-DeepSeek-V3.2": "tagged",  # with types
    "llama.cpp/ByteDance-Seed-OSS": "tagged",  # Python's values between tags
    "llama.cpp/MiniMax-M3": "tagged",  # values in tags that are named by their keys
    "llama.cpp/LFM2.5-8B-A1B": "tagged",  # Python's calls
    "trl/gemma4": "tagged",  # bare keys, strings in marks, text behind calls
}
TOOLS = trials.TOOLS
HERMES = """\
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' + (message.content or '') }}
{%- for call in message.tool_calls or [] %}
{{- '\\n' if message.content or not loop.first else '' }}
{{- '<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' }}
{{- call.function.arguments | tojson + '}\\n</tool_call>' }}
{%- endfor %}
{{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}
"""


@pytest.fixture(scope="module")
def stored() -> dict[str, str]:
    """Real chat templates, by name."""
    if not (DATA / "chat-templates.tar.gz").exists():
        pytest.skip("no test data")
    with tarfile.open(DATA / "chat-templates.tar.gz") as archive:
        files = [(one.name.removeprefix("./"), archive.extractfile(one)) for one in archive if one.isfile()]
        return {name.removesuffix(".jinja"): file.read().decode() for name, file in files if file is not None}


@pytest.fixture(scope="module")
def hermes() -> object:
    """The format of a small template."""
    found = formats.from_chat_template(HERMES)
    assert found is not None
    return found


@pytest.mark.parametrize("name", SHAPES)
def test_turns_that_a_real_template_renders_are_read_back_equal(name, stored) -> None:
    form = formats.from_chat_template(stored[name], **SPECIAL)
    assert form is not None
    assert (form.kind, form.round_trips) == (SHAPES[name], True)
    tried = trials.round_trip(stored[name], SPECIAL, form, 40, seed=3)
    assert tried.turns >= 20
    assert tried.wrong == []


@pytest.mark.parametrize("name", SHAPES)
def test_what_is_written_for_an_earlier_turn_is_read_back(name, stored) -> None:
    form = formats.from_chat_template(stored[name], **SPECIAL)
    calls = [("get_weather", {"city": "Ulm", "days": 3}), ("ping", {})][: 1 + form.anatomy.several]
    written = form.assistant(calls, thinking="hm" if form.anatomy.thinking else "")
    read = form.read(written, TOOLS, begun="")
    assert [(call.name, call.arguments) for call in read.calls] == calls
    assert (read.text, read.thinking) == ("", "hm" if form.anatomy.thinking else "")
    assert read.trouble is None


@pytest.mark.parametrize(
    "template", ["", "{{ messages[0].content }}", "{{ tools }}", "{% broken", "{{ raise_exception('no') }}"]
)
def test_a_template_that_renders_no_calls_has_no_format(template) -> None:
    assert formats.from_chat_template(template) is None


@pytest.mark.parametrize(
    "template",
    [
        "{% set tools = range(9999) | list %}" + "{% for a in tools %}" * 4 + "{% endfor %}" * 4,
        "{% set ns = namespace(tools='x') %}{% for i in range(99) %}{% set ns.tools = ns.tools * 2 %}{% endfor %}",
        "{% set ns = namespace(tools='x') %}{% for i in range(99) %}{% set ns.tools = ns.tools ~ 0 %}{% endfor %}",
        "{{ 'tool' * 10 ** 11 }}",
        "{{ ''.__class__.__mro__ }} tools",
        "{% macro tools() %}{{ tools() }}{% endmacro %}{{ tools() }}",
        "{% for i in range(99999) %}{{ tools }}{{ 'x' * 9999 }}{% endfor %}",
    ],
)
def test_a_hostile_template_costs_its_share(template, monkeypatch) -> None:
    monkeypatch.setattr("guard.turns.rendering.SECONDS", 1)
    begun = time.monotonic()
    assert formats.from_chat_template(template) is None
    assert time.monotonic() - begun < 60


def test_a_template_has_no_secrets_and_reaches_no_other_conversation(monkeypatch) -> None:
    monkeypatch.setenv("GUARD_TEST_SECRET", "hush")
    template = "{% set _ = messages.append({'role': 'x'}) %}{{ messages | length }}{{ strftime_now('%Y') | length }}"
    assert render(template, [TemplateInput([])] * 2, {}) == ["14", "14"]


def test_a_template_that_raises_in_one_manner_is_tried_in_others() -> None:
    strict = "{% if messages[-1].content == '' %}{{ raise_exception('empty') }}{% endif %}" + HERMES
    form = formats.from_chat_template(strict)
    assert form is not None
    assert form.round_trips
    assert form.anatomy.manner.no_text is None


def test_all_manners_are_asked_in_one_process() -> None:
    assert len(MANNERS) * len(probes(MANNERS[0])) < 300


#: Says what it is that it says, where it calls nothing.
FOREWORD = """\
{%- for message in messages %}{{ '<|im_start|>' + message.role + '\\n' }}
{%- if message.role == 'assistant' and not message.tool_calls %}{{ 'Says: ' }}{% endif %}{{ message.content or '' }}
{%- for call in message.tool_calls or [] %}
{{- '<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' }}
{{- call.function.arguments | tojson + '}\\n</tool_call>' }}
{%- endfor %}{{ '<|im_end|>\\n' }}{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}
"""


@pytest.mark.parametrize("calls", [[], [("ping", {})]])
@pytest.mark.parametrize("text", ["Says: hello", "Says: Say", "Says: ", "Says: Says: a", "Hello"])
def test_a_text_that_may_begin_with_what_comes_before_text_streams_as_it_is_read(text, calls) -> None:
    """What came before text was told as text, and as many characters of the text were lost."""
    form = formats.from_chat_template(FOREWORD)
    assert form is not None
    assert form.round_trips
    turn = text + (form.assistant(calls) if calls else "")
    for cut in (1, 2, len(turn)):
        reader = form.reader(TOOLS, begun="")
        parts = [part for at in range(0, len(turn), cut) for part in reader.feed(turn[at : at + cut])]
        parts += reader.end()
        told = "".join(part for part in parts if not isinstance(part, CallPiece))
        assert told == form.read(turn, TOOLS, begun="").text
    if calls or text.startswith("Says: "):
        assert told == text.removeprefix("Says: ")


def test_what_the_prompt_has_written_is_not_written_again() -> None:
    """White space before the head of a turn with calls hid that the prompt had written the head."""
    template = """\
{%- for message in messages %}
{{- '\\n' if message.tool_calls else '' }}{{ '<|head|>' + message.role + '<|/head|>' + (message.content or '') }}
{%- for call in message.tool_calls or [] %}
{{- '{"name": "' + call.function.name + '", "parameters": ' + call.function.arguments | tojson + '}' }}
{%- endfor %}{{ '\\n<|eot|>' }}{%- endfor %}
{%- if add_generation_prompt %}{{ '\\n<|head|>assistant<|/head|>' }}{% endif %}
"""
    form = formats.from_chat_template(template)
    assert form is not None
    assert form.round_trips
    assert form.opened == "\n<|head|>assistant<|/head|>"
    for text, calls in (("Hello", []), ("", [("ping", {})]), ("", [("get_weather", {"city": "Ulm"}), ("ping", {})])):
        written = form.assistant(calls, text)
        read = form.read(written.lstrip().removeprefix(form.opened.lstrip()), TOOLS)
        assert (read.text, [(call.name, call.arguments) for call in read.calls]) == (text, calls)
        assert read.trouble is None


def test_arguments_that_a_template_takes_as_text_are_json() -> None:
    """As Python shows a dict, with quotes and escapes that no rule of this form foresees."""
    plain = HERMES.replace("arguments | tojson + '}", "arguments }}{{ '}")
    form = formats.from_chat_template(plain)
    assert form is not None
    assert (form.kind, form.round_trips, form.anatomy.manner.arguments_as_text) == ("json", True, True)


@pytest.mark.parametrize("shown", ["", "(…)", "({{ call.function.arguments | length }})", "{{ call.id }}"])
def test_a_template_that_leaves_arguments_out_has_no_format(shown) -> None:
    template = (
        "{% for message in messages %}{{ message.role + ': ' + (message.content or '') }}"
        f"{{% for call in message.tool_calls or [] %}}<call>{{{{ call.function.name }}}}{shown}</call>{{% endfor %}}\n"
        "{% endfor %}{{ tools | length }}"
    )
    assert formats.from_chat_template(template) is None


def test_values_without_an_end_are_no_form() -> None:
    """Where an array ended was not known, and its reader failed with what is no JSON."""
    template = """\
{%- macro value(one) %}
{%- if one is string %}{{ '<s>' + one + '</s>' }}
{%- elif one is mapping %}{ {%- for k, v in one | items %}{{ k + ':' }}{{ value(v) }}{{ ',' if not loop.last }}
{%- endfor %} }
{%- elif one is boolean or one is number or one is none %}{{ one | tojson }}
{%- else %}[{% for v in one %}{{ value(v) }}{{ ',' if not loop.last }}{% endfor %}END{% endif %}
{%- endmacro %}
{%- for message in messages %}{{ '<|' + message.role + '|>' + (message.content or '') }}
{%- for call in message.tool_calls or [] %}
{{- '<call>' + call.function.name + '(' }}
{%- for k, v in call.function.arguments | items %}{{ k + ':' }}{{ value(v) }}{{ ',' if not loop.last }}{% endfor %}
{{- ')</call>' }}
{%- endfor %}{{ '<|end|>' }}{%- endfor %}
{%- if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}
"""
    form = formats.from_chat_template(template.replace("END", "]"))
    assert form is not None
    assert (form.kind, form.round_trips) == ("tagged", True)
    assert formats.from_chat_template(template.replace("END", "")) is None


# -- Choices -----------------------------------------------------------------------------------------------------------

CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Ulm"}}\n</tool_call>'
PING = '<tool_call>\n{"name": "ping", "arguments": {}}\n</tool_call>'


@pytest.mark.parametrize(
    ("choice", "accepted", "refused"),
    [
        ({}, ["", "Hello", CALL, f"Hi\n{CALL}", f"{CALL}\n{PING}"], ["<tool_call>", f"{CALL} and more", CALL[:-1]]),
        ({"tool_choice": "none"}, ["", "Hello"], [CALL, "<tool_call>"]),
        ({"tool_choice": "required"}, [CALL, f"{PING}\n{CALL}"], ["", "Hello", f"Hi\n{CALL}"]),
        ({"tool_choice": "ping"}, [PING], ["", CALL, f"{PING}\n{PING}"]),
        ({"tool_choice": {"type": "function", "function": {"name": "ping"}}}, [PING], ["", CALL, f"{PING}\n{PING}"]),
        ({"parallel": False}, ["", CALL], [f"{CALL}\n{PING}"]),
        ({"max_calls": 2}, [CALL, f"{CALL}\n{PING}"], [f"{CALL}\n{PING}\n{PING}"]),
    ],
)
def test_what_may_be_called_is_kept_exactly(hermes, choice, accepted, refused) -> None:
    compiled = guard.compile(hermes.format(TOOLS, **choice))
    for text in accepted:
        compiled.read(text)
    for text in refused:
        with pytest.raises(ValueError, match="no such turn"):
            compiled.read(text)


def test_arguments_are_held_to_their_schema(hermes) -> None:
    wrong = hermes.read(CALL.replace('"Ulm"', "1"), TOOLS)
    assert wrong.calls == ()
    assert wrong.text == CALL.replace('"Ulm"', "1")
    assert wrong.trouble is not None


@pytest.mark.parametrize(
    "choice",
    [
        *({"tool_choice": one} for one in ("nobody", {"type": "any"}, {"type": "function", "function": {}})),
        {"max_calls": 0},
        {"thinking": True},
    ],
)
def test_what_can_not_be_asked_for_is_an_error(hermes, choice) -> None:
    with pytest.raises(ValueError, match=r"nobody|tool_choice|max_calls|thinking"):
        hermes.format(TOOLS, **choice)


@pytest.mark.parametrize("parameters", [None, {}, {"properties": {"x": {"type": "integer"}}}, {"minProperties": 1}])
def test_arguments_are_an_object_also_where_a_schema_does_not_say_so(hermes, parameters) -> None:
    """Masks let any value through, which was read as no arguments."""
    compiled = guard.compile(hermes.format([{"name": "f", "parameters": parameters}]))
    call = '<tool_call>\n{"name": "f", "arguments": %s}\n</tool_call>'
    compiled.read(call % ('{"x": 1}' if parameters else "{}"))
    for other in ("1", "null", '"x"', "[]"):
        with pytest.raises(ValueError, match="no such turn"):
            compiled.read(call % other)


@pytest.mark.parametrize("form", ["parameters", "inputSchema", "input_schema"])
def test_tools_may_have_the_form_of_any_protocol(hermes, form) -> None:
    """The schema of a tool in another form than OpenAI's was not enforced."""
    schema = {"type": "object", "properties": {"x": {"type": "integer"}}, "additionalProperties": False}
    compiled = guard.compile(hermes.format([{"name": "f", form: schema}], "required"))
    with pytest.raises(ValueError, match="no such turn"):
        compiled.read('<tool_call>\n{"name": "f", "arguments": {"x": "1"}}\n</tool_call>')


@pytest.mark.parametrize(
    ("tools", "words"),
    [
        ([{"name": "f", "parameters": {"type": "string"}}], "no object's schema"),
        ([{"name": "f", "parameters": True}], "no object's schema"),
        ([{"name": "f"}, {"name": "f"}], "twice"),
        ([{"name": "a b"}], "no name of a tool"),
    ],
)
def test_tools_that_are_none_are_refused(hermes, tools, words) -> None:
    with pytest.raises(ValueError, match=words):
        hermes.format(tools)


# -- Reading -----------------------------------------------------------------------------------------------------------


def test_a_turn_is_read_with_places(hermes) -> None:
    read = hermes.read(f"Wait.\n{CALL}\n{PING}<|im_end|>\n", TOOLS)
    assert read.text == "Wait."
    assert read.calls == (ReadCall("get_weather", {"city": "Ulm"}), ReadCall("ping", {}))
    assert f"Wait.\n{CALL}\n{PING}"[read.calls[1].begin : read.calls[1].end] == PING
    assert read.trouble is None


def test_places_are_in_bytes_also_where_marks_are_not_ascii() -> None:
    """They were taken for characters: behind the last whole call, text began within a mark and within a character."""
    wide = HERMES.replace("<tool_call>", "<｜call▁begin｜>").replace("</tool_call>", "<｜call▁end｜>")
    form = formats.from_chat_template(wide)
    assert form is not None
    call, ping = (
        one.replace("<tool_call>", "<｜call▁begin｜>").replace("</tool_call>", "<｜call▁end｜>") for one in (CALL, PING)
    )
    read = form.read(f"Hö.\n{call}\n{ping}…", TOOLS)
    assert (read.text, [one.name for one in read.calls]) == ("Hö.…", ["get_weather", "ping"])
    assert [f"Hö.\n{call}\n{ping}…".encode()[one.begin : one.end].decode() for one in read.calls] == [call, ping]
    reader = form.reader(TOOLS)
    told = [*reader.feed(f"Hö.\n{call}\n{ping}"), *reader.feed("…"), *reader.end()]
    assert "".join(part for part in told if not isinstance(part, CallPiece)) == "Hö.…"


def test_without_tools_any_names_and_arguments_are_read(hermes) -> None:
    read = hermes.read('<tool_call>\n{"name": "f", "arguments": {"x": [1]}}\n</tool_call>')
    assert read.calls == (ReadCall("f", {"x": [1]}),)


@pytest.mark.parametrize("cut", range(1, len(CALL), 7))
def test_a_cut_call_stays_text(hermes, cut) -> None:
    whole = f"{PING}\n{CALL[:-cut]}"
    read = hermes.read(whole, TOOLS)
    assert read.calls[0] == ReadCall("ping", {})
    assert read.trouble is not None
    if len(read.calls) == 1:
        assert CALL[:-cut] in read.text
    else:  # its arguments are whole
        assert read.calls[1] == ReadCall("get_weather", {"city": "Ulm"})


@pytest.mark.parametrize("text", ["\0", "\ud800", "<tool_call>" * 50, "x" * 10_000, '{"name": "ping"}', "</think>"])
def test_reading_never_raises(hermes, text) -> None:
    hermes.read(text, TOOLS)
    hermes.read(text)


@pytest.mark.parametrize("key", ['q"t', "<k>", "a"])
def test_reading_never_raises_for_tools_that_the_form_can_not_express(stored, key):
    form = formats.from_chat_template(stored["llama.cpp/Qwen3.5-4B"], **SPECIAL)
    odd = {"name": "odd", "parameters": {"type": "object", "properties": {key: True}, "required": [key]}}
    text = form.assistant([("get_weather", {"city": "Ulm"})])
    read = form.read(text, [*TOOLS, odd], begun="")
    assert read.calls == (ReadCall("get_weather", {"city": "Ulm"}),)
    assert form.read("Well.", [*TOOLS, odd], begun=form.over).text == "Well."


def test_thinking_that_was_left_out_is_no_trouble(stored) -> None:
    form = formats.from_chat_template(stored["trl/qwen3"], **SPECIAL)
    assert form.read("Hello", TOOLS).text == "Hello"
    assert form.read("<think>\nhm\n</think>\n\nHello", TOOLS).thinking == "hm"


def test_the_prompt_may_have_begun_thinking(stored) -> None:
    form = formats.from_chat_template(stored["llama.cpp/GLM-4.7-Flash"], **SPECIAL)
    assert form.opened == "<think>"
    call = "<tool_call>get_weather<arg_key>city</arg_key><arg_value>Ulm</arg_value></tool_call>"
    read = form.read(f"hm</think>{call}", TOOLS)
    assert (read.thinking, read.calls) == ("hm", (ReadCall("get_weather", {"city": "Ulm"}),))
    closed = guard.compile(form.format(TOOLS, begun="<think></think>"))
    closed.read(call)


def test_messages_come_in_the_shape_that_the_template_wants(hermes) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "ping", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    (shaped,) = hermes.messages([message])
    assert shaped["tool_calls"][0]["function"]["arguments"] == {}
    assert shaped["content"] == ""
    assert message["content"] is None


def test_what_was_derived_can_be_told(hermes) -> None:
    told = hermes.describe()
    assert told["call"] == '<tool_call>\n{"name": "{name}", "arguments": {arguments}}\n</tool_call>'
    assert re.fullmatch("json", told["kind"])


# -- Under masks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("choice", ["auto", "required", "search-files"])
def test_what_the_masks_let_through_is_read_as_valid_calls(name, choice, stored) -> None:
    form = formats.from_chat_template(stored[name], **SPECIAL)
    compiled = guard.compile(form.format(TOOLS, choice), **form.options)
    schemas = {tool["function"]["name"]: tool["function"]["parameters"] for tool in TOOLS}
    vocabulary, row = single_bytes(), allocate_bitmask(1, 257)
    for seed in range(3):
        draw, matcher, text = random.Random(seed), compiled.matcher(vocabulary), bytearray()
        while not matcher.can_stop() or len(text) < 60:
            matcher.fill_bitmask(row, remaining=1 + matcher.distance() + max(0, 150 - len(text)))
            allowed = np.flatnonzero(np.unpackbits(row.view(np.uint8), bitorder="little")[:256])
            if matcher.can_stop() and not allowed.size:
                break
            plain = [int(byte) for byte in allowed if 32 <= byte < 127 or byte == 10]
            byte = draw.choice(plain or [int(byte) for byte in allowed])
            assert matcher.accept(byte)
            text.append(byte)
        read = form.read(text.decode(), TOOLS)
        assert read.trouble is None, text
        assert all(jsonschema_rs.is_valid(schemas[call.name], call.arguments) for call in read.calls)
        assert read.calls or choice == "auto"
        assert {call.name for call in read.calls} <= {choice} or choice in ("auto", "required")


# -- Ids of calls ------------------------------------------------------------------------------------------------------


def conversation_of(*turns: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """Return messages whose turns call tools, each an id and a name, with results in reversed order."""
    out: list[dict[str, Any]] = [{"role": "user", "content": "?"}]
    for calls in turns:
        made = [
            {"id": given, "type": "function", "function": {"name": name, "arguments": "{}"}} for given, name in calls
        ]
        out.append({"role": "assistant", "content": None, "tool_calls": made})
        out += [{"role": "tool", "tool_call_id": given, "content": name} for given, name in reversed(calls)]
    return out


CLIENTS = (
    [("call_3f2a", "ping"), ("call_77b1", "get_weather")],
    [("call_3f2a", "ping"), ("toolu_01", "ping")],  # one id twice
)


def ids_in(messages: list[dict[str, Any]]) -> tuple[list[str], list[str]]:
    """Return the ids of calls, and of their results."""
    calls = [call["id"] for message in messages for call in message.get("tool_calls", [])]
    return calls, [message["tool_call_id"] for message in messages if message["role"] == "tool"]


def test_kimis_ids_name_the_tool_and_count_the_conversation() -> None:
    form = formats.from_chat_template(tiny.KIMI)
    assert form is not None
    assert (form.round_trips, form.anatomy.manner.ids_as) == (True, "numbered")
    calls, results = ids_in(form.messages(conversation_of(*CLIENTS)))
    assert calls == ["functions.ping:0", "functions.get_weather:1", "functions.ping:2", "functions.ping:3"]
    assert results == calls
    call = "<|tool_call_begin|>functions.ping:7<|tool_call_argument_begin|>{}<|tool_call_end|>"
    read = form.read(f"<|tool_calls_section_begin|>{call}<|tool_calls_section_end|>", TOOLS)
    assert [(one.name, one.arguments) for one in read.calls] == [("ping", {})]


def test_mistrals_ids_have_nine_characters_and_are_never_the_same(stored) -> None:
    name = "llama.cpp/mistralai-Mistral-Nemo-Instruct-2407"
    form = formats.from_chat_template(stored[name], **SPECIAL)
    messages = form.messages(conversation_of(*CLIENTS))
    calls, results = ids_in(messages)
    assert results == calls
    assert len(set(calls)) == len(calls)
    assert all(re.fullmatch("[A-Za-z0-9]{9}", one) for one in calls)
    assert form.messages(conversation_of(*CLIENTS)) == messages
    assert render(stored[name], [TemplateInput(messages, TOOLS)], SPECIAL)[0]
    kept = ids_in(form.messages(conversation_of([("Ab3dE6gH9", "ping")])))
    assert kept == (["Ab3dE6gH9"], ["Ab3dE6gH9"])  # the model's own


def test_results_come_in_the_order_of_their_calls(stored) -> None:
    form = formats.from_chat_template(stored["llama.cpp/Kimi-K2-Thinking"], **SPECIAL)
    messages = form.messages(conversation_of(*CLIENTS))
    assert [one["content"] for one in messages if one["role"] == "tool"] == ["ping", "get_weather", "ping", "ping"]
    (text,) = render(stored["llama.cpp/Kimi-K2-Thinking"], [TemplateInput(messages, TOOLS)], SPECIAL)
    assert "## Return of functions.get_weather:1\nget_weather" in text
