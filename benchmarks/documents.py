"""Many documents, several at a time: `python -m benchmarks.documents [--documents N] [--concurrency N]`.

One fake server in a process of its own, asked about the same documents by the bare openai SDK on asyncio (a semaphore,
`gather`, `json.loads`), by `guard.map` and by `guard.amap`, which check each answer and commit each record. The ways
take turns, so that the machine's moods meet them alike; the figure is documents a second, and the ratio that of each
round with the SDK's own, the median over the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

import guard
from benchmarks.overhead import ANSWER, TEXT, Invoice, served

#: What `make bench` runs.
BENCH = {"full": [], "short": ["--documents", "400", "--rounds", "3"]}


def ways(url: str, texts: list[str], concurrency: int) -> dict[str, Callable[[], None]]:
    """Return what is compared; each reads all texts."""
    import openai

    from guard.models.remote.openai import OpenAIModel

    wanted, runs = json.loads(ANSWER), itertools.count()

    async def asyncio_sdk() -> None:
        limit = asyncio.Semaphore(concurrency)
        async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:

            async def one(text: str) -> object:
                async with limit:
                    answer = await client.chat.completions.create(
                        model="m", messages=[{"role": "user", "content": text}]
                    )
                    return json.loads(answer.choices[0].message.content or "")

            found = await asyncio.gather(*map(one, texts))
        assert all(value == wanted for value in found)

    @guard.structured(model=OpenAIModel("m", base_url=url, api_key="none"))
    def read(text: str) -> Invoice:
        """Read the invoice."""

    def mapped() -> None:
        name = f"run {next(runs)}"  # each asks all, and its records say what they answer
        found = [result.value for result in guard.map(read, texts, concurrency=concurrency, resume=name)]
        assert len(found) == len(texts)

    async def amapped() -> None:
        found = [result.value async for result in guard.amap(read, texts, concurrency=concurrency)]
        assert len(found) == len(texts)

    return {
        "openai SDK, asyncio": lambda: asyncio.run(asyncio_sdk()),
        "guard.map": mapped,
        "guard.amap": lambda: asyncio.run(amapped()),
    }


def measured(found: dict[str, Callable[[], None]], documents: int, rounds: int) -> dict[str, list[float]]:
    """Return documents a second of each way and round."""
    rates: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(rounds):
        for name, way in found.items():
            began = time.perf_counter()
            way()
            rates[name].append(documents / (time.perf_counter() - began))
    return rates


def main() -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    table = Table("the server takes", "at a time", "way", "documents a second", "of the SDK's rate")
    for delay, concurrency, share in ((0.0, 16, 1.0), (0.1, 16, 0.2), (0.1, 64, 0.8)):
        documents = int(arguments.documents * share)
        texts = [f"{TEXT} Document {number}." for number in range(documents)]
        with tempfile.TemporaryDirectory() as folder:
            os.environ["GUARD_TRACE"] = str(Path(folder) / "trace.db")
            rates = measured(ways(served(delay), texts, concurrency), documents, arguments.rounds)
        bare = rates["openai SDK, asyncio"]
        for name, found in rates.items():
            ratio = statistics.median(rate / other for rate, other in zip(found, bare, strict=True))
            table.add_row(
                f"{delay * 1e3:.0f} ms", str(concurrency), name, f"{statistics.median(found):.0f}", f"{ratio:.2f}"
            )
    Console().print(table)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
