"""Hostile schemas and hostile generations, each run in a process of its own with bounds on time and address space.

A case is a function that returns what `guard.compile` is given. Its outcome is the stage at which it ended: "done"
where a mask, a distance and some random bytes were had, otherwise the stage and the name of the limit, or "wrong" for a
schema that is refused for what it says. Anything else (another exception, a signal, time, memory) is a failure.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from random import Random
from typing import Any

import numpy as np

SECONDS = 10  #: Of processor time for a case; the slowest takes a third of it.
PATIENCE = 300.0  #: Seconds that a case may take on a machine that other jobs share.
MEMORY = 1_500_000_000  #: Bytes of address space beyond what the process has at its start.
RANDOM_BYTES = 30


@dataclass(frozen=True)
class Given:
    """What a case compiles."""

    schema: Any
    documents: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """How a case ended."""

    stage: str
    limit: str | None = None
    message: str = ""
    seconds: float = 0.0
    megabytes: float = 0.0
    unwatched: float = 0.0  #: The most processor seconds between two looks of the engine at its clock.


def outcome(name: str) -> Outcome:
    """Run a case in a process of its own."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["guard.schemas.compiled", "guard.kernels.vocabulary", "hostile"])
    near, far = context.Pipe(duplex=False)
    child = context.Process(target=_work, args=(name, far))
    child.start()
    far.close()
    try:
        if not near.poll(PATIENCE):
            return Outcome("hang", message=f"more than {PATIENCE:g} s")
        found = near.recv()
    except EOFError:
        child.join()
        return Outcome("time" if child.exitcode == -signal.SIGXCPU else "crash", message=f"exit code {child.exitcode}")
    finally:
        child.kill()
        child.join()
    assert isinstance(found, Outcome)
    return found


def _work(name: str, far: Connection) -> None:
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - no Path in what must stay small
        size = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    used = int(time.process_time()) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (used + SECONDS, used + SECONDS + 5))
    socket.socket = socket.create_connection = _offline
    given = CASES[name]()
    from guard.kernels._native import longest_search  # the first call begins to measure

    longest_search()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    stage, limit, message = _run(given)
    seconds = time.process_time() - started
    unwatched = longest_search()
    megabytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    far.send(Outcome(stage, limit, message[:300], seconds, megabytes, unwatched))


def _offline(*_: Any, **__: Any) -> Any:
    raise AssertionError("a socket was opened")


def _run(given: Given) -> tuple[str, str | None, str]:
    import guard
    from guard.kernels.vocabulary import Vocabulary

    stage = "compile"
    try:
        compiled = guard.compile(given.schema, documents=given.documents)
        stage = "mask"
        vocabulary = Vocabulary.from_bytes([*(bytes([byte]) for byte in range(256)), b"", b'":', b'", "'], eos=[256])
        matcher = compiled.matcher(vocabulary)
        row = np.zeros((1, 9), np.int32)
        matcher.fill_bitmask(row)
        stage = "distance"
        matcher.distance()
        stage = "walk"
        r = Random(1)
        for _ in range(RANDOM_BYTES):
            matcher.fill_bitmask(row)
            allowed = np.flatnonzero(np.unpackbits(row[0].view(np.uint8), bitorder="little")).tolist()
            if not allowed or not matcher.accept(r.choice(allowed)):
                break
    except guard.SchemaError as error:
        return stage if error.limit else "wrong", error.limit, str(error)
    return "done", None, ""


# ---- the cases -------------------------------------------------------------------------------------------------------

CASES: dict[str, Callable[[], Given]] = {}
EXPECTED: dict[str, tuple[str, str | None]] = {}

Make = Callable[[], Any]


def case(name: str, expected: str, limit: str | None = None) -> Callable[[Make], Make]:
    """Register a case under a name, with the outcome that it must have."""

    def register(make: Make) -> Make:
        def given() -> Given:
            made = make()
            return made if isinstance(made, Given) else Given(made)

        CASES[name] = given
        EXPECTED[name] = expected, limit
        return make

    return register


def nested(keyword: str, depth: int = 100_000, *, listed: bool = False) -> Any:
    """Return a schema inside a schema, and so on."""
    schema: Any = {"type": "integer"}
    for _ in range(depth):
        schema = {keyword: [schema] if listed else schema}
    return schema


def chain(link: Callable[[dict[str, Any]], Any], length: int, last: Any = True) -> Any:
    """Return definitions that refer each to the next one."""
    links = {str(n): link({"$ref": f"#/$defs/{n + 1}"}) for n in range(length)}
    return {"$ref": "#/$defs/0", "$defs": links | {str(length): last}}


