"""The training loop: loss under the masks, checkpoints, and a run that can be repeated bit for bit.

Loss is taken where the masks leave a choice, over the allowed tokens (`masked`) or over all tokens (`chosen`), or at
every token of the answer (`all`). Decoding never asks the model for forced tokens, so learning them is wasted.

With several branches the second half of the run is trained several times from the same state, each time in another
order, and the mean of their weights is kept (model soups, Wortsman et al. 2022; a common trunk costs less than whole
runs). With `seconds` a further branch is trained only where there is time for it.

With `steps` a run depends only on its data, recipe and seed: on one thread two runs are equal bit for bit, even where
one of them was killed and resumed. With `seconds` the learning rate falls with the time used.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import math
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from guard.errors import GuardError
from guard.kernels.cached import cached_property
from guard.support import memory
from guard.support.bounds import MOST_COUNT, MOST_SECONDS, check
from guard.support.clipping import one_line
from guard.tuning.examples import Example
from guard.tuning.lora import SHORT, Adapter
from guard.tuning.plan import Position, TrainingPlan
from guard.tuning.scoring import IMPOSSIBLE, allowed, behind, head, padded, passes, score, tokens_at

LOSSES = ("masked", "chosen", "all")
WARM_UP = 0.05  #: Share of the run in which the learning rate rises.
LOWEST = 0.02  #: The final learning rate, as a share of the highest.
JITTER = 20.0  #: About how many tokens the lengths of examples in a batch may differ.
CHECKPOINT_S = 30.0  #: Seconds between two checkpoints.
CLIP = 1.0  #: The largest norm of a gradient.
TRIM_AT = 0.8  #: Share of the allowed memory from which on free memory goes back to the system.


@dataclass(frozen=True)
class Recipe:
    """How a model is trained."""

    loss: str = "masked"
    layers: int = 15  # from the top
    rank: int = 16
    rate: float = 1e-3
    batch: int = 8  # examples per step
    epochs: float = 3.0  # at most, from the first step to the last of a branch
    branches: int = 1  # times that the second half is trained; with `seconds` at most
    seed: int = 0
    steps: int | None = None  # exact number, of all branches; None: as many as epochs and seconds allow
    seconds: float | None = None
    gigabytes: float = 3.0  # about the most memory that the process takes

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise ValueError(f"loss={self.loss!r} must be one of {', '.join(LOSSES)}")
        for name in ("layers", "rank", "batch", "branches", *(() if self.steps is None else ("steps",))):
            check(name, getattr(self, name), 1, MOST_COUNT, is_whole=True)
        for name in ("rate", "epochs", "gigabytes", *(() if self.seconds is None else ("seconds",))):
            check(name, getattr(self, name), 0, MOST_SECONDS, is_above=True)


@dataclass(frozen=True)
class Validation:
    """How well held-out answers are predicted, each token under its mask after the right tokens before it."""

    examples: int  # where there is none, the other figures are 0 and mean nothing
    nll: float  # mean negative log-likelihood of a choice, in nats
    choices_right: float  # share of choices at which the answer's token is the likeliest allowed one
    paths_right: float  # share of answers that greedy decoding writes: all their choices are right

    def __str__(self) -> str:
        if not self.examples:
            return "no answer was held out"
        return f"{self.paths_right:.1%} of {self.examples} answers foreseen, {self.nll:.3f} nats a choice"


@dataclass(frozen=True)
class TrainingReport:
    """Progress of a training run."""

    step: int
    progress: float  # 0 to 1
    loss: float  # mean of the last steps
    seconds: float
    seconds_left: float
    validation: Validation | None = None


class Trainer:
    """One training run over an adapter. Belongs to one thread."""

    def __init__(
        self,
        adapter: Adapter,
        examples: Sequence[Example],
        recipe: Recipe,
        *,
        clock: Callable[[], float] = time.monotonic,
        checkpoint: Path | None = None,
    ) -> None:
        """Prepare a run on at least one example; resumes from `checkpoint` where that is of the same run."""
        self._adapter = adapter
        self._examples = examples
        self._recipe = recipe
        self._clock = clock
        self._checkpoint = checkpoint
        self._optimizer = torch.optim.AdamW(adapter.parameters, lr=recipe.rate, weight_decay=0.0, betas=(0.9, 0.99))
        self._states: dict[int, torch.Tensor] = {}
        self._pass_tokens, self._kept_tokens = _room(adapter.model, adapter.layers, recipe.gigabytes)
        self._plan = _plan(len(examples), recipe)
        self._at = Position()
        self._trunk: dict[str, Any] | None = None  # weights, optimizer and steps with which each branch begins
        self._branches = 0  # finished ones
        self._sums: list[torch.Tensor] = []  # of their weights
        self.losses: list[float] = []
        if checkpoint is not None:
            self._resume(checkpoint)

    @property
    def step(self) -> int:
        """The number of finished steps."""
        return self._at.step

    @property
    def seconds(self) -> float:
        """The seconds that they took, those before a kill included."""
        return self._at.seconds

    @cached_property
    def digest(self) -> str:
        """A digest that identifies the run: the examples, and the recipe without its time limit."""
        recipe = {name: value for name, value in dataclasses.asdict(self._recipe).items() if name != "seconds"}
        told = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode())
        for example in self._examples:
            told.update(repr((example.prompt, example.path.tokens, example.path.chosen)).encode())
        return told.hexdigest()

    def run(self, told: Callable[[TrainingReport], None] = lambda _: None) -> None:
        """Train to the end. Where it is interrupted, it writes a checkpoint and stops."""
        at, plan = self._at, self._plan
        began = self._clock() - at.seconds
        saved = self._clock()
        while plan.may_begin(at):
            for batch in self._batches():
                at.seconds = self._clock() - began
                if plan.share(at) >= 1 or plan.is_late(at):
                    break
                self.losses.append(self._train(batch, _rate(plan.place(at))))
                at.step += 1
                if memory.resident() > TRIM_AT * self._recipe.gigabytes * 1e9:
                    memory.give_back()
                at.seconds = self._clock() - began
                progress = plan.progress(at)
                left = at.seconds * (1 / progress - 1) if progress else math.inf
                told(TrainingReport(at.step, progress, float(np.mean(self.losses[-10:])), at.seconds, left))
                if self._checkpoint is not None and self._clock() - saved >= CHECKPOINT_S:
                    self.save()
                    saved = self._clock()
            self._end_part()
        if self._branches:
            self._load([total / self._branches for total in self._sums])
        if self._checkpoint is not None:
            self.save()

    def _end_part(self) -> None:
        """Keep what a part has trained, and go to where the next one begins."""
        at = self._at
        if len(self._plan.parts) > 1:
            if self._trunk is None:
                self._trunk = {"step": at.step, **copy.deepcopy(self._state())}
            else:
                if self._plan.share(at) >= 1:  # else there was no time to end it
                    now = [parameter.detach().clone() for parameter in self._adapter.parameters]
                    self._sums = [a + b for a, b in zip(self._sums, now, strict=True)] if self._sums else now
                    self._branches += 1
                self._load(self._trunk["parameters"])
                self._optimizer.load_state_dict(copy.deepcopy(self._trunk["optimizer"]))
        at.go_on()

    def _state(self) -> dict[str, Any]:
        parameters = [parameter.detach() for parameter in self._adapter.parameters]
        return {"parameters": parameters, "optimizer": self._optimizer.state_dict()}

    def _load(self, parameters: Sequence[torch.Tensor]) -> None:
        with torch.no_grad():
            for parameter, given in zip(self._adapter.parameters, parameters, strict=True):
                parameter.copy_(given)

    def save(self) -> None:
        """Replace the checkpoint atomically."""
        assert self._checkpoint is not None
        state = {
            "digest": self.digest,
            "at": dataclasses.asdict(self._at),
            "losses": self.losses,
            "trunk": self._trunk,
            "branches": self._branches,
            "sums": self._sums,
            **self._state(),
        }
        beside = self._checkpoint.with_suffix(".new")
        try:
            with beside.open("wb") as file:
                torch.save(state, file)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self._checkpoint)
        except (OSError, RuntimeError) as error:  # torch's own, of a disk that is full
            raise GuardError(f"the checkpoint {self._checkpoint} can't be written: {one_line(error)}") from error

    def _resume(self, checkpoint: Path) -> None:
        try:
            state = torch.load(checkpoint, weights_only=True)
            digest = state["digest"]
        except FileNotFoundError:
            return
        except Exception as error:  # unpickling raises whatever the bytes lead it to
            raise GuardError(f"{checkpoint} is no checkpoint that can be read; delete it to begin anew") from error
        if digest == self.digest:
            self._at, self.losses = Position(**state["at"]), state["losses"]
            self._trunk, self._branches, self._sums = state["trunk"], state["branches"], state["sums"]
            self._load(state["parameters"])
            self._optimizer.load_state_dict(state["optimizer"])

    def validate(self, examples: Sequence[Example]) -> Validation:
        """Measure how well the answers of examples are predicted."""
        if not examples:
            return Validation(0, 0.0, 0.0, 0.0)
        scores = score(self._adapter.model, examples, self._pass_tokens)
        choices = sum(one.choices for one in scores)
        return Validation(
            len(scores),
            sum(one.nll for one in scores) / choices,
            1 - sum(one.wrong for one in scores) / choices,
            sum(one.is_written for one in scores) / len(scores),
        )

    def _batches(self) -> Iterator[list[Example]]:
        """Yield batches without end from the next step on; each epoch has its own order, and so has each branch."""
        at, per = self._at, _batches_an_epoch(len(self._examples), self._recipe)
        seed = self._recipe.seed + self._plan.parts[at.part].branch
        while True:
            done = at.step - at.first + (self._trunk["step"] if self._trunk else 0)
            order = _order([e.size for e in self._examples], self._recipe.batch, f"{seed}/{done // per}")
            for numbers in order[done % per :]:
                yield [self._examples[number] for number in numbers]

    def _train(self, batch: list[Example], rate: float) -> float:
        for group in self._optimizer.param_groups:
            group["lr"] = rate * self._recipe.rate
        places = [self._places(example) for example in batch]
        positions = sum(map(len, places))
        total = 0.0
        for numbers in passes(range(len(batch)), [e.size for e in batch], self._pass_tokens):
            rows, at = [batch[number] for number in numbers], [places[number] for number in numbers]
            logits = head(self._adapter.model, behind(self._hidden(rows), rows, at))
            if self._recipe.loss == "masked":
                masks = [mask for example in rows for mask in example.path.masks]
                logits = logits.masked_fill(~allowed(masks, logits.shape[1]), IMPOSSIBLE)
            targets = torch.tensor(list(tokens_at(rows, at)))
            loss = functional.cross_entropy(logits, targets, reduction="sum") / positions
            loss.backward()  # type: ignore[no-untyped-call] # torch's
            total += float(loss.detach())
        torch.nn.utils.clip_grad_norm_(self._adapter.parameters, CLIP)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return total

    def _places(self, example: Example) -> Sequence[int]:
        """Return the indexes of the answer's tokens at which loss is taken."""
        return range(len(example.path.tokens)) if self._recipe.loss == "all" else example.path.chosen

    def _hidden(self, rows: list[Example]) -> torch.Tensor:
        """Return the last hidden states of examples. The lower layers' output is cached as memory allows."""
        ids = padded(rows)
        self._adapter.attend(ids.shape[1])
        kept = [self._states.get(id(example)) for example in rows]
        if all(state is not None for state in kept):
            states = torch.nn.utils.rnn.pad_sequence([s for s in kept if s is not None], batch_first=True)
        else:
            states = self._adapter.lower(ids)
            for row, example in enumerate(rows):
                if self._kept_tokens >= example.size and id(example) not in self._states:
                    self._states[id(example)] = states[row, : example.size].clone()
                    self._kept_tokens -= example.size
        return self._adapter.upper(ids, states)


