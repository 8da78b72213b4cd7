"""python -m benchmarks.formats: formats of whole turns, beside XGrammar over the same formats and the same tokens.

- "Compile": 103 real tools in one dispatch (52 of seven MCP servers, and most of them again under other names): what a
  process needs that has compiled other formats before, from the format to the first mask; the least of --repeat runs,
  in milliseconds of the processor.
- "Masks": BFCL's questions with the calls that are their answers, each as text and then a call in the dispatch of its
  functions, and as bare JSON; microseconds of the processor for a mask, at the first walk over a turn and at the
  second. Both engines let any white space through. They take turns, CHUNK formats at a time, so that
  neither's compiles leave the other's masks with a cache full of something else; the first two formats count for none.
- "Budgets": at places of the same calls, whether the least budget, `distance()`, suffices for random tokens out of its
  masks, whether one less is refused, and of the starts the least budget beside what the call itself takes.

Examples:
    python -m benchmarks.formats                        everything, five minutes
    python -m benchmarks.formats --calls 100 --skip compile
"""

from __future__ import annotations

import argparse
import gc
import gzip
import importlib.metadata
import importlib.util
import json
import platform
import sys
import time
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import numpy as np

import guard
from benchmarks.__main__ import DATA, table, tokenizer
from benchmarks.bfcl import schema
from guard import formats
from guard.kernels.bitmask import allocate_bitmask

BENCH = {"full": [], "short": ["--calls", "100", "--skip", "compile"]}  #: What `make bench` runs.
TOOLS = 103
BEGIN, END = '<tool_call>\n{"name": "%s", "arguments": ', "}\n</tool_call>"
TEXT = "I'll look that up for you.\n"
ANY = {"whitespace": "any", "spelling": "any"}
BAR_MS = 3.0  #: Of the processor, to compile the tools and make the first mask.
PLACES = 3  #: Of each call at which budgets are tried.
CHUNK = 40  #: Formats that one engine walks before the next engine does.


def dispatch(tools: list[tuple[str, Any]], **how: bool) -> Any:
    """Return the format of text in which tools are called."""
    tags = [formats.tag(BEGIN % name, formats.json(parameters), END) for name, parameters in tools]
    return formats.triggered_tags(["<tool_call>"], tags, **how)


def real_tools(suffix: str = "") -> list[tuple[str, Any]]:
    """Return the tools of the MCP servers, by name, with the schemas of their arguments; some of them twice."""
    found: list[tuple[str, Any]] = []

    def look(part: Any) -> None:
        if isinstance(part, dict) and "inputSchema" in part:
            found.append((part["name"], part["inputSchema"]))
        for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
            look(inner)

    look(json.loads((DATA / "mcp-tools.json").read_text()))
    twice = [(name + twin + suffix, parameters) for twin in ("", "_2") for name, parameters in found]
    return json.loads(json.dumps(twice[:TOOLS]))


def calls(most: int) -> Iterator[tuple[list[tuple[str, Any]], str, Any]]:
    """Yield functions, the name of the one that is called, and its arguments, of BFCL's answers."""
    with gzip.open(DATA / "bfcl.jsonl.gz", "rt") as lines:
        for row in map(json.loads, lines):
            tools = [(one["name"], schema(one["parameters"])) for one in row["function"]]
            for answer in (row["answer"] or [])[:1]:
                ((name, accepted),) = answer.items()
                called = next((parameters for one, parameters in tools if one == name), None)
                if called is None or len({one for one, _ in tools}) < len(tools):
                    continue
                value = {
                    key: accepted[key][0]
                    for key in called.get("properties", {})
                    if key in accepted and accepted[key] and accepted[key][0] != ""
                }
                try:
                    told = f"{TEXT}{BEGIN % name}{json.dumps(value, ensure_ascii=False)}{END}"
                    guard.compile(dispatch(tools), **ANY).read(told)
                except (ValueError, guard.SchemaError):  # an answer of BFCL's that its schema does not allow
                    continue
                yield tools, name, value
                if (most := most - 1) == 0:
                    return


