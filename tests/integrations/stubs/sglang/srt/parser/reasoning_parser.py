"""Signatures of sglang 0.5.23, by tools/engine_stubs.py: not written by hand."""

import abc
import collections
import dataclasses
import enum
from typing import Any, Literal

import pydantic


class ReasoningParser:
    def __init__(self, model_type=None, stream_reasoning=True, force_reasoning=None, request=None, tokenizer=None, tool_call_parser_active=False, prefix=None):
        self.model_type = model_type
        self.stream_reasoning = stream_reasoning
        self.force_reasoning = force_reasoning
        self.request = request
        self.tokenizer = tokenizer
        self.tool_call_parser_active = tool_call_parser_active
        self.prefix = prefix
