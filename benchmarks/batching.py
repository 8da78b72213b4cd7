"""Concurrent calls of SmolLM2: Guard's shared passes beside transformers' continuous batching, in one run.

    python -m benchmarks.batching [--repeat 3] [--tokens 48]

Each way answers the same prompts greedily, 1, 2, 4 and 8 at a time: plain text of a fixed length, and values under
masks. Continuous batching takes masks through a processor of its per-request kind, whose 32-bit argument names a
matcher; it has no forced text. Shown is the best of the repeats: tokens a second by the clock, and processor seconds of
the process.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from transformers import ContinuousBatchingConfig, GenerationConfig
from transformers.generation.continuous_batching.cb_logits_processors import ContinuousBatchingLogitsProcessor

import guard
from guard import models
from guard.kernels.bitmask import allocate_bitmask
from guard.models.base import Request
from guard.models.local.transformers import TransformersModel

SCHEMA = {
    "type": "object",
    "properties": {
        "item": {"type": "string", "maxLength": 20},
        "kind": {"enum": ["invoice", "receipt", "letter"]},
        "total": {"type": "number"},
    },
    "required": ["item", "kind", "total"],
    "additionalProperties": False,
}
ASKED = [
    f"Document {n}: {what} from {who}, {n * 7}.{n}0 in all. What is it?"
    for n, (what, who) in enumerate(
        [("two chairs", "Ada"), ("a lamp", "Grace"), ("ten apples", "Alan"), ("a bicycle", "Edsger"),
         ("a book", "Barbara"), ("three pens", "Donald"), ("a desk", "Tony"), ("some tea", "Leslie")], 1)
]  # fmt: skip
COUNTS = (1, 2, 4, 8)


class Masks(ContinuousBatchingLogitsProcessor):
    """Guard's masks as continuous batching takes processors: a request's argument is the number of its matcher."""

    supported_kwargs = {"matcher": int}  # noqa: RUF012 - their class has it so
    ignored_kwargs = ()

    def __init__(self, vocabulary: guard.Vocabulary) -> None:
        self.matchers: list[Any] = []
        self.fed: dict[int, int] = {}
        self.words = allocate_bitmask(len(ASKED), vocabulary.size)

    def fill_defaults(self, int32_tensor: torch.Tensor) -> None:
        int32_tensor.fill_(-1)

    def prepare_tensor_args(self, requests_with_new_token: list[Any]) -> torch.Tensor:
        numbers = [request.state.logit_processor_kwargs.get("matcher", -1) for request in requests_with_new_token]
        for row, (number, request) in enumerate(zip(numbers, requests_with_new_token, strict=True)):
            if number >= 0:
                for token in request.state.generated_tokens[self.fed.get(number, 0) :]:
                    self.matchers[number].accept(token)
                self.fed[number] = len(request.state.generated_tokens)
                self.matchers[number].fill_bitmask(self.words, row)
        return torch.tensor(numbers, dtype=torch.int32)

    def __call__(self, scores: torch.Tensor, tensor_arg: torch.Tensor) -> torch.Tensor:
        rows = int((tensor_arg >= 0).sum())
        if rows:
            guard.kernels.apply_bitmask_(scores[:rows], self.words[:rows])
        return scores


def measured(work: Callable[[], tuple[list[str], int]], repeat: int) -> tuple[list[str], float, float]:
    """Return what was written, tokens a second, and processor seconds, at best."""
    speeds, spent, texts = [], [], []
    for _ in range(repeat):
        gc.collect()
        clock, processor = time.perf_counter(), time.process_time()
        texts, tokens = work()
        spent.append(time.process_time() - processor)
        speeds.append(tokens / (time.perf_counter() - clock))
    return texts, max(speeds), min(spent)


def requests(count: int, compiled: Any, tokens: int) -> list[Request]:
    """Return so many requests."""
    return [Request(({"role": "user", "content": text},), compiled, max_tokens=tokens) for text in ASKED[:count]]


def guards(model: TransformersModel, asked: list[Request]) -> tuple[list[str], int]:
    """Ask from a thread each."""
    with ThreadPoolExecutor(len(asked)) as pool:
        replies = list(pool.map(model.generate, asked))
    return [reply.text for reply in replies], sum(reply.completion_tokens for reply in replies)


def continuous(model: TransformersModel, masks: Masks, manager: Any, asked: list[Request]) -> tuple[list[str], int]:
    """Ask a running manager."""
    masks.matchers, masks.fed = [], {}
    wanted = set()
    for number, request in enumerate(asked):
        more = {}
        if request.compiled is not None:
            masks.matchers.append(request.compiled.matcher(model.vocabulary))
            more = {"matcher": number}
        prompt = model._tokenize(model._render(request.messages, thinks=False))
        eos = list(model.vocabulary.eos)
        wanted.add(manager.add_request(prompt, max_new_tokens=request.max_tokens, eos_token_id=eos, **more))
    found: dict[str, list[int]] = {}
    while len(found) < len(wanted):
        result = manager.get_result(timeout=60)
        assert result is not None, "continuous batching gave no result within a minute"
        assert not result.error, result.error
        found[result.request_id] = result.generated_tokens
    lists = [found[key] for key in sorted(found, key=lambda key: int(key.rpartition("_")[2]))]
    eos_set = set(model.vocabulary.eos)
    texts = [
        b"".join(model.vocabulary.token_bytes(t) for t in tokens if t not in eos_set).decode(errors="replace")
        for tokens in lists
    ]
    return texts, sum(map(len, lists))


def main() -> None:
    """Measure, and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeat", type=int, default=3, help="runs of each cell; the best is shown")
    parser.add_argument("--tokens", type=int, default=48, help="tokens of a plain answer")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder = models.pull("smollm2")
    alone = TransformersModel.from_pretrained(folder, name="smollm2", dtype="bfloat16", share=False)
    shared = TransformersModel.from_pretrained(folder, name="smollm2", dtype="bfloat16")
    batched = TransformersModel.from_pretrained(folder, name="smollm2", dtype="bfloat16", share=False)
    assert shared.passes.is_shared
    masks = Masks(batched.vocabulary)
    manager = batched.model.init_continuous_batching(
        generation_config=GenerationConfig(do_sample=False, max_new_tokens=arguments.tokens, eos_token_id=-1),
        continuous_batching_config=ContinuousBatchingConfig(max_batch_tokens=512, num_blocks=256),
    )
    manager.logit_processor.logits_processor.append(masks)
    manager.logit_processor.tensors_required += 1
    manager.logit_processor.do_processing = True
    manager.logit_processor._retrieve_processors_kwargs()
    manager.start()
    try:
        print(
            "| what | calls | "
            + " | ".join(f"{way}, tokens/s | CPU s" for way in ("alone", "shared", "continuous"))
            + " |"
        )
        print("|:--|--:|" + "--:|--:|" * 3)
        for what, compiled, tokens in (
            ("plain text", None, arguments.tokens),
            ("masks", guard.compile(SCHEMA), 60),
        ):
            for count in COUNTS:
                asked = requests(count, compiled, tokens)
                ways = {
                    "alone": measured(lambda asked=asked: guards(alone, asked), arguments.repeat),
                    "shared": measured(lambda asked=asked: guards(shared, asked), arguments.repeat),
                    "continuous": measured(
                        lambda asked=asked: continuous(batched, masks, manager, asked), arguments.repeat
                    ),
                }
                same = sum(a == b for a, b in zip(ways["shared"][0], ways["continuous"][0], strict=True))
                cells = " | ".join(f"{speed:.1f} | {spent:.2f}" for _, speed, spent in ways.values())
                print(f"| {what} ({same} of {count} texts the same) | {count} | {cells} |", flush=True)
    finally:
        manager.stop(block=True)


if __name__ == "__main__":
    main()
