"""python -m benchmarks.tails: the slowest masks of real schemas, their first masks, and masks under exactly distance().

Every schema of MaskBench, with all its instances, in both key orders: from the schema to its first mask, then each mask
with its accept, without a budget and with `remaining=distance()` (the call of `distance()` has a row of its own). Times
are of the processor, in processes that meet 500 schemas each, since what a process remembers takes time, too: to make
room, and to forget. Where something is beyond a bar, all 500 are measured again, in the same order, and the least
counts. Last come schemas of one format each, and of items that are compared, each in a process of its own.

Examples:
    python -m benchmarks.tails                    600 schemas, of each collection its share: a minute
    python -m benchmarks.tails --all              all 7,985: ten minutes
    python -m benchmarks.tails --only JsonSchemaStore_o12345.json --worst 30
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import platform
import re
import sys
import time
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import guard
from benchmarks.__main__ import DATA, real_schemas, table, tokenizer
from benchmarks.masks import duration, longer
from benchmarks.memory import in_a_child
from guard.kernels.bitmask import allocate_bitmask

BENCH = {"full": ["--all"], "short": ["--n", "100"]}  #: What `make bench` runs.
ROOT = Path(__file__).parents[1]
ORDERS = ("any", "schema")
#: What is timed, and the most milliseconds that it may take; None: no bar.
BARS = {"first mask": 50.0, "mask": 5.0, "mask under exactly distance()": 10.0, "distance()": None}
STROKES = {
    "first mask": ("#D55E00", "--"),
    "mask": ("#0072B2", "-"),
    "mask under exactly distance()": ("#009E73", "-."),
    "distance()": ("#7A4F8F", ":"),
}
CHUNK = 500
SLOW = 0.5  #: Milliseconds from which on a call is told from others.
AGAIN = 3  #: How often what is beyond a bar is measured again.
#: A text of each format, and two schemas whose items are compared.
FORMATS = {
    "date": "2026-11-27",
    "date-time": "2026-11-27T10:11:12.5Z",
    "duration": "P3DT4H5M",
    "email": "some.one@mail.example.com",
    "hostname": "mail.example.com",
    "idn-email": "jörg@müller.example",
    "idn-hostname": "müller.straße.example",
    "ipv4": "192.168.17.254",
    "ipv6": "2001:db8::8a2e:370:7334",
    "iri": "https://müller.example/straße?a=b#c",
    "iri-reference": "../straße?a=b",
    "json-pointer": "/a/b~1c/0",
    "regex": "^(a|b)*[c-f]{2,3}(?=x)\\d+$",
    "relative-json-pointer": "2/a/b",
    "time": "10:11:12+01:00",
    "uri": "https://example.com:8080/a/b?c=d#e",
    "uri-reference": "../a/b?c=d#e",
    "uri-template": "https://example.com/{a}/{?b,c*}",
    "uuid": "123e4567-e89b-12d3-a456-426614174000",
}
COMPARED = {
    "items compared: words": (
        {"type": "array", "uniqueItems": True, "items": {"enum": [f"word {n}" for n in range(60)]}},
        [f"word {n}" for n in range(40)],
    ),
    "items compared: objects": (
        {
            "type": "array",
            "uniqueItems": True,
            "items": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "size": {"type": "integer"}, "tag": {"enum": ["a", "b"]}},
                "required": ["name", "size"],
            },
        },
        [{"name": f"name {n % 7}", "size": n, "tag": "ab"[n % 2]} for n in range(25)],
    ),
}


class Time(NamedTuple):
    """What one call took."""

    kind: str
    ms: float
    schema: str
    order: str
    instance: int  #: Of the schema; 0: none.
    step: int  #: Tokens that were accepted before.

    @property
    def place(self) -> tuple[Any, ...]:
        """What it is a time of, whichever run it comes from."""
        return self.kind, self.schema, self.order, self.instance, self.step


def clock() -> float:
    """Return milliseconds of the processor that this thread has had."""
    return time.thread_time_ns() / 1e6


def walk(doc: dict[str, Any], vocabulary: guard.Vocabulary, order: str) -> list[Time]:
    """Time a schema and all its instances; nothing where it is refused, less where a limit is met."""
    row, out = allocate_bitmask(1, vocabulary.size), []
    try:
        start = clock()
        compiled = guard.compile(
            doc["schema"], key_order="schema" if order == "schema" else "any", whitespace="any", spelling="any"
        )
        matcher = compiled.matcher(vocabulary)
        matcher.fill_bitmask(row)
        out.append(Time("first mask", clock() - start, doc["id"], order, 0, 0))
        for exactly in (False, True):
            for instance, tokens in enumerate(doc["texts"][order], 1):
                matcher = compiled.matcher(vocabulary)
                for step, token in enumerate(tokens):
                    remaining = None
                    if exactly:
                        start = clock()
                        remaining = matcher.distance()
                        out.append(Time("distance()", clock() - start, doc["id"], order, instance, step))
                        if remaining < 0:
                            break
                    start = clock()
                    matcher.fill_bitmask(row, remaining=remaining)
                    took = clock() - start
                    allowed = bool(row[0, token >> 5] >> (token & 31) & 1)
                    start = clock()
                    is_taken = matcher.accept(token)
                    kind = "mask under exactly distance()" if exactly else "mask"
                    out.append(Time(kind, took + clock() - start, doc["id"], order, instance, step))
                    if not is_taken:
                        break
                    if not allowed and not exactly:
                        raise AssertionError(f"{doc['id']}: the mask forbids what is accepted")
    except guard.SchemaError as error:
        print(f"{doc['id']} ({order}): {str(error).splitlines()[0]}", file=sys.stderr)
    return out


class Times:
    """What all calls took: of fast ones how long, of the others which they were, too."""

    def __init__(self) -> None:
        """Make one of nothing."""
        self.fast: dict[tuple[str, str], list[Any]] = defaultdict(list)  #: Arrays of ms, by kind and key order.
        self.slow: list[Time] = []

    def all(self, kind: str, order: str | None = None) -> np.ndarray[Any, Any]:
        """Return the milliseconds of one kind."""
        fast = [part for (k, o), parts in self.fast.items() if k == kind and order in (None, o) for part in parts]
        slow = [one.ms for one in self.slow if one.kind == kind and order in (None, one.order)]
        return np.concatenate([*fast, np.asarray(slow, dtype=np.float64)])


def walk_all(docs: list[dict[str, Any]], vocabulary: guard.Vocabulary, order: str) -> Any:
    """Time some schemas, in this process: the fast calls by kind, and the slow ones."""
    warm = guard.compile({"type": "integer"}).matcher(vocabulary)
    warm.fill_bitmask(allocate_bitmask(1, vocabulary.size))  # a forked child pages memory in
    fast, slow = defaultdict(list), []
    for one in (one for doc in docs for one in walk(doc, vocabulary, order)):
        if one.ms > SLOW:
            slow.append(one)
        else:
            fast[one.kind].append(round(one.ms, 4))
    return fast, slow


def timed(docs: list[dict[str, Any]], vocabulary: guard.Vocabulary, order: str) -> tuple[Any, list[Time]]:
    """Time some schemas, in a process of their own."""
    fast, slow = in_a_child(partial(walk_all, docs, vocabulary, order)) or ({}, [])
    return fast, [Time(*one) for one in slow]


def is_beyond(one: Time) -> bool:
    """Answer whether it misses its bar."""
    bar = BARS[one.kind]
    return bar is not None and one.ms > bar


def measure(into: Times, docs: list[dict[str, Any]], vocabulary: guard.Vocabulary, order: str, chunk: int) -> None:
    """Time all schemas; where one is beyond a bar, all of its process again, with the least of each call."""
    gc.collect()
    gc.freeze()  # a child's garbage collection would go through all schemas and tokens here: 450 ms in any call
    for at in range(0, len(docs), chunk):
        fast, slow = timed(docs[at : at + chunk], vocabulary, order)
        for kind, ms in fast.items():
            into.fast[kind, order].append(np.asarray(ms))
        for _ in range(AGAIN):
            if not any(map(is_beyond, slow)):
                break
            again = {one.place: one.ms for one in timed(docs[at : at + chunk], vocabulary, order)[1]}
            slow = [one._replace(ms=min(one.ms, again.get(one.place, SLOW))) for one in slow]
        into.slow += slow


def sample(docs: list[dict[str, Any]], n: int) -> list[dict[str, Any]]:
    """Return n of the schemas, of each collection its share."""
    kinds = defaultdict(list)
    for doc in docs:
        kinds[re.match(r"[A-Za-z]+(_[a-z]+)?", doc["id"])[0]].append(doc)  # type: ignore[index]
    share = n / len(docs)
    return [doc for kind in kinds.values() for doc in kind[: max(1, round(len(kind) * share))]]


def prepare(docs: list[dict[str, Any]], loaded: Any) -> None:
    """Give each schema the tokens of its instances, by key order."""
    measure = DATA.parent / "measure"
    sys.path.insert(0, str(measure))
    sorted_keys = importlib.import_module("suite").sort_keys if (measure / "suite.py").is_file() else None
    for doc in docs:
        doc["texts"] = {}
        for order in ORDERS:
            values = [test["data"] for test in doc["tests"]]
            if order == "schema" and sorted_keys:
                values = [sorted_keys(value, [doc["schema"]], doc["schema"]) for value in values]
            texts = [text_of(value) for value in values]
            doc["texts"][order] = [loaded.encode(text, add_special_tokens=False) for text in texts]


def text_of(value: Any) -> str:
    """Write a value without escapes, but where UTF-8 can't do without."""
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value)
    return text


