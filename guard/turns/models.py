"""Models that answer with a turn: in the form of the model's own chat template, or as JSON described in words.

Both wrap another model, and their replies hold the turn as one JSON value (guard/turns/value.py), so the pipeline
asks, checks and records them like any other model's. The template's form needs a model that decodes here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
from collections.abc import AsyncGenerator, Iterator
from typing import TYPE_CHECKING, Any

from guard import formats
from guard.errors import SchemaError, Unsupported
from guard.kernels.cached import cached_property
from guard.models import adapters
from guard.models.base import Model, Reply, Request, Thought
from guard.turns import marking, reading, value, words
from guard.turns.pieces import Spoken
from guard.turns.turn import Wanted

if TYPE_CHECKING:
    from guard.schemas import Compiled
    from guard.turns.tool_format import ToolFormat


def around(wanted: Wanted, model: Model) -> Model:
    """Wrap a model so that it answers with turns as one JSON value."""
    form = tool_format(model)
    return WordedModel(model, wanted) if form is None else TemplatedModel(model, form, wanted)


def tool_format(model: Model) -> ToolFormat | None:
    """Return the tool format of a model's own chat template; None where the model has none that round-trips."""
    template = getattr(model, "chat_template", None)
    if template is None:
        return None
    text, special = template
    response = getattr(model, "response_template", None)
    form = _derived(text, tuple(sorted(special.items())), None if response is None else json.dumps(response))
    return form if form is not None and form.round_trips else None


@functools.lru_cache(64)
def _derived(template: str, special: tuple[tuple[str, str], ...], response: str | None) -> ToolFormat | None:
    form = formats.from_chat_template(template, **dict(special))
    if response is None:
        return form
    from guard.turns import response_templates  # imported late: few tokenizers have one

    spec = json.loads(response)
    if form is not None and form.round_trips:
        return response_templates.kept_to(form, spec)
    return response_templates.derive(spec) if "tool_calls" in template else form


