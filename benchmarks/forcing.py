"""Does skipping forced text change what a model writes? Greedy texts in three ways: `python -m benchmarks.forcing`.

SmolLM2 is asked for function calls (benchmarks/calls.py), greedily, each in three ways:

- skipping: Guard's own loop, which appends forced text without asking, as the tokenizer cuts it (the default);
- asking: the same cut with every token asked for, by transformers' own generate, on a model as transformers loads it,
  with guard.LogitsProcessor;
- plain: every token asked for under the masks alone, so that the model cuts forced text as it likes.

Skipping is compared with either other way over --tokens tokens. The bar is for the first comparison, in which nothing
differs but how many tokens a pass reads. Of each pair that differs it is told where, and by how much the model prefers
the other way's text up to the first token that differs: the difference of natural logarithms of the probabilities,
among the allowed tokens, in the tokens of either. Guard's requests run side by side, on which no result depends, bit
for bit; transformers' run one by one.

Examples:
    python -m benchmarks.forcing                        200 prompts in the model's usual type: half an hour
    python -m benchmarks.forcing --dtype float32        longer
    python -m benchmarks.forcing --n 20 --tokens 40     a look
"""

from __future__ import annotations

import argparse
import codecs
import itertools
import json
import os
import platform
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers

import guard
from benchmarks.calls import Call, calls
from guard import models
from guard.decoding.forced_tokens import Forcing
from guard.decoding.logits_processor import LogitsProcessor
from guard.kernels.bitmask import allocate_bitmask, apply_bitmask_
from guard.models.base import Request
from guard.models.local.transformers import TransformersModel

BENCH = {"full": [], "short": ["--n", "20", "--tokens", "40"]}  #: What `make bench` runs.
BAR = 0.95  #: Share of texts that must be the same, skipping and asking.
AT_ONCE = 16  #: Requests side by side, in Guard's own loop.
OTHERS = {  #: What skipping is compared with, in the words of the tables.
    "asking": "the same cut, all asked for by transformers' generate",
    "plain": "plain masks, the model's own cuts",
}


class Unforced(Forcing):
    """Appends nothing: the model is asked token by token. What else depends on the tokenizer stays as it is."""

    def tokens(self, *_: Any, **__: Any) -> tuple[int, ...]:
        """Return none."""
        return ()


def write(model: TransformersModel, call: Call, limit: int) -> dict[str, Any]:
    """Write up to so many tokens in Guard's own loop; the budget is the default one, so that it changes no mask."""
    request = Request(call.messages, guard.compile(call.schema))
    prompt, limits = model._begin(request)
    passes = 0
    with model._open(prompt, request, **limits) as session:
        completion = session.completion
        while (unfed := completion.advance()) is not None and len(completion.written) < limit:
            session.step(unfed if passes else prompt + unfed)
            passes += 1
    return run_of(model, prompt, completion.written, passes, completion.forced_tokens)


def ask(model: TransformersModel, call: Call, limit: int) -> dict[str, Any]:
    """Write up to so many tokens with transformers' generate, under the same budget; forced tokens are asked for."""
    request = Request(call.messages, compiled := guard.compile(call.schema))
    prompt, _ = model._begin(request)
    processor = LogitsProcessor(compiled, model.vocabulary, max_tokens=request.max_tokens, tokenizer=model.tokenizer)
    ids = torch.tensor([prompt])
    out = model.model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        generation_config=model._generation_config(limit),
        logits_processor=[processor],
    )
    written = out[0, len(prompt) :].tolist()
    return run_of(model, prompt, written, len(written), 0)