for keyword in ("items", "not", "additionalProperties", "if"):
    case(f"{keyword} nested as Python objects", "compile", "depth")(lambda keyword=keyword: nested(keyword))
for keyword in ("allOf", "anyOf", "oneOf", "prefixItems"):
    case(f"{keyword} nested as Python objects", "compile", "depth")(
        lambda keyword=keyword: nested(keyword, listed=True)
    )
case("objects nested as text", "compile", "depth")(lambda: '{"items":' * 100_000 + "true" + "}" * 100_000)
case("arrays nested as text", "compile", "depth")(lambda: '{"enum":' + "[" * 100_000 + "]" * 100_000 + "}")
case("a constant nested as Python objects", "compile", "depth")(lambda: {"const": nested("a")})
case("nested as deep as is allowed", "done")(lambda: Given(nested("items", 398)))
case("not nested as deep as is allowed", "done")(lambda: Given(nested("not", 398)))
case("allOf nested as deep as is allowed", "done")(lambda: Given(nested("allOf", 199, listed=True)))
case("a chain of references", "compile", "depth")(lambda: chain(lambda r: r, 100_000))
case("a chain of allOf", "compile", "depth")(lambda: chain(lambda r: {"allOf": [r, {"minLength": 1}]}, 20_000))
case("a chain of anyOf", "compile", "depth")(lambda: chain(lambda r: {"anyOf": [r, {"minLength": 1}]}, 20_000))
case("a chain of not", "compile", "depth")(lambda: chain(lambda r: {"not": r}, 20_000))
case("a chain of optional properties", "done")(lambda: chain(lambda r: {"properties": {"a": r}}, 20_000))
case("a chain of required properties", "compile", "depth")(
    lambda: chain(lambda r: {"type": "object", "properties": {"a": r}, "required": ["a"]}, 20_000)
)
case("a chain of items", "compile", "depth")(
    lambda: chain(lambda r: {"type": "array", "items": r, "minItems": 1}, 20_000)
)
case("a reference to itself", "done")(lambda: {"$ref": "#"})
case("two references to each other", "wrong")(lambda: chain(lambda r: r, 10, {"$ref": "#/$defs/0"}))
case("a paradox", "wrong")(lambda: {"$ref": "#/$defs/a", "$defs": {"a": {"not": {"$ref": "#/$defs/a"}}}})
case("a loop through alternatives", "wrong")(
    lambda: {"anyOf": [{"$ref": "#"}, {"allOf": [{"$ref": "#"}, {"oneOf": [{"$ref": "#"}, {"type": "null"}]}]}]}
)
case("a dynamic loop", "compile", "cycle")(lambda: {"$dynamicAnchor": "a", "$dynamicRef": "#a"})
case("dynamic recursion", "done")(lambda: {"$dynamicAnchor": "a", "items": {"$dynamicRef": "#a"}})
case("an endless value", "done")(lambda: {"type": "array", "items": {"$ref": "#"}, "minItems": 1})
case("100 MB of text", "compile", "bytes")(lambda: " " * 100_000_000 + "{}")
case("100 MB of bytes", "compile", "bytes")(lambda: b'{"const": "' + b"x" * 100_000_000 + b'"}')
case("100 MB in one string", "compile", "bytes")(lambda: {"const": "x" * 100_000_000})
case("100 MB in a document", "compile", "bytes")(lambda: Given({"$ref": "urn:b"}, {"urn:b": " " * 100_000_000}))
case("a tree of shared objects", "compile", "bytes")(lambda: doubled(60))
case("a cyclic object", "compile", "depth")(lambda: cyclic())
case("a cyclic list", "compile", "depth")(lambda: {"const": cyclic_list()})
case("a bound of 400 digits", "done")(lambda: {"type": "integer", "minimum": 10**400, "maximum": 10**400 + 7})
case("fractions of 400 digits", "done")(lambda: '{"type": "number", "minimum": 0.' + "3" * 400 + ', "maximum": 0.4}')
case("a bound of 100,000 digits", "compile", "digits")(lambda: '{"maximum": ' + "9" * 100_000 + "}")
case("an exponent of 999,999,999", "compile", "digits")(lambda: '{"minimum": 1e999999999}')
case("NaN as text", "wrong")(lambda: '{"maximum": NaN}')
case("NaN as an object", "wrong")(lambda: {"enum": [float("nan")]})
case("infinity as an object", "wrong")(lambda: {"minimum": float("-inf")})
case("infinity as text", "wrong")(lambda: '{"enum": [Infinity]}')
case("a key twice", "wrong")(lambda: '{"minimum": 1, "minimum": 2}')
case("a key twice, once escaped", "wrong")(lambda: '{"minimum": 1, "minim\\u0075m": 2}')
case("invalid UTF-8", "wrong")(lambda: b'{"const": "\xff"}')
case("a lone surrogate", "done")(lambda: {"enum": ["\ud800", "a"], "required": ["\udfff"]})
case("a lone surrogate in a pattern", "done")(lambda: {"type": "string", "pattern": "^(\ud800|a)$"})
case("a remote reference", "wrong")(lambda: {"$ref": "http://169.254.169.254/latest/meta-data"})
case("a file", "wrong")(lambda: {"$ref": "file:///etc/passwd"})
case("a remote metaschema", "wrong")(lambda: {"$schema": "https://example.com/meta"})
case("a set", "wrong")(lambda: {"enum": [{1, 2}]})
case("a list", "wrong")(lambda: ["type", "string"])
case("an iterator", "wrong")(lambda: iter("{}"))
case("keys that are no strings", "wrong")(lambda: {"properties": {1: {}}})
case("an endless mapping", "compile", "depth")(lambda: Endless())
case("an enum of 1,000,000 numbers", "compile", "alternatives")(lambda: {"enum": list(range(1_000_000))})
case("an enum of 1,000,000 strings", "done")(lambda: {"enum": [f"v{n}" for n in range(1_000_000)]})
case("100,000 properties", "done")(lambda: {"properties": {f"p{n}": {"type": "string"} for n in range(100_000)}})
case("20,000 required", "done")(lambda: {"type": "object", "required": [f"p{n}" for n in range(20_000)]})
case("oneOf of 2,000", "done")(lambda: {"oneOf": [{"minimum": n, "maximum": n + 1} for n in range(2_000)]})
case("anyOf of 2,000 objects", "done")(
    lambda: {"anyOf": [{"type": "object", "required": [f"a{n}"]} for n in range(2_000)]}
)
case("allOf of 10,000", "done")(lambda: {"allOf": [{"type": "object", "maxProperties": n + 9} for n in range(10_000)]})
case("not of 1,000", "done")(lambda: {"allOf": [{"not": {"const": n}} for n in range(1_000)]})
case("not of 10,000", "done")(lambda: {"allOf": [{"not": {"const": n}} for n in range(10_000)]})
case("not of 10,000 strings", "done")(lambda: {"allOf": [{"not": {"const": f"v{n}"}} for n in range(10_000)]})
case("3,000 additionalProperties beside as many required names", "done")(
    lambda: {
        "allOf": [
            {"properties": {f"a{n}": {"type": "string"}}, "additionalProperties": {"minLength": n % 7}}
            for n in range(3_000)
        ],
        "required": [f"a{n}" for n in range(3_000)],
    }
)
case("minItems 1e9", "done")(lambda: {"type": "array", "minItems": 10**9})
case("minLength 1e9", "done")(lambda: {"type": "string", "minLength": 10**9})
case("minProperties 1e6", "done")(lambda: {"type": "object", "minProperties": 10**6})
case("minProperties 1e9", "distance", "states")(lambda: {"type": "object", "minProperties": 10**9})
case("minProperties 1e9 of long names", "distance", "states")(
    lambda: {"type": "object", "minProperties": 10**9, "propertyNames": {"pattern": "^a*$"}}
)
case("maxLength 1e18", "done")(lambda: {"type": "string", "maxLength": 10**18})
case("minContains 1e9", "done")(lambda: {"type": "array", "contains": {"type": "null"}, "minContains": 10**9})
case("multipleOf 1e-15", "done")(lambda: {"type": "number", "multipleOf": 1e-15})
for name, pattern in {
    "a{1,100000}": "a{1,100000}",
    "a{1,1000} in {1,1000}": "^(a{1,1000}){1,1000}$",
    "(a+)+$": "^(a+)+$",
    "(a|aa)+$": "^(a|aa)+$",
    "(.*)*x": "(.*)*x",
    "([ab]*a[ab]{40})?": "^([ab]*a[ab]{40})?$",
    "ten look-aheads": "^" + "".join(f"(?=.*{c})" for c in "abcdefghij"),
    "1,000 look-aheads": "^" + "(?=.*a)(?!.*b)" * 500,
    "10,000 alternatives": "|".join(f"x{n}y" for n in range(10_000)),
    "nested stars": "^" + "(" * 100 + "a" + ")*" * 100 + "$",
    "many optional letters": "^" + "a?" * 2_000 + "a" * 500 + "$",
}.items():
    case(f"pattern {name}", "done")(lambda pattern=pattern: {"type": "string", "pattern": pattern})
