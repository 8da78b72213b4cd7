"""Guard as vLLM's backend, with stubs of vLLM's signatures: `make engines` runs the real one."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from stubbed import stubs_of

SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 6}, "total": {"type": "number"}},
    "required": ["name", "total"],
    "additionalProperties": False,
}
END_OF_REASONING = 1  # a token of the tiny tokenizer that no answer holds


@pytest.fixture(scope="module", autouse=True)
def _engine() -> Iterator[None]:
    with stubs_of("vllm"):
        yield


def module(name: str) -> Any:
    return importlib.import_module(name)


@pytest.fixture(scope="module")
def registered(_engine: None) -> Any:
    """Register Guard with the stubs, whose manager does what vLLM's does around the seams."""
    manager = module("vllm.v1.structured_output").StructuredOutputManager

    def grammar_init(self: Any, request: Any) -> None:
        if self.backend is None:
            self.backend = "vLLM's own"
        request.structured_output_request.grammar = self._create_grammar(request)

    def bounds(self: Any, request: Any, spec_tokens: Any, spec_tokens_committed: bool = False) -> tuple[int, int]:
        if self.reasoner is None or request.structured_output_request.reasoning_ended:
            return (0, 0)
        at = next((number for number, token in enumerate(spec_tokens) if token == END_OF_REASONING), len(spec_tokens))
        return (at + 1, at + 1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manager, "grammar_init", grammar_init)
        patch.setattr(manager, "_create_grammar", lambda self, request: "vLLM's grammar")
        patch.setattr(manager, "validate_tokens", lambda self, request, spec_tokens: spec_tokens)
        patch.setattr(
            manager,
            "grammar_bitmask",
            lambda self, requests, structured_output_request_ids, scheduled_spec_decode_tokens: "vLLM's masks",
        )
        patch.setattr(manager, "_get_constraint_bounds", bounds)
        patch.setattr(manager, "_get_reasoner", lambda self, request: self.reasoner)
        plug = module("guard.integrations.vllm")
        plug.register()
        plug.register()  # once more changes nothing
        yield plug


def config(backend: str = "guard", *, drafts: int = 0, method: str = "ngram") -> Any:
    settings = module("vllm.config.structured_outputs").StructuredOutputsConfig(backend=backend)
    model = SimpleNamespace(
        get_vocab_size=lambda: 384,
        max_model_len=200,
        is_diffusion=False,
        try_get_generation_config=lambda: {"eos_token_id": [2, 0]},
    )
    return SimpleNamespace(
        structured_outputs_config=settings,
        model_config=model,
        scheduler_config=SimpleNamespace(max_num_seqs=8),
        num_speculative_tokens=drafts,
        speculative_config=SimpleNamespace(method=method, num_speculative_tokens=drafts) if drafts else None,
    )


def manager(settings: Any, *, thinks: bool = False) -> Any:
    made = module("vllm.v1.structured_output").StructuredOutputManager(settings)
    made.backend, made._grammar_bitmask, made.tokenizer = None, None, tiny.tokenizer()
    made.reasoner = SimpleNamespace(end_token_id=END_OF_REASONING) if thinks else None
    return made


def request(name: str = "a", max_tokens: int = 60, **constraint: Any) -> Any:
    params = module("vllm.sampling_params").StructuredOutputsParams(**(constraint or {"json": SCHEMA}))
    asked = SimpleNamespace(params=params, grammar=None, reasoning_ended=False)
    return SimpleNamespace(
        request_id=name,
        max_tokens=max_tokens,
        num_prompt_tokens=10,
        num_output_tokens=0,
        structured_output_request=asked,
        use_structured_output=True,
    )


def started(one: Any, *requests: Any) -> dict[str, Any]:
    for each in requests:
        one.grammar_init(each)
    return {each.request_id: each for each in requests}


