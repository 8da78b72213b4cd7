"""The interface of models: a request goes in, a reply comes out.

A request carries chat messages and, when the answer is to be a typed value, the compiled schema. Weights, decoding and
providers' protocols are in the other modules. guard/models/adapters.py asks a model in a way that it does not support
itself (blocking, as a coroutine, as a stream).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

from guard.decoding.alternative import Alternative
from guard.decoding.confidence import Sureness, Token
from guard.support import json_pieces
from guard.support.bounds import MOST_COUNT, MOST_SECONDS, MOST_SUM, MOST_TEMPERATURE, check

if TYPE_CHECKING:
    from guard.schemas.compiled import Compiled


@dataclass(frozen=True)
class Sampling:
    """Options of sampling beyond temperature and seed. Only models that decode here honour them."""

    top_p: float = 1.0  # draw among the least set of tokens with this share of the probability
    frequency_penalty: float = 0.0  # subtracted from a token's logit for each of its occurrences in the value
    presence_penalty: float = 0.0  # subtracted once from the logit of each token in the value
    top_logprobs: int = 0  # number of likeliest tokens reported with each token of the reply
    decision: tuple[int, ...] = ()  # token ids; `Reply.decision` is the probability that the first token is one
    decision_bias: float = 0.0  # added to the logits of `decision` at the first token


@dataclass(frozen=True)
class Request:
    """One question to a model."""

    messages: tuple[Mapping[str, Any], ...]  # {"role": …, "content": …}, never changed
    compiled: Compiled | None  # None: plain text, no masks
    max_tokens: int = 512  # of the completion, with the end-of-sequence token, without thinking
    temperature: float = 0.0  # 0 is greedy
    seed: int = 0  # of the sampling; unused at temperature 0
    seconds: float | None = None  # time limit, transport retries included; None: no limit
    total_tokens: int | None = None  # prompt, thinking and completion together; None: no limit
    usd: float | None = None  # budget, transport retries included; `max_tokens` is within it, `thinking` may not be
    output_tokens: int | None = None  # thinking and completion together; only models that decode here heed it
    thinking: int = 0  # most tokens of thinking before the value; 0: none
    thinks_aloud: bool = False  # whether a stream has the thinking too, as `Thought`s, of a model that decodes here
    choose: str = "auto"  # one of CHOOSE in guard/calls/policy.py; only models that decode here heed it
    repetition: str = "tell"  # one of REPETITION in guard/calls/policy.py; models act on "stop" only
    sampling: Sampling = Sampling()
    tools: tuple[Mapping[str, Any], ...] = ()  # functions for the chat template, in OpenAI's form
    marks: tuple[str, ...] = ()  # names of special tokens that the text shows, around calls
    spelled: tuple[str, ...] = ()  # those of `marks` that the masks know by their bytes; the others are tokens there
    name: str = "value"  # the schema's name, which providers require
    told: Callable[[Reply], None] | None = field(default=None, compare=False, repr=False)  # called by `cut`

    def __post_init__(self) -> None:
        if not self.messages:
            raise ValueError("messages=() must hold at least one message")
        check("max_tokens", self.max_tokens, 1, MOST_COUNT, is_whole=True)
        check("temperature", self.temperature, 0, MOST_TEMPERATURE)
        check("thinking", self.thinking, 0, MOST_COUNT, is_whole=True)
        if self.output_tokens is not None:
            check("output_tokens", self.output_tokens, 1, MOST_COUNT, is_whole=True)
        if self.seconds is not None:
            check("seconds", self.seconds, 0, MOST_SECONDS, is_above=True)

    def cut(self, reply: Reply) -> None:
        """Report the part of an answer that ends early, because the model fails or is closed: it was paid for."""
        if self.told is not None:
            self.told(reply)

    @property
    def schema_size(self) -> int:
        """The bytes of the schema's JSON, which most models are sent; 0 where there is none. O(bytes)."""
        if self.compiled is None:
            return 0
        return sum(map(len, json_pieces.pieces(self.compiled.contents, json_pieces.ASCII)))

    def unread(self, part: object) -> None:
        """Report a reply, among other parts of an answer, that came when nobody waited for it any more."""
        if isinstance(part, Reply):
            self.cut(replace(part, finish="cut"))


