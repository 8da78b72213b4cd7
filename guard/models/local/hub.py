"""Whether a path or an id of the hub exists: checked before torch is imported, which takes seconds."""

from __future__ import annotations

from pathlib import Path

from guard.errors import ModelError
from guard.support.clipping import one_line

HUB_TIMEOUT_S = 3.0  #: Seconds to wait for the hub.


#: What a folder of transformers has at least one of: the model's own configuration, or that of an adapter.
_CONFIGS = ("config.json", "adapter_config.json")
_WEIGHTS = ("*.safetensors", "*.bin")


def check_path(path_or_id: str) -> None:
    """Raise ModelError where a name is clearly a path, not an id of the hub, and no folder of a model is there."""
    path = Path(path_or_id).expanduser()
    is_path = path.is_absolute() or path_or_id.startswith((".", "~")) or path_or_id.count("/") > 1
    if not path.exists():
        if is_path:
            raise ModelError(f"no such folder: {path_or_id}")
    elif not path.is_dir():
        raise ModelError(f"{path_or_id} is no folder; name a model's, or a .gguf file as llamacpp:FILE")
    elif not (any((path / name).is_file() for name in _CONFIGS) and any(any(path.glob(name)) for name in _WEIGHTS)):
        raise no_model(path_or_id)


def no_model(folder: str | Path) -> ModelError:
    """Word that a folder is not a model's."""
    return ModelError(f"{folder} holds no model: it needs config.json and a .safetensors file, and a tokenizer")


def check_there(path_or_id: str) -> None:
    """Raise ModelError where there is no such folder, and no such id on this machine or the hub."""
    check_path(path_or_id)
    if Path(path_or_id).expanduser().exists():
        return
    try:
        from huggingface_hub import HfApi, try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError
    except ImportError as error:
        raise ModelError(f"local models need {error.name}: pip install 'guard-slm[local]'") from error
    try:
        if isinstance(try_to_load_from_cache(path_or_id, "config.json"), str):
            return
        HfApi().model_info(path_or_id, timeout=HUB_TIMEOUT_S)
    except (RepositoryNotFoundError, HFValidationError):
        raise ModelError(f"there is no folder {path_or_id}, and the hub has no such model; check the name") from None
    except Exception as error:  # whatever its client raises where there is no network
        words = f"{path_or_id} is not on this machine, and the hub can't be asked: {one_line(error, 200)}"
        raise ModelError(f"{words}; name a folder, or check the network") from None
