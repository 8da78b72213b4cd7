"""The registry of tuned models: a folder of versions for each function, and which of them serves.

    ROOT/shop.read/1/            a model, as `transformers:FOLDER` loads it, with its lineage (tuning.json)
    ROOT/shop.read/1/shadow.json the report of `guard shadow` about it
    ROOT/shop.read/serving.json  the version that serves, its canary, and earlier decisions

Version 0 is the base model, which has no folder. `serving.json` is replaced by a rename, so a reader finds the old or
the new one, even where the writer was killed.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import secrets
import time
import urllib.parse
from collections.abc import Container, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from filelock import FileLock
from pydantic import TypeAdapter, ValidationError

from guard.errors import GuardError
from guard.settings import Settings
from guard.support import private_files
from guard.support.clipping import clipped

CARD = "tuning.json"  #: A version's lineage, in its folder.
SHADOW = "shadow.json"  #: A version's shadow report, in its folder.
SERVING = "serving.json"
BASE = 0  #: The version number of the base model.
MOST_NAME = 250  #: Characters of a folder's name: file systems allow 255.


@dataclass(frozen=True)
class Canary:
    """A version that answers a share of the inputs beside the one that serves."""

    version: int
    share: float
    since: float  # seconds since the epoch
    baseline: float | None = None  # success rate before the canary began; None: not known
    salt: str = ""  # goes into the hash of an input, so that no caller can tell which inputs are the canary's


@dataclass(frozen=True)
class Serving:
    """The version that serves a function, its canary, and the decisions that led there."""

    current: int = BASE
    canary: Canary | None = None
    history: tuple[dict[str, Any], ...] = field(default=())  # decisions, oldest first


@dataclass(frozen=True)
class Version:
    """A complete version in the registry."""

    function: str
    number: int
    folder: Path

    @property
    def card(self) -> dict[str, Any]:
        """Return the version's lineage (tuning.json). Raises GuardError where it can't be read, as `shadow` does."""
        return read_json(self.folder / CARD) or {}

    @property
    def shadow(self) -> dict[str, Any] | None:
        """Return the version's shadow report; None where no shadow run has tested it."""
        return read_json(self.folder / SHADOW)