class TemplatedModel:
    """A model that decodes here and writes calls as its chat template does; one automaton masks and reads them."""

    is_masked = True

    def __init__(self, model: Model, form: ToolFormat, wanted: Wanted) -> None:
        self.model, self.name, self.form, self.wanted = model, model.name, form, wanted
        self._tools = tuple(tool.as_json for tool in wanted.tools)  # the prompt shows them
        self._callable = tuple(tool.as_json for tool in wanted.callable)

    @property
    def identity(self) -> str:
        """What determines the answers besides the request; part of the key of recorded replies."""
        form = "" if self._words is not None else self._compiled.hash
        return f"{getattr(self.model, 'identity', '')} {form}"

    @cached_property
    def _words(self) -> WordedModel | None:
        """The model to ask in words, where the template's form can't express these tools; None where it can."""
        try:
            _ = self._compiled
        except (SchemaError, ValueError):
            return WordedModel(self.model, self.wanted)
        return None

    def generate(self, request: Request) -> Reply:
        """Answer, blocking."""
        if self._words is not None:
            return self._words.generate(request)
        return self._reply(self.model.generate(self._request(request)))

    def stream(self, request: Request) -> Iterator[str | Reply]:
        """Yield text and calls in pieces (guard/turns/pieces.py), then the reply. Blocks."""
        if self._words is not None:
            yield from self._words.stream(request)
            return
        if self.wanted.response is not None and self._choice == "none":  # all of it is the answer
            for part in adapters.pieces(self.model, self._request(request)):
                yield self._reply(part) if isinstance(part, Reply) else part
            return
        reader = self.form.reader(self._callable, begun=self.form.over, tool_choice=self._read_as)
        for part in adapters.pieces(self.model, self._request(request)):
            if isinstance(part, Reply):
                yield from reader.end()
                yield self._reply(part)
            else:
                yield from (part,) if isinstance(part, Thought) else reader.feed(part)

    @property
    def _compiled(self) -> Compiled:
        return self._masks[0]

    @cached_property
    def _masks(self) -> tuple[Compiled, tuple[str, ...]]:
        """The compiled format, and the special tokens that it knows by their bytes: those within arguments."""
        from guard.schemas import compile as compiled  # imported late: only a masked turn needs the engine

        form, within = self._format(), self.form.within
        if tokens := [name for name in self._marks if name not in within]:
            with contextlib.suppress(SchemaError):  # a mark stands where no token can
                kept = compiled(marking.marked(form, tokens), **self.form.options)
                return kept, tuple(name for name in self._marks if name in within)
        return compiled(form, **self.form.options), self._marks

    @property
    def _choice(self) -> str:
        return self.wanted.choice if self._callable else "none"

    @property
    def _read_as(self) -> str:
        """The choice under which turns are read: an answer of a type is no text, so what is no call is the answer."""
        return "required" if self.wanted.response is not None and self._choice == "auto" else self._choice

    def _format(self) -> dict[str, Any]:
        response, choice = self.wanted.response, self._choice
        if response is None:
            return self._turns(choice)
        answer = formats.json(response)
        if choice == "none":
            return answer
        if choice != "auto":
            return self._turns(choice)
        return formats.union(self._turns("required"), answer)

    def _turns(self, choice: str) -> dict[str, Any]:
        most = self.wanted.most
        return self.form.format(self._callable, choice, parallel=most > 1, max_calls=most, begun=self.form.over)

    def _request(self, request: Request) -> Request:
        messages = tuple(self.form.messages(request.messages))
        sampling = request.sampling
        if self._choice == "auto":
            bias = self.wanted.call_bias
            sampling = dataclasses.replace(sampling, decision=self._begins, decision_bias=bias)
        return dataclasses.replace(
            request,
            messages=messages,
            compiled=self._compiled,
            tools=self._tools,
            marks=self._marks,
            spelled=self._masks[1],
            sampling=sampling,
            thinks_aloud=True,
        )

    @cached_property
    def _begins(self) -> tuple[int, ...]:
        """The first token of every call; empty where calls may begin differently."""
        from guard.schemas import compile as compiled
        from guard.schemas.compiled import single_bytes

        calls = compiled(self._turns("required"), **self.form.options)
        first = self.model._tokenize(calls.matcher(single_bytes()).forced_bytes().decode())  # type: ignore[attr-defined] # it decodes here
        return tuple(first[:1])

    @cached_property
    def _marks(self) -> tuple[str, ...]:
        """The special tokens that the format writes by their names; the model writes each as one token."""
        told = self.form.spelled
        known: tuple[str, ...] = self.model.vocabulary.marks  # type: ignore[attr-defined] # it decodes here
        return tuple(name for name in known if name in told)

    def _reply(self, reply: Reply) -> Reply:
        has_answer = self.wanted.response is not None
        # A decoded text has no end of a turn behind it: what looks like one was said.
        read = reading.read(reply.text, *self.form.compiled(self._callable, self.form.over, self._read_as))
        calls = [(call.name, call.written) for call in read.calls]
        if has_answer and not calls:
            return dataclasses.replace(reply, text=f'{{"content": {reply.text}}}')
        return dataclasses.replace(reply, text=value.written(read.text, calls))


class WordedModel:
    """Any other model: it is told of the tools in words and writes the turn as JSON, held to the turn's schema."""

    def __init__(self, model: Model, wanted: Wanted) -> None:
        self.model, self.name = model, model.name
        self.is_masked = bool(getattr(model, "is_masked", False))
        tools = [(tool.name, tool.description, tool.parameters) for tool in wanted.callable]
        if wanted.call_bias:
            what = "call_bias needs a model that decodes here and calls as its template does"
            raise Unsupported(f"{what}, and {model.name} is none; leave it out")
        self._told = words.instruction(tools, must_call=wanted.must_call) if tools else ""

    def price(self, prompt_tokens: int, completion_tokens: int) -> float | None:
        """Return the price of an answer in US dollars; None where it is not known."""
        return adapters.price(self.model, prompt_tokens, completion_tokens)

    def generate(self, request: Request) -> Reply:
        """Answer, blocking."""
        return adapters.generate(self.model, self._request(request))

    async def agenerate(self, request: Request) -> Reply:
        """Answer, async."""
        return await adapters.agenerate(self.model, self._request(request))

    def stream(self, request: Request) -> Iterator[str | Reply]:
        """Yield the text of a turn without calls in pieces, then the reply. Blocks."""
        spoken = Spoken()
        for part in adapters.pieces(self.model, self._request(request)):
            yield spoken.feed(part) if type(part) is str else part

    async def astream(self, request: Request) -> AsyncGenerator[str | Reply, None]:
        """Do what `stream` does, async."""
        spoken = Spoken()
        async with contextlib.aclosing(adapters.apieces(self.model, self._request(request))) as parts:
            async for part in parts:
                yield spoken.feed(part) if type(part) is str else part

    def _request(self, request: Request) -> Request:
        return dataclasses.replace(request, messages=words.worded(request.messages, self._told), thinks_aloud=True)
