"""Models of the outlines library as Guard's: `from_outlines(outlines.from_transformers(…))`.

The schema is passed to outlines as the output type, which its masks or its provider enforce. A schema that outlines
refuses is described in words. outlines returns only text: tokens are counted by the model's tokenizer where it has one
and estimated elsewhere, the price is unknown, and a blocking model can't be stopped at a deadline.

A model in this process answers one request at a time; the others wait for their turn, at most until their deadline.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import json
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from guard.errors import BudgetExceeded, GuardError, ModelError
from guard.models import chat_messages
from guard.models.base import Reply, Request
from guard.models.chat_messages import estimated_tokens
from guard.models.event_loop import EVENT_LOOP
from guard.models.remote.errors import said_by
from guard.models.thinking_tags import Thoughts
from guard.support.interrupts import injected

try:
    import outlines
    from outlines.inputs import Chat
    from outlines.types import JsonSchema
except ImportError as error:
    raise ModelError(f"models of outlines need {error.name}: pip install 'guard-slm[outlines]'") from error

CACHED = 64  #: Generators, one for each schema, that a model keeps.

#: The option that bounds tokens, by kind of model. Other kinds are sent no bound.
_BUDGET = {
    **dict.fromkeys(("Transformers", "TransformersMultiModal", "TGI", "AsyncTGI"), "max_new_tokens"),
    **dict.fromkeys(("LlamaCpp", "MLXLM", "Mistral", "AsyncMistral", "Anthropic", "VLLM", "AsyncVLLM"), "max_tokens"),
    **dict.fromkeys(("SGLang", "AsyncSGLang", "OpenAI", "AsyncOpenAI"), "max_tokens"),
}

#: Kinds of models that run in this process and bear one request at a time. A generator of outlines has one logits
#: processor, which knows where the one answer is that it masks; to make another costs as much as to compile the schema.
#: llama.cpp, MLX and vLLM keep one state of their own besides.
_ALONE = frozenset({"Transformers", "LlamaCpp", "MLXLM", "VLLMOffline"})

#: The turn at each model of these kinds, which may be wrapped more than once.
_TURNS: weakref.WeakKeyDictionary[Any, threading.Lock] = weakref.WeakKeyDictionary()

#: Makes the options of a request to outlines.
Options = Callable[[Request], Mapping[str, Any]]


def from_outlines(model: Any, name: str | None = None, options: Options | None = None) -> OutlinesModel:
    """Wrap a model of outlines; `options` returns what is sent with a request besides its messages."""
    is_async = inspect.iscoroutinefunction(getattr(model, "generate", None))
    return (AsyncOutlinesModel if is_async else OutlinesModel)(model, name, options)


class OutlinesModel:
    """A blocking model of outlines."""

    def __init__(self, model: Any, name: str | None = None, options: Options | None = None) -> None:
        if not callable(getattr(model, "generate", None)) or not hasattr(model, "type_adapter"):
            raise ModelError(f"{type(model).__name__} is no model of outlines")
        self._model = model
        own = getattr(model, "model_name", None)
        self._name = name or f"outlines:{own or type(model).__name__}"
        self._options = options or self._usual_options
        self._generator = functools.lru_cache(CACHED)(self._make_generator)
        is_alone = not _ALONE.isdisjoint(kind.__name__ for kind in type(model).__mro__)
        self._lock = _TURNS.setdefault(model, threading.Lock()) if is_alone else None

    @property
    def name(self) -> str:
        """The model's name in replies and traces."""
        return self._name

    def generate(self, request: Request) -> Reply:
        """Answer a request."""
        start = time.perf_counter()
        with self._turn(request.seconds):
            generator, mode, messages = self._asked(request)
            try:
                text = generator(Chat(messages), **self._options(request))
            except GuardError:
                raise
            except Exception as error:
                raise self._failed(error) from error
            return self._reply(text, request, mode, messages, time.perf_counter() - start)

    @contextlib.contextmanager
    def _turn(self, seconds: float | None) -> Iterator[None]:
        """Have the model alone, where it must be; BudgetExceeded where others are at it for so many seconds."""
        if self._lock is None:
            yield
            return
        if not self._lock.acquire(timeout=-1 if seconds is None else min(seconds, threading.TIMEOUT_MAX)):
            raise self._late(seconds)
        try:
            yield
        finally:
            self._lock.release()

    def _asked(self, request: Request) -> tuple[Any, str, list[dict[str, Any]]]:
        known = sys.exception()
        messages = chat_messages.copied(request.messages)
        if request.compiled is None:
            return self._generator(None), "prompt", list(messages)
        if request.compiled.is_format:
            return self._generator(None), "prompt", list(chat_messages.with_format(messages, request.compiled.contents))
        try:
            return self._generator(request.compiled), "native", list(messages)
        except Exception as error:  # its engine refuses the schema, with any exception: describe it in words
            if injected(error, known) is not None:
                raise
            return self._generator(None), "prompt", list(chat_messages.with_schema(messages, request.compiled.schema))

    def _make_generator(self, compiled: Any) -> Any:
        output_type = None if compiled is None else JsonSchema(json.dumps(compiled.schema))
        return outlines.Generator(self._model, output_type)

    def _usual_options(self, request: Request) -> dict[str, Any]:
        budget = _BUDGET.get(type(self._model).__name__)
        return {budget: request.max_tokens + request.thinking} if budget else {}

    def _reply(self, text: Any, request: Request, mode: str, messages: list[dict[str, Any]], seconds: float) -> Reply:
        if not isinstance(text, str):
            raise ModelError(f"{self._name} answered with a {type(text).__name__}, not a text")
        thinking = Thoughts(is_value=request.compiled is not None and not request.compiled.is_format)
        answer = thinking.feed(text) + thinking.end()
        budget = request.max_tokens + request.thinking
        tokens, is_counted = self._counted(text)
        return Reply(
            text=answer,
            finish="length" if is_counted and tokens >= budget else "stop",
            model=self._name,
            prompt_tokens=sum(self._counted(str(message.get("content", "")))[0] for message in messages),
            completion_tokens=tokens,
            seconds=seconds,
            thinking_tokens=self._counted(thinking.thought)[0],
            thinking=thinking.thought,
            mode=mode,
            is_estimate=not is_counted,
        )

    def _counted(self, text: str) -> tuple[int, bool]:
        """Return a text's number of tokens, and whether it was counted (else estimated)."""
        tokenizer: Any = getattr(self._model, "tokenizer", None)
        if not text or not hasattr(tokenizer, "encode"):
            return estimated_tokens(text), False
        ids, _ = tokenizer.encode(text)
        return len(ids[0]) if len(ids) and hasattr(ids[0], "__len__") else len(ids), True

    def _failed(self, error: Exception) -> ModelError:
        return ModelError(f"{self._name} failed: {type(error).__name__}: {said_by(str(error))}")

    def _late(self, seconds: float | None) -> BudgetExceeded:
        return BudgetExceeded(
            f"{self._name} gave no answer within the {seconds:.3g} s that were left; raise the budget of seconds"
        )


class AsyncOutlinesModel(OutlinesModel):
    """An async model of outlines."""

    def generate(self, request: Request) -> Reply:
        """Answer a request."""
        return EVENT_LOOP.run(self._answer(request))

    async def agenerate(self, request: Request) -> Reply:
        """Answer a request."""
        return await EVENT_LOOP.arun(self._answer(request))

    async def _answer(self, request: Request) -> Reply:
        start = time.perf_counter()
        generator, mode, messages = self._asked(request)
        try:
            async with asyncio.timeout(request.seconds):
                text = await generator(Chat(messages), **self._options(request))
        except TimeoutError:
            raise self._late(request.seconds) from None
        except Exception as error:
            raise self._failed(error) from error
        return self._reply(text, request, mode, messages, time.perf_counter() - start)
