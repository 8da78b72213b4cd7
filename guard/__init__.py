"""Guard: ask any language model for a type; get a valid value of it, or a typed error that says why.

Names are imported on first use (PEP 562), so that `import guard` costs milliseconds and loads neither torch nor
transformers; a test holds it to that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from guard.support.lazy_names import lazy_names

if TYPE_CHECKING:
    from guard.batch.map_run import Result
    from guard.batch.mapping import amap, map  # noqa: A004 (called as the built-in is)
    from guard.calls.conversation import Conversation, arun_tools, run_tools
    from guard.calls.decorator import structured
    from guard.calls.pipeline import Guard
    from guard.calls.policy import Budget, Policy
    from guard.calls.turn_stream import AsyncTurnStream, TurnEvent, TurnStream
    from guard.calls.value_stream import AsyncStream, Stream
    from guard.decoding.confidence import Confidence
    from guard.decoding.logits_processor import LogitsProcessor
    from guard.errors import (
        BadReply,
        BudgetExceeded,
        CallError,
        ContentFiltered,
        Finding,
        GuardError,
        ModelError,
        RateLimited,
        Refused,
        SchemaError,
        SettingError,
        TimedOut,
        Truncated,
        Unavailable,
        Unchecked,
        Unsupported,
        ValidationFailed,
        Violation,
    )
    from guard.kernels.vocabulary import Vocabulary
    from guard.models.base import Model, Reply, Request
    from guard.output.text_target import Pattern
    from guard.schemas import Compiled, Limits, Quoted, Stated, compile  # noqa: A004 (called as re.compile is)
    from guard.trace.errors import TraceError
    from guard.trace.records import Attempt, Call
    from guard.turns.turn import Turn, TurnCall

__all__ = [
    "AsyncStream",
    "AsyncTurnStream",
    "Attempt",
    "BadReply",
    "Budget",
    "BudgetExceeded",
    "Call",
    "CallError",
    "Compiled",
    "Confidence",
    "ContentFiltered",
    "Conversation",
    "Finding",
    "Guard",
    "GuardError",
    "Limits",
    "LogitsProcessor",
    "Model",
    "ModelError",
    "Pattern",
    "Policy",
    "Quoted",
    "RateLimited",
    "Refused",
    "Reply",
    "Request",
    "Result",
    "SchemaError",
    "SettingError",
    "Stated",
    "Stream",
    "TimedOut",
    "TraceError",
    "Truncated",
    "Turn",
    "TurnCall",
    "TurnEvent",
    "TurnStream",
    "Unavailable",
    "Unchecked",
    "Unsupported",
    "ValidationFailed",
    "Violation",
    "Vocabulary",
    "amap",
    "arun_tools",
    "compile",
    "map",
    "run_tools",
    "structured",
]

#: Where each public name lives.
_HOMES = {
    "guard.calls.conversation": ("Conversation", "arun_tools", "run_tools"),
    "guard.calls.decorator": ("structured",),
    "guard.errors": (
        "BadReply",
        "BudgetExceeded",
        "CallError",
        "ContentFiltered",
        "Finding",
        "GuardError",
        "ModelError",
        "RateLimited",
        "Refused",
        "SchemaError",
        "SettingError",
        "TimedOut",
        "Truncated",
        "Unavailable",
        "Unchecked",
        "Unsupported",
        "ValidationFailed",
        "Violation",
    ),
    "guard.batch.map_run": ("Result",),
    "guard.batch.mapping": ("amap", "map"),
    "guard.models.base": ("Model", "Reply", "Request"),
    "guard.output.text_target": ("Pattern",),
    "guard.calls.pipeline": ("Guard",),
    "guard.calls.value_stream": ("AsyncStream", "Stream"),
    "guard.calls.policy": ("Budget", "Policy"),
    "guard.calls.turn_stream": ("AsyncTurnStream", "TurnEvent", "TurnStream"),
    "guard.decoding.confidence": ("Confidence",),
    "guard.decoding.logits_processor": ("LogitsProcessor",),
    "guard.trace.records": ("Attempt", "Call"),
    "guard.turns.turn": ("Turn", "TurnCall"),
    # Whoever makes a vocabulary compiles next: a server that forks its workers then has the front end once for all.
    "guard.schemas": ("Compiled", "Limits", "Quoted", "Stated", "Vocabulary", "compile"),
    "guard.trace.errors": ("TraceError",),
}
#: Reached as attributes without an import.
_MODULES = (
    "errors",
    "formats",
    "integrations",
    "kernels",
    "mcp",
    "models",
    "output",
    "schemas",
    "testing",
    "tools",
    "trace",
)

__getattr__, __dir__ = lazy_names(__name__, _HOMES, _MODULES)
