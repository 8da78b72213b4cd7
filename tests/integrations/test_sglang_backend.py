"""Guard as SGLang's grammar backend, with stubs of SGLang's signatures: `make engines` runs the package's own."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import tiny
import torch
from stubbed import stubs_of

SCHEMA = {
    "type": "object",
    "properties": {"total": {"type": "number"}},
    "required": ["total"],
    "additionalProperties": False,
}
WIDTH = 384  #: Tokens of the model; the tokenizer has 330.
END_OF_REASONING = 0


@pytest.fixture(scope="module", autouse=True)
def _engine() -> Iterator[None]:
    with stubs_of("sglang"):
        yield


def module(name: str) -> Any:
    return importlib.import_module(name)


def ours() -> Any:
    return module("guard.integrations.sglang_backend")


@pytest.fixture(scope="module")
def backend(_engine: None) -> Any:
    return ours().SGLangBackend(tiny.tokenizer(), WIDTH, {2})


def allowed(words: Any) -> list[int]:
    return [token for token in range(350) if int(words[token // 32]) >> token % 32 & 1]


def test_it_registers_name_backend_and_hooks_once() -> None:
    registry = module("sglang.srt.plugins.hook_registry").HookRegistry
    base = module("sglang.srt.constrained.base_grammar_backend")
    hooks, made = list[Any](), dict[str, Any]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            registry,
            "register",
            classmethod(
                lambda cls, target, hook, hook_type=None, *, source=None: hooks.append((target, hook_type.value))
            ),
        )
        patch.setattr(registry, "apply_hooks", classmethod(lambda cls: hooks.append("applied")))
        patch.setattr(base, "register_grammar_backend", lambda name, init_func: made.update({name: init_func}))
        plug = module("guard.integrations.sglang")
        plug.register()
        plug.register()
    assert module("sglang.srt.arg_groups.choices").GRAMMAR_BACKEND_CHOICES[-1:] == ["guard"]
    assert made == {"guard": ours().make}
    constrained = "sglang.srt.constrained."
    assert hooks == [
        (f"{constrained}grammar_manager.GrammarManager.process_req_with_grammar", "after"),
        (f"{constrained}grammar_manager.GrammarManager.get_ready_grammar_requests", "after"),
        (f"{constrained}reasoner_grammar_backend.ReasonerGrammarObject.fill_vocab_mask", "before"),
        ("sglang.srt.speculative.spec_utils.traverse_tree", "around"),
        "applied",
    ]


@pytest.mark.parametrize(
    ("dispatch", "text", "answer"),
    [
        ("json", json.dumps(SCHEMA), '{"total": 12}'),
        ("json", "$$ANY$$", '{"a": [1]}'),
        ("regex", "[ab]{2}", "ab"),
        ("ebnf", 'root ::= "a"+', "aa"),
        ("structural_tag", '{"type": "structural_tag", "format": {"type": "const_string", "value": "x"}}', "x"),
    ],
)
def test_each_kind_of_constraint(backend: Any, dispatch: str, text: str, answer: str) -> None:
    grammar = getattr(backend, f"dispatch_{dispatch}")(text)
    for token in tiny.tokenizer().encode(answer, add_special_tokens=False):
        grammar.accept_token(token)
    assert not grammar.is_terminated()
    grammar.accept_token(2)
    assert grammar.is_terminated()
    grammar.accept_token(5)  # behind the end nothing is looked at
    grammar.rollback(1)
    assert not grammar.is_terminated()
    assert grammar.copy().answer.tokens == []


@pytest.mark.parametrize(
    ("dispatch", "text", "message"),
    [
        ("json", '{"type": "string", "pattern": "("}', "/pattern: "),
        ("json", "false", "nothing can meet it"),
        ("json", "{", "JSON"),
        ("structural_tag", '{"type": "structural_tag"}', "/format"),
        ("ebnf", 'root ::= "(" root ")" | "a"', "root"),
    ],
)
def test_a_refusal_says_where(backend: Any, dispatch: str, text: str, message: str) -> None:
    refused = getattr(backend, f"dispatch_{dispatch}")(text)
    assert type(refused).__name__ == "InvalidGrammarObject"
    assert refused.error_message.startswith("guard: ")
    assert message in refused.error_message


def test_masks_of_a_step_are_filled_in_one_call_and_those_of_others_by_themselves(
    backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared, calls, filled = module("guard.integrations.token_grammar"), list[Any](), list[Any]()
    original = shared.fill_bitmasks
    monkeypatch.setattr(shared, "fill_bitmasks", lambda *given: calls.append(given) or original(*given))
    counted = list[int]()
    monkeypatch.setattr(ours()._count, "add", lambda rows, start, end: counted.append(rows))
    row = module("sglang.srt.constrained.base_grammar_backend").GrammarRow
    first, second = backend.dispatch_json(json.dumps(SCHEMA)), backend.dispatch_regex("[ab]")
    other = SimpleNamespace(fill_vocab_mask=lambda mask, at: filled.append(at))
    mask = first.allocate_vocab_mask(WIDTH, 4, "cpu")
    first.fill_vocab_mask_batched([row(3, first), row(1, other), row(0, second)], mask)
    assert (len(calls), filled) == (1, [1])
    single = first.allocate_vocab_mask(WIDTH, 1, "cpu")
    first.fill_vocab_mask(single, 0)
    assert counted == [2, 1]
    assert torch.equal(mask[3], single[0])
    assert set(mask[1].tolist()) == set(mask[2].tolist()) == {-1}
    logits = torch.zeros(4, WIDTH)
    first.apply_vocab_mask(logits, first.move_vocab_mask(mask, "cpu"))
    assert [token for token in range(WIDTH) if logits[3, token] == 0] == allowed(single[0])
    first.reset_vocab_mask(mask)
    assert set(mask.flatten().tolist()) == {-1}


def test_a_token_outside_of_the_mask_is_an_error(backend: Any) -> None:
    with pytest.raises(ValueError, match="token 5 lies outside"):
        backend.dispatch_json(json.dumps(SCHEMA)).accept_token(5)
    given_up = backend.dispatch_json(json.dumps(SCHEMA))
    given_up.answer.give_up("it took too long")
    with pytest.raises(ValueError, match="guard: it took too long"):
        given_up.accept_token(5)


def traverse(chain: list[int], grammar: Any, mask: torch.Tensor) -> None:
    """Mask a chain of drafts as SGLang's traverse_tree does; the first of them is accepted already."""
    for at, token in enumerate(chain):
        if at:
            if not int(mask[at - 1, token // 32]) >> token % 32 & 1:
                break
            grammar.accept_token(token)
        grammar.fill_vocab_mask(mask, at)
    grammar.rollback(at)


@pytest.mark.parametrize("at", range(4))
def test_a_grammar_given_up_among_drafts_ends_its_request_and_not_the_engine(
    backend: Any, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request ends where SGLang catches a ValueError: at the next token that it has sampled."""
    grammar, count = backend.dispatch_json(json.dumps(SCHEMA)), 0
    chain = tiny.tokenizer().encode('{"total": 12}', add_special_tokens=False)
    grammar.accept_token(chain[0])
    accept = grammar.answer.guide.accept

    def failing(token: int) -> bool:
        nonlocal count
        count += 1
        if count == at:
            raise MemoryError
        return bool(accept(token))

    monkeypatch.setattr(grammar.answer.guide, "accept", failing)
    if at == 0:
        grammar.answer.give_up("out of memory")
    ours().around_a_tree(traverse, chain, grammar, grammar.allocate_vocab_mask(WIDTH, len(chain), "cpu"))
    with pytest.raises(ValueError, match="guard: out of memory"):
        grammar.accept_token(chain[1])


def test_other_errors_in_a_tree_are_shown() -> None:
    def broken() -> None:
        raise ValueError("of another grammar")

    with pytest.raises(ValueError, match="of another grammar"):
        ours().around_a_tree(broken)


def req(grammar: Any, max_new_tokens: int) -> Any:
    found = SimpleNamespace(
        grammar=grammar, sampling_params=SimpleNamespace(max_new_tokens=max_new_tokens), refused=None
    )
    found.set_finish_with_abort = lambda message: setattr(found, "refused", message)
    return found


def test_an_answer_ends_within_its_requests_tokens(backend: Any) -> None:
    one = req(backend.dispatch_json(json.dumps({"type": "array", "items": {"const": 1}})), 9)
    assert ours().after_requests([one], None) == [one]
    mask, count = one.grammar.allocate_vocab_mask(WIDTH, 1, "cpu"), 0
    longest = max  # of the tokens that are left, one that goes on
    while not one.grammar.is_terminated():
        one.grammar.fill_vocab_mask(mask, 0)
        one.grammar.accept_token(longest(allowed(mask[0])))
        count += 1
    assert 3 <= count <= 9


def test_a_request_that_can_not_hold_its_answer_is_refused(backend: Any) -> None:
    one = req(backend.dispatch_json('{"type": "string", "minLength": 400}'), 20)
    assert ours().after_a_request(True, None, one) is True
    assert "max_tokens=20 can't hold the shortest answer" in one.refused
    other = req(None, 20)
    ours().after_a_request(False, None, other)
    assert other.refused is None


def test_reasoning_leaves_room_for_the_answer(backend: Any) -> None:
    wrapper = module("sglang.srt.constrained.reasoner_grammar_backend").ReasonerGrammarObject
    inner = backend.dispatch_json(json.dumps(SCHEMA))
    reasoner = wrapper(inner, (END_OF_REASONING,))
    reasoner.reasoning_in_grammar, reasoner.tokens_in_think = False, -1
    one = req(reasoner, 40)
    ours().after_a_request(False, None, one)
    need = inner.answer.matcher.distance()
    assert reasoner.max_think_tokens == 40 - need - 1
    assert reasoner.enable_token_filter
    assert reasoner.think_excluded_token_ids == [2]
    reasoner.tokens_in_think = reasoner.max_think_tokens
    ours().before_a_fill(reasoner, None, 0)
    assert inner.answer.remaining() == need
    mask = inner.allocate_vocab_mask(WIDTH, 1, "cpu")
    reasoner.token_filter_fn(mask, [END_OF_REASONING], 0, True, reset_vocab_mask=True)
    assert allowed(mask[0]) == [END_OF_REASONING]
    backend.set_token_filter(mask, [31, 33], 0, is_allowed=False)
    assert set(range(350)) - set(allowed(mask[0])) == {31, 33}
    backend.set_token_filter(mask, [31], 0, reset_vocab_mask=False)
    assert set(range(350)) - set(allowed(mask[0])) == {33}


@pytest.mark.parametrize("thinks", [False, True])
def test_a_request_that_reasons_must_hold_the_end_of_that_too(backend: Any, thinks: bool) -> None:
    wrapper = module("sglang.srt.constrained.reasoner_grammar_backend").ReasonerGrammarObject
    inner = backend.dispatch_json(json.dumps(SCHEMA))
    need = inner.answer.distance()
    for limit, is_enough in ((need, not thinks), (need + 1, not thinks), (need + 2, True)):
        reasoner = wrapper(inner.copy(), (END_OF_REASONING, 1))
        reasoner.reasoning_in_grammar, reasoner.tokens_in_think = False, 0 if thinks else -1
        one = req(reasoner, limit)
        ours().after_a_request(False, None, one)
        assert (one.refused is None) == is_enough
        assert is_enough or f"they may need {need + 2}: raise max_tokens" in one.refused


@pytest.mark.parametrize("thinks", [False, True])
def test_the_backend_that_sglang_makes_has_its_own_wrapper_for_reasoning(
    thinks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving = SimpleNamespace(
        constrained_json_whitespace_pattern=None,
        constrained_json_disable_any_whitespace=True,
        reasoning_parser="qwen3" if thinks else None,
        enable_strict_thinking=False,
    )
    monkeypatch.setattr(module("sglang.srt.runtime_context"), "get_serving", lambda: serving)
    made = ours().make(None, tiny.tokenizer(), WIDTH, {2})
    assert type(made).__name__ == ("ReasonerGrammarBackend" if thinks else "SGLangBackend")
    inner = made.grammar_backend if thinks else made
    grammar = inner.dispatch_json('{"type": "array", "items": {"const": 1}}')
    assert grammar.answer.matcher.accept_bytes(b"[1,1]")
    serving.constrained_json_whitespace_pattern = " ?"
    with pytest.raises(ValueError, match="is not kept"):
        ours().make(None, tiny.tokenizer(), WIDTH, {2})


def test_a_model_smaller_than_its_tokenizer_is_refused() -> None:
    with pytest.raises(ValueError, match="330 tokens, and a model of 300"):
        ours().SGLangBackend(tiny.tokenizer(), 300, {2})


def test_an_engine_with_other_seams_is_refused_by_name() -> None:
    with stubs_of("sglang"), pytest.MonkeyPatch.context() as patch:
        manager = module("sglang.srt.constrained.grammar_manager").GrammarManager
        patch.setattr(manager, "process_req_with_grammar", lambda self, req, more: None)
        with pytest.raises(module("guard.integrations.seams").SeamsError, match="process_req_with_grammar takes"):
            module("guard.integrations.sglang").register()
        assert "guard" not in module("sglang.srt.arg_groups.choices").GRAMMAR_BACKEND_CHOICES
