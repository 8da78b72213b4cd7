"""Formats of whole turns: what a model may write around JSON values, for `guard.compile`.

Each function returns the JSON of XGrammar's structural tag (a dict), so that formats nest, print and travel as JSON;
`guard.compile` takes any of them. What each guarantees: docs/formats.md.

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
#: By name; or an object that says the style itself (docs/formats.md#styles-of-your-own).
Style: TypeAlias = (
    Literal["json", "text", "qwen_xml", "minimax_xml", "deepseek_xml", "glm_xml", "cohere_xml", "kimi_k3_xml"]
    | dict[str, Any]
)


def const(text: str) -> Format:
    """This text and no other."""
    return {"type": "const_string", "value": text}


def choice(texts: Iterable[str]) -> Format:
    """One of these texts."""
    return union(*map(const, texts))


def any_text(*, excludes: Iterable[str] = (), max_chars: int | None = None) -> Format:
    """Any valid UTF-8 in which none of `excludes` stands; in front of a tag's end it ends with the first end."""
    form: Format = {"type": "any_text", "excludes": list(excludes)}
    return form if max_chars is None else {**form, "max_chars": max_chars}


def json(schema: Any, *, style: Style = "json", any_order: bool = False) -> Format:
    """A value of a JSON Schema, or of a type that Pydantic reads; as JSON, or as the arguments of a call in a style.

    In the style "text" it is a string, bare.
    """
    if not isinstance(schema, bool | dict):
        from guard.schemas.types import as_described  # here: a type needs Pydantic

        schema = as_described(schema).schema
    return {"type": "json_schema", "json_schema": schema, "style": style, "any_order": any_order}


def regex(pattern: str) -> Format:
    """A text that the whole pattern matches."""
    return {"type": "regex", "pattern": pattern}


def grammar(text: str) -> Format:
    """A text of a GBNF or Lark grammar that does not recur but at a rule's end."""
    return {"type": "grammar", "grammar": text}


def token(name: str | int) -> Format:
    """One token by its name, such as <|im_end|>, or its id: never its bytes."""
    return {"type": "token", "token": name}


def exclude_token(names: Iterable[str | int] = ()) -> Format:
    """One token, whichever, but none of these and none that ends a turn."""
    return {"type": "exclude_token", "exclude_tokens": list(names)}


def any_tokens(*, exclude: Iterable[str | int] = (), max_tokens: int | None = None) -> Format:
    """Any tokens but those, at most so many; they end with the first that the format names behind them."""
    form: Format = {"type": "any_tokens", "exclude_tokens": list(exclude)}
    return form if max_tokens is None else {**form, "max_tokens": max_tokens}


def sequence(*elements: Format) -> Format:
    """One after the other."""
    return {"type": "sequence", "elements": list(elements)}


def union(*elements: Format) -> Format:
    """One of them; where several fit, a reader takes the first."""
    return {"type": "or", "elements": list(elements)}


def optional(content: Format) -> Format:
    """It, or nothing."""
    return {"type": "optional", "content": content}


def star(content: Format) -> Format:
    """It any number of times."""
    return {"type": "star", "content": content}


def plus(content: Format) -> Format:
    """It at least once."""
    return {"type": "plus", "content": content}


def repeat(content: Format, least: int, most: int = -1) -> Format:
    """It at least and at most so many times; -1: any number."""
    return {"type": "repeat", "min": least, "max": most, "content": content}


def tag(begin: str | Format, content: Format, end: str | Sequence[str] | Format) -> Format:
    """The content between two texts, or tokens; several ends: any of them."""
    return {"type": "tag", "begin": begin, "content": content, "end": end if isinstance(end, str | dict) else list(end)}


def triggered_tags(
    triggers: Iterable[str],
    tags: Iterable[Format],
    *,
    at_least_one: bool = False,
    stop_after_first: bool = False,
    excludes: Iterable[str] = (),
) -> Format:
    """Free text in which each trigger begins one of the tags that begin with it, and no tag begins otherwise."""
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
    """Tags with a text between each two, and nothing else."""
    return {
        "type": "tags_with_separator",
        "tags": list(tags),
        "separator": separator,
        "at_least_one": at_least_one,
        "stop_after_first": stop_after_first,
    }


def dispatch(rules: Iterable[tuple[str, Format]], *, loop: bool = True, excludes: Iterable[str] = ()) -> Format:
    """Free text in which each of some strings is followed by a format; without `loop` the first one is the last."""
    return {
        "type": "dispatch",
        "rules": [[pattern, content] for pattern, content in rules],
        "loop": loop,
        "excludes": list(excludes),
    }


def from_chat_template(template: str, **special_tokens: str) -> ToolFormat | None:
    """A model's own tool format, derived from its chat template; None where the template renders no calls.

    `special_tokens`: those that the template names, such as `eos_token`. The template is rendered with unlikely names
    and values, in a process of its own with bounds of time and memory; what is derived counts as one that `round_trips`
    if turns that the template renders are read back equal. It is kept for the next time. Raises ImportError without
    jinja2.
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