class Guard:
    """Guard."""

    name = "guard"

    def __init__(self, loaded: Any) -> None:
        self.vocabulary = guard.Vocabulary.from_tokenizer(loaded)
        self.row = allocate_bitmask(1, self.vocabulary.size)

    def compile(self, form: Any) -> Any:
        """Compile a format."""
        return guard.compile(form, **ANY)

    def start(self, compiled: Any) -> tuple[Callable[[], Any], Callable[[int], bool]]:
        """Return what fills a mask, and what accepts a token."""
        matcher = compiled.matcher(self.vocabulary)
        return lambda: matcher.fill_bitmask(self.row), matcher.accept


class XGrammar:
    """XGrammar, with its defaults and no cache of what it compiled."""

    def __init__(self, loaded: Any) -> None:
        import xgrammar

        self.library, self.name = xgrammar, f"xgrammar {importlib.metadata.version('xgrammar')}"
        info = xgrammar.TokenizerInfo.from_huggingface(loaded, vocab_size=len(loaded))
        self.compiler = xgrammar.GrammarCompiler(info, max_threads=1, cache_enabled=False)
        self.row = xgrammar.allocate_token_bitmask(1, info.vocab_size)

    def compile(self, form: Any) -> Any:
        """Compile a format."""
        return self.compiler.compile_structural_tag(json.dumps({"type": "structural_tag", "format": form}))

    def start(self, compiled: Any) -> tuple[Callable[[], Any], Callable[[int], bool]]:
        """Return what fills a mask, and what accepts a token."""
        matcher = self.library.GrammarMatcher(compiled)
        return lambda: matcher.fill_next_token_bitmask(self.row), matcher.accept_token


def compile_rows(engines: list[Any], repeat: int) -> Iterator[list[str]]:
    """Measure how long the tools take to the first mask."""
    for engine in engines:
        times = []
        engine.start(engine.compile(dispatch(real_tools("_warm")[:3])))[0]()
        for run in range(repeat if engine.name == "guard" else 1):
            form = dispatch(real_tools(f"_{run}"))
            gc.collect()
            began = time.process_time()
            engine.start(engine.compile(form))[0]()
            times.append((time.process_time() - began) * 1e3)
        yield [engine.name, f"{min(times):,.2f}", f"{np.median(times):,.2f}", str(len(times))]


def mask_rows(engines: list[Any], loaded: Any, most: int) -> Iterator[list[str]]:
    """Measure masks of turns and of bare JSON."""
    found: dict[tuple[str, str, int], list[float]] = {}
    refused = dict.fromkeys([engine.name for engine in engines], 0)
    forms = []
    for tools, name, value in calls(most + 1):
        said = json.dumps(value, ensure_ascii=False)
        parameters = next(schema for one, schema in tools if one == name)
        forms.append((dispatch(tools), f"{TEXT}{BEGIN % name}{said}{END}", len(TEXT)))
        forms.append((formats.json(parameters), said, -1))

    def walked(engine: Any, form: Any, text: str, at: int) -> Iterator[tuple[str, int, float]]:
        """Walk twice over a text; yield what was done in which walk, and how long it took."""
        told = loaded(text, add_special_tokens=False, return_offsets_mapping=True)
        began = time.thread_time()
        compiled = engine.compile(form)
        yield "compile, and nothing else", 0, time.thread_time() - began
        for walk in (0, 1):
            fill, accept = engine.start(compiled)
            for token, (begin, _) in zip(told["input_ids"], told["offset_mapping"], strict=True):
                began = time.thread_time()
                fill()
                taken = time.thread_time() - began
                if not accept(token):
                    refused[engine.name] += 1
                    break
                yield "JSON alone" if at < 0 else "free text" if begin < at else "calls", walk, taken

    for engine in engines:  # a process that has answered before
        for form in forms[:2]:
            list(walked(engine, *form))
    for begin in range(2, len(forms), CHUNK):
        for engine in engines:
            for form in forms[begin : begin + CHUNK]:
                for what, walk, taken in walked(engine, *form):
                    found.setdefault((what, engine.name, walk), []).append(taken * 1e6)
    for (where, name, walk), times in sorted(found.items()):
        quantiles = [f"{np.percentile(times, q):,.1f}" for q in (50, 99)]
        yield [where, name, ("first", "again")[walk], f"{len(times):,}", *quantiles, f"{np.mean(times):,.1f}"]
    for name, count in refused.items():
        if count:
            yield ["", name, f"{count} walks broken off: it refuses the call", "", "", "", ""]