def run_of(model: TransformersModel, prompt: list[int], tokens: list[int], passes: int, forced: int) -> dict[str, Any]:
    """Return what was written, whole characters by token."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    pieces = [decoder.decode(model.vocabulary.token_bytes(token)) for token in tokens]
    text = "".join(pieces)
    return {"text": text, "tokens": tokens, "pieces": pieces, "forced": forced, "passes": passes, "prompt": prompt}


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


def compare(call: Call, ours: dict[str, Any], theirs: dict[str, Any], model: TransformersModel) -> dict[str, Any]:
    """Compare two texts of a call."""
    pairs = zip(ours["text"], theirs["text"], strict=False)
    same = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
    if same == min(len(ours["text"]), len(theirs["text"])):  # they are stopped at different places
        return {"same": True}
    (mine, token), (their, other) = (preference(model, call, run, same) for run in (ours, theirs))
    context = theirs["text"][max(0, same - 30) : same]
    return {"same": False, "context": context, "token": token, "other": other, "difference": their - mine}


def main() -> int:
    """Measure and print. Exit code 1 below the bar."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.forcing", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=200, help="prompts (default 200)")
    parser.add_argument("--tokens", type=int, default=60, help="tokens of each text (default 60)")
    parser.add_argument("--seed", type=int, default=1, help="of the prompts (default 1)")
    parser.add_argument("--threads", type=int, default=1, help="of torch (default 1)")
    parser.add_argument("--dtype", default="bfloat16", help="of the model (default: %(default)s)")
    parser.add_argument("--others", default=",".join(OTHERS), help=f"what to compare with, of {', '.join(OTHERS)}")
    parser.add_argument("--json", type=Path, help="write every text here")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    folder = models.pull("smollm2")
    model = TransformersModel.from_pretrained(folder, name="smollm2", dtype=args.dtype)
    args.dtype = str(model.model.dtype).removeprefix("torch.")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=model.model.dtype)
    alone = TransformersModel("smollm2", theirs, model.tokenizer, share=False)
    plain = TransformersModel("smollm2", model.model, model.tokenizer)
    plain._forcing, plain._passes = Unforced(model.tokenizer, model.vocabulary), model._passes
    drawn = calls(args.n, args.seed)
    ways = {"skipping": (write, model, AT_ONCE), "asking": (ask, alone, 1), "plain": (write, plain, AT_ONCE)}
    runs: dict[str, list[dict[str, Any]]] = {}
    started = time.perf_counter()
    others = args.others.split(",")
    for name in ("skipping", *others):
        way, asked, at_once = ways[name]
        runs[name] = []
        with ThreadPoolExecutor(at_once) as pool:
            for run in pool.map(partial(way, asked, limit=args.tokens), drawn):
                runs[name].append(run)
                done, seconds = len(runs[name]), time.perf_counter() - started
                print(f"\r{name}: {done} of {len(drawn)}, {seconds:.0f} s", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
    found = {
        other: [compare(*row, model) for row in zip(drawn, runs["skipping"], runs[other], strict=True)]
        for other in others
    }
    report(runs, found, args)
    if args.json:
        kept = {"calls": [call.name for call in drawn], "runs": runs, "found": found}
        args.json.write_text(json.dumps(kept, indent=1, ensure_ascii=False))
    return int("asking" in found and share(found["asking"]) < BAR)


def share(found: list[dict[str, Any]]) -> float:
    """Return how many texts are the same."""
    return sum(pair["same"] for pair in found) / max(1, len(found))


def report(
    runs: dict[str, list[dict[str, Any]]], found: dict[str, list[dict[str, Any]]], args: argparse.Namespace
) -> None:
    """Print what was found, as markdown."""
    machine = f"{args.dtype}, {platform.machine()}, {os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}"
    print(f"### Forced tokens: SmolLM2, {args.n} function calls, {args.tokens} tokens each, {machine}\n")
    print("| way | texts the same | bar | tokens | of them appended unasked | passes |")
    print("|:--|--:|--:|--:|--:|--:|")
    for name, texts in runs.items():
        tokens, forced = sum(len(run["tokens"]) for run in texts), sum(run["forced"] for run in texts)
        same, bar = (
            (f"{share(found[name]):.1%}", f"{BAR:.0%}" if name == "asking" else "") if name in found else ("", "")
        )
        label = OTHERS.get(name, "skipping, the default")
        passes = sum(run["passes"] for run in texts)
        print(f"| {label} | {same} | {bar} | {tokens:,} | {forced / tokens:.1%} | {passes:,} |")
    for name, pairs in found.items():
        differing = [pair for pair in pairs if not pair["same"]]
        if not differing:
            continue
        print(f"\nSkipping beside {OTHERS[name]}:\n")
        print(
            "| where they part | with skipping | the other way | log-probability that the model prefers the other by |"
        )
        print("|:--|:--|:--|--:|")
        for pair in sorted(differing, key=lambda pair: pair["difference"]):
            texts = (f"`{pair[key]}`".replace("|", "\\|").replace("\n", " ") for key in ("context", "token", "other"))
            print(f"| {' | '.join(texts)} | {pair['difference']:+.2f} |")


if __name__ == "__main__":
    sys.exit(main())
