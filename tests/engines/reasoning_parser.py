"""A reasoning parser for SmolLM2, which does not reason: two of its special tokens stand around the thinking."""

from __future__ import annotations

from vllm.reasoning import ReasoningParserManager
from vllm.reasoning.basic_parsers import BaseThinkingReasoningParser


class GuardTestReasoningParser(BaseThinkingReasoningParser):
    """Thinking between <jupyter_start> and <jupyter_output>."""

    start_token = "<jupyter_start>"
    end_token = "<jupyter_output>"


ReasoningParserManager.register_module("guard_test", True, GuardTestReasoningParser)
