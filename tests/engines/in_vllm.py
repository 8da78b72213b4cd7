"""What is run by vLLM's own Python: one engine, one part, and its findings as JSON on the last line.

python in_vllm.py PART BACKEND DATA MODEL
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

os.environ |= {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
}
sys.path.insert(0, str(Path(__file__).parents[1]))

from engines.scenarios import EMPLOYEE, SCENARIOS
from engines.schemas import OWN, schemas

from guard.integrations import vllm as plug

plug.register()

import jsonschema_rs  # noqa: E402 (once Guard is registered)
from vllm import LLM, SamplingParams  # noqa: E402 (the same)
from vllm.sampling_params import BeamSearchParams, StructuredOutputsParams  # noqa: E402 (the same)

BUDGETS = (24, 56, 128)
ROWS = 16  #: Requests in a batch.
DRAFTS = {"method": "ngram", "num_speculative_tokens": 4, "prompt_lookup_max": 3, "prompt_lookup_min": 1}


def engine(backend: str, model: str, **more: Any) -> LLM:
    config = {"backend": backend, **more.pop("structured", {})}
    return LLM(
        model,
        max_model_len=1024,
        max_num_seqs=ROWS,
        enforce_eager=True,
        distributed_executor_backend="uni",
        gpu_memory_utilization=0.25,
        structured_outputs_config=config,
        seed=7,
        **more,
    )


def asked(schema: Any) -> list[dict[str, str]]:
    text = f"Write an example of JSON of this schema, and nothing else: {json.dumps(schema)[:600]}"
    return [{"role": "user", "content": text}]


def is_valid(schema: Any, text: str) -> bool:
    try:
        value = json.loads(text)
    except ValueError:
        return False
    return bool(jsonschema_rs.validator_for(schema, validate_formats=True).is_valid(value))


def answers(llm: LLM, wanted: dict[str, Any], max_tokens: int, temperature: float = 0.0) -> dict[str, dict[str, Any]]:
    """Ask for each schema in one batch; what is refused says so."""
    found: dict[str, dict[str, Any]] = {}
    taken: dict[str, SamplingParams] = {}
    config = llm.llm_engine.vllm_config
    for name, schema in wanted.items():
        params = SamplingParams(
            temperature=temperature,
            seed=7 if temperature else None,
            max_tokens=max_tokens,
            structured_outputs=StructuredOutputsParams(json=schema),
        )
        try:
            params.clone().verify(
                config.model_config, config.speculative_config, config.structured_outputs_config, llm.get_tokenizer()
            )
            taken[name] = params
        except Exception as error:
            found[name] = {"refused": str(error)[:300]}
    outputs = llm.chat([asked(wanted[name]) for name in taken], list(taken.values()), use_tqdm=False)
    for name, output in zip(taken, outputs, strict=True):
        made = output.outputs[0]
        found[name] = {
            "text": made.text,
            "finish": made.finish_reason,
            "tokens": len(made.token_ids),
            "valid": is_valid(wanted[name], made.text),
        }
    return found


def part_schemas(backend: str, data: Path, model: str) -> Any:
    """Forty schemas at each budget."""
    llm, wanted = engine(backend, model), schemas(data)
    return {str(most): answers(llm, wanted, most) for most in BUDGETS}


def part_speculation(backend: str, data: Path, model: str) -> Any:
    """The same with drafts that are copied from the text, at temperature 0 and 0.8."""
    llm, wanted = engine(backend, model, speculative_config=DRAFTS), schemas(data)
    return {
        f"{most} tokens, temperature {temperature}": answers(llm, wanted, most, temperature)
        for most, temperature in ((128, 0.0), (56, 0.8), (128, 0.8))
    }


def part_kinds(backend: str, data: Path, model: str) -> Any:
    """Each kind of constraint, beams, and what is refused."""
    llm, found = engine(backend, model), {}
    code = OWN["pattern with length"]
    tag = {"type": "tag", "begin": "<call>", "content": {"type": "json_schema", "json_schema": code}, "end": "</call>"}
    tags = {"type": "triggered_tags", "triggers": ["<call>"], "tags": [tag], "at_least_one": True}
    import guard

    constraints = {
        "json": {"json": code},
        "json_object": {"json_object": True},
        "regex": {"regex": "[a-c]{3}-[0-9]{1,4}x"},
        "choice": {"choice": ["yes", "no", "maybe"]},
        "grammar": {"grammar": 'root ::= "a" [0-9]+ "b"'},
        "structural_tag": {"structural_tag": json.dumps({"type": "structural_tag", "format": tags})},
    }
    for temperature in (0.0, 0.8):
        params = [
            SamplingParams(temperature=temperature, max_tokens=60, structured_outputs=StructuredOutputsParams(**one))
            for one in constraints.values()
        ]
        for (kind, one), output in zip(
            constraints.items(), llm.chat([asked(code)] * len(params), params, use_tqdm=False), strict=True
        ):
            made = output.outputs[0]
            compiled = guard.compile(
                {kind: json.loads(v) if kind == "structural_tag" else v for kind, v in one.items()}
            )
            with contextlib.suppress(ValueError):
                compiled.read(made.text)
                found[f"{kind} at {temperature}"] = [made.text, made.finish_reason, True]
                continue
            found[f"{kind} at {temperature}"] = [made.text, made.finish_reason, False]
    beams = BeamSearchParams(beam_width=3, max_tokens=24, structured_outputs=StructuredOutputsParams(json=code))
    prompt = llm.get_tokenizer().apply_chat_template(asked(code), tokenize=False, add_generation_prompt=True)
    (output,) = llm.beam_search([{"prompt": prompt}], beams)
    texts = [one.text.partition("assistant\n")[2].removesuffix("<|im_end|>") for one in output.sequences]
    found["beams"] = [texts, "", all(is_valid(code, text) for text in texts)]
    return found


def part_reasoning(backend: str, data: Path, model: str) -> Any:
    """A model that thinks first, between two tokens that SmolLM2 has: it stops in time for its answer."""
    import engines.reasoning_parser  # noqa: F401 - it registers the parser

    llm, found = engine(backend, model, structured={"reasoning_parser": "guard_test"}), {}
    tokenizer, schema = llm.get_tokenizer(), OWN["multipleOf"]
    prompt = (
        tokenizer.apply_chat_template(asked(schema), tokenize=False, add_generation_prompt=True) + "<jupyter_start>"
    )
    for most in (24, 40, 100):
        params = SamplingParams(
            temperature=0,
            max_tokens=most,
            skip_special_tokens=False,
            structured_outputs=StructuredOutputsParams(json=schema),
        )
        made = llm.generate([prompt], params, use_tqdm=False)[0].outputs[0]
        thought, _, answer = made.text.partition("<jupyter_output>")
        found[str(most)] = [thought, answer, made.finish_reason, is_valid(schema, answer.removesuffix("<|im_end|>"))]
    return found


def part_masks(backend: str, data: Path, model: str) -> Any:
    """`grammar_bitmask` for each row, of Guard and of xgrammar in this process; and Guard's against vLLM's own loop."""
    from vllm.engine.arg_utils import EngineArgs
    from vllm.v1.request import Request
    from vllm.v1.structured_output import StructuredOutputManager
    from vllm.v1.structured_output.backend_types import StructuredOutputGrammar

    texts = {  # what both backends take
        "object": (
            {
                "type": "object",
                "properties": {"name": {"type": "string"}, "n": {"type": "integer"}},
                "required": ["name", "n"],
            },
            '{"name": "Marta Kowalczyk of the second floor", "n": 1234}',
        ),
        "array": (
            {
                "type": "array",
                "items": {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]},
            },
            '[{"id": 1}, {"id": 22}, {"id": 333}, {"id": 4444}]',
        ),
        "enum": (
            {
                "type": "object",
                "properties": {"kind": {"enum": ["invoice", "receipt"]}, "note": {"type": "string"}},
                "required": ["kind", "note"],
            },
            '{"kind": "invoice", "note": "paid in March, by card"}',
        ),
    }

    def setup(name: str, rows: int) -> tuple[Any, dict[str, Any], list[list[int]]]:
        arguments = EngineArgs(
            model=model, max_model_len=1024, max_num_seqs=max(rows, 8), structured_outputs_config={"backend": name}
        )
        manager = StructuredOutputManager(arguments.create_engine_config())
        requests, tokens = {}, []
        for row in range(rows):
            schema, text = list(texts.values())[row % len(texts)]
            params = SamplingParams(max_tokens=200, structured_outputs=StructuredOutputsParams(json=schema))
            params._validate_structured_outputs(
                manager.vllm_config.model_config, manager.vllm_config.structured_outputs_config, manager.tokenizer
            )
            one = Request(str(row), [1, 2, 3], params, None)
            manager.grammar_init(one)
            while not one.structured_output_request.is_grammar_ready:
                time.sleep(0.001)
            grammar = one.structured_output_request.grammar
            if not isinstance(grammar, StructuredOutputGrammar):
                raise grammar
            requests[str(row)] = one
            tokens.append(manager.tokenizer.encode(text, add_special_tokens=False))
        return manager, requests, tokens

    def once(name: str, rows: int, drafts: int = 0) -> tuple[float, float]:
        """Return microseconds of the processor for each row: of the masks, and of accepting tokens."""
        manager, requests, tokens = setup(name, rows)
        names, spent, accepted, steps = list(requests), 0.0, 0.0, 0
        for step in range(min(map(len, tokens)) - 1):
            start = time.process_time_ns()
            manager.grammar_bitmask(requests, names, {})
            middle = time.process_time_ns()
            for row, one in requests.items():
                one.append_output_token_ids(tokens[int(row)][step])
                assert manager.accept_tokens(one, [tokens[int(row)][step]])
            end = time.process_time_ns()
            if step:
                spent, accepted, steps = spent + middle - start, accepted + end - middle, steps + 1
        manager.clear_backend()
        return spent / steps / rows / 1e3, accepted / steps / rows / 1e3

    once("guard", 8)
    once("xgrammar", 8)
    found: dict[str, Any] = {}
    for rows in (1, 8, 64):
        for name in ("guard", "xgrammar"):
            found[f"{name}, {rows} rows"] = min(once(name, rows) for _ in range(5))
    found["the same as vLLM's loop"] = _compared(setup, random.Random(7))
    return found


def part_steps(backend: str, data: Path, model: str) -> Any:
    """What masks add to a step of eight rows, as a share of the processor's time for a step without a schema.

    Each part is timed by itself: filling masks, accepting tokens, and writing masks over the logits, which is vLLM's.
    """
    import vllm.v1.worker.gpu_model_runner as runner
    from vllm.v1.engine.llm_engine import LLMEngine
    from vllm.v1.structured_output import StructuredOutputManager

    spent = dict.fromkeys(("fill", "accept", "apply", "step"), 0.0)
    count = dict.fromkeys(spent, 0)

    def timed(owner: Any, attribute: str, name: str) -> None:
        original = getattr(owner, attribute)

        def wrapped(*given: Any, **named: Any) -> Any:
            start = time.process_time()
            try:
                return original(*given, **named)
            finally:
                spent[name] += time.process_time() - start
                count[name] += 1

        setattr(owner, attribute, wrapped)

    llm, rows = engine(backend, model), 8
    timed(StructuredOutputManager, "grammar_bitmask", "fill")
    timed(StructuredOutputManager, "accept_tokens", "accept")
    timed(runner, "apply_grammar_bitmask", "apply")
    timed(LLMEngine, "step", "step")
    wanted = dict(list(OWN.items())[:rows])
    questions = [asked(schema) for schema in wanted.values()]
    answers(llm, wanted, 64)  # what is done once is not the question here
    plain = SamplingParams(temperature=0, max_tokens=64, ignore_eos=True)
    found: dict[str, Any] = {}
    for turn in range(3):
        spent.update(dict.fromkeys(spent, 0.0)), count.update(dict.fromkeys(count, 0))
        llm.chat(questions, [plain] * rows, use_tqdm=False)
        step = spent["step"] / count["step"]
        spent.update(dict.fromkeys(spent, 0.0)), count.update(dict.fromkeys(count, 0))
        answers(llm, wanted, 64)
        each = {name: 1e6 * spent[name] / max(count["fill"], 1) for name in ("fill", "accept", "apply")}
        added = each["fill"] + each["accept"]
        shares = f"{added / step / 1e4:.2f}% of a step of {step * 1e3:.1f} ms without a schema"
        found[f"turn {turn}"] = f"{shares}; us a step: " + ", ".join(f"{name} {us:.0f}" for name, us in each.items())
    return found


def part_own(backend: str, data: Path, model: str) -> Any:
    """The scenarios of vLLM's own test of structured outputs (tests/v1/entrypoints/llm).

    What vLLM asks there of a larger model's knowledge is not asked of this one.
    """
    return _scenarios(engine(backend, model))


def part_own_drafts(backend: str, data: Path, model: str) -> Any:
    """The same with drafts that are copied from the text, five as there."""
    return _scenarios(engine(backend, model, speculative_config={**DRAFTS, "num_speculative_tokens": 5}))


def _scenarios(llm: LLM) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in SCENARIOS:
        params = SamplingParams(
            temperature=one.temperature,
            max_tokens=one.max_tokens,
            n=one.answers,
            structured_outputs=StructuredOutputsParams(**one.constraint),
        )
        try:
            outputs = llm.generate([one.prompt] * 2, params, use_tqdm=False)
        except Exception as error:
            found[one.name] = [f"{type(error).__name__}: {error}", "", one.judge is None]
            continue
        texts = [made.text for output in outputs for made in output.outputs]
        found[one.name] = [texts, "", one.judge is not None and all(map(one.judge, texts))]
    mixed = [
        SamplingParams(temperature=1, max_tokens=250, structured_outputs=StructuredOutputsParams(json=EMPLOYEE)),
        SamplingParams(temperature=0, max_tokens=30, seed=42),
    ]
    prompts = ["Give an example of an employee.", "The diameter of the Earth in kilometers is "]
    texts = [output.outputs[0].text for output in llm.generate(prompts, mixed, use_tqdm=False)]
    found["beside a request without a schema"] = [texts, "", is_valid(EMPLOYEE, texts[0])]
    return found


def _compared(setup: Any, chance: random.Random) -> int:
    """Compare Guard's masks with those of vLLM's own loop over Guard's grammars; returns how many rows."""
    from vllm.v1.structured_output import StructuredOutputManager

    original = StructuredOutputManager.grammar_bitmask.__wrapped__
    manager, requests, tokens = setup("guard", 6)
    manager.vllm_config.speculative_config = None
    type(manager.vllm_config).num_speculative_tokens = property(lambda _: 4)
    count = 0
    for step in range(min(map(len, tokens)) - 1):
        drafts = {}
        for row, one in requests.items():
            guessed = [
                t if chance.random() < 0.9 else chance.randrange(49152) for t in tokens[int(row)][step : step + 4]
            ]
            kept = manager.validate_tokens(one, guessed)
            drafts[row] = kept + [-1] * chance.randrange(5 - len(kept))
        ours = manager.grammar_bitmask(requests, list(requests), drafts).copy()
        for one in requests.values():  # vLLM's loop knows no budget of tokens that are guessed
            one.structured_output_request.grammar.answer.limit = None
        manager._grammar_bitmask.fill_(0)
        theirs = original(manager, requests, list(requests), drafts)
        assert ours.tolist() == theirs.tolist(), step
        count += len(ours)
        for row, one in requests.items():
            one.append_output_token_ids(tokens[int(row)][step])
            assert manager.accept_tokens(one, [tokens[int(row)][step]])
    return count


def main() -> None:
    part, backend, data, model = sys.argv[1:]
    start = time.process_time()
    found = globals()[f"part_{part}"](backend, Path(data), model)
    print(json.dumps({"part": part, "backend": backend, "seconds": time.process_time() - start, "found": found}))


if __name__ == "__main__":
    main()
