"""End to end: SmolLM2 through transformers, with Guard and without, outlines beside it: `python -m benchmarks.decode`.

Every way answers the same function calls (benchmarks/calls.py) with the same weights, greedily, under one budget of
tokens, in turn, call by call: transformers alone, which writes as many tokens as Guard did, held to nothing; Guard as
it comes (the model's `generate`, default options); its LogitsProcessor inside of transformers' generate, with the
tokenizer; and outlines with each of its backends. Seconds are of the whole answer after the schema was compiled, prompt
included; compiling is told apart. Where a way can't take a schema the call counts for nobody.

A pass of Guard's may read several forced tokens; "a pass" says what one costs, prompt left out. For ratios that mean
something on a machine with other jobs, give it a core of its own: chrt -f 50 taskset -c 1 python -m benchmarks.decode.

Examples:
    python -m benchmarks.decode                          12 calls, twice: ten minutes
    python -m benchmarks.decode --n 6 --repeat 1 --ways transformers,guard
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema_rs
import torch
import transformers

import guard
from benchmarks.calls import Call, calls
from guard import models
from guard.decoding.logits_processor import LogitsProcessor
from guard.models.base import Request
from guard.models.local.transformers import TransformersModel

BENCH = {"full": [], "short": ["--n", "4", "--repeat", "1"]}  #: What `make bench` runs.
BAR, PASS_BAR = 1.25, 0.98  #: Tokens/s, and passes/s, of transformers alone.


class Clock:
    """Counts a model's passes, and when the first one ended."""

    def __init__(self, model: Any) -> None:
        self.passes = 0
        self.first = 0.0
        model.register_forward_hook(self._ended)

    def _ended(self, *_: Any) -> None:
        self.passes += 1
        if self.passes == 1:
            self.first = time.perf_counter()

    def start(self) -> None:
        """Begin with an answer."""
        self.passes = 0


class Plain:
    """transformers' own generate."""

    name = "transformers alone"

    def __init__(self, model: TransformersModel) -> None:
        self.model = model.model
        self.vocabulary = model.vocabulary
        self.tokenizer = model.tokenizer
        self.prompt = lambda call: model._tokenize(model._render(call.messages, thinks=False))

    def compile(self, call: Call) -> Any:
        """Nothing."""

    def run(self, call: Call, compiled: Any, budget: int, length: int) -> tuple[str, int]:  # noqa: ARG002 (as every way takes them)
        """Write exactly `length` tokens: none ends the sequence."""
        return self.generate(call, max_new_tokens=length, eos_token_id=-1)

    def generate(self, call: Call, **options: Any) -> tuple[str, int]:
        """Return the text and how many tokens it is."""
        prompt = self.prompt(call)
        ids = torch.tensor([prompt])
        eos = list(self.vocabulary.eos)
        out = self.model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            pad_token_id=eos[0],
            **{"eos_token_id": eos, **options},
        )[0, len(prompt) :].tolist()
        return b"".join(map(self.vocabulary.token_bytes, out)).decode(errors="replace"), len(out)


class Processor(Plain):
    """Guard's processor inside of transformers' generate."""

    name = "Guard's LogitsProcessor"

    def compile(self, call: Call) -> Any:
        """Compile the schema."""
        return guard.compile(call.schema)

    def run(self, call: Call, compiled: Any, budget: int, length: int) -> tuple[str, int]:  # noqa: ARG002 (as every way takes them)
        """Answer."""
        processor = LogitsProcessor(compiled, self.vocabulary, max_tokens=budget, tokenizer=self.tokenizer)
        return self.generate(call, max_new_tokens=budget, logits_processor=[processor])


class Guards:
    """Guard as it comes."""

    name = "Guard"

    def __init__(self, model: TransformersModel) -> None:
        self.wrapped = model
        self.model = model.model

    def compile(self, call: Call) -> Any:
        """Compile the schema."""
        return guard.compile(call.schema)

    def run(self, call: Call, compiled: Any, budget: int, length: int) -> tuple[str, int]:  # noqa: ARG002 (as every way takes them)
        """Answer."""
        reply = self.wrapped.generate(Request(call.messages, compiled, max_tokens=budget))
        return reply.text, reply.completion_tokens


class Outlines(Plain):
    """outlines, with one of its backends, as its own model of transformers calls generate."""

    def __init__(self, model: TransformersModel, backend: str) -> None:
        import outlines

        super().__init__(model)
        self.name = f"outlines, {backend}"
        self.outlines = outlines.from_transformers(model.model, model.tokenizer)
        from outlines.backends import _get_backend

        self.backend = _get_backend(backend, self.outlines)

    def compile(self, call: Call) -> Any:
        """Make the processor; llguidance compiles when it is first used."""
        return self.backend.get_json_schema_logits_processor(json.dumps(call.schema))

    def run(self, call: Call, compiled: Any, budget: int, length: int) -> tuple[str, int]:  # noqa: ARG002 (as every way takes them)
        """Answer."""
        compiled.reset()
        return self.generate(call, max_new_tokens=budget, logits_processor=[compiled])


def ways(names: list[str]) -> list[Any]:
    """Set the ways up; each has a model of its own but for weights that are the same."""
    folder = models.pull("smollm2")
    loaded = TransformersModel.from_pretrained(folder, name="smollm2", dtype="bfloat16")  # blocks only Guard has
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=loaded.model.dtype)
    plain = TransformersModel("smollm2", theirs, loaded.tokenizer, share=False)
    assert loaded.passes.is_independent  # it is tried out now, not in the first answer
    made: dict[str, Callable[[], Any]] = {
        "transformers": lambda: Plain(plain),
        "guard": lambda: Guards(loaded),
        "processor": lambda: Processor(plain),
        **{f"outlines_{kind.split('_')[0]}": lambda kind=kind: Outlines(plain, kind) for kind in OUTLINES},
    }
    return [made[name]() for name in names]


