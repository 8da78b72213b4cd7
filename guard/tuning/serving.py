"""`tuned:FUNCTION`: a model that follows the registry's serving version and canary without a restart.

The registry's pointer is checked before every answer, which costs microseconds. A reply names the version that gave it,
as `tuned:shop.read@3`; version 0 is the base model. A canary is judged from time to time in the background, by
whichever traces this process records in.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from guard import models
from guard.errors import GuardError, ModelError
from guard.models.base import Reply, Request
from guard.trace.open_stores import open_stores
from guard.tuning import canary
from guard.tuning.registry import Registry, Serving

if TYPE_CHECKING:
    from guard.models.local.local_model import LocalModel

JUDGED_EVERY = 20  #: Answers of a canary between two judgements.
_log = logging.getLogger("guard")


class TunedModel:
    """A model that answers with whichever version serves. Any number of threads may use it."""

    is_masked = True

    def __init__(self, function: str, name: str, registry: Registry | None = None) -> None:
        """Serve a function of the registry; ModelError where it has no version."""
        self.name = name
        self._function = function
        self._registry = registry or Registry.default()
        try:
            is_known = bool(self._registry.versions(function))
        except GuardError as error:  # no function can have such a name
            raise ModelError(str(error)) from None
        if not is_known:
            known = ", ".join(self._registry.functions()) or "none"
            raise ModelError(f"no model of {function} was tuned; there are {known}")
        self._lock = threading.RLock()
        self._known: tuple[object, Serving] | None = None
        self._loaded: dict[int, LocalModel] = {}
        self._answers = 0
        self._judging = threading.Lock()

    def generate(self, request: Request) -> Reply:
        """Answer with the version that the input goes to."""
        with self._asked(request) as (number, asked):
            return self._version(number).generate(asked)

    def stream(self, request: Request) -> Iterator[str | Reply]:
        """Answer in pieces with the version that the input goes to."""
        with self._asked(request) as (number, asked):
            yield from self._version(number).stream(asked)

    @property
    def can_think(self) -> bool:
        """Whether the current version has a place to think in before it answers."""
        return self._version(self._serving().current).can_think

    def count_tokens(self, messages: Any, *, thinks: bool = False) -> int:
        """Return the number of prompt tokens of these messages, where it may think or may not."""
        return self._version(self._serving().current).count_tokens(messages, thinks=thinks)

    @contextlib.contextmanager
    def _asked(self, request: Request) -> Iterator[tuple[int, Request]]:
        """Choose the version that the input goes to; where it fails, the record still names it."""
        serving = self._serving()
        number = serving.current
        if serving.canary is not None and canary.is_canarys(self._function, request.messages, serving.canary):
            number = serving.canary.version
        told = False

        def tell(part: Reply) -> None:
            nonlocal told
            told = True
            request.cut(part)

        try:
            yield number, replace(request, told=tell)
        except BaseException:
            if not told:  # it could not be loaded, or failed before its first token
                request.cut(Reply("", "cut", f"{self.name}@{number}", 0, 0, cost=0.0))
            raise
        finally:
            if serving.canary is not None and number == serving.canary.version:
                self._count()

    def _serving(self) -> Serving:
        """Return the current pointer; its file is read again only where it was replaced."""
        place = self._registry.place(self._function) / "serving.json"
        try:
            stat = place.stat()
            mark: object = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
        except FileNotFoundError:
            mark = None
        known = self._known
        if known is None or known[0] != mark:
            try:
                known = self._known = mark, self._registry.serving(self._function)
            except GuardError as error:
                raise ModelError(str(error)) from None
        return known[1]

    def _version(self, number: int) -> LocalModel:
        with self._lock:
            if number not in self._loaded:
                wanted = {number, self._serving().current}
                self._loaded = {there: model for there, model in self._loaded.items() if there in wanted}
                self._loaded[number] = self._load(number)
            return self._loaded[number]

    def _load(self, number: int) -> LocalModel:
        from guard.models.local.transformers import TransformersModel

        name = f"{self.name}@{number}"
        try:
            known = self._registry.model(self._function, number)
        except GuardError as error:
            raise ModelError(str(error)) from error
        folder = known.partition(":")[2] if known.startswith("transformers:") else models.pull(known)
        return TransformersModel.from_pretrained(folder, name=name)

    def _count(self) -> None:
        self._answers += 1
        if self._answers % JUDGED_EVERY == 0 and self._judging.acquire(blocking=False):
            threading.Thread(target=self._judge, name="guard canary", daemon=True).start()

    def _judge(self) -> None:
        try:
            with contextlib.suppress(GuardError):  # the trace can't be read now; it is tried again later
                found = canary.judge(open_stores(), self._registry, self._function)
                if found is not None and found.is_worse:
                    _log.warning(
                        "the canary of %s was ended: %d of %d first answers succeeded",
                        self._function,
                        found.successes,
                        found.answers,
                    )
        finally:
            self._judging.release()


def by_name(rest: str, name: str) -> TunedModel:
    """Return the model named `tuned:FUNCTION`; `rest` is FUNCTION."""
    return TunedModel(rest, name)
