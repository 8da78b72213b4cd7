"""Signatures of sglang 0.5.23, by tools/engine_stubs.py: not written by hand."""

import abc
import collections
import dataclasses
import enum
from typing import Any, Literal

import pydantic


class GrammarManager:
    def __init__(self, scheduler):
        self.scheduler = scheduler

    def process_req_with_grammar(self, req):
        raise NotImplementedError

    def get_ready_grammar_requests(self):
        raise NotImplementedError
