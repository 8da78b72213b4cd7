"""Signatures of sglang 0.5.23, by tools/engine_stubs.py: not written by hand."""

import abc
import collections
import dataclasses
import enum
from typing import Any, Literal

import pydantic


class ReasonerGrammarBackend:
    def __init__(self, grammar_backend, reasoning_parser, tokenizer, enable_strict_thinking=False):
        self.grammar_backend = grammar_backend
        self.reasoning_parser = reasoning_parser
        self.tokenizer = tokenizer
        self.enable_strict_thinking = enable_strict_thinking


class ReasonerGrammarObject:
    def __init__(self, grammar, think_end_ids, think_excluded_token_ids=None, max_think_tokens=-1, enable_token_filter=False, token_filter_fn=None, allocate_vocab_mask_fn=None, move_vocab_mask_fn=None, apply_vocab_mask_fn=None, think_starts=None, decode=None):
        self.grammar = grammar
        self.think_end_ids = think_end_ids
        self.think_excluded_token_ids = think_excluded_token_ids
        self.max_think_tokens = max_think_tokens
        self.enable_token_filter = enable_token_filter
        self.token_filter_fn = token_filter_fn
        self.allocate_vocab_mask_fn = allocate_vocab_mask_fn
        self.move_vocab_mask_fn = move_vocab_mask_fn
        self.apply_vocab_mask_fn = apply_vocab_mask_fn
        self.think_starts = think_starts
        self.decode = decode

    def fill_vocab_mask(self, vocab_mask, idx):
        raise NotImplementedError
