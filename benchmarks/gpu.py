"""The kernels and the decode loop on a GPU, as one table in Markdown.

    python -m benchmarks.gpu [--tokens 128] [--repeat 20]

For batches of 1, 32 and 256 rows of a real vocabulary, in fp32: what each call moves, how long it takes inside a CUDA
graph (the median of the repeats, by CUDA events), and which share that is of the bandwidth that a plain copy reaches on
the same card in the same run. Beside them what an unconstrained loop does: argmax, and softmax with multinomial. The
last column counts the times that the host waited for the device, over a whole batch of values with polls between steps,
once the tables are full. Without a GPU there is nothing to measure: `--rehearse` runs the same code with the plain
twins on a CPU, over a small vocabulary; its figures say nothing.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

import guard
from benchmarks.__main__ import INVOICE, table, tokenizer
from guard.kernels.bitmask import WORD
from guard.kernels.gpu.apply import apply_bitmask_
from guard.kernels.gpu.device_tables import Tables
from guard.kernels.gpu.loop import Loop
from guard.kernels.gpu.sample import sample

BENCH: dict[str, list[str]] = {"full": [], "short": []}  #: What `make bench` runs; without a GPU its exit code is 2.
BATCHES = (1, 32, 256)
COPIED = 1 << 30  #: Bytes of the copy that says what bandwidth there is: far more than any cache holds.
EVERY = 8  #: Steps between two polls.

Call = Callable[[], object]


def captured(call: Call) -> Call:
    """Return a call as the replay of a CUDA graph; on a CPU the call itself."""
    if not torch.cuda.is_available():
        return call
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        call()  # compiles what is not compiled yet
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay


def seconds(call: Call, repeat: int, calls: int = 1) -> float:
    """Return the median time of a call, by the device's own clock."""
    times = []
    for _ in range(repeat):
        if torch.cuda.is_available():
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            for _ in range(calls):
                call()
            end.record()
            end.synchronize()
            times.append(start.elapsed_time(end) / 1e3 / calls)
        else:
            clock = time.perf_counter()
            for _ in range(calls):
                call()
            times.append((time.perf_counter() - clock) / calls)
    return statistics.median(times)


def waits(run: Call) -> int:
    """Return how often the host waited for the device."""
    if not torch.cuda.is_available():
        run()
        return 0
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            run()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing" in str(warning.message) for warning in caught)