OUTLINES = ("outlines_core", "llguidance", "xgrammar")
WAYS = ("guard", "transformers", "processor", *(f"outlines_{kind.split('_')[0]}" for kind in OUTLINES))


def answer(way: Any, clock: Clock, call: Call, budget: int, length: int) -> dict[str, Any]:
    """Measure one answer."""
    started = time.perf_counter()
    compiled = way.compile(call)
    compiling = time.perf_counter() - started
    clock.start()
    started, processor = time.perf_counter(), time.process_time()
    text, tokens = way.run(call, compiled, budget, length)
    ended, spent = time.perf_counter(), time.process_time() - processor
    found: dict[str, Any] = {"compiling": compiling, "seconds": ended - started, "processor": spent, "tokens": tokens}
    found |= {"passes": clock.passes, "decoding": ended - clock.first, "text": text}
    try:
        found["valid"] = jsonschema_rs.validator_for(call.schema).is_valid(json.loads(text))
    except ValueError:
        found["valid"] = False
    return found


def main() -> int:
    """Measure and print. Exit code 1 where Guard misses a bar."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.decode", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=12, help="function calls (default 12)")
    parser.add_argument("--repeat", type=int, default=2, help="of each; the least seconds count (default 2)")
    parser.add_argument("--tokens", type=int, default=160, help="budget of an answer (default 160)")
    parser.add_argument("--seed", type=int, default=2, help="of the calls (default 2)")
    parser.add_argument("--ways", default=",".join(WAYS), help=f"of {', '.join(WAYS)}; guard comes first")
    parser.add_argument("--json", type=Path, help="write every answer here")
    args = parser.parse_args()
    torch.set_num_threads(1)
    every = ways(args.ways.split(","))
    clocks = {id(model): Clock(model) for model in {id(way.model): way.model for way in every}.values()}
    drawn, kept = calls(args.n, args.seed), {}
    started = time.perf_counter()
    for number, call in enumerate(drawn, 1):
        found: dict[str, list[dict[str, Any]]] = {way.name: [] for way in every}
        length = args.tokens
        try:
            for _ in range(args.repeat):
                for way in every:
                    one = answer(way, clocks[id(way.model)], call, args.tokens, length)
                    found[way.name].append(one)
                    length = found[every[0].name][0]["tokens"]
        except Exception as error:  # whatever an engine says of a schema that it can't hold
            print(f"\n{call.name} counts for nobody: {str(error).splitlines()[0][:120]}", file=sys.stderr)
            continue
        kept[call.name] = {name: least(runs) for name, runs in found.items()}
        seconds = time.perf_counter() - started
        print(f"\r{number} of {len(drawn)} calls, {seconds:.0f} s", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    rows = {way.name: figures([answers[way.name] for answers in kept.values()]) for way in every}
    report(rows, args, len(kept))
    if args.json:
        args.json.write_text(json.dumps({"rows": rows, "answers": kept}, indent=1, ensure_ascii=False))
    base, ours = rows.get(Plain.name), rows.get(Guards.name)
    return int(bool(base and ours and (ours["speed"] < BAR * base["speed"] or ours["pass"] * PASS_BAR > base["pass"])))


def least(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The runs of one answer as one: each time the least."""
    return runs[0] | {key: min(run[key] for run in runs) for key in ("compiling", "seconds", "processor", "decoding")}


def figures(answers: list[dict[str, Any]]) -> dict[str, float]:
    """Sum up a way's answers."""
    total = {key: sum(one[key] for one in answers) for key in ("tokens", "seconds", "processor", "passes", "decoding")}
    return {
        "speed": total["tokens"] / total["seconds"],
        "busy": total["tokens"] / total["processor"],
        "pass": total["decoding"] / (total["passes"] - len(answers)),
        "tokens": total["tokens"],
        "passes": total["passes"],
        "answer": total["seconds"] / len(answers),
        "compiling": statistics.median(one["compiling"] for one in answers),
        "valid": sum(one["valid"] for one in answers) / len(answers),
    }


def report(rows: dict[str, dict[str, float]], args: argparse.Namespace, count: int) -> None:
    """Print the table, as markdown."""
    machine = f"{platform.machine()}, {os.cpu_count()} cores, one thread, {time.strftime('%Y-%m-%d')}"
    print(f"### SmolLM2 end to end: {count} function calls, {args.tokens} tokens at most, {machine}\n")
    print(
        "| | tokens/s | ratio | tokens/s of processor | ratio | a pass, ms | passes/s, ratio | tokens | passes "
        "| s an answer | compiling, ms | valid |"
    )
    print("|:--" + "|--:" * 11 + "|")
    base = rows.get(Plain.name) or next(iter(rows.values()))
    for name, row in rows.items():
        valid = "" if name == Plain.name else f"{row['valid']:.0%}"
        print(
            f"| {name} | {row['speed']:.1f} | {row['speed'] / base['speed']:.2f} "
            f"| {row['busy']:.1f} | {row['busy'] / base['busy']:.2f} "
            f"| {row['pass'] * 1e3:.1f} | {base['pass'] / row['pass']:.2f} | {row['tokens']:,} | {row['passes']:,} "
            f"| {row['answer']:.2f} | {row['compiling'] * 1e3:.2f} | {valid} |"
        )


if __name__ == "__main__":
    sys.exit(main())