class Registry:
    """A folder of tuned models. Any number of threads and processes may share it."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root).expanduser()

    @classmethod
    def default(cls) -> Registry:
        """Return the registry that the settings name."""
        return cls(Settings.load().registry_path())

    def functions(self) -> list[str]:
        """Return the names of the functions that have models: of a run that was killed there may be none yet."""
        if not self.root.is_dir():
            return []
        names = (urllib.parse.unquote(path.name) for path in self.root.iterdir() if path.is_dir())
        return sorted(name for name in names if self.versions(name))

    def versions(self, function: str) -> list[Version]:
        """Return the complete versions of a function, oldest first."""
        place = self.place(function)
        numbers = [int(path.name) for path in place.iterdir() if path.name.isdecimal()] if place.is_dir() else []
        return [Version(function, number, place / str(number)) for number in sorted(numbers)]

    def version(self, function: str, number: int) -> Version:
        """Return a version; GuardError lists those that there are."""
        found = next((version for version in self.versions(function) if version.number == number), None)
        if found is None:
            there = ", ".join(str(version.number) for version in self.versions(function)) or "none"
            raise GuardError(f"{function} has no version {number}; there are {there}")
        return found

    def model(self, function: str, number: int) -> str:
        """Return the name by which a version is loaded; the base model's for version 0."""
        if number != BASE:
            return f"transformers:{self.version(function, number).folder}"
        known = self.versions(function)
        return str(known[0].card.get("base", "smollm2")) if known else "smollm2"

    def behind(self, name: str) -> list[str]:
        """Return the names of the models that answer under a name: of `tuned:FUNCTION` its versions that serve."""
        kind, _, function = name.partition(":")
        if kind != "tuned" or not self.versions(function):
            return [name]
        serving = self.serving(function)
        numbers = [serving.current, *([serving.canary.version] if serving.canary is not None else [])]
        return [self.model(function, number) for number in numbers]

    def relatives(self, names: Iterable[str]) -> Relatives:
        """Return all names of these models and of their relatives: their bases, and whatever was tuned from the same.

        What one of them answered is no news to another.
        """
        families = [self._family(function) for function in self.functions()]
        found = {one for name in names for one in lineage(name)}
        while more := set().union(*(family for family in families if family & found)) - found:
            found |= more
        return Relatives(found)

    def _family(self, function: str) -> set[str]:
        """Return the names of a function's models, under which they are asked, and answer: the bases are among them."""
        versions, tuned = self.versions(function), f"tuned:{function}"
        numbers = [BASE, *(version.number for version in versions)]
        models = {one for number in numbers for one in lineage(self.model(function, number))}
        return {tuned, *(f"{tuned}@{number}" for number in numbers), *models}

    def next_folder(self, function: str) -> Path:
        """Return the folder for the next version. A killed run may have left `FOLDER.partial` beside it."""
        known = self.versions(function)
        return self.place(function) / str(known[-1].number + 1 if known else 1)

    def place(self, function: str) -> Path:
        """Return the folder of a function's versions; GuardError where no folder can have its name."""
        folder = urllib.parse.quote(function, safe="<> ", errors="replace")
        if folder in ("", ".", ".."):  # the registry itself, or what is around it
            raise GuardError(f"no function is named {function!r}")
        if len(folder) > MOST_NAME:
            raise GuardError(f"no function is named {clipped(function)}: {len(function):,} characters are too many")
        return self.root / folder

    def serving(self, function: str) -> Serving:
        """Return the version that serves, and its canary. Raises GuardError where the file is damaged."""
        path = self.place(function) / SERVING
        found = read_json(path)
        if found is None:
            return Serving()
        try:
            return _SERVING.validate_python({"current": None, **found})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise _unreadable(path, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None

    def listed(self, function: str) -> list[dict[str, Any]]:
        """Return the `facts` of a function's versions; of one whose files are damaged the `error` is among them."""
        found = []
        for version in self.versions(function):
            try:
                found.append(self.facts(version))
            except GuardError as error:
                found.append({**_NOTHING, **_names(version), "error": str(error)})
        return found

    def facts(self, version: Version) -> dict[str, Any]:
        """Return what a list shows of a version. Raises GuardError where its files are damaged."""
        try:
            return {**_names(version), **self._facts(version)}
        except (TypeError, ValueError, AttributeError, OverflowError, OSError):
            raise _unreadable(version.folder / CARD, "it holds what no lineage has") from None

    def _facts(self, version: Version) -> dict[str, Any]:
        serving, card, shadow = self.serving(version.function), version.card, version.shadow
        state = "serves" if serving.current == version.number else ""
        if serving.canary is not None and serving.canary.version == version.number:
            state = f"canary of {serving.canary.share:g}"
        made = card.get("made")
        at = None if made is None else datetime.datetime.fromtimestamp(made, datetime.UTC)
        return {
            "state": state,
            "made": "" if at is None else at.strftime("%Y-%m-%d %H:%M"),
            "base": card.get("base", ""),
            "examples": card.get("examples", ""),
            "foreseen": ((card.get("validation") or {}).get("after") or {}).get("paths_right"),
            "shadow": None if shadow is None else bool(shadow.get("passed")),
        }

    def promote(self, function: str, number: int, *, force: bool = False, why: str = "") -> Serving:
        """Make a version serve. GuardError unless it passed a shadow run against the serving version, or `force`."""
        with self._changing(function) as serving:
            if number != BASE:
                self._check_passed(function, number, serving.current, force)
            return self._decided(function, replace(serving, current=number, canary=None), "promote", force, why)

    def rollback(self, function: str, why: str = "") -> Serving:
        """End the canary if there is one; otherwise make the version serve that served before."""
        with self._changing(function) as serving:
            if serving.canary is not None:
                return self._decided(function, replace(serving, canary=None), "end canary", False, why)
            changes = [one.get("from") for one in serving.history if one.get("action") in ("promote", "roll back")]
            before = [number for number in changes if isinstance(number, int) and number != serving.current]
            if not before:
                raise GuardError(f"{function} has always been served by version {serving.current}")
            return self._decided(function, replace(serving, current=before[-1]), "roll back", False, why)

    def end_canary(self, function: str, canary: Canary, why: str = "") -> Serving:
        """End a canary. Changes nothing where it has ended already or another one runs."""
        with self._changing(function) as serving:
            if serving.canary != canary:
                return serving
            return self._decided(function, replace(serving, canary=None), "end canary", False, why)

    def start_canary(
        self,
        function: str,
        number: int,
        share: float,
        *,
        baseline: float | None = None,
        force: bool = False,
        why: str = "",
    ) -> Serving:
        """Make a version answer a share (0 to 1) of the inputs; refuses what `promote` refuses."""
        if not 0 < share < 1:
            raise ValueError(f"share={share} must be between 0 and 1")
        with self._changing(function) as serving:
            if number == serving.current:
                raise GuardError(f"version {number} of {function} serves already; a canary is another version")
            self._check_passed(function, number, serving.current, force)
            canary = Canary(number, share, time.time(), baseline, secrets.token_hex(16))
            told = f"share {share:g}; {why}" if why else f"share {share:g}"
            return self._decided(function, replace(serving, canary=canary), "canary", force, told)

    def _check_passed(self, function: str, number: int, against: int, force: bool) -> None:
        shadow = self.version(function, number).shadow
        if force:
            return
        if shadow is None or shadow.get("against") != against:
            raise GuardError(
                f"version {number} of {function} was not measured beside version {against}, which serves:"
                f" `guard shadow {function}@{number}`, or --force"
            )
        if not shadow.get("passed"):
            raise GuardError(
                f"version {number} of {function} has not passed its shadow run; --force promotes it all the same"
            )

    @contextlib.contextmanager
    def _changing(self, function: str) -> Iterator[Serving]:
        place = self.place(function)
        place.mkdir(mode=private_files.FOLDER, parents=True, exist_ok=True)
        with FileLock(place / f"{SERVING}.lock"):
            yield self.serving(function)

    def _decided(self, function: str, serving: Serving, action: str, force: bool, why: str) -> Serving:
        before = self.serving(function)
        entry = {"at": time.time(), "action": action, "version": serving.current, "from": before.current}
        if (canary := serving.canary or before.canary) is not None:
            entry["canary"] = canary.version
        entry |= {"forced": force, "why": why}
        serving = replace(serving, history=(*serving.history, entry))
        write_json(self.place(function) / SERVING, asdict(serving))
        return serving


_SERVING = TypeAdapter(Serving)
#: What is shown of a version of which nothing can be read.
_NOTHING = {"state": "", "made": "", "base": "", "examples": "", "foreseen": None, "shadow": None}


def _names(version: Version) -> dict[str, Any]:
    return {"function": version.function, "version": version.number, "folder": str(version.folder)}


class Relatives(Container[str]):
    """Names of models that are relatives; a folder has one name, however it is spelled."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)
        self._known: dict[str, bool] = {}

    def __contains__(self, name: object) -> bool:
        """Whether a model is one of them, or was tuned from one, in whichever folder it is."""
        if not isinstance(name, str):
            return False
        if name not in self._known:
            self._known[name] = not self._names.isdisjoint(lineage(name))
        return self._known[name]


def lineage(name: str) -> dict[str, dict[str, Any]]:
    """Return the card of a model, of what it was tuned from, and so on, by name; {} for what was not tuned.

    A folder's name has its absolute path. Raises GuardError where a card can't be read.
    """
    found: dict[str, dict[str, Any]] = {}
    while name:
        kind, _, rest = name.partition(":")
        folder = None
        if kind == "transformers" and rest:
            with contextlib.suppress(OSError, ValueError, RuntimeError):  # it names no folder that can be
                folder = Path(rest).expanduser().resolve()
                name = f"transformers:{folder}"
        if name in found:
            break
        card = found[name] = {} if folder is None else _card(folder)
        name = str(card.get("base", ""))
    return found


def _card(folder: Path) -> dict[str, Any]:
    try:
        return read_json(folder / CARD) or {}
    except GuardError as error:
        raise GuardError(f"it is not known what was learned: {error}") from None


def differences(old: Version, new: Version) -> dict[str, dict[str, Any]]:
    """Return in what the lineages of two versions differ: for each key, its `old` and its `new` value.

    Of the calls that they learned from it is the number of those left out and of new ones.
    """
    before, after = old.card, new.card
    found = {}
    for key in sorted({*before, *after} - {"made", "run", "questions"}):
        was, now = before.get(key), after.get(key)
        if was == now:
            continue
        if key == "sources":
            left, come = set(was or ()) - set(now or ()), set(now or ()) - set(was or ())
            was, now = f"{len(left)} left out", f"{len(come)} new"
        found[key] = {"old": was, "new": now}
    return found


def write_json(path: Path, value: Any) -> None:
    """Replace a file atomically."""
    beside = path.with_name(f"{path.name}.new")
    with private_files.open_text(beside, "w") as file:
        json.dump(value, file, indent=1, ensure_ascii=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the JSON object of a file; None where there is no file. Raises GuardError for what can't be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from None
    except (ValueError, RecursionError) as error:
        raise _unreadable(path, f"it is no JSON ({error})") from None
    if not isinstance(found, dict):
        raise _unreadable(path, f"it holds a JSON {type(found).__name__}, not an object")
    return found


def _unreadable(path: Path, why: str) -> GuardError:
    lost = "the base model serves until a version is promoted" if path.name == SERVING else "what it said is lost"
    return GuardError(f"{path} can't be read: {why}; bring an earlier one back, or delete it: {lost}")
