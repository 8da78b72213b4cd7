"""Signatures of sglang 0.5.23, by tools/engine_stubs.py: not written by hand."""

import abc
import collections
import dataclasses
import enum
from typing import Any, Literal

import pydantic


def register_grammar_backend(name, init_func):
    raise NotImplementedError


class InvalidGrammarObject:
    def __init__(self, error_message='Unknown grammar error'):
        self.error_message = error_message


GrammarRow = collections.namedtuple('GrammarRow', ['row', 'grammar'])


class BaseGrammarObject:
    def __init__(self):
        pass

    def accept_token(self, token):
        raise NotImplementedError

    def rollback(self, k):
        raise NotImplementedError

    def is_terminated(self):
        raise NotImplementedError

    def allocate_vocab_mask(self, vocab_size, batch_size, device):
        raise NotImplementedError

    def fill_vocab_mask(self, vocab_mask, idx):
        raise NotImplementedError

    @staticmethod
    def fill_vocab_mask_batched(entries, vocab_mask):
        raise NotImplementedError

    @staticmethod
    def reset_vocab_mask(vocab_mask):
        raise NotImplementedError

    @staticmethod
    def move_vocab_mask(vocab_mask, device):
        raise NotImplementedError

    @staticmethod
    def apply_vocab_mask(logits, vocab_mask):
        raise NotImplementedError

    def copy(self):
        raise NotImplementedError

    def try_jump_forward(self, tokenizer):
        raise NotImplementedError


class BaseGrammarBackend:
    def __init__(self):
        pass

    def dispatch_json(self, key_string):
        raise NotImplementedError

    def dispatch_regex(self, key_string):
        raise NotImplementedError

    def dispatch_ebnf(self, key_string):
        raise NotImplementedError

    def dispatch_structural_tag(self, key_string):
        raise NotImplementedError

    def set_token_filter(self, vocab_mask, token_ids, batch_idx, is_allowed=True, reset_vocab_mask=True):
        raise NotImplementedError


@dataclasses.dataclass
class GrammarStats:
    compilation_time: Any = dataclasses.field(default=None)
    schema_count: Any = dataclasses.field(default=None)
    ebnf_size: Any = dataclasses.field(default=None)
    is_cache_hit: Any = dataclasses.field(default=False)
    is_grammar_aborted: Any = dataclasses.field(default=False)
    tree_traversal_time: Any = dataclasses.field(default=None)
    dispatch_type: Any = dataclasses.field(default=None)
    num_timeout: Any = dataclasses.field(default=0)
