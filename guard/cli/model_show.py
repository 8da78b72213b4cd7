"""`guard models show`: a model's own tool format, as it is derived from its chat template."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from guard.cli.console import EXIT_MODEL, Problem, console, say, say_json, table
from guard.cli.named import read_text

if TYPE_CHECKING:
    from guard.turns.tool_format import ToolFormat

_CALLS: list[tuple[str, dict[str, Any]]] = [
    ("get_weather", {"city": "Ulm", "days": 3}),
    ("get_weather", {"city": "Bonn"}),
]


def show(name: str | None, template: Path | None, *, as_json: bool) -> None:
    """Print how a model writes tool calls: derived from its chat template, and tried on turns that it renders.

    Where nothing was derived, or turns do not come back equal, tools are asked for in words and calls are written as
    JSON.
    """
    if (name is None) == (template is None):
        raise Problem("name a function, a version or a model, or a file with --template")
    found = _derived(*_template(name, template))
    shown = str(template if name is None else name)
    if as_json:
        say_json({"model": shown, "format": None if found is None else found.describe()})
        return
    if found is None:
        say(f"{shown}: no format of calls is derived from its chat template; calls are asked for in words, as JSON")
        return
    rows = table("what", "how")
    for what, how in found.describe().items():
        rows.add_row(what, _told(how))
    console().print(rows)
    say("A turn:")
    say(found.assistant(_CALLS[: 2 if found.anatomy.several else 1], thinking="hm" if found.anatomy.thinking else ""))


def _template(name: str | None, template: Path | None) -> tuple[str, dict[str, str]]:
    """Return a chat template, and the special tokens that it may name."""
    if template is not None:
        return read_text(template), {}
    from guard import models as known
    from guard.errors import ModelError

    assert name is not None
    try:
        model = known.load(name)
    except ModelError as error:
        raise Problem(str(error), EXIT_MODEL) from error
    found: Any = getattr(model, "chat_template", None)
    if found is None:
        raise Problem(f"{name} has no chat template here", EXIT_MODEL)
    return found[0], dict(found[1])


def _derived(text: str, special_tokens: dict[str, str]) -> ToolFormat | None:
    from guard.formats import from_chat_template

    try:
        return from_chat_template(text, **special_tokens)
    except (ImportError, ValueError) as error:
        raise Problem(str(error)) from None


def _told(how: Any) -> str:
    if isinstance(how, bool) or how is None:
        return {True: "yes", False: "no", None: "none"}[how]
    return how if isinstance(how, str) else repr(how)