class Thought(str):
    """A piece of a model's thinking in a stream; not part of its text.

    `block` is a whole block of thinking, signed by its provider; the piece is "" then.
    """

    __slots__ = ("block",)

    block: Mapping[str, Any] | None

    def __new__(cls, text: str = "", block: Mapping[str, Any] | None = None) -> Self:
        """Make a piece."""
        piece = super().__new__(cls, text)
        piece.block = block
        return piece

    def __bool__(self) -> bool:
        """Whether it has a text or a block."""
        return len(self) > 0 or self.block is not None


@dataclass(frozen=True)
class Reply:
    """A model's answer, with its figures."""

    text: str
    # "stop": it ended by itself; "length": max_tokens ran out, or closed a value that would have gone on (`cut_at`);
    # "refusal": it declined; "filter": it was withheld; "cut": it was closed, or failed, before it ended
    finish: str
    model: str  # the model that answered, by its own name
    prompt_tokens: int
    completion_tokens: int  # with forced tokens, thinking, and the end-of-sequence token
    forced_tokens: int = 0  # tokens that the schema alone determined; the model was not asked
    seconds: float = 0.0  # from the request to the text
    mask_seconds: float = 0.0  # of those, seconds in the mask engine
    thinking_tokens: int = 0  # tokens of the completion before the value
    thinking: str = ""  # the model's thinking; never part of the text
    #: The thinking as the provider signed it, to be sent back in the next turn. Not recorded.
    thinking_blocks: tuple[Mapping[str, Any], ...] = field(default=(), compare=False, repr=False)
    tokens: tuple[Token, ...] = ()  # of the text; empty where the model can't tell
    cut_at: tuple[str, ...] = ()  # JSON Pointers of the values that max_tokens cut off
    repeated_at: tuple[str, ...] = ()  # JSON Pointers of strings that repeat themselves; set by the pipeline
    #: By JSON Pointer, other candidates of a value that was chosen whole, the most probable first.
    alternatives: Mapping[str, tuple[Alternative, ...]] = field(default_factory=dict, hash=False)
    # Tokens of the prompt that a provider's cache had, and that were put into it; None: not reported. Not recorded.
    cached_tokens: int | None = field(default=None, compare=False)
    cache_creation_tokens: int | None = field(default=None, compare=False)
    retries: int = 0  # retries of the transport before this reply
    mode: str = "prompt"  # how the schema was enforced: "masks", "native", "tool", or "prompt" (words only)
    cost: float | None = None  # US dollars; None where the price is unknown, 0 for a model that runs here
    #: Whether tokens or cost are estimates: the provider did not count, or answered under a name without a known price,
    #: so that the price is that of the name that was asked.
    is_estimate: bool = False
    decision: float | None = None  # probability that the first token is one of `Sampling.decision`, before the bias
    room: int | None = None  # tokens for the completion in the context; None: unknown
    sureness: Sureness | None = field(default=None, hash=False)  # what a calibration says; None: there is none
    is_kept: bool = False  # whether it is a recorded reply; the figures are those of its recording


#: Figures of a reply that are summed up and recorded.
_FIGURES = (
    *("prompt_tokens", "completion_tokens", "forced_tokens", "thinking_tokens", "retries"),
    *("seconds", "mask_seconds", "cost", "decision", "room"),
)


def impossible_figure(reply: Reply) -> str | None:
    """Return the name of a figure that is no finite number below 2**53, as a custom model may give; None without."""
    for name in _FIGURES:
        figure = getattr(reply, name)
        if figure is not None and not (isinstance(figure, int | float) and -MOST_SUM < figure < MOST_SUM):  # NaN is not
            return name
    return None


def added(figures: Iterable[int | None]) -> int | None:
    """Return the sum of the known figures, or None where none is known."""
    known = [figure for figure in figures if figure is not None]
    return sum(known) if known else None


@runtime_checkable
class Model(Protocol):
    """Anything that answers requests. Methods may be called from any thread.

    Optional methods and attributes say what else it can do. `agenerate(request)` is the same as a coroutine.
    `stream(request)` and `astream(request)` are (async) iterators over pieces of the text, then the Reply; where the
    model was made to think aloud, `Thought`s come in between. `is_masked` is True where every answer is valid by
    construction. Closing an iterator stops the model. A model that stops or fails midway reports its use by
    `request.cut(reply)`; otherwise the ledger has an estimate.
    """

    @property
    def name(self) -> str:
        """The model's name in replies and traces."""
        ...

    def generate(self, request: Request) -> Reply:
        """Answer a request. Raises Truncated where the budget is too small, ModelError where the model fails."""
        ...
