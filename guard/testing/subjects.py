"""Subjects: the kinds of things that can be tested, and how each is called.

A subject is a structured function, a `guard.Guard` with what it is asked for, any callable (or `module:function`), or
the address of a server that speaks OpenAI's protocol. A callable gets its model by the parameter that fits: by
annotation, else by name.

    model, llm, … (a Model of Guard's, or a list of them)    a model that the harness answers for
    client (OpenAI, AsyncOpenAI, Anthropic, httpx2.Client …) a client whose server is the harness
    base_url, url, endpoint (a text); api_key                the harness's address; a key that must appear nowhere
    ask, complete, llm, … (a Callable)                       a function from a prompt or messages to a text
    store, send, … (a Callable that returns None)            a function that keeps what it is given
    messages                                                 a conversation
    schema, wanted, response_model                           what is asked for
    ledger, usage, spent … (a list or a dictionary)          an empty one, looked into afterwards

Where no parameter brings a model, OPENAI_BASE_URL leads to the harness, and every model that Guard loads by name is
the harness's. Other parameters are data: their values are drawn by their annotations, unless `inputs` gives them.
"""

from __future__ import annotations

import collections.abc
import copy
import dataclasses
import importlib
import inspect
import json
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from guard.calls.decorator import Decorated, Structured
from guard.errors import GuardError
from guard.output import target
from guard.support.loading import load
from guard.testing.app_adapters import CANARY, AsyncFunctionAdapter, FunctionAdapter, ModelAdapter
from guard.testing.harness import Run, Scene, Surroundings
from guard.testing.oracle import Verdict, narrowed, plain, read, same
from guard.testing.parameters import client_kind, hints_of, is_model, is_models, returned, signature_of
from guard.testing.result_places import attributes, matches, places
from guard.testing.scripted_replies import ScriptedReply
from guard.testing.sinks import AsyncSink, Sink, is_sink

LIMIT = 10.0  #: Seconds after which a call is abandoned; a stage answers at once.
_MODELS = ("model", "llm", "lm", "small", "large", "primary", "secondary", "fallback", "backup")
_FUNCTIONS = ("ask", "complete", "completion", "call_model", "ask_model", "chat", "generate", "predict", "llm_call")
_ADDRESSES = ("base_url", "url", "endpoint", "api_base", "server", "openai_base_url")
_KEYS = ("api_key", "key", "token", "secret", "openai_api_key")
_LEDGERS = ("ledger", "usage", "spent", "audit", "record", "accounting", "bill", "costs", "journal")
_CONVERSATIONS = ("messages", "conversation", "chat_history", "turns", "prompt_messages")
_WANTED = ("schema", "wanted", "response_model", "output_type", "target", "response_format")
_TEXTS = (list[str], Sequence[str], collections.abc.Iterable[str])
#: What a function returns that keeps what it is given.
_NOTHING = ((None,), (type(None),), (collections.abc.Awaitable[None],))
_CACHES = ("cache", "store", "memo")
FILLER = "The quick brown fox jumps over the lazy dog. " * 40  #: Fills drawn texts, to be recognised.
#: The type to ask for where an application takes it as an argument.
ASKED_FOR = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "count": {"type": "integer", "minimum": 0}, "note": {"type": "string"}},
    "required": ["name", "count"],
    "additionalProperties": False,
}


