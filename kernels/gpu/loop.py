"""A decode loop that stays on the device: logits → masked sampling → the next state, with the host beside it.

`step(logits)` is the loop: a fixed sequence of kernels over buffers that never move, so that it can be captured in a
CUDA graph together with the model. Nothing in it waits for the host. The model reads `rows.last`, each row's last
token, and `rows.length`, how many tokens it has written; both are where the next step leaves them.

Every few steps the host calls `poll`. It looks at a copy of the rows that travelled while the device went on, replays
what they wrote on matchers, so that no token goes unchecked, and fills in what is missing. A row that came to a state
not known yet waits: it keeps its last token and its length, the model computes the same again, and no random number
is used up, since the draw depends on (seed, length). So what a row writes depends neither on what the tables hold, nor
on when the host looks, nor on its neighbours.

    loop = Loop(Tables(vocabulary, "cuda"), rows=32, capacity=512)
    for row, compiled in enumerate(schemas):
        loop.start(row, compiled, max_tokens=512, seed=row)
    with torch.cuda.graph(graph):
        loop.step(model(loop.rows.last, loop.rows.length))
    while not loop.poll():
        for _ in range(8):
            graph.replay()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from guard.kernels.errors import GuardError
from guard.kernels.gpu.device_tables import DONE, MISSING, Full, Rows, Tables, advance
from guard.kernels.gpu.sample import sample

if TYPE_CHECKING:
    from guard.kernels._native import Matcher
    from guard.kernels.vocabulary import Vocabulary


class CompiledSchema(Protocol):
    """A compiled schema, as `guard.compile` returns it."""

    def matcher(self, vocabulary: Vocabulary) -> Matcher:
        """Return a matcher at the start of a value."""


class Loop:
    """The rows of one batch, each under a schema of its own. Belongs to one thread and one stream, with its tables."""

    def __init__(self, tables: Tables, *, rows: int, capacity: int) -> None:
        """Make rows that have ended, for values of at most `capacity` tokens each, end-of-sequence included."""
        if rows < 1 or capacity < 1:
            raise ValueError(f"rows={rows} and capacity={capacity} must be at least 1")
        self.tables = tables
        self.rows = Rows.make(rows, capacity, tables.device)

        def settings(dtype: torch.dtype) -> torch.Tensor:
            return torch.zeros(rows, dtype=dtype, device=tables.device)

        self.temperature, self.top_p = settings(torch.float32), settings(torch.float32)
        self.top_k, self.seed = settings(torch.int32), settings(torch.int64)
        self._live: dict[int, _Live] = {}
        self._written: list[list[int]] = [[] for _ in range(rows)]
        self._narrowed: list[list[int]] = [[] for _ in range(rows)]
        self._seen: _Snapshot | None = None

    @property
    def live(self) -> set[int]:
        """The rows under way, as far as the host has seen."""
        return set(self._live)

    def start(
        self,
        row: int,
        compiled: CompiledSchema,
        *,
        max_tokens: int,
        temperature: float = 0.0,
        top_k: int = 0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> None:
        """Begin a value in a row that has ended. What the settings mean is said in kernels/gpu/sample.py.

        ValueError where `max_tokens` can't hold the shortest value, or a setting makes no sense; SchemaError where a
        limit is met. Nothing is synchronised.
        """
        if not 0 <= row < len(self._written) or row in self._live:
            raise ValueError(f"row={row} must be one of {len(self._written)} that has ended")
        if not (temperature >= 0 and top_k >= 0 and 0 < top_p <= 1):
            given = f"temperature={temperature} and top_k={top_k} must be at least 0"
            raise ValueError(f"{given}, and top_p={top_p} above 0 and at most 1")
        capacity = self.rows.out.shape[1]
        matcher = compiled.matcher(self.tables.vocabulary)
        needed = matcher.distance()
        if not 1 <= max_tokens <= capacity or not 0 <= needed <= max_tokens:
            shortest = "no value is valid" if needed < 0 else f"the shortest value may need {needed}"
            raise ValueError(f"max_tokens={max_tokens} must be from 1 to {capacity}, and hold a value: {shortest}")
        live, is_full = _Live(compiled, matcher, max_tokens), False
        try:
            live.state = self.tables.state(compiled, matcher, max_tokens)
        except Full:
            is_full = True
        for tensor, value in (
            (self.temperature, np.float32(temperature)),
            (self.top_p, np.float32(top_p)),
            (self.top_k, np.int32(top_k)),
            (self.seed, np.int64(seed)),
            (self.rows.last, np.int32(0)),
            (self.rows.length, np.int32(0)),
            (self.rows.limit, np.int32(max_tokens)),
            (self.rows.fault, np.int32(0)),
        ):
            self.tables.put(tensor, [row], np.array([value]))
        self._written[row], self._narrowed[row] = [], []
        self._live[row] = live
        if is_full:
            self._refill()
        else:
            self._place([row])

    def step(self, logits: torch.Tensor) -> None:
        """Write the next token of every row that neither waits nor has ended.

        `logits`: float[rows, width], any strides, read and not written. Nothing is synchronised. O(rows * width).
        """
        rows = self.rows
        token = sample(
            logits, self.tables.masks, self.temperature, self.top_k, self.top_p, self.seed, rows.length, at=rows.row
        )
        advance(self.tables, rows, token)

    def poll(self, *, wait: bool = False) -> bool:
        """Serve the rows that wait, as of the last call; True when every row has ended.

        On a CUDA device the look at the rows is a copy that the last call began; one that is still under way is left
        for the next call, unless `wait`. ValueError where a row's logits are no numbers, SchemaError where a limit is
        met: that row has ended then, and a note of the exception names it; the others go on with the next call.
        """
        if self._seen is None:
            self._seen = _Snapshot(self.rows, set(self._live.values()))
        if wait or self.tables.device.type != "cuda":
            self._seen.wait()
        if self._seen.is_there():
            seen, self._seen = self._seen, None
            try:
                self._serve(seen)
            except Full:
                self._refill()
            if self._live and self.tables.device.type == "cuda":
                self._seen = _Snapshot(self.rows, set(self._live.values()))
        return not self._live

    def written(self, row: int) -> list[int]:
        """Return the tokens of a row as far as the host has seen them; all, once the row has ended."""
        return list(self._written[row])

    def narrowed(self, row: int) -> list[int]:
        """Return at which of its tokens `max_tokens` took others away that the schema allows, as far as was seen.

        Where there are none, the budget cut nothing. Where there are some, the model may have wished for what was
        taken: its logits don't leave the device, so that nobody knows.
        """
        return list(self._narrowed[row])

    def stop(self, row: int) -> None:
        """End a row as it is; what it wrote is no value. ValueError where it is not under way."""
        if row not in self._live:
            raise ValueError(f"row={row} is not under way")
        del self._live[row]
        self._place([row])

    def _serve(self, seen: _Snapshot) -> None:
        state, lengths, faults, out = seen.row, seen.length, seen.fault, seen.out
        waiting = []
        for row in np.flatnonzero((state == MISSING) | (state == DONE) | (faults != 0)).tolist():
            live = self._live.get(row)
            if live is None or live not in seen.live:
                continue
            new = out[row, len(self._written[row]) : lengths[row]].tolist()
            before = len(self._written[row])
            left = live.limit - before
            self._written[row] += new
            try:
                if faults[row]:
                    raise ValueError(f"an allowed logit is NaN or +inf after {lengths[row]} tokens")
                live.state, narrowed = self.tables.walk(live.compiled, live.matcher, live.state, new, left)
                self._narrowed[row] += [before + number for number in narrowed]
            except (GuardError, ValueError) as error:
                error.add_note(f"row {row} of the loop")
                del self._live[row]
                raise
            if live.state == DONE:
                del self._live[row]
            waiting.append(row)
        self._place(waiting)

    def _place(self, rows: list[int]) -> None:
        if not rows:
            return
        states = np.array([self._live[row].state if row in self._live else DONE for row in rows], dtype=np.int32)
        self.tables.upload()
        self.tables.put(self.rows.state, rows, states)
        self.tables.put(self.rows.row, rows, self.tables.masks_of(states))

    def _refill(self) -> None:
        """Begin with empty tables, which is the one place where the host waits for the device."""
        seen = _Snapshot(self.rows, set(self._live.values()))
        seen.wait()
        self._seen = None
        self.tables.clear()
        self.tables.flushes += 1
        placed, failed = list(self._live), None
        for row in placed:
            live = self._live[row]
            self._written[row] = seen.out[row, : seen.length[row]].tolist()
            live.matcher.reset()
            self._narrowed[row] = []
            for number, token in enumerate(self._written[row]):
                if self.tables.is_narrow(live.matcher, live.limit - number):
                    self._narrowed[row].append(number)
                live.matcher.accept(token)
            try:
                live.state = self.tables.state(live.compiled, live.matcher, live.limit - len(self._written[row]))
            except Full:
                raise ValueError(f"the tables are too small for {len(self._written)} rows") from None
            except GuardError as error:
                error.add_note(f"row {row} of the loop")
                failed = error
                del self._live[row]
                continue
            if live.state == DONE:
                del self._live[row]
        self._place(placed)
        if failed is not None:
            raise failed


class _Live:
    """A row under way: where its matcher stands, which is where the host last saw it."""

    def __init__(self, compiled: Any, matcher: Matcher, limit: int) -> None:
        self.compiled = compiled
        self.matcher = matcher
        self.limit = limit
        self.state = MISSING


class _Snapshot:
    """The rows as they were at some step, on their way to the host; and which values they were writing."""

    def __init__(self, rows: Rows, live: set[_Live]) -> None:
        self.live = live
        self._event: Any = None  # torch's has no types
        fields = (rows.row, rows.length, rows.fault, rows.out)
        if rows.row.is_cuda:
            copies = [torch.empty(t.shape, dtype=t.dtype, pin_memory=True) for t in fields]
            for copy, field in zip(copies, fields, strict=True):
                copy.copy_(field, non_blocking=True)
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._event.record()
        else:
            copies = [t.cpu().clone() for t in fields]
        self.row, self.length, self.fault, self.out = (t.numpy() for t in copies)

    def is_there(self) -> bool:
        return self._event is None or self._event.query()

    def wait(self) -> None:
        if self._event is not None:
            self._event.synchronize()