case("1,000 patternProperties that overlap", "compile", "key_classes")(
    lambda: {"type": "object", "patternProperties": {f"a.*{n}": {"minLength": n} for n in range(1_000)}}
)
case("twenty dependencies", "done")(
    lambda: {"type": "object", "dependentRequired": {f"a{n}": [f"b{n}", f"a{n + 1}"] for n in range(20)}}
)
case("an if in an if in an if", "done")(lambda: conditional(60))
case("65,536 keys with one hash", "done")(lambda: {"properties": {key: {"minLength": 1} for key in colliding(16)}})


def doubled(times: int) -> dict[str, Any]:
    """Return a small object that unfolds to 2**times schemas, as YAML's aliases make them."""
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(times):
        schema = {"properties": {"a": schema, "b": schema}}
    return schema


def cyclic() -> dict[str, Any]:
    """Return an object inside itself."""
    schema: dict[str, Any] = {"properties": {}}
    schema["properties"]["a"] = schema
    return schema


def cyclic_list() -> list[Any]:
    """Return a list inside itself."""
    out: list[Any] = []
    out.append(out)
    return out


def conditional(depth: int) -> Any:
    """Return conditions whose branches are conditions."""
    table: dict[str, Any] = {
        str(n): {
            "if": {"required": [f"a{n}"]},
            "then": {"$ref": f"#/$defs/{n + 1}"},
            "else": {"properties": {f"b{n}": {"$ref": f"#/$defs/{n + 1}"}}},
        }
        for n in range(depth)
    }
    return {"$ref": "#/$defs/0", "$defs": {**table, str(depth): {"required": ["z"]}}}