class Subject:
    """Something under test: how it is called, and the type or schema of its value (None while unknown)."""

    def __init__(
        self,
        name: str,
        call: Callable[..., Any],
        *,
        wanted: Any = None,
        inputs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] = types.MappingProxyType({}),
        home: Any = None,
    ) -> None:
        self.name = name
        self.call = call
        self.wanted = wanted
        self.options = dict(options)
        self.home = home  # the module whose variables hold the application's state
        self.target: target.Target | None = None
        self.gives_nothing = False  # it returns None on success
        self.is_derived = False  # the wanted schema was made by Guard, from an unknown type
        self._asked: list[Any] = []  # the schemas of its steps
        self.steps = 1  # how many different values it asks for, one after the other
        self.sinks: set[str] = set()  # arguments that it writes its answers to
        self.member: str | None = None  # the member of the value that it returns; None for all
        self.path: tuple[Any, ...] | None = None  # path of the value in a result; None where it is not in it
        self.most_asks: int | None = None  # by Guard's retries and tiers
        self._inputs = dict(inputs or {})
        self._signature = signature_of(call)
        self._hints = hints_of(call)
        #: The argument that is a list of questions.
        self.batch = next((name for name, hint in self._hints.items() if name != "return" and hint in _TEXTS), None)
        self.is_async = inspect.iscoroutinefunction(call) or inspect.isasyncgenfunction(call)
        self._clients: dict[str, Any] = {}
        self._samples: dict[str, Any] = {}  # of arguments, by name
        self._readings: dict[ScriptedReply, Verdict] = {}
        unknown = self._inputs.keys() - self._signature.parameters.keys()
        if unknown:
            raise ValueError(f"inputs has {sorted(unknown)[0]!r}, which {name} does not take")

    def __str__(self) -> str:
        return self.name

    # -- What it is given ----------------------------------------------------------------------------------------------

    def data(self, mark: str) -> dict[str, Any]:
        """Return the arguments that are data, with a mark that tells calls apart."""
        given = {}
        for name, parameter in self._signature.parameters.items():
            if name in self._inputs:
                value = self._inputs[name]
                given[name] = value(mark) if callable(value) and not isinstance(value, type) else copy.deepcopy(value)
                continue
            role = self._role(name, parameter)
            if role == "messages":
                given[name] = [{"role": "user", "content": f"the text {mark}"}]
            elif role == "data" and parameter.default is parameter.empty:
                given[name] = self._made(name, mark)
        return given

    @property
    def texts(self) -> tuple[str, ...]:
        """The arguments that are meaningful texts: another text is another question."""
        found = []
        for name, parameter in self._signature.parameters.items():
            if name in self._inputs and not isinstance(self._inputs[name], str):
                continue
            hint = self._hints.get(name)
            is_text = hint is str or (hint is None and isinstance(parameter.default, str | type(parameter.empty)))
            if self._role(name, parameter) == "data" and is_text:
                found.append(name)
        return tuple(found)

    def variations(self) -> dict[str, tuple[Any, Any]]:
        """Return arguments other than texts of which two make two questions, by name: schemas, and names of models."""
        found: dict[str, tuple[Any, Any]] = {}
        for name, parameter in self._signature.parameters.items():
            role = self._role(name, parameter) if name not in self._inputs else ""
            if role == "name":
                found[name] = ("staged", "staged-too")
            elif role == "wanted" and self.wanted is None and self._hints.get(name) is not str:
                laxer = {key: part for key, part in ASKED_FOR.items() if key != "additionalProperties"}
                found[name] = (ASKED_FOR, laxer)
        return found

    def defaults(self) -> dict[str, Any]:
        """Return the defaults of arguments."""
        return {n: p.default for n, p in self._signature.parameters.items() if p.default is not p.empty}

    def _made(self, name: str, mark: str) -> Any:
        hint = self._hints.get(name, str)
        if hint is str or hint is Any:
            return f"the {name} {mark}"
        if name == self.batch:
            return [f"the {name} {mark}"]
        if hint is bytes:
            return f"the {name} {mark}".encode()
        if name not in self._samples:
            from guard.testing.drawing import drawn
            from guard.testing.strategies.values import values

            examples = drawn(values(hint), 6, 0)
            self._samples[name] = next((value for value in examples if value), examples[0])
        return _adapter(hint).validate_python(copy.deepcopy(self._samples[name]))

    def _role(self, name: str, parameter: inspect.Parameter) -> str:
        """Return the role of a parameter."""
        hint, bare = self._hints.get(name), name.lower().strip("_")
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            return "nothing"
        if client_kind(hint) is not None:
            return "client"
        if is_model(hint):
            return "model"
        if is_models(hint):
            return "models"
        origin = typing.get_origin(hint)
        is_text = hint is str or (hint is None and isinstance(parameter.default, str))
        if (origin is collections.abc.Callable or hint is collections.abc.Callable) and bare != "clock":
            return "effect" if typing.get_args(hint)[1:] in _NOTHING else "function"
        if is_text:
            if bare in _ADDRESSES:
                return "address"
            if bare in _KEYS:
                return "key"
            return "name" if bare in _MODELS and parameter.default is parameter.empty else "data"
        if hint in (None, Any):
            if bare in _ADDRESSES:
                return "address"
            if bare == "client":
                return "client"
            if bare in _MODELS:
                return "model"
            if bare in _FUNCTIONS:
                return "function"
            if bare in _KEYS:
                return "key"
        if bare in _CONVERSATIONS:
            return "messages"
        if bare in _WANTED:
            return "wanted"
        kind = origin or hint
        is_container = kind in (list, dict, collections.abc.MutableMapping, collections.abc.MutableSequence, None)
        if is_container and any(word in bare for word in _LEDGERS):
            return "ledger"
        if is_container and any(word in bare for word in _CACHES):
            return "cache"
        return "data"

    def arguments(self, data: Mapping[str, Any], surroundings: Surroundings) -> dict[str, Any]:
        """Return all arguments: data, the model in the form of its parameter, and ledgers."""
        given: dict[str, Any] = {}
        stage = surroundings.stage
        for name, parameter in self._signature.parameters.items():
            if name in data:
                given[name] = data[name]
                continue
            role, hint = self._role(name, parameter), self._hints.get(name)
            has_default = parameter.default is not parameter.empty
            if role == "client":
                given[name] = self._client(client_kind(hint) or ("AsyncOpenAI" if self.is_async else "OpenAI"))
            elif role == "model":
                given[name] = ModelAdapter(stage, name)
            elif role == "models":
                given[name] = [ModelAdapter(stage, "first"), ModelAdapter(stage, "second")]
            elif role == "function" and not (has_default and callable(parameter.default)):
                is_async = self.is_async and "Awaitable" in str(hint)
                given[name] = AsyncFunctionAdapter(stage) if is_async else FunctionAdapter(stage)
            elif role == "effect" and not has_default:
                given[name] = AsyncSink() if "Awaitable" in str(hint) else Sink()
            elif role == "address":
                given[name] = surroundings.server.url
            elif role == "key":
                given[name] = CANARY
            elif role == "name":
                given[name] = "staged"
            elif role == "ledger":
                is_list = (typing.get_origin(hint) or hint) in (list, collections.abc.MutableSequence, None)
                given[name] = [] if is_list else {}
            elif role == "wanted" and not has_default:
                wanted = ASKED_FOR if self.wanted is None else self.wanted
                given[name] = copy.deepcopy(wanted) if isinstance(wanted, Mapping) else wanted
        return given

    def _client(self, kind: str) -> Any:
        """Return a library's client with the harness as its server; cached, since clients are slow to make."""
        if kind not in self._clients:
            import httpx2
            import openai

            if kind in ("OpenAI", "AsyncOpenAI"):
                self._clients[kind] = getattr(openai, kind)()
            elif kind in ("Anthropic", "AsyncAnthropic"):
                self._clients[kind] = getattr(importlib.import_module("anthropic"), kind)()
            else:
                import os

                self._clients[kind] = getattr(httpx2, kind)(base_url=os.environ["OPENAI_BASE_URL"])
        return self._clients[kind]

    def close(self, surroundings: Surroundings) -> None:
        """Close the clients."""
        for client in self._clients.values():
            closed = (getattr(client, "aclose", None) or client.close)()
            if hasattr(closed, "__await__"):
                surroundings.awaited(closed)
        self._clients.clear()

    # -- Calls ---------------------------------------------------------------------------------------------------------

    def run(self, scene: Scene, data: Mapping[str, Any], surroundings: Surroundings, limit: float = LIMIT) -> Run:
        """Call it once."""
        given = self.arguments({name: copy.deepcopy(value) for name, value in data.items()}, surroundings)
        roles = {name: self._role(name, self._signature.parameters[name]) for name in given}
        ledgers = {name: value for name, value in given.items() if roles[name] == "ledger"}
        watched = [
            name
            for name, value in given.items()
            if name in data or roles[name] == "effect" or (roles[name] == "wanted" and isinstance(value, Mapping))
        ]
        before = {name: copy.deepcopy(given[name]) for name in watched}
        run = surroundings.run(lambda: self.call(**given), scene, limit)
        run.given, run.after = before, {name: given[name] for name in watched}
        run.kept = ledgers
        return run

    def learn(self, run: Run, surroundings: Surroundings) -> None:
        """Learn what the application asks for from a first call, whatever its outcome."""
        annotated = returned(self._hints)
        asked = self._asked_for(run, surroundings)
        wanted = self.wanted
        if wanted is None and "wanted" in [self._role(n, p) for n, p in self._signature.parameters.items()]:
            wanted = ASKED_FOR
        if wanted is None:
            is_typed = _is_wanted(annotated, asked)
            wanted = annotated if is_typed else asked
            self.is_derived = not is_typed and bool(run.calls)
        if wanted is None:
            wanted = annotated if annotated is not None and not _says_nothing(annotated) else True
        self.aim(wanted)

    def aim(self, wanted: Any) -> None:
        """Set the wanted type or schema."""
        self.target = target.from_any(wanted, {"inexact": "residual", **self.options})
        self._readings.clear()

    def read(self, reply: ScriptedReply) -> Verdict:
        """Return the oracle's verdict on a reply."""
        assert self.target is not None
        if reply not in self._readings:
            self._readings[reply] = narrowed(read(reply, self.target), self.member)
        return self._readings[reply]

    def locate(self, run: Run, text: str) -> None:
        """Find the place in a result of the value that the model wrote as this text."""
        assert self.target is not None
        expected = self.target.check(text)[0]
        found = list(places(run.value))
        for is_near in (False, True):
            for path, part in found:
                if matches(part, expected, is_near=is_near):
                    self.path = path
                    kind = type(part)
                    if isinstance(expected, dict) and hasattr(kind, "model_validate") and self.wanted is None:
                        self.aim(kind)
                        self.is_derived = False
                    return
        self._locate_member(expected, found)

    def _locate_member(self, expected: Any, found: Sequence[tuple[tuple[Any, ...], Any]]) -> None:
        """Find the place in a result of one member of the value, where it is all that is returned."""
        members = plain(expected)
        for key, member in members.items() if isinstance(members, dict) else ():
            if member in (None, "", 0, 1, [], {}):  # too common to be known by
                continue
            for path, part in found:
                if same(plain(part), member):
                    self.path, self.member = path, key
                    self._readings.clear()
                    return

    def follow(self, run: Run) -> bool:
        """Learn of further steps from a run's requests. Returns whether another step's value is now under test."""
        for ask in run.asks:
            if ask.schema is not None and not any(is_one_step(ask.schema, step) for step in self._asked):
                self._asked.append(ask.schema)
        if len(self._asked) <= self.steps:
            return False
        self.steps, last = len(self._asked), self._asked[-1]
        if self.wanted is not None:
            return False
        annotated = returned(self._hints)
        self.aim(annotated if _is_wanted(annotated, last) else last)
        return True

    def of_another_step(self, schema: Any) -> bool:
        """Whether a request's schema is another step's than that of the value under test."""
        assert self.target is not None
        return self.steps > 1 and not is_one_step(schema, self.target.schema)

    def notice_sinks(self, run: Run) -> None:
        """Learn which arguments the value of a run is written to."""
        if self.path is None:
            return
        value = self.value(run)
        for name, before in run.given.items():
            is_conversation = self._role(name, self._signature.parameters[name]) == "messages"
            if not is_conversation and is_sink(before, run.after.get(name), value):
                self.sinks.add(name)

    def suppose(self, run: Run) -> None:
        """Find the place in a result of any value of the wanted kind."""
        assert self.target is not None
        names = _named(self.target.schema)
        for path, part in places(run.value):
            mine = plain(part)
            if names and isinstance(mine, dict) and mine and mine.keys() <= names:
                self.path = path
                return

    def value(self, run: Run) -> Any:
        """Return the value in a result, or the whole result where the place does not exist."""
        part = run.value
        for step in self.path or ():
            try:
                if step == "json()":
                    part = json.loads(part)
                elif isinstance(step, int) or isinstance(part, Mapping):
                    part = part[step]
                else:
                    part = getattr(part, step)
            except (KeyError, IndexError, TypeError, AttributeError, ValueError, RecursionError):
                return run.value
        return part

    def beside(self, run: Run) -> dict[str, Any]:
        """Return the other parts of a result, by name."""
        if not self.path:
            return {}
        whole = run.value
        first = self.path[0]
        named: dict[str, Any] = {}
        if isinstance(whole, Mapping):
            named = {str(k): v for k, v in whole.items() if k != first}
        elif isinstance(whole, list | tuple) and not hasattr(whole, "_fields"):
            for at, part in enumerate(whole):
                if at == first:
                    continue
                inner = dict(part) if isinstance(part, Mapping) else attributes(part)
                named |= inner or {f"[{at}]": part}
        else:
            named = {k: v for k, v in attributes(whole).items() if k != first}
        return named

    def _asked_for(self, run: Run, surroundings: Surroundings) -> Any:
        """Return the requested schema: the original one, where Guard made the request."""
        from guard.trace import TraceStore

        if run.calls:
            kept = TraceStore.at(surroundings.trace).schema(run.calls[0].schema_hash)
            self.most_asks = max(
                (1 + int(call.options.get("retries", 0))) * len(call.options.get("tiers", (1,))) for call in run.calls
            )
            if kept is not None:
                schema = kept.get("schema")
                return json.loads(schema) if isinstance(schema, str) else schema
        return next((ask.schema for ask in [*run.asks, *run.refused] if ask.schema is not None), None)


