"""What every model answers to: a request goes in, a reply comes out.

A request carries chat messages and, when the answer is to be a typed value, the compiled schema. Where a model's
weights live, how it decodes and how a provider is spoken to is the other modules' business; how a model that answers
in one way (blocking, async, piece by piece) is asked in another is guard/models/adapters.py's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

from guard.decoding.confidence import Sureness, Token
from guard.support.bounds import MOST_COUNT, MOST_SECONDS, MOST_TEMPERATURE, check

if TYPE_CHECKING:
    from guard.schemas.compiled import Compiled


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn beyond temperature and seed; only models that decode here heed it."""

    top_p: float = 1.0  # of the probability, that the tokens have among which one is drawn
    frequency_penalty: float = 0.0  # what a token's logit loses for each time that the value holds it
    presence_penalty: float = 0.0  # what it loses where the value holds it at all
    top_logprobs: int = 0  # of the likeliest tokens, told with each token of the reply
    decision: tuple[int, ...] = ()  # tokens of which is told how probable the first of the reply was one of them
    decision_bias: float = 0.0  # what is added to their logits then


@dataclass(frozen=True)
class Request:
    """One question to a model."""

    messages: tuple[Mapping[str, Any], ...]  # {"role": …, "content": …}, never changed
    compiled: Compiled | None  # None: plain text, no masks
    max_tokens: int = 512  # of the completion, the end-of-sequence token included, thinking not
    temperature: float = 0.0  # 0 is greedy
    seed: int = 0  # of the sampling; greedy decoding does not read it
    seconds: float | None = None  # until the answer must be there, transport retries included; None: no limit
    total_tokens: int | None = None  # prompt, thinking and completion together; None: no limit
    usd: float | None = None  # that may be spent, transport retries included; `max_tokens` heeds it already
    thinking: int = 0  # tokens that the model may think before the value; 0: it must not
    repetition: str = "tell"  # one of guard/calls/policy.py's REPETITION; only "stop" concerns a model
    sampling: Sampling = Sampling()
    tools: tuple[Mapping[str, Any], ...] = ()  # what a chat template is told of functions, in OpenAI's form
    marks: tuple[str, ...] = ()  # names of special tokens that the answer's text may hold, around its calls
    name: str = "value"  # of what is asked for; providers want one for a schema
    told: Callable[[Reply], None] | None = field(default=None, compare=False, repr=False)  # what `cut` calls

    def __post_init__(self) -> None:
        if not self.messages:
            raise ValueError("messages=() must hold at least one message")
        check("max_tokens", self.max_tokens, 1, MOST_COUNT, is_whole=True)
        check("temperature", self.temperature, 0, MOST_TEMPERATURE)
        check("thinking", self.thinking, 0, MOST_COUNT, is_whole=True)
        if self.seconds is not None:
            check("seconds", self.seconds, 0, MOST_SECONDS, is_above=True)

    def cut(self, reply: Reply) -> None:
        """Say what there is of an answer that ends here, because the model fails or is closed: it was paid for."""
        if self.told is not None:
            self.told(reply)


class Thought(str):
    """A piece of what a model thinks, in a stream of pieces: no part of its text.

    `block` is a whole block of thinking as its provider has signed it; the piece is "" then.
    """

    __slots__ = ("block",)

    block: Mapping[str, Any] | None

    def __new__(cls, text: str = "", block: Mapping[str, Any] | None = None) -> Self:
        """Make a piece."""
        piece = super().__new__(cls, text)
        piece.block = block
        return piece

    def __bool__(self) -> bool:
        """Whether there is anything: a block too."""
        return len(self) > 0 or self.block is not None


@dataclass(frozen=True)
class Reply:
    """What a model wrote, and what it cost."""

    text: str
    # "stop": it ended by itself; "length": max_tokens ran out, or closed a value that would have gone on (`cut_at`);
    # "refusal": it declined; "filter": it was withheld; "cut": it was closed, or failed, before it ended
    finish: str
    model: str  # the name of the model that answered, by its own account
    prompt_tokens: int
    completion_tokens: int  # forced ones, thinking, and the end-of-sequence token included
    forced_tokens: int = 0  # those that the schema alone determined, appended without asking the model
    seconds: float = 0.0  # from the request to the text
    mask_seconds: float = 0.0  # of those, spent in the mask engine
    thinking_tokens: int = 0  # of the completion, before the value
    thinking: str = ""  # what it thought; never part of the text
    #: The same as the provider signed it, which wants it back in the next turn; on no record.
    thinking_blocks: tuple[Mapping[str, Any], ...] = field(default=(), compare=False, repr=False)
    tokens: tuple[Token, ...] = ()  # of the text; empty where the model can't tell
    cut_at: tuple[str, ...] = ()  # JSON Pointers of the values that max_tokens cut: the model would have written more
    repeated_at: tuple[str, ...] = ()  # the same, of strings that say the same over and over; the pipeline tells
    # Of the prompt, what a provider's cache had, and what it was given; None: nobody said. On no record.
    cached_tokens: int | None = field(default=None, compare=False)
    cache_creation_tokens: int | None = field(default=None, compare=False)
    retries: int = 0  # of the transport, before this reply came
    mode: str = "prompt"  # what held it to the schema: "masks", "native", "tool", or "prompt" (nothing but words)
    cost: float | None = None  # US dollars; None where no price is known, 0 for a model that runs here
    is_estimate: bool = False  # of the tokens, and so of the cost: the provider did not count them
    decision: float | None = None  # probability that the turn begins with a call, before any bias; None: not asked
    room: int | None = None  # for the completion, in the context; None: unknown
    sureness: Sureness | None = field(default=None, hash=False)  # what a calibration says; None: there is none for it
    is_kept: bool = False  # it was recorded before and looked up now: the figures are those of then


def added(figures: Iterable[int | None]) -> int | None:
    """Return the sum of what is told; None where nothing is."""
    known = [figure for figure in figures if figure is not None]
    return sum(known) if known else None


@runtime_checkable
class Model(Protocol):
    """Anything that answers requests; from any thread.

    What a model can do beyond this it has as methods and attributes, each optional:
    `agenerate(request)`, the same as a coroutine; `stream(request)` or `astream(request)`, an (async) iterator of the
    text in pieces and then the Reply, with `Thought`s in between where it was made to think aloud; `is_masked`, True
    where every answer is valid by construction. Closing an iterator stops the model. A model that stops or fails midway
    says with `request.cut(reply)` what was used; of a stream of which none is said, the ledger has an estimate.
    """

    @property
    def name(self) -> str:
        """How the model is named in replies and traces."""
        ...

    def generate(self, request: Request) -> Reply:
        """Answer; raises Truncated where the budget can't hold an answer, ModelError where the model fails."""
        ...
