"""Rendering of chat templates, each batch in its own process, because a template is a stranger's program.

The Jinja environment is that of transformers: sandboxed, with loop controls, `tojson`, `raise_exception`,
`strftime_now` and `{% generation %}`. The process has limited memory and processor time, only its pipes, and none of
our environment variables but the search paths. A template can't carry state from one conversation to the next.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from guard.turns import bounded_process

SECONDS = 5  #: Processor time for one batch.
WAIT = 120.0  #: Seconds of wall-clock time for one batch, for busy machines.
MEMORY = 512_000_000  #: Bytes of address space.
MOST_CHARS = 100_000  #: Longest rendered conversation.
MOST_TEMPLATE = 1_000_000  #: Longest template, in characters.
DEFAULTS = {"bos_token": "<s>", "eos_token": "</s>"}  #: Special tokens that most templates name.


class TemplateInput(NamedTuple):
    """One conversation, its tools, and whether the generation prompt is added (`with_prompt`)."""

    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None = None
    with_prompt: bool = False


def render(
    template: str, conversations: Sequence[TemplateInput], special_tokens: Mapping[str, str]
) -> list[str | None]:
    """Return each conversation as the template renders it; None where it raises or exceeds a limit.

    Raises ImportError without jinja2, and ValueError for a template longer than MOST_TEMPLATE.
    """
    try:
        import jinja2  # noqa: F401 (the process needs it)
    except ImportError:
        raise ImportError("chat templates need jinja2: pip install 'guard-slm[local]'", name="jinja2") from None
    if len(template) > MOST_TEMPLATE:
        raise ValueError(f"a template of {len(template):,} characters; at most {MOST_TEMPLATE:,} are read")
    special = DEFAULTS | dict(special_tokens)
    job = {"seconds": SECONDS, "template": template, "special_tokens": special, "conversations": conversations}
    found: list[str | None] = bounded_process.results(__name__, job, len(conversations), WAIT)
    return found


def main() -> None:
    """Render the job on standard input; write one line of JSON for each conversation to standard output."""
    job = json.load(sys.stdin)
    bounded_process.limit(job["seconds"], MEMORY)
    out = sys.stdout
    try:
        template = compiled(job["template"])
    except Exception:
        return
    for messages, tools, with_prompt in job["conversations"]:
        out.write(json.dumps(_rendered(template, messages, tools, with_prompt, job["special_tokens"])) + "\n")
        out.flush()


def _rendered(template: Any, messages: Any, tools: Any, with_prompt: bool, special: Any) -> str | None:
    more = {"tools": tools, "documents": None, "functions": json.dumps(tools), "datetime": "2026-01-01"}
    try:
        text: str = template.render(
            messages=json.loads(json.dumps(messages)), add_generation_prompt=with_prompt, **(more | special)
        )
    except Exception:
        return None
    return text if len(text) <= MOST_CHARS else None


def compiled(template: str) -> Any:
    """Compile a template in the environment that transformers gives to chat templates."""
    import jinja2
    import jinja2.ext
    import jinja2.sandbox

    class Generation(jinja2.ext.Extension):
        tags = {"generation"}  # noqa: RUF012 (as Jinja has it)

        def parse(self, parser: Any) -> Any:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    # Templates may change the lists that they are given, as in llama.cpp: the lists are copies.
    environment = jinja2.sandbox.SandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals.update(raise_exception=_raise, strftime_now=_now)
    return environment.from_string(template)


def _tojson(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    given = list(value) if hasattr(value, "__next__") else value
    return json.dumps(given, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise(message: str) -> None:
    import jinja2

    raise jinja2.TemplateError(message)


def _now(format: str) -> str:  # noqa: A002 (as transformers has it)
    return datetime.now().strftime(format)  # noqa: DTZ005 (as transformers has it)