class Endless(Mapping[str, Any]):
    """A mapping that holds itself, made anew each time."""

    def __getitem__(self, key: str) -> Any:
        return Endless()

    def __iter__(self) -> Iterator[str]:
        return iter(["items"])

    def __len__(self) -> int:
        return 1


def eight_patterns() -> Iterator[Any]:
    """Yield 55 schemas of 250 bytes: eight patterns at once, each of which must remember much."""
    draws = Random(55)
    letters = "abcdefghijklmnopqrstuvwxyz"
    for _ in range(55):
        ends = zip(draws.sample(letters, 8), draws.sample(letters, 8), strict=True)
        yield {"type": "string", "allOf": [{"pattern": f"{a}.{{{draws.randrange(5)}}}{b}.*{a}"} for a, b in ends]}


def colliding(pairs: int) -> list[str]:
    """Return 2**pairs texts that MurmurHash64A, which C++'s std::hash is on Linux, maps to one number for any seed.

    A block of 8 bytes enters as `mixed`; two blocks in a row whose `mixed` differ in the highest bit cancel out.
    """
    mul, mask = 0xC6A4A7935BD1E995, 2**64 - 1
    inverse = pow(mul, -1, 2**64)

    def block(mixed: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        half = mixed * np.uint64(inverse)
        return (half ^ (half >> np.uint64(47))) * np.uint64(inverse)

    r = np.random.default_rng(1)
    with np.errstate(over="ignore"):
        while True:
            low = np.full(2_000_000, 0, np.uint64)
            for at in range(8):  # a block of letters, whose partner must be of ASCII too
                low |= r.integers(97, 123, low.size, dtype=np.uint64) << np.uint64(8 * at)
            mixed = low * np.uint64(mul)
            mixed = (mixed ^ (mixed >> np.uint64(47))) * np.uint64(mul)
            other = block(mixed ^ np.uint64(2**63))
            plain = ((other & np.uint64(0x8080808080808080)) == 0).nonzero()[0]
            if plain.size:
                first = int(low[plain[0]]).to_bytes(8, "little").decode()
                second = int(other[plain[0]] & np.uint64(mask)).to_bytes(8, "little").decode()
                break
    return ["".join((first, second)[n >> i & 1] * 2 for i in range(pairs)) for n in range(2**pairs)]


def main() -> None:
    """Print the outcome of every case."""
    for name in CASES:
        found = outcome(name)
        wanted = "" if (found.stage, found.limit) == EXPECTED[name] else f"   EXPECTED {EXPECTED[name]}"
        print(
            f"{found.stage:9} {found.limit or '':12} {found.seconds:6.2f} s {found.megabytes:7.1f} MB  {name}{wanted}"
        )
        if found.message and wanted:
            print("    ", json.dumps(found.message)[:220], flush=True)


if __name__ == "__main__":
    import hostile

    hostile.main()