def _batches_an_epoch(examples: int, recipe: Recipe) -> int:
    return math.ceil(examples / recipe.batch)


def _plan(examples: int, recipe: Recipe) -> TrainingPlan:
    """Return the plan of a run. With `steps` the time does not count."""
    if recipe.steps is not None:
        return TrainingPlan(recipe.steps, recipe.branches, None)
    once = math.ceil(recipe.epochs * _batches_an_epoch(examples, recipe))
    return TrainingPlan(max(1, math.ceil(once * (recipe.branches + 1) / 2)), recipe.branches, recipe.seconds)


def _rate(place: float) -> float:
    """Return the learning rate as a share of the highest: a linear rise, then a cosine decay."""
    rising = min(1.0, (place + 1e-3) / WARM_UP)
    return rising * max(LOWEST, 0.5 * (1 + math.cos(math.pi * place)))


def _order(sizes: Sequence[int], batch: int, seed: str) -> list[list[int]]:
    """Return the indexes of examples in batches of similar length, in an order that the seed alone decides."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    by_size = sorted(range(len(sizes)), key=lambda number: sizes[number] + chance.random() * JITTER)
    batches = [by_size[at : at + batch] for at in range(0, len(by_size), batch)]
    chance.shuffle(batches)
    return batches


def _room(model: Any, layers: int, gigabytes: float) -> tuple[int, int]:
    """Return the most tokens of one pass and of all cached states, so that the process stays within its memory.

    Memory in use already (weights, libraries) is subtracted; a fifth of the rest is for cached states, which are none
    where all layers are trained.
    """
    config = model.config.get_text_config()
    there = memory.resident() or sum(p.numel() * p.element_size() for p in model.parameters())
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad) * 16
    free = gigabytes * 1e9 - there - trained
    width = torch.finfo(model.dtype).bits // 8
    inner = getattr(config, "intermediate_size", 4 * config.hidden_size)
    # Bytes per token of a pass: what backward needs of each layer, with the scores of short rows, and masked logits for
    # every fourth token.
    scores = config.num_attention_heads * SHORT * (4 + 2 * width)
    each = layers * ((20 * config.hidden_size + 6 * inner) * width + scores) + config.vocab_size * 14 // 4
    kept = 0 if layers >= config.num_hidden_layers else int(0.2 * free / (config.hidden_size * width))
    tokens = int(0.4 * free / each)  # the rest is for allocators, merging and saving
    if tokens < 64:
        raise GuardError(
            f"--memory {gigabytes:g} GB leaves no room for training beside {there / 1e9:.1f} GB of weights and"
            " libraries; give more, or train fewer --layers"
        )
    return tokens, kept
