"""What every model answers to: a request goes in, a reply comes out.

A request carries chat messages and, when the answer is to be a typed value, the compiled schema whose masks
decoding runs under. Where a model's weights live, and how it decodes, is the other modules' business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from guard.schemas.compiled import Compiled


@dataclass(frozen=True)
class Request:
    """One question to a model."""

    messages: tuple[Mapping[str, str], ...]  # {"role": …, "content": …}, never changed
    compiled: Compiled | None  # None: plain text, no masks
    max_tokens: int = 512  # of the completion, the end-of-sequence token included
    temperature: float = 0.0  # 0 is greedy
    seed: int = 0  # of the sampling; greedy decoding does not read it

    def __post_init__(self) -> None:
        if not self.messages:
            raise ValueError("messages=() must hold at least one message")
        if self.max_tokens < 1:
            raise ValueError(f"max_tokens={self.max_tokens} must be at least 1")
        if not 0.0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature={self.temperature} must be at least 0 and finite")


@dataclass(frozen=True)
class Reply:
    """What a model wrote, and what it cost."""

    text: str
    finish: str  # "stop": the model ended by itself; "length": max_tokens ran out (only without a schema)
    model: str  # the name of the model that answered
    prompt_tokens: int
    completion_tokens: int  # forced ones and the end-of-sequence token included
    forced_tokens: int  # those that the schema alone determined, appended without asking the model
    seconds: float  # from the request to the text
    mask_seconds: float  # of those, spent in the mask engine


@runtime_checkable
class Model(Protocol):
    """Anything that answers requests; from any thread."""

    @property
    def name(self) -> str:
        """How the model is named in replies and traces."""
        ...

    def generate(self, request: Request) -> Reply:
        """Answer; raises Truncated where the budget can't hold an answer, ModelError where the model fails."""
        ...