def budget_rows(vocabulary: Any, loaded: Any, most: int) -> Iterator[list[str]]:
    """Try the least budget at places of calls."""
    r, row = Random(5), allocate_bitmask(1, vocabulary.size)
    places = suffices = refused = 0
    ratios = []

    def allowed(matcher: Any, remaining: int) -> Any:
        matcher.fill_bitmask(row, remaining=remaining)
        return np.flatnonzero(np.unpackbits(np.asarray(row).view(np.uint8), bitorder="little"))

    for tools, name, value in calls(most):
        compiled = guard.compile(dispatch(tools, at_least_one=True, stop_after_first=True))
        tokens = loaded.encode(BEGIN % name + json.dumps(value, ensure_ascii=False) + END, add_special_tokens=False)
        matcher = compiled.matcher(vocabulary)
        ratios.append(matcher.distance() / (len(tokens) + 1))
        for at in sorted(r.sample(range(len(tokens)), min(PLACES, len(tokens)))):
            matcher.reset()
            if not all(map(matcher.accept, tokens[:at])):
                continue  # in white space or an order of keys that is not Guard's own
            places += 1
            least = left = matcher.distance()
            try:
                refused += not len(allowed(matcher, least - 1))
            except ValueError:
                refused += 1
            while left > 0 and not matcher.is_finished():
                matcher.accept(int(r.choice(allowed(matcher, left))))
                left -= 1
            suffices += matcher.is_finished()
    within = sum(ratio <= 1 for ratio in ratios) / len(ratios)
    yield [
        f"{len(ratios):,}",
        f"{places:,}",
        f"{suffices:,}",
        f"{refused:,}",
        f"{within:.1%}",
        f"{np.mean(ratios):.2f}, {max(ratios):.2f}",
    ]


def main() -> int:
    """Measure and print; 1 where the tools took longer than the bar, 2 where the data is absent."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.formats", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=1_000, help="of BFCL (default 1,000)")
    parser.add_argument("--masks", type=int, default=100, help="of these, those whose masks are timed (default 100)")
    parser.add_argument("--repeat", type=int, default=10)
    parser.add_argument("--skip", default="", help="parts, with commas: compile, masks, budgets")
    given = parser.parse_args()
    if not (DATA / "bfcl.jsonl.gz").exists():
        return 2
    name, loaded = tokenizer()
    kinds = [Guard, XGrammar] if importlib.util.find_spec("xgrammar") else [Guard]
    engines = [kind(loaded) for kind in kinds]
    print(f"### Formats: {name}, {platform.machine()}, {time.strftime('%Y-%m-%d')}\n")
    if "compile" not in given.skip:
        print(f"{TOOLS} tools in one dispatch: ms of the processor, from the format to the first mask\n")
        table(["engine", "least", "median", "runs"], compile_rows(engines, given.repeat))
    if "masks" not in given.skip:
        print("Masks: µs of the processor\n")
        header = ["place", "engine", "walk", "masks", "p50", "p99", "average"]
        table(header, mask_rows(engines, loaded, min(given.masks, given.calls)))
    if "budgets" not in given.skip:
        print("Least budgets\n")
        header = [
            "calls",
            "places",
            "it suffices",
            "one less is refused",
            "within the call's own",
            "average, most",
        ]
        table(header, budget_rows(engines[0].vocabulary, loaded, given.calls))
    return 0


if __name__ == "__main__":
    sys.exit(main())
