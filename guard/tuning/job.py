"""A tuning run from pairs to a model folder: tokenize, split, train, merge, save. A killed run resumes.

The folder appears complete or not at all: all files, and the checkpoint, are written to `FOLDER.partial`, which is
renamed at the end. Its `tuning.json` records the lineage: data, recipe and base model.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import itertools
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from filelock import FileLock, Timeout
from safetensors import SafetensorError

from guard import models
from guard.errors import GuardError, ModelError
from guard.models.local.embedded import SOURCES
from guard.models.local.packed_linear import is_fast_in_bfloat16
from guard.models.local.transformers import TransformersModel, quiet
from guard.support.clipping import one_line
from guard.tuning import registry
from guard.tuning.answers import terms
from guard.tuning.examples import Example, Pair, cut, deduplicated, learned, split
from guard.tuning.lora import Adapter
from guard.tuning.registry import CARD
from guard.tuning.training import Recipe, Trainer, TrainingReport, Validation

HELD_OUT = 0.1  #: Most of the questions that are held out for validation by their hash, as a share; as many newest.
LEAST = 8  #: Fewest examples to train on.
VALIDATED = 60  #: About as many are held out by their hash at most, and as many newest; all are validated.


@dataclass(frozen=True)
class Tuned:
    """The result of a run."""

    folder: Path
    card: dict[str, Any]
    before: Validation
    after: Validation


def base_folder(name: str) -> Path:
    """Return the folder of a tunable model's weights; ModelError where it has none."""
    kind, _, rest = name.partition(":")
    if kind == "transformers":
        folder = Path(rest).expanduser()
        if not folder.is_dir():
            raise ModelError(f"no such folder: {rest}; fetch the model into one first")
        return folder
    if ":" in name:
        raise ModelError(f"{name} can't be tuned: it is no model of transformers; name smollm2 or transformers:FOLDER")
    return models.pull(name)


def load(name: str) -> TransformersModel:
    """Load a model in the plain layout that training needs; decoding uses a packed one."""
    folder = base_folder(name)
    dtype = torch.bfloat16 if is_fast_in_bfloat16() else torch.float32
    try:
        with quiet():
            tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
            model = transformers.AutoModelForCausalLM.from_pretrained(str(folder), local_files_only=True, dtype=dtype)
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(f"can't load {folder}: {one_line(error)}") from error
    return TransformersModel(name, model, tokenizer)


