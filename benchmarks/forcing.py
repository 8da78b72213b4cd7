"""Does skipping forced text change what a model writes? Greedy texts with and without: `python -m benchmarks.forcing`.

SmolLM2 is asked for function calls (benchmarks/calls.py), each twice: with forced text appended as its tokenizer cuts
it, the default, and with every token asked for. Both are greedy, under the same masks, with default options, and
compared over --tokens tokens. Of each pair that differs it is told where, and by how much the model prefers its own
text up to the first token that differs: the difference of natural logarithms of the probabilities, among the allowed
tokens, in the tokens of either. Requests run side by side; no result depends on it, bit for bit.

Examples:
    python -m benchmarks.forcing                        200 prompts, some minutes
    python -m benchmarks.forcing --n 20 --tokens 40     a look
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

import guard
from benchmarks.calls import Call, calls
from guard import models
from guard.forcing import Forcing
from guard.kernels.bitmask import allocate_bitmask, apply_bitmask_
from guard.models.base import Request
from guard.models.transformers import TransformersModel

BENCH = {"full": [], "short": ["--n", "20", "--tokens", "40"]}  #: What `make bench` runs.
BAR = 0.95  #: Share of texts that must be the same.
AT_ONCE = 16  #: Requests side by side.


class Asking(Forcing):
    """Appends nothing: the model is asked token by token. What else depends on the tokenizer stays as it is."""

    def tokens(self, *_: Any, **__: Any) -> tuple[int, ...]:
        """Return none."""
        return ()


def write(model: TransformersModel, call: Call, limit: int) -> dict[str, Any]:
    """Write up to so many tokens; the budget is the default one, so that it changes no mask."""
    request = Request(call.messages, guard.compile(call.schema))
    prompt, limits = model._begin(request)
    passes = 0
    with model._open(prompt, request, **limits) as session:
        completion = session.completion
        while (unfed := completion.advance()) is not None and len(completion.written) < limit:
            session.step(unfed if passes else prompt + unfed)
            passes += 1
        completion.end()
    return {
        "text": completion.answer,
        "tokens": completion.written,
        "pieces": [token.text for token in completion.details],
        "forced": completion.forced_tokens,
        "passes": passes,
        "prompt": prompt,
    }


@torch.no_grad()
def preference(model: TransformersModel, call: Call, run: dict[str, Any], at: int) -> tuple[float, str]:
    """Return the logarithm of the probability of a text up to the token that covers a place, and that token."""
    place, count = 0, 0
    while count < len(run["tokens"]) and place <= at:
        place += len(run["pieces"][count])
        count += 1
    tokens = run["tokens"][:count]
    logits = model.model(torch.tensor([run["prompt"] + tokens])).logits[0, -count - 1 : -1].float()
    matcher, row = guard.compile(call.schema).matcher(model.vocabulary), allocate_bitmask(1, model.vocabulary.size)
    total = 0.0
    for token, scores in zip(tokens, logits, strict=True):
        matcher.fill_bitmask(row)
        apply_bitmask_(scores[None], row)
        total += float(scores.log_softmax(-1)[token])
        matcher.accept(token)
    return total, run["pieces"][count - 1]


def compare(call: Call, skipping: dict[str, Any], asking: dict[str, Any], model: TransformersModel) -> dict[str, Any]:
    """Compare the two texts of a call."""
    pairs = zip(skipping["text"], asking["text"], strict=False)
    same = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
    found: dict[str, Any] = {
        "name": call.name,
        "same": same == min(len(skipping["text"]), len(asking["text"])),  # they are stopped at different places
        **{f"skipping_{key}": skipping[key] for key in ("text", "passes", "forced")},
        **{f"asking_{key}": asking[key] for key in ("text", "passes", "forced")},
        "tokens": len(skipping["tokens"]),
        "skipping_pieces": skipping["pieces"],
        "asking_pieces": asking["pieces"],
    }
    if not found["same"]:
        (ours, token), (theirs, other) = (preference(model, call, run, same) for run in (skipping, asking))
        found |= {"at": same, "token": token, "other": other, "difference": theirs - ours}
    return found


def main() -> int:
    """Measure and print. Exit code 1 below the bar."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.forcing", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=200, help="prompts (default 200)")
    parser.add_argument("--tokens", type=int, default=60, help="tokens of each text (default 60)")
    parser.add_argument("--seed", type=int, default=1, help="of the prompts (default 1)")
    parser.add_argument("--threads", type=int, default=1, help="of torch (default 1)")
    parser.add_argument("--json", type=Path, help="write every text here")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = TransformersModel.from_pretrained(models.pull("smollm2"), name="smollm2")
    asked = TransformersModel("smollm2", model.model, model.tokenizer)
    asked._forcing, asked._passes = Asking(model.tokenizer, model.vocabulary), model._passes
    drawn = calls(args.n, args.seed)
    runs: dict[str, list[dict[str, Any]]] = {}
    started = time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for name, way in (("skipping", model), ("asking", asked)):
            runs[name] = []
            for run in pool.map(lambda call, way=way: write(way, call, args.tokens), drawn):
                runs[name].append(run)
                done, seconds = len(runs[name]), time.perf_counter() - started
                print(f"\r{name}: {done} of {len(drawn)}, {seconds:.0f} s", end="", file=sys.stderr, flush=True)
            print(file=sys.stderr)
    found = [
        compare(call, skipping, asking, model)
        for call, skipping, asking in zip(drawn, runs["skipping"], runs["asking"], strict=True)
    ]
    report(found, args)
    if args.json:
        args.json.write_text(json.dumps(found, indent=1, ensure_ascii=False))
    return int(share(found) < BAR)


def share(found: list[dict[str, Any]]) -> float:
    """Return how many texts are the same."""
    return sum(pair["same"] for pair in found) / max(1, len(found))


def report(found: list[dict[str, Any]], args: argparse.Namespace) -> None:
    """Print what was found, as markdown."""
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}"
    print(f"### Forced tokens: SmolLM2, {len(found)} function calls, {args.tokens} tokens each, {machine}\n")
    tokens, forced = (sum(pair[key] for pair in found) for key in ("tokens", "skipping_forced"))
    passes, asked = (sum(pair[f"{way}_passes"] for pair in found) for way in ("skipping", "asking"))
    print("| texts the same | bar | tokens | of them forced | passes with skipping | without |")
    print("|--:|--:|--:|--:|--:|--:|")
    print(f"| {share(found):.1%} | {BAR:.0%} | {tokens:,} | {forced / tokens:.1%} | {passes:,} | {asked:,} |\n")
    differing = [pair for pair in found if not pair["same"]]
    if not differing:
        return
    print("| where they part | with skipping | the model's own | log-probability that it prefers its own by |")
    print("|:--|:--|:--|--:|")
    for pair in sorted(differing, key=lambda pair: pair["difference"]):
        context = pair["asking_text"][max(0, pair["at"] - 30) : pair["at"]]
        texts = (f"`{text}`".replace("|", "\\|").replace("\n", " ") for text in (context, pair["token"], pair["other"]))
        print(f"| {' | '.join(texts)} | {pair['difference']:+.2f} |")


if __name__ == "__main__":
    sys.exit(main())