# ---- Kinds of subjects -----------------------------------------------------------------------------------------------


def from_any(
    subject: Any,
    *,
    schema: Any = None,
    inputs: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] = types.MappingProxyType({}),
) -> Subject:
    """Return a subject of anything that can be one. Raises ValueError or TypeError for anything else.

    `schema` is the type of the result, where neither annotations nor requests show it. `inputs` are arguments by name,
    each a value, or a function of a mark that tells calls apart.
    """
    if isinstance(subject, Subject):
        return subject
    if is_address(subject):
        return _of_server(subject, ASKED_FOR if schema is None else schema)
    if isinstance(subject, str):
        return from_any(imported(subject), schema=schema, inputs=inputs, options=options)
    if isinstance(subject, type) or typing.get_origin(subject) is not None:  # `Annotated[str, …]` can be called, too
        from guard.calls.pipeline import Guard

        return _of_guard(Guard(), subject, options)
    if isinstance(subject, Decorated):
        return _of_structured(subject, inputs, options)
    from guard.calls.pipeline import Guard

    if isinstance(subject, Guard):
        return _of_guard(subject, ASKED_FOR if schema is None else schema, options)
    if not callable(subject):
        raise TypeError(
            f"{subject!r} can't be put under test: give a function, a Guard, module:function, or an address"
        )
    name = f"{getattr(subject, '__module__', '')}.{getattr(subject, '__qualname__', type(subject).__name__)}"
    home = sys.modules.get(getattr(subject, "__module__", ""))
    return Subject(name, subject, wanted=schema, inputs=inputs, options=options, home=home)