def tune(
    pairs: Iterable[Pair],
    out: Path,
    *,
    model: str = "smollm2",
    recipe: Recipe = Recipe(),  # noqa: B008 - frozen
    told: Callable[[TrainingReport], None] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
    dropped: Counter[str] | None = None,
    lineage: dict[str, Any] | None = None,
) -> Tuned:
    """Train a model on pairs, and save it as a folder that `transformers:FOLDER` loads.

    `recipe.seconds` count from this call. `dropped` counts answers left out already, by reason. Raises ModelError where
    the model can't be tuned or saved, and GuardError where there are too few examples.
    """
    began = clock()
    dropped = Counter() if dropped is None else dropped
    with _alone(out) as partial:  # before anything is loaded: a run that can't be saved is not begun
        base = load(model)
        asked = deduplicated(pairs, dropped)
        train, held = split(asked, min(HELD_OUT, VALIDATED / max(1, len(asked))))
        is_learned = learned(
            registry.lineage(model).values()
        )  # a question that the base was trained on measures nothing
        train += filter(is_learned, held)
        held = list(itertools.filterfalse(is_learned, held))
        examples = list(cut(base, train, dropped))
        validation = list(cut(base, held, dropped))
        if len(examples) < LEAST:
            told_why = ", ".join(f"{count} {reason}" for reason, count in dropped.most_common()) or "none was left out"
            raise GuardError(f"{len(examples)} examples are too few, {LEAST} are needed ({told_why})")
        adapter = Adapter(base.model, recipe.layers, recipe.rank, recipe.seed)
        spent = clock() - began
        if recipe.seconds is not None:
            recipe = dataclasses.replace(recipe, seconds=max(1.0, recipe.seconds - spent))
        trainer = Trainer(adapter, examples, recipe, clock=clock, checkpoint=partial / "checkpoint.pt")
        base.model.train()
        before = trainer.validate(validation)
        trainer.run(told)
        after = trainer.validate(validation)
        told(
            TrainingReport(
                trainer.step, 1.0, trainer.losses[-1] if trainer.losses else 0.0, trainer.seconds, 0.0, after
            )
        )
        base.model.eval()
        adapter.merge()
        card = {
            "base": f"transformers:{base_folder(model).resolve()}" if ":" in model else model,  # found from anywhere
            "base_hash": _weights_hash(base_folder(model)),
            "licence": SOURCES[model].licence if model in SOURCES else "",
            "template": _digest(str(base.tokenizer.chat_template)),
            "tokenizer": _digest(json.dumps(base.tokenizer.get_vocab(), sort_keys=True)),
            "recipe": dataclasses.asdict(recipe),
            "steps": trainer.step,
            "seconds": round(trainer.seconds + spent, 1),
            "run": trainer.digest,
            "examples": len(examples),
            "sources": _sources(examples),
            "questions": sorted({example.pair.question for example in examples}),
            "data": _digest(json.dumps([[e.pair.input_hash, e.pair.answer] for e in examples])),
            "answered_by": dict(Counter(example.pair.by for example in examples)),
            "terms": terms(example.pair for example in examples),
            "schemas": sorted({example.pair.compiled.hash for example in examples}),
            "dropped": dict(dropped.most_common()),
            "validation": {side: _figures(found) for side, found in (("before", before), ("after", after))},
            "versions": {name: importlib.metadata.version(name) for name in ("guard-slm", "torch", "transformers")},
            "threads": torch.get_num_threads(),
            "made": time.time(),
            **(lineage or {}),
        }
        _save(base, card, partial, out)
        return Tuned(out, card, before, after)


@contextlib.contextmanager
def _alone(out: Path) -> Iterator[Path]:
    """Make a run's partial folder and lock it for this process; one that holds nothing in the end is removed.

    GuardError where another process holds it, or where the model is there already.
    """
    _check_new(out)
    partial = out.with_name(f"{out.name}.partial")
    try:
        partial.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GuardError(f"out={str(out)!r} must be a folder that can be made: {error.strerror}") from None
    lock = FileLock(partial / "lock")
    try:
        lock.acquire(timeout=0)
    except (Timeout, FileNotFoundError):  # held, or removed just now by the run that made the model
        raise GuardError(f"another run is making {out}; wait for it, or name another folder") from None
    try:
        _check_new(out)  # another run may have made it since
        yield partial
    finally:
        if [path.name for path in partial.glob("*")] in ([], ["lock"]):
            shutil.rmtree(partial, ignore_errors=True)
        lock.release()


def _check_new(out: Path) -> None:
    if out.exists():
        raise GuardError(f"{out} is there already; name a new folder")


def _save(base: TransformersModel, card: dict[str, Any], partial: Path, out: Path) -> None:
    folder = partial / "model"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        with quiet():
            base.model.save_pretrained(folder)
        base.tokenizer.save_pretrained(folder)
        (folder / CARD).write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        for path in folder.iterdir():
            with path.open("rb+") as file:
                os.fsync(file.fileno())
        folder.rename(out)
    except (OSError, SafetensorError) as error:
        words = getattr(error, "strerror", None) or one_line(error)
        raise ModelError(f"can't write the model to {out}: {words}; the same command goes on from there") from error
    shutil.rmtree(partial, ignore_errors=True)


def _figures(found: Validation) -> dict[str, Any] | None:
    return dataclasses.asdict(found) if found.examples else None


def _sources(examples: Sequence[Example]) -> list[str]:
    return [example.pair.source for example in examples]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def _weights_hash(folder: Path) -> str:
    told = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            while chunk := file.read(2**22):
                told.update(chunk)
    return told.hexdigest()
