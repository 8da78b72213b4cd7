"""Try an installed wheel as somebody would who has nothing else: no extra, no checkout.

    python tools/smoke.py

Prints what it tried; the exit code is not 0 where something failed. Run by `make wheel-test` and by cibuildwheel.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 8}, "paid": {"type": "boolean"}},
    "required": ["name", "paid"],
    "additionalProperties": False,
}


@dataclass
class Person:
    """What is asked for."""

    name: str
    age: int


def main() -> None:
    """Import, compile, fill masks, ask, and run the command."""
    begun = time.process_time()
    import guard

    took = time.process_time() - begun
    place = Path(guard.__file__ or "").parent
    if "site-packages" not in place.parts:
        raise SystemExit(f"guard comes from {place}, not from the wheel")
    from guard.kernels import _native

    version = metadata.version("guard-slm")
    print(f"guard {version}, kernel {Path(_native.__file__).name}, imported in {1000 * took:.0f} ms")
    print("masks:", written_under_masks())
    print("types:", asked_for_a_type())
    print("missed in words:", *told_what_is_missing())
    for arguments in (["--help"], ["check", "SCHEMA"], ["check", "SCHEMA", "--json"]):
        print(f"guard {' '.join(arguments)}:", len(output_of(arguments).splitlines()), "lines")


def written_under_masks() -> str:
    """Let a model that knows nothing but bytes write a value of which the masks choose every byte."""
    import jsonschema

    from guard import Vocabulary, compile  # noqa: A004 (called as re.compile is)
    from guard.kernels import allocate_bitmask

    end = 256
    vocabulary = Vocabulary.from_bytes([*(bytes([byte]) for byte in range(end)), b""], eos=[end])
    matcher = compile(SCHEMA).matcher(vocabulary)
    bitmask = allocate_bitmask(1, vocabulary.size)
    text = bytearray()
    for left in range(100, 0, -1):
        matcher.fill_bitmask(bitmask, 0, left)
        allowed = [token for token in range(end + 1) if bitmask[0, token // 32] >> (token % 32) & 1]
        token = allowed[len(text) % len(allowed)]
        if token == end:
            break
        matcher.accept(token)
        text.append(token)
    jsonschema.validate(json.loads(text), SCHEMA)
    return text.decode()


def asked_for_a_type() -> object:
    """Ask a scripted model for a dataclass, through the whole pipeline and into a trace."""
    from guard import Guard
    from guard.models.scripted import ScriptedModel
    from guard.trace import TraceStore

    with tempfile.TemporaryDirectory() as folder, closing(TraceStore(str(Path(folder) / "trace.db"))) as trace:
        guard = Guard(ScriptedModel('{"name": "Ada", "age": "36"}', '{"name": "Ada", "age": 36}'), trace=trace)
        person = guard.generate(Person, "Who is it?")
    if person != Person("Ada", 36):
        raise SystemExit(f"asked for a person, got {person!r}")
    return person


def told_what_is_missing() -> list[str]:
    """Ask for what only extras bring, where they are not installed: each is told in a line that names its extra."""
    from guard import models
    from guard.trace import TraceStore

    wanted = {
        "local": ("torch", lambda: __import__("guard").LogitsProcessor),
        "llamacpp": ("llama_cpp", lambda: models.load(f"llamacpp:{sys.executable}")),
        "anthropic": ("anthropic", lambda: models.load("anthropic:any")),
        "postgres": ("psycopg", lambda: TraceStore("postgresql://somebody@localhost/nowhere")),
        "testing": ("hypothesis", lambda: __import__("guard").testing.values),
    }
    told = []
    for extra, (package, ask) in wanted.items():
        if find_spec(package) is not None:
            continue
        try:
            ask()
        except Exception as error:
            if f"pip install 'guard-slm[{extra}]'" not in str(error):
                raise
            told.append(extra)
        else:
            raise SystemExit(f"nobody missed {package}")
    return told


def output_of(arguments: list[str]) -> str:
    """Return what the command prints; it must succeed."""
    with tempfile.TemporaryDirectory() as folder:
        schema = Path(folder) / "schema.json"
        schema.write_text(json.dumps(SCHEMA), encoding="utf-8")
        words = [str(schema) if word == "SCHEMA" else word for word in arguments]
        command = [sys.executable, "-m", "guard", *words]
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False, cwd=folder)
    if done.returncode != 0 or not done.stdout:
        raise SystemExit(f"guard {' '.join(arguments)} failed: {done.stderr or done.stdout}")
    return done.stdout


if __name__ == "__main__":
    main()
