"""Signatures of sglang 0.5.23, by tools/engine_stubs.py: not written by hand."""

import abc
import collections
import dataclasses
import enum
from typing import Any, Literal

import pydantic


class HookRegistry:
    @classmethod
    def register(cls, target, hook, hook_type=None, *, source=None):
        raise NotImplementedError

    @classmethod
    def apply_hooks(cls):
        raise NotImplementedError


class HookType(enum.Enum):
    BEFORE = 'before'
    AFTER = 'after'
    AROUND = 'around'
    REPLACE = 'replace'