def is_address(subject: Any) -> bool:
    """Whether a subject is named by the address of a server."""
    return isinstance(subject, str) and subject.startswith(("http://", "https://"))


def imported(place: str) -> Any:
    """Import `module:name` or `file.py:name`. Raises ValueError where it does not exist."""
    if ":" not in place:
        raise ValueError(f"{place!r} must be module:function, file.py:function, or an address")
    return load(place)


def _of_structured(function: Any, inputs: Mapping[str, Any] | None, options: Mapping[str, Any]) -> Subject:
    """Return the subject of a structured function. The harness replaces every tier, under its own name."""
    asked = function.guard
    names = [tier if isinstance(tier, str) else tier.name for tier in asked.tiers]

    @_like(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        staged = function.using(model=names[0], escalate_to=names[1:], trace=None, mode="live")
        if staged._is_method and not staged._bound:
            staged = staged.__get__(object())  # of a method, that of any object: self is no input
        if isinstance(function, Structured):
            return _Traced(*staged.traced(*args, **kwargs))
        return staged(*args, **kwargs)

    made = Subject(function.name, call, wanted=function.target.schema, inputs=inputs, options=options)
    made.aim(function.target.schema)
    made.target = function.target
    made.most_asks = (1 + asked.policy.retries) * len(asked.tiers)
    return made


@dataclasses.dataclass
class _Traced:
    """A value and its record, whose figures are compared with the requests."""

    value: Any
    call: Any

    @property
    def prompt_tokens(self) -> int:
        """The record's prompt tokens."""
        return int(self.call.prompt_tokens)

    @property
    def completion_tokens(self) -> int:
        """The record's completion tokens."""
        return int(self.call.completion_tokens)

    @property
    def served(self) -> str:
        """The model that answered, by the record."""
        return str(self.call.served)

    @property
    def attempts(self) -> int:
        """The number of the record's attempts."""
        return len(self.call.attempts)


def _of_guard(asked: Any, wanted: Any, options: Mapping[str, Any]) -> Subject:
    names = [tier if isinstance(tier, str) else tier.name for tier in asked.tiers]

    def call(messages: list[dict[str, Any]]) -> Any:
        staged = asked.using(model=names[0], escalate_to=names[1:], trace=None, mode="live")
        return _Traced(*staged.traced(wanted, messages))

    made = Subject("guard.Guard", call, wanted=wanted, options={**asked.options, **options})
    made.aim(wanted)
    made.most_asks = (1 + asked.policy.retries) * len(asked.tiers)
    return made


class ServedError(Exception):
    """A server's answer was an error of the protocol."""


class BrokenProtocolError(TypeError):
    """A server's answer was neither an answer nor an error of the protocol."""


def _of_server(address: str, schema: Any) -> Subject:
    """Return the subject of a server that speaks OpenAI's protocol."""
    import httpx2

    url = address.rstrip("/")
    url = url if url.endswith("/chat/completions") else f"{url}/chat/completions"
    client = httpx2.Client(timeout=LIMIT)
    plain_schema = schema if isinstance(schema, Mapping) else None
    if plain_schema is None:
        from guard.schemas import types as schema_types

        plain_schema = json.loads(schema) if isinstance(schema, str) else schema_types.json_schema(schema)

    def call(text: str) -> Any:
        form = {"type": "json_schema", "json_schema": {"name": "value", "schema": plain_schema, "strict": False}}
        body = {"model": "staged", "messages": [{"role": "user", "content": text}], "response_format": form}
        response = client.post(url, json=body)
        try:
            whole = response.json()
        except ValueError:
            raise BrokenProtocolError(f"HTTP {response.status_code} and no JSON: {response.text[:200]!r}") from None
        if response.status_code >= 400:
            error = whole.get("error") if isinstance(whole, dict) else None
            if not isinstance(error, dict) or not error.get("message"):
                raise BrokenProtocolError(f"HTTP {response.status_code} without an error of the protocol: {whole!r}")
            raise ServedError(f"HTTP {response.status_code}: {error['message']}")
        try:
            choice = whole["choices"][0]
            if choice["finish_reason"] != "stop":
                raise ServedError(f"the answer ended by {choice['finish_reason']}")
            if choice["message"].get("refusal"):
                raise ServedError(f"refused: {choice['message']['refusal']}")
            value = json.loads(choice["message"]["content"])
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise BrokenProtocolError(f"no answer of the protocol: {whole!r}") from error
        return {"value": value, "model": whole.get("model"), **(whole.get("usage") or {})}

    made = Subject(address, call, wanted=schema)
    made._clients["Client"] = client
    made.path = ("value",)
    made.aim(schema)
    return made


# ---- Looking at callables and results --------------------------------------------------------------------------------


def _like(function: Any) -> Callable[[Any], Any]:
    """Give a wrapper the signature of the wrapped function."""

    def given(wrapper: Any) -> Any:
        signature = function._signature
        if function._is_method:
            signature = signature.replace(parameters=list(signature.parameters.values())[1:])
        wrapper.__signature__ = signature
        original = getattr(function, "__wrapped__", None)  # none of one that was unpickled
        wrapper.__annotations__ = dict(getattr(original, "__annotations__", {}))
        wrapper.__wrapped_globals__ = getattr(original, "__globals__", {})
        return wrapper

    return given


def _adapter(hint: Any) -> Any:
    from guard.schemas import types as schema_types

    return schema_types.adapter(hint)


def _says_nothing(hint: Any) -> bool:
    kind = typing.get_origin(hint) or hint
    return kind in (Any, object, dict, str, list, tuple, Mapping, collections.abc.Mapping)


def _is_wanted(hint: Any, asked: Any) -> bool:
    """Whether the model is asked for an annotated type, rather than for something that it is made from."""
    if hint is None or _says_nothing(hint):
        return False
    from guard.schemas import types as schema_types

    try:
        schema = schema_types.json_schema(hint)
    except (GuardError, TypeError, ValueError):
        return False
    if asked is None:
        return isinstance(schema, Mapping)
    mine, theirs = _named(schema), _named(asked)
    return mine == theirs if theirs else True


def is_one_step(one: Any, other: Any) -> bool:
    """Whether two schemas ask for one value: the names of one are among the other's."""
    mine, theirs = _named(one), _named(other)
    return mine <= theirs or theirs <= mine


def _named(schema: Any) -> set[str]:
    if isinstance(schema, Mapping) and isinstance(reference := schema.get("$ref"), str):
        part: Any = schema
        for step in reference.lstrip("#/").split("/"):
            part = part.get(step, {}) if isinstance(part, Mapping) else {}
        return _named({k: v for k, v in part.items() if k != "$ref"}) if isinstance(part, Mapping) else set()
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    return set(properties) if isinstance(properties, Mapping) else set()