def allowed(words: Any) -> list[int]:
    return [token for token in range(350) if int(words[token // 32]) >> token % 32 & 1]


def alone_behind(answer: Any, written: list[int], in_all: int) -> Any:
    """Return the mask behind tokens of an answer, of a grammar of its own that goes there step by step."""
    shared = module("guard.integrations.token_grammar")
    alone = shared.TokenGrammar(answer.compiled, answer.vocabulary, answer.limit)
    alone.before = in_all - len(written)
    assert alone.accept(written) == len(written)
    words = np.zeros((1, 12), np.int32)
    shared.fill([alone], words, [0])
    return words[0]


@pytest.mark.usefixtures("registered")
class TestMasks:
    @given(st.data())
    def test_rows_of_drafts_are_those_that_one_would_get_step_by_step(self, data: st.DataObject) -> None:
        """Whatever is guessed: rows, drafts that are cut, padding, and reasoning that ends inside of the drafts."""
        most, thinks = data.draw(st.integers(0, 4)), data.draw(st.booleans())
        one = manager(config(drafts=most), thinks=thinks)
        asked = started(one, request("a"), request("b", json={"enum": ["Alice", 12]}), request("c", max_tokens=30))
        for _ in range(data.draw(st.integers(1, 12))):
            drafts = {}
            for name, each in asked.items():
                grammar = each.structured_output_request.grammar
                guessed = data.draw(st.lists(st.integers(0, 349), max_size=most))
                if grammar.answer.guide.matcher.forced_bytes() and most:
                    guessed = grammar.answer.agreed([], most) or guessed
                if thinks and not each.structured_output_request.reasoning_ended and data.draw(st.booleans()):
                    guessed = [END_OF_REASONING, *grammar.answer.agreed([], most)][:most]
                kept = one.validate_tokens(each, guessed)
                drafts[name] = kept + [-1] * data.draw(st.integers(0, most - len(kept)))
            words = one.grammar_bitmask(asked, list(asked), drafts)
            row = 0
            for name, each in asked.items():
                grammar, tokens = each.structured_output_request.grammar, drafts[name]
                usable = [token for token in tokens if token >= 0]
                _, constrained = one._get_constraint_bounds(each, usable)
                for depth in range(len(tokens) + 1):
                    if constrained <= depth <= len(usable):
                        written = [*grammar.answer.guide.tokens, *tokens[constrained:depth]]
                        alone = alone_behind(grammar.answer, written, each.num_output_tokens + depth)
                        assert words[row + depth].tolist() == alone.tolist(), (name, depth)
                    elif depth > len(usable):
                        assert set(words[row + depth].tolist()) == {-1}
                row += 1 + len(tokens)
            assert row == len(words)
            row = 0
            for name, each in list(asked.items()):
                asked_for, tokens = each.structured_output_request, drafts[name]
                choices = allowed(words[row])
                row += 1 + len(tokens)
                token = data.draw(st.sampled_from(choices))
                each.num_output_tokens += 1
                if thinks and not asked_for.reasoning_ended:
                    asked_for.reasoning_ended = token == END_OF_REASONING
                    continue
                assert asked_for.grammar.accept_tokens(name, [token])
                if asked_for.grammar.is_terminated():
                    del asked[name]
            if not asked:
                return

    def test_a_step_without_drafts_is_one_call(self, monkeypatch: pytest.MonkeyPatch) -> None:
        calls = []
        shared = module("guard.integrations.token_grammar")
        original = shared.fill_bitmasks
        monkeypatch.setattr(shared, "fill_bitmasks", lambda *given: calls.append(given) or original(*given))
        one = manager(config())
        asked = started(
            one, *(request(f"r{number}", json={"enum": [f"a{number}", f"b{number}"]}) for number in range(8))
        )
        each = iter(asked.values())
        for one_of in each:  # in the string, where there is a choice
            tokens = tiny.tokenizer().encode('"', add_special_tokens=False)
            assert one_of.structured_output_request.grammar.accept_tokens("", tokens)
        words = one.grammar_bitmask(asked, list(asked), {})
        assert (len(calls), words.shape) == (1, (8, 12))

    def test_an_answer_ends_within_its_tokens_and_reasoning_leaves_room_for_it(self) -> None:
        one = manager(config(), thinks=True)
        each = request("a", max_tokens=50)
        asked = started(one, each)
        asked_for, written = each.structured_output_request, list[int]()
        while len(written) < 60:
            choices = allowed(one.grammar_bitmask(asked, ["a"], {})[0])
            assert asked_for.reasoning_ended or 2 not in choices, "the end of the sequence is no end of reasoning"
            written.append(choices[0] if asked_for.reasoning_ended else max(choices))
            each.num_output_tokens += 1
            if asked_for.reasoning_ended:
                assert asked_for.grammar.accept_tokens("a", written[-1:])
            else:
                asked_for.reasoning_ended = written[-1] == END_OF_REASONING
            if asked_for.grammar.is_terminated():
                break
        assert len(written) <= 50
        at = written.index(END_OF_REASONING)
        assert at > 10
        text = b"".join(map(asked_for.grammar.answer.vocabulary.tokens.token_bytes, written[at + 1 :]))
        assert json.loads(text).keys() == {"name", "total"}

    def test_an_answer_ends_within_its_tokens_where_drafts_are_padded_or_refused(self) -> None:
        """Padding counted as if it were written: an answer that began after it had no limit any more, and was cut."""
        for drafts in ([-1] * 4, [300, -1, -1, -1]):
            one = manager(config(drafts=4))
            each = request("a", max_tokens=6, json={"type": "array", "items": {"type": "integer"}, "minItems": 1})
            asked = started(one, each)
            grammar, written = each.structured_output_request.grammar, list[int]()
            while not grammar.is_terminated():
                assert len(written) < 6
                choices = allowed(one.grammar_bitmask(asked, ["a"], {"a": drafts})[0])
                written.append(max(choices))
                each.num_output_tokens += 1
                assert grammar.accept_tokens("a", written[-1:])
            assert grammar.answer._fits

    def test_forced_text_is_offered_where_drafts_are_copied_from_the_text_and_nowhere_else(self) -> None:
        for method, most in (("ngram", 4), ("eagle", 0)):
            one = manager(config(drafts=4, method=method))
            each = request()
            started(one, each)
            drafts = one.validate_tokens(each, [])
            assert bool(drafts) == bool(most)
            assert len(drafts) <= most
            assert one.validate_tokens(each, drafts) == drafts

    def test_a_draft_over_the_budget_is_cut(self) -> None:
        one = manager(config(drafts=4))
        schema = {"type": "array", "items": {"const": 1}}
        each = request(json=schema, max_tokens=8)
        started(one, each)
        tokens = tiny.tokenizer().encode("[1, 1, 1, 1, 1, 1", add_special_tokens=False)
        kept = one.validate_tokens(each, tokens[:2])
        assert kept == tokens[:2]
        assert each.structured_output_request.grammar.accept_tokens("a", tokens[:3])
        each.num_output_tokens = 3
        longest = one.validate_tokens(each, tokens[3:])
        assert len(longest) < len(tokens[3:])
        assert 3 + len(longest) <= 8

    def test_a_request_that_was_given_up_ends_with_an_error(self, caplog: pytest.LogCaptureFixture) -> None:
        """VLLM ends a request whose tokens are refused."""
        one = manager(config(drafts=4))
        each = request(json={"type": "boolean"}, max_tokens=8)
        started(one, each)
        grammar = each.structured_output_request.grammar
        grammar.answer.give_up("it took too long")
        assert one.validate_tokens(each, [5, 6]) == []
        assert not grammar.accept_tokens("a", [5])
        assert not grammar.is_terminated()
        assert "request a ends: it took too long" in caplog.text

    def test_what_is_beyond_the_stubs_seams_stays_vllms(self) -> None:
        one = manager(config("xgrammar"))
        each = request()
        started(one, each)
        assert one.backend == "vLLM's own"
        assert each.structured_output_request.grammar == "vLLM's grammar"
        assert one.grammar_bitmask({}, ["a"], {}) == "vLLM's masks"
        assert one.validate_tokens(each, [-1, 5]) == [-1, 5]

    def test_the_tokens_at_which_vllm_ends_a_sequence_end_an_answer(self) -> None:
        one = manager(config())
        started(one, request())
        assert one.backend.vocabulary.tokens.eos == (2, 0)

    def test_the_grammar_is_what_the_abc_asks_for(self) -> None:
        one = manager(config())
        each = request(choice=["yes", "no"])
        started(one, each)
        grammar = each.structured_output_request.grammar
        assert isinstance(grammar, module("vllm.v1.structured_output.backend_types").StructuredOutputGrammar)
        bitmask = one.backend.allocate_token_bitmask(3)
        assert (bitmask.shape, bitmask.dtype, int(bitmask.min()), int(bitmask.max())) == ((3, 12), torch.int32, -1, -1)
        grammar.fill_bitmask(bitmask, 1)
        assert set(bitmask[0].tolist()) == {-1}
        begin = allowed(bitmask[1].tolist())
        assert begin
        assert not grammar.accept_tokens("a", [5])
        assert grammar.accept_tokens("a", begin[:1])
        grammar.rollback(1)
        grammar.reset()
        assert not grammar.is_terminated()
        one.backend.destroy()


@pytest.mark.usefixtures("registered")
class TestRequests:
    def params(self, max_tokens: int | None = 60, **constraint: Any) -> Any:
        made = module("vllm.sampling_params").SamplingParams()
        made.max_tokens = max_tokens
        made.structured_outputs = module("vllm.sampling_params").StructuredOutputsParams(**constraint)
        return made

    def check(self, params: Any, settings: Any = None) -> None:
        settings = settings or config()
        params._validate_structured_outputs(settings.model_config, settings.structured_outputs_config, tiny.tokenizer())

    @pytest.mark.parametrize(
        "constraint",
        [
            {"json": SCHEMA},
            {"json": json.dumps(SCHEMA)},
            {"json_object": True},
            {"regex": "[ab]+"},
            {"choice": ["yes", "no"]},
            {"grammar": 'root ::= "a"+'},
            {"structural_tag": json.dumps({"type": "structural_tag", "format": {"type": "any_text"}})},
        ],
        ids=lambda one: next(iter(one)),
    )
    def test_each_constraint_is_taken(self, constraint: dict[str, Any]) -> None:
        params = self.params(**constraint)
        self.check(params)
        assert params.structured_outputs._backend == "guard"

    @pytest.mark.parametrize(
        ("constraint", "message"),
        [
            ({"json": {"properties": {"a": {"pattern": "("}}}}, "/properties/a/pattern: "),
            ({"json": {"type": "string", "minLength": 400}}, "max_tokens=60 can't hold the shortest answer"),
            ({"json": False}, "nothing can meet it|without a constraint"),
            ({"json": "{"}, "JSON"),
            ({"json": ""}, "JSON"),
            ({"choice": []}, "/choice"),
            ({"grammar": 'root ::= "(" root ")" | "a"'}, "root"),
            ({"structural_tag": '{"type": "structural_tag"}'}, "/format"),
            ({"json_object": False}, "without a constraint"),
            ({"json": True, "whitespace_pattern": " ?"}, "whitespace_pattern is not kept"),
            ({"json": True, "disable_additional_properties": True}, "disable_additional_properties is not kept"),
        ],
        ids=str,
    )
    def test_a_refusal_says_where(self, constraint: dict[str, Any], message: str) -> None:
        error = module("vllm.exceptions").VLLMValidationError
        with pytest.raises(error) as raised:
            self.check(self.params(**constraint))
        assert "guard: " in raised.value.message
        assert re.search(message, raised.value.message)

    def test_a_request_chooses_no_other_backend(self) -> None:
        params = self.params(json=True)
        params.structured_outputs._backend = "xgrammar"
        with pytest.raises(module("vllm.exceptions").VLLMValidationError):
            self.check(params)

    def test_another_backend_is_validated_by_vllm(self) -> None:
        with pytest.raises(NotImplementedError):
            self.check(self.params(json=True), config("xgrammar"))

    def test_only_the_name_was_added(self) -> None:
        with pytest.raises(ValueError, match="'guard'"):
            config("gaurd")


def test_an_engine_with_other_seams_is_refused_by_name_and_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    with stubs_of("vllm"):
        plug, manager = module("guard.integrations.vllm"), module("vllm.v1.structured_output").StructuredOutputManager
        monkeypatch.setattr(manager, "grammar_bitmask", lambda self, requests: None)
        monkeypatch.delattr(manager, "validate_tokens")
        before = dict(vars(manager))
        with pytest.raises(module("guard.integrations.seams").SeamsError) as raised:
            plug.register()
        text = str(raised.value)
        assert "grammar_bitmask takes (self, requests), not (self, requests, structured_output_request_ids" in text
        assert "validate_tokens is not there" in text
        assert "vllm" in text
        assert dict(vars(manager)) == before
        assert "guard" not in get_args(module("vllm.config.structured_outputs").StructuredOutputsBackend)


def test_the_entry_point_tells_the_log_and_lets_the_engine_go_on(caplog: pytest.LogCaptureFixture) -> None:
    with stubs_of("vllm"), pytest.MonkeyPatch.context() as patch:
        patch.delattr(module("vllm.v1.structured_output").StructuredOutputManager, "grammar_init")
        module("guard.integrations.vllm").plugin()
    assert "guard does not fit vllm" in caplog.text
    assert "grammar_init is not there" in caplog.text
