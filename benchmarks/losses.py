"""Does loss under the masks pay? `python -m benchmarks.losses --data FILE --steps 80 --seeds 3`.

The same questions of BFCL are trained with the loss on every token of the answer and with that on the choices of the
masks, by several seeds. Held-out functions are scored by one forward pass an answer: the share of answers that greedy
decoding under masks writes, and nats a choice. Both models are scored under the masks.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks import bfcl, tuning
from guard.tuning.examples import cut
from guard.tuning.job import load
from guard.tuning.lora import Adapter
from guard.tuning.training import Recipe, Trainer, Validation


def main() -> int:
    """Train, score and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=bfcl.QUESTIONS)
    parser.add_argument("--category", default="simple_python,live_simple", help="scored; separated by commas")
    parser.add_argument("--examples", type=int, default=240, help="trained on")
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--held-out", type=int, default=60, help="questions of each category")
    parser.add_argument("--model", default="smollm2")
    args = parser.parse_args()
    rows = list(tuning.questions(args.data))
    held, names = tuning.held_out(rows, args.category.split(","), args.held_out)
    given = [row for part in held.values() for row in part]
    usable = list(tuning.pairs(rows, names, given, Counter()))
    random.Random(0).shuffle(usable)
    about = [*given, *tuning.others_of(rows, names, given)]  # whatever asks about held-out functions
    asked = list(tuning.pairs(about, set(), [], Counter()))
    base = load(args.model)
    train, scored = list(cut(base, usable[: args.examples], Counter())), list(cut(base, asked, Counter()))
    print(f"{len(train)} examples, {args.steps} steps of 8; scored on {len(scored)} held-out answers", flush=True)
    gains, nats = [], []
    for seed in range(args.seeds):
        found: dict[str, Validation] = {}
        for loss in ("all", "masked"):
            began = time.process_time()
            model = load(args.model)
            recipe = Recipe(loss=loss, seed=seed, steps=args.steps)
            with tempfile.TemporaryDirectory() as folder:
                trainer = Trainer(
                    Adapter(model.model, recipe.layers, recipe.rank, seed), train, recipe,
                    clock=time.process_time, checkpoint=Path(folder) / "checkpoint.pt",
                )  # fmt: skip
                model.model.train()
                if seed == 0 and loss == "all":
                    print(f"base: {trainer.validate(scored)}", flush=True)
                trainer.run(lambda _: None)
                found[loss] = trainer.validate(scored)
            print(f"seed {seed}, {loss}: {found[loss]} ({time.process_time() - began:.0f} s)", flush=True)
        gains.append(found["masked"].paths_right - found["all"].paths_right)
        nats.append(found["all"].nll - found["masked"].nll)
    for what, all_of, form in (("answers", gains, "+.1%"), ("nats a choice saved", nats, "+.3f")):
        spread = statistics.stdev(all_of) if len(all_of) > 1 else 0.0
        each = ", ".join(format(gain, form) for gain in all_of)
        print(f"gain of masked over all, {what}: {each}; mean {statistics.mean(all_of):{form}}"
              f" (standard deviation {format(spread, form[1:])})")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