def kernels(rows: int, size: int, device: str) -> Iterator[tuple[str, int, Call]]:
    """Yield each call with the bytes that it can't but move."""
    generator = torch.Generator().manual_seed(1)
    logits = (torch.randn(rows, size, generator=generator) * 3).to(device)
    words = -(-size // WORD)
    bitmask = torch.full((rows, words), -1, dtype=torch.int32, device=device)
    every, masks = logits.numel() * 4, bitmask.numel() * 4
    half = bitmask.clone()
    half[:, ::2] = 0
    few = torch.zeros_like(bitmask)
    few[:, 0] = 7
    for what, mask, written in (("half", half, every // 2), ("few", few, every)):
        target = logits.clone()
        yield f"apply, {what} allowed", masks + written, lambda target=target, mask=mask: apply_bitmask_(target, mask)

    def drawn(mask: torch.Tensor, temperature: float, k: int, p: float) -> Call:
        def full(value: float, dtype: torch.dtype) -> torch.Tensor:
            return torch.full((rows,), value, dtype=dtype, device=device)

        settings = (full(temperature, torch.float32), full(k, torch.int32), full(p, torch.float32))
        seed, step = torch.arange(rows, device=device), full(3, torch.int32)
        return lambda: sample(logits, mask, *settings, seed, step)

    yield "argmax (torch, no mask)", every, lambda: logits.argmax(1)
    yield "apply + sample, greedy", masks + every, drawn(bitmask, 0.0, 0, 1.0)
    yield "apply + sample, greedy, few allowed", masks, drawn(few, 0.0, 0, 1.0)
    yield (
        "softmax, multinomial (torch, no mask)",
        every,
        lambda: torch.multinomial(logits.softmax(1), 1, generator=None),
    )
    yield "apply + sample, temperature", masks + every, drawn(bitmask, 1.0, 0, 1.0)
    yield "apply + sample, top-k 50", masks + every, drawn(bitmask, 1.0, 50, 1.0)
    yield "apply + sample, top-p 0.9", masks + every, drawn(bitmask, 1.0, 0, 0.9)


def loop_row(rows: int, vocabulary: guard.Vocabulary, device: str, tokens: int, repeat: int) -> tuple[float, int, int]:
    """Return the seconds of a step of a full loop, the waits of a whole batch, and its misses."""
    tables = Tables(vocabulary, device, slots=1 << 20 if device == "cuda" else 1 << 12)  # twins search all of them
    loop, compiled = Loop(tables, rows=rows, capacity=tokens), guard.compile(INVOICE)
    logits = (torch.randn(rows, vocabulary.size, generator=torch.Generator().manual_seed(2)) * 3).to(device)

    def start() -> None:
        for row in range(rows):
            loop.start(row, compiled, max_tokens=tokens, temperature=1.0, seed=row)

    def run(step: Call) -> None:
        while not loop.poll():
            for _ in range(EVERY):
                step()

    start()
    run(lambda: loop.step(logits))  # fills the tables
    full = tables.misses
    step = captured(lambda: loop.step(logits))
    start()
    waited = waits(lambda: run(step))
    times = []
    for _ in range(repeat):
        start()
        times.append(seconds(step, 1, max(1, tokens // 4)))
        run(step)
    return statistics.median(times), waited, tables.misses - full


def main() -> int:
    """Measure, and print a table in Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.partition("\n")[0])
    parser.add_argument("--tokens", type=int, default=128, help="the most tokens of a value of the loop")
    parser.add_argument("--repeat", type=int, default=20, help="runs of each cell; the median is shown")
    parser.add_argument("--rehearse", action="store_true", help="without a GPU: see that it runs, with the twins")
    arguments = parser.parse_args()
    has_gpu = torch.cuda.is_available()
    if not has_gpu and not arguments.rehearse:
        print("There is no CUDA device here: nothing was measured. See --help.", file=sys.stderr)
        return 2
    device = "cuda" if has_gpu else "cpu"
    if arguments.rehearse:
        sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
        import tiny

        name, loaded = "tests'", tiny.tokenizer()
    else:
        name, loaded = tokenizer()
    vocabulary = guard.Vocabulary.from_tokenizer(loaded)
    bandwidth = float("nan")
    card = "rehearsal on a CPU: the figures say nothing"
    if has_gpu:
        card = torch.cuda.get_device_name()
        source = torch.empty(COPIED, dtype=torch.uint8, device=device)
        into = torch.empty_like(source)
        bandwidth = 2 * COPIED / seconds(captured(lambda: into.copy_(source)), arguments.repeat)
        del source, into
    print(f"{card}, torch {torch.__version__}; vocabulary: {name}, {vocabulary.size:,} tokens;", end=" ")
    print(f"a copy moves {bandwidth / 1e9:,.0f} GB/s\n")

    def lines() -> Iterator[list[str]]:
        for rows in BATCHES if has_gpu else (1, 2):
            for what, moved, call in kernels(rows, vocabulary.size, device):
                took = seconds(captured(call), arguments.repeat)
                share = f"{moved / took / bandwidth:.2f}"
                yield [what, str(rows), f"{moved / 1e6:,.2f}", f"{took * 1e6:,.1f}", share, ""]
            took, waited, missed = loop_row(rows, vocabulary, device, arguments.tokens, max(1, arguments.repeat // 4))
            moved = rows * (vocabulary.size * 4 + -(-vocabulary.size // WORD) * 4)
            share = f"{moved / took / bandwidth:.2f}"
            note = str(waited) if not missed else f"{waited}, and {missed} misses"
            yield ["a step of the loop", str(rows), f"{moved / 1e6:,.2f}", f"{took * 1e6:,.1f}", share, note]

    table(["what", "rows", "MB moved", "µs", "of the copy's bandwidth", "host waits"], lines())
    return 0


if __name__ == "__main__":
    sys.exit(main())
