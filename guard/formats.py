"""Formats of whole turns: the text that a model may write around JSON values, for `guard.compile`.

Each function returns the JSON of XGrammar's structural tag, as a dict, so formats can be nested, printed and sent.
`guard.compile` takes any of them, and raises SchemaError for one that can't be enforced. docs/formats.md says what each
guarantees.

    turn = formats.triggered_tags(
        triggers=["<tool_call>"],
        tags=[formats.tag("<tool_call>\\n", formats.json(schema), "\\n</tool_call>")],
    )
    matcher = guard.compile(turn).matcher(vocabulary)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from guard.turns.tool_format import ToolFormat

__all__ = (
    *(
        "any_text",
        "any_tokens",
        "choice",
        "const",
        "dispatch",
        "exclude_token",
        "from_chat_template",
        "from_response_template",
        "grammar",
        "json",
    ),
    *(
        "optional",
        "plus",
        "regex",
        "repeat",
        "sequence",
        "star",
        "tag",
        "tags_with_separator",
        "token",
        "triggered_tags",
        "union",
    ),
)

Format: TypeAlias = dict[str, Any]
#: A style by name, or an object that defines one (docs/formats.md#styles-of-your-own).
Style: TypeAlias = (
    Literal["json", "text", "qwen_xml", "minimax_xml", "deepseek_xml", "glm_xml", "cohere_xml", "kimi_k3_xml"]
    | dict[str, Any]
)


def const(text: str) -> Format:
    """Exactly this text."""
    return {"type": "const_string", "value": text}


def choice(texts: Iterable[str]) -> Format:
    """One of these texts."""
    return union(*map(const, texts))


def any_text(*, excludes: Iterable[str] = (), max_chars: int | None = None) -> Format:
    """Any valid UTF-8 without any of `excludes`. Before a tag's end, it ends at the first occurrence of the end."""
    form: Format = {"type": "any_text", "excludes": list(excludes)}
    return form if max_chars is None else {**form, "max_chars": max_chars}


def json(schema: Any, *, style: Style = "json", any_order: bool = False) -> Format:
    """A value of a JSON Schema, or of a type that Pydantic reads: as JSON, or as a call's arguments in a style.

    In the style "text" it is a string without quotes.
    """
    if not isinstance(schema, bool | dict):
        from guard.schemas.types import as_described  # here: a type needs Pydantic

        schema, _ = as_described(schema)
    return {"type": "json_schema", "json_schema": schema, "style": style, "any_order": any_order}


def regex(pattern: str) -> Format:
    """A text that the pattern matches from end to end (ECMA-262)."""
    return {"type": "regex", "pattern": pattern}


def grammar(text: str) -> Format:
    """A text of a GBNF or Lark grammar whose recursion is only at the ends of rules."""
    return {"type": "grammar", "grammar": text}


def token(name: str | int) -> Format:
    """One token by its name, such as <|im_end|>, or its id. The same bytes in other tokens do not match."""
    return {"type": "token", "token": name}


def exclude_token(names: Iterable[str | int] = ()) -> Format:
    """Any one token, except these and those that end a turn."""
    return {"type": "exclude_token", "exclude_tokens": list(names)}


def any_tokens(*, exclude: Iterable[str | int] = (), max_tokens: int | None = None) -> Format:
    """Any tokens except `exclude`, at most `max_tokens`, until the first token that the format names next."""
    form: Format = {"type": "any_tokens", "exclude_tokens": list(exclude)}
    return form if max_tokens is None else {**form, "max_tokens": max_tokens}


def sequence(*elements: Format) -> Format:
    """The elements, one after the other."""
    return {"type": "sequence", "elements": list(elements)}


def union(*elements: Format) -> Format:
    """One of the elements. Where several match, the first is the one that is read."""
    return {"type": "or", "elements": list(elements)}


def optional(content: Format) -> Format:
    """The content, or nothing."""
    return {"type": "optional", "content": content}


def star(content: Format) -> Format:
    """The content, any number of times."""
    return {"type": "star", "content": content}


def plus(content: Format) -> Format:
    """The content, at least once."""
    return {"type": "plus", "content": content}


def repeat(content: Format, least: int, most: int = -1) -> Format:
    """The content, at least `least` and at most `most` times; -1: any number."""
    return {"type": "repeat", "min": least, "max": most, "content": content}


def tag(begin: str | Format, content: Format, end: str | Sequence[str] | Format) -> Format:
    """The content between a begin and an end, each a text or a token. Of several ends, any one."""
    return {"type": "tag", "begin": begin, "content": content, "end": end if isinstance(end, str | dict) else list(end)}


def triggered_tags(
    triggers: Iterable[str],
    tags: Iterable[Format],
    *,
    at_least_one: bool = False,
    stop_after_first: bool = False,
    excludes: Iterable[str] = (),
) -> Format:
    """Free text with tags in it. A trigger in the text must be the beginning of one of the tags."""
    return {
        "type": "triggered_tags",
        "triggers": list(triggers),
        "tags": list(tags),
        "at_least_one": at_least_one,
        "stop_after_first": stop_after_first,
        "excludes": list(excludes),
    }


def tags_with_separator(
    tags: Iterable[Format], separator: str, *, at_least_one: bool = False, stop_after_first: bool = False
) -> Format:
    """Tags, with the separator between each two, and nothing else."""
    return {
        "type": "tags_with_separator",
        "tags": list(tags),
        "separator": separator,
        "at_least_one": at_least_one,
        "stop_after_first": stop_after_first,
    }


def dispatch(rules: Iterable[tuple[str, Format]], *, loop: bool = True, excludes: Iterable[str] = ()) -> Format:
    """Free text in which each rule's string is followed by its format. Without `loop`, the first ends the text."""
    return {
        "type": "dispatch",
        "rules": [[pattern, content] for pattern, content in rules],
        "loop": loop,
        "excludes": list(excludes),
    }


def from_chat_template(template: str, **special_tokens: str) -> ToolFormat | None:
    """A model's own tool format, derived from its chat template; None where the template renders no calls.

    `special_tokens` are those that the template names, such as `eos_token`. The template is rendered with unlikely
    names and values, in a separate process with bounds of time and memory. The format's `round_trips` is True if turns
    that the template renders are read back equal. The result is cached. Raises ImportError without jinja2.
    """
    from guard.turns.deriving import derive  # here: formats are below turns

    return derive(template, special_tokens)


def from_response_template(spec: dict[str, Any]) -> ToolFormat | None:
    """A model's own tool format from its tokenizer's `response_template`, as transformers has it; else None.

    For models whose chat template shows no form of calls (`from_chat_template`). The format `round_trips` if
    transformers (5.13 or later, in a process of its own) reads drawn turns as they were meant.
    """
    from guard.turns.response_templates import derive  # here: formats are below turns

    return derive(spec)
