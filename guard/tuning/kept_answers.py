"""Answers of a shadow run that are kept while it runs, so that a killed run goes on where it was.

A file of JSON Lines, one for each answer of a model to a question. A line that a kill has cut is left out.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guard.decoding.answer_figures import AnswerFigures
from guard.support import private_files

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guard.tuning.examples import Pair


@dataclass(frozen=True)
class Answered:
    """One model's answer to one question."""

    value: Any  # None: null, or no valid answer
    is_right: bool
    seconds: float
    figures: Mapping[str, AnswerFigures] = field(default_factory=dict)  # of it and its fields, by JSON Pointer
    error: str = ""  # of a model that failed


class KeptAnswers:
    """The answers of the models of one run, in a file; None keeps them nowhere. Threads may share it."""

    def __init__(self, path: Path | None = None) -> None:
        self._path, self._lock = path, threading.Lock()
        self._known = {} if path is None else dict(_lines(path))

    def find(self, model: str, pair: Pair) -> Answered | None:
        """Return a model's answer to a question, where it was asked already."""
        return self._known.get(_key(model, pair))

    def add(self, model: str, pair: Pair, answered: Answered) -> None:
        """Keep an answer. A failure is not kept: it may have passed when the run goes on."""
        if self._path is None or answered.error:
            return
        line = json.dumps({"key": _key(model, pair), **asdict(answered)}, ensure_ascii=True)
        with self._lock, private_files.open_text(self._path, "a") as file:
            file.write(f"\n{line}\n")  # begins a line, also behind one that was cut

    def forget(self) -> None:
        """Remove the file: the run is over."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def _key(model: str, pair: Pair) -> str:
    told = json.dumps([model, pair.input_hash, pair.answer])
    return hashlib.sha256(told.encode(errors="surrogatepass")).hexdigest()


def _lines(path: Path) -> Iterator[tuple[str, Answered]]:
    with contextlib.suppress(FileNotFoundError), path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            with contextlib.suppress(ValueError, TypeError, KeyError):
                one = json.loads(line)
                yield one.pop("key"), Answered(**one)
