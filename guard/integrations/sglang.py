"""Guard as SGLang's grammar backend: `--grammar-backend guard`.

The entry point `guard` of `sglang.srt.plugins` calls `register` in every process of SGLang, which has a registry of
backends. Hooks add what SGLang offers no foreign backend: the request's limit of tokens, an end of reasoning while an
answer still fits, and an end of one request, not of the engine, where its grammar is given up among drafts.

An SGLang with other parameters at these places is refused by version and name, and nothing in it is changed.
"""

from __future__ import annotations

import logging

from guard.integrations import seams

NAME = "guard"  #: The backend's name in SGLang's arguments.
TESTED = ("0.5.23",)  #: Versions of SGLang that `make engines` tested.

_CONSTRAINED = "sglang.srt.constrained"
_GRAMMAR = f"{_CONSTRAINED}.base_grammar_backend:BaseGrammarObject"
_BACKEND = f"{_CONSTRAINED}.base_grammar_backend:BaseGrammarBackend"
_REASONER = f"{_CONSTRAINED}.reasoner_grammar_backend"
_MANAGER = f"{_CONSTRAINED}.grammar_manager:GrammarManager"
_TREE = "sglang.srt.speculative.spec_utils:traverse_tree"
#: The names that Guard calls, derives from and hooks into, with their parameters.
SEAMS: dict[str, tuple[str, ...]] = {
    "sglang.srt.arg_groups.choices:add_grammar_backend_choices": ("iterable",),
    f"{_CONSTRAINED}.base_grammar_backend:register_grammar_backend": ("name", "init_func"),
    f"{_CONSTRAINED}.base_grammar_backend:InvalidGrammarObject": ("error_message",),
    f"{_CONSTRAINED}.base_grammar_backend:GrammarRow": ("row", "grammar"),
    f"{_GRAMMAR}.accept_token": ("self", "token"),
    f"{_GRAMMAR}.rollback": ("self", "k"),
    f"{_GRAMMAR}.is_terminated": ("self",),
    f"{_GRAMMAR}.allocate_vocab_mask": ("self", "vocab_size", "batch_size", "device"),
    f"{_GRAMMAR}.fill_vocab_mask": ("self", "vocab_mask", "idx"),
    f"{_GRAMMAR}.fill_vocab_mask_batched": ("entries", "vocab_mask"),
    f"{_GRAMMAR}.reset_vocab_mask": ("vocab_mask",),
    f"{_GRAMMAR}.move_vocab_mask": ("vocab_mask", "device"),
    f"{_GRAMMAR}.apply_vocab_mask": ("logits", "vocab_mask"),
    f"{_GRAMMAR}.copy": ("self",),
    f"{_GRAMMAR}.try_jump_forward": ("self", "tokenizer"),
    f"{_BACKEND}.dispatch_json": ("self", "key_string"),
    f"{_BACKEND}.dispatch_regex": ("self", "key_string"),
    f"{_BACKEND}.dispatch_ebnf": ("self", "key_string"),
    f"{_BACKEND}.dispatch_structural_tag": ("self", "key_string"),
    f"{_BACKEND}.set_token_filter": (
        "self",
        "vocab_mask",
        "token_ids",
        "batch_idx",
        "is_allowed",
        "reset_vocab_mask",
    ),
    f"{_REASONER}:ReasonerGrammarBackend": (
        "grammar_backend",
        "reasoning_parser",
        "tokenizer",
        "enable_strict_thinking",
    ),
    f"{_REASONER}:ReasonerGrammarObject.fill_vocab_mask": ("self", "vocab_mask", "idx"),
    f"{_MANAGER}.process_req_with_grammar": ("self", "req"),
    f"{_MANAGER}.get_ready_grammar_requests": ("self",),
    _TREE: (
        "retrieve_next_token",
        "retrieve_next_sibling",
        "draft_tokens",
        "grammar",
        "allocate_token_bitmask",
        "vocab_size",
    ),
    "sglang.srt.plugins.hook_registry:HookRegistry.register": ("target", "hook", "hook_type", "source"),
    "sglang.srt.plugins.hook_registry:HookRegistry.apply_hooks": (),
}

_log = logging.getLogger("sglang.guard")


def plugin() -> None:
    """Register from the entry point. An SGLang that does not fit logs a warning and runs without the backend."""
    seams.attempt(register, _log)


def register() -> None:
    """Make `guard` a grammar backend of this process's SGLang, once.

    Raises SeamsError, and changes nothing, where SGLang's seams differ from the tested version's.
    """
    engine = seams.version("sglang")
    seams.check(engine, SEAMS)
    from sglang.srt.arg_groups.choices import GRAMMAR_BACKEND_CHOICES, add_grammar_backend_choices
    from sglang.srt.constrained.base_grammar_backend import register_grammar_backend
    from sglang.srt.plugins.hook_registry import HookRegistry, HookType

    from guard.integrations import sglang_backend

    if NAME in GRAMMAR_BACKEND_CHOICES:
        return
    seams.check_tested(engine, TESTED, _log)
    add_grammar_backend_choices([NAME])
    register_grammar_backend(NAME, sglang_backend.make)
    for place, hook, kind in (
        (f"{_MANAGER}.process_req_with_grammar", sglang_backend.after_a_request, HookType.AFTER),
        (f"{_MANAGER}.get_ready_grammar_requests", sglang_backend.after_requests, HookType.AFTER),
        (f"{_REASONER}:ReasonerGrammarObject.fill_vocab_mask", sglang_backend.before_a_fill, HookType.BEFORE),
        (_TREE, sglang_backend.around_a_tree, HookType.AROUND),
    ):
        HookRegistry.register(place.replace(":", "."), hook, kind)
    HookRegistry.apply_hooks()
