"""Whether a path or an id of the hub exists: checked before torch is imported, which takes seconds."""

from __future__ import annotations

from pathlib import Path

from guard.errors import ModelError

HUB_TIMEOUT_S = 3.0  #: Seconds to wait for the hub.


def check_path(path_or_id: str) -> None:
    """Raise ModelError where a name is clearly a path, not an id of the hub, and no such folder exists."""
    path = Path(path_or_id).expanduser()
    is_path = path.is_absolute() or path_or_id.startswith((".", "~")) or path_or_id.count("/") > 1
    if is_path and not path.exists():
        raise ModelError(f"no such folder: {path_or_id}")


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
        why = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ModelError(
            f"{path_or_id} is not on this machine, and the hub can't be asked: {why[:200]}; name a folder, or check the"
            " network"
        ) from None