def plot(times: Times, target: Path, caption: str) -> None:
    """Draw of each kind, for each time, the share that took at least as long."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import FuncFormatter, NullLocator

    figure, axis = pyplot.subplots(figsize=(9, 5), dpi=160)
    for kind, (colour, stroke) in STROKES.items():
        found = times.all(kind) * 1000
        if not len(found):
            continue
        ordered, share = longer(found)
        label = f"{kind} ({len(found):,}; most {duration(round(ordered[-1] / 1000, 1) * 1000)})"
        axis.step(ordered, share, where="post", color=colour, linestyle=stroke, linewidth=2, label=label)
        if bar := BARS[kind]:
            axis.axvline(bar * 1000, color=colour, linestyle=stroke, linewidth=0.8, alpha=0.6)
    axis.set(xscale="log", yscale="log", title="Processor time of each call; thin lines are the bars")
    axis.set_ylabel("share that took longer")
    axis.xaxis.set_major_formatter(FuncFormatter(duration))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y * 100:g}%"))
    axis.yaxis.set_minor_locator(NullLocator())
    axis.grid(which="major", color="#DDDDDD", linewidth=0.6)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, loc="lower left", fontsize=9)
    figure.text(0.01, 0.01, caption, fontsize=7.5, color="#444444")
    figure.tight_layout(rect=(0, 0.05, 1, 1))
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target)


def report(times: Times, worst: int) -> int:
    """Print the distributions and the slowest; return how many calls are beyond a bar."""
    heads = ["ms of the processor", "key order", "calls", "p50", "p99", "p99.9", "p99.99", "most", "beyond the bar"]
    rows = []
    for kind, bar in BARS.items():
        for order in ORDERS:
            found = times.all(kind, order)
            if not len(found):
                continue
            spread = [f"{value:.3f}" for value in np.percentile(found, [50, 99, 99.9, 99.99, 100])]
            beyond = f"{np.sum(found > bar)} of {bar:g} ms" if bar else ""
            rows.append([kind, order, f"{len(found):,}", *spread, beyond])
    table(heads, iter(rows))
    for kind in BARS:
        slowest: dict[str, Time] = {}
        for one in times.slow:
            if one.kind == kind and one.ms > slowest.get(one.schema, one._replace(ms=0)).ms:
                slowest[one.schema] = one
        rows = [
            [kind, f"{one.ms:.2f}", one.schema, one.order, f"{one.instance}, {one.step}"]
            for one in sorted(slowest.values(), key=lambda one: -one.ms)[:worst]
        ]
        table(["slowest by schema", "ms", "schema", "key order", "instance, tokens before"], iter(rows))
    return sum(map(is_beyond, times.slow))


def main() -> int:
    """Measure, print, and draw. Exit code 1 where something is beyond a bar, 2 where the schemas are absent."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tails", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=600, help="schemas (default 600)")
    parser.add_argument("--all", action="store_true", help="all of them")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="+", metavar="ID", help="these alone; FORMATS: formats and compared items")
    parser.add_argument("--order", nargs="+", choices=ORDERS, default=list(ORDERS), help="key orders (default: both)")
    parser.add_argument("--worst", type=int, default=10, help="the slowest that are listed (default 10)")
    parser.add_argument("--plot", type=Path, default=ROOT / "build" / "bench" / "tails.png", help="where it is drawn")
    parser.add_argument("--json", type=Path, help="where all slow calls are written")
    args = parser.parse_args()
    docs = real_schemas(args.seed)
    if not docs:
        return 2
    if args.only:
        docs = [doc for doc in docs if doc["id"] in args.only]
    elif not args.all:
        docs = sample(docs, args.n)
    name, loaded = tokenizer()
    vocabulary = guard.Vocabulary.from_tokenizer(loaded)
    special = [
        {"id": f"format: {kind}", "schema": {"type": "string", "format": kind}, "tests": [{"data": text}]}
        for kind, text in FORMATS.items()
    ] + [{"id": what, "schema": schema, "tests": [{"data": value}]} for what, (schema, value) in COMPARED.items()]
    prepare(docs, loaded)
    prepare(special, loaded)
    real, alone = Times(), Times()
    for order in args.order:
        measure(real, docs, vocabulary, order, CHUNK)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, one used; {time.strftime('%Y-%m-%d')}"
    title = f"{name}, {len(docs):,} schemas of MaskBench, {machine}"
    print(f"### Tails: {title}\n")
    beyond = report(real, args.worst)
    if not args.only or "FORMATS" in args.only:
        measure(alone, special, vocabulary, "any", 1)
        print("### Tails: formats and compared items, each in a process of its own\n")
        beyond += report(alone, args.worst)
    if args.json:
        args.json.write_text(json.dumps(real.slow))
    if not args.only:
        plot(real, args.plot, f"{title}.")
    return int(beyond > 0)


if __name__ == "__main__":
    sys.exit(main())
