"""The loop, whole, on this machine: `python -m examples.loop [--minutes 4] [--out FOLDER]`.

A shop's e-mails are read by a large model, here a scripted oracle that has a price. Its 300 answers are on record;
SmolLM2 is tuned on them, measured and calibrated beside itself on later e-mails, answers half of the e-mails as a
canary where it is sure enough, and is promoted. All of its answers are rated. The end is what a right answer costs
before and after, and a page with precision against the share served (with matplotlib a picture, too).
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

import guard
from guard.models import scripted
from guard.models.base import Reply, Request

PRICE = 0.002  #: Dollars of an answer of the oracle's.
LOGGED = 300  #: E-mails that the oracle answers.
SURE = 0.9  #: Of the answers that the small model may give alone, how many are to be right.
LATER = 60  #: E-mails on which is measured.
FUNCTION = "shop.read"


class Ticket(BaseModel):
    """What a customer wants."""

    customer: Annotated[str, Field(min_length=2, max_length=40)]
    order: Annotated[str, Field(pattern=r"^TH-\d{6}$")]
    product: Annotated[str, Field(min_length=2, max_length=40)]
    request: Literal["replacement", "refund", "information"]


FIRST = ("Marta", "Ivan", "Aisha", "Tom", "Lena", "Pedro", "Yuki", "Olu", "Greta", "Sanjay", "Chloe", "Emre")
LAST = ("Kowalczyk", "Petrov", "Khan", "Baker", "Schmidt", "Alvarez", "Tanaka", "Adeyemi", "Lund", "Rao", "Martin")
PRODUCTS = ("Tallyho Reader 3", "brass kettle", "Orion desk lamp", "wool blanket", "espresso grinder", "bike pump")
MAILS = (
    ("Hello, my {product} (order {order}) arrived broken. Please send a new one. {name}", "replacement"),
    ("Order {order}: the {product} is not what I wanted, I'd like my money back. Regards, {name}", "refund"),
    ("Hi, when will the {product} from {order} be delivered? Thanks, {name}", "information"),
    ("{name} here. The {product} stopped working after a day; could you exchange it? It's {order}.", "replacement"),
    ("I sent the {product} back last week and still wait for the payment, order no. {order}. {name}", "refund"),
    ("Dear shop, does the {product} of my order {order} come with a warranty? Yours, {name}", "information"),
)


def mails(count: int, seed: int) -> Iterator[tuple[str, Ticket]]:
    """Yield e-mails with what they say."""
    chance = random.Random(seed)  # noqa: S311 - examples, no secrets
    for _ in range(count):
        words, request = chance.choice(MAILS)
        name = f"{chance.choice(FIRST)} {chance.choice(LAST)}"
        order, product = f"TH-{chance.randrange(10**6):06}", chance.choice(PRODUCTS)
        text = words.format(name=name, order=order, product=product)
        yield text, Ticket(customer=name, order=order, product=product, request=request)  # type: ignore[arg-type] # of MAILS


def oracle(known: dict[str, Ticket]) -> scripted.ScriptedModel:
    """Return the large model: it knows what each e-mail says."""

    def answer(request: Request) -> Reply:
        asked = str(request.messages[-1]["content"])
        ticket = next(ticket for text, ticket in known.items() if text in asked)
        return scripted.reply(ticket.model_dump_json(), model="oracle", cost=PRICE)

    return scripted.ScriptedModel(*[answer] * 4 * len(known), name="oracle")


def main() -> int:
    """Run the loop, and say what came of each step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=4.0, help="of training")
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--out", type=Path, help="a folder for the trace, the models and the plot; default: a new one")
    args = parser.parse_args()
    out = args.out or Path(tempfile.mkdtemp(prefix="guard-loop-"))
    os.environ["GUARD_TRACE"], os.environ["GUARD_REGISTRY"] = str(out / "trace.db"), str(out / "models")
    run(out, args.model, args.minutes)
    return 0


def run(out: Path, model: str, minutes: float) -> dict[str, Any]:
    """Run the loop in a folder; returns the figures."""
    from guard.trace import TraceStore
    from guard.tuning import answers, canary, economics, economics_page, job, shadow_run
    from guard.tuning.registry import SHADOW, Registry, write_json
    from guard.tuning.serving import TunedModel
    from guard.tuning.training import Recipe

    began = time.monotonic()
    known = dict(mails(LOGGED + LATER, seed=1))
    texts = list(known)
    large = oracle(known)
    read = guard.structured(model=large)(_read)
    read.name = FUNCTION
    for text in texts[:LOGGED]:
        read(text)
    _say(began, f"{LOGGED} e-mails answered by the oracle, ${LOGGED * PRICE:.2f}")

    store, registry, dropped = TraceStore.at(out / "trace.db"), Registry.default(), Counter[str]()
    pairs = list(answers.from_trace(store, dropped, own={model}, function=FUNCTION))
    folder = registry.next_folder(FUNCTION)
    tuned = job.tune(pairs, folder, model=model, recipe=Recipe(seconds=60 * minutes), dropped=dropped)
    _say(began, f"tuned on {tuned.card['examples']} of them; held out before: {tuned.before}; after: {tuned.after}")

    for text in texts[LOGGED:]:
        read(text)
    later = list(answers.from_trace(store, dropped, own={model}, function=FUNCTION))[-LATER:]
    report = shadow_run.run(f"transformers:{folder}", model, later, precision=SURE)
    write_json(folder / SHADOW, {**report, "against": 0})
    shadow_run.keep_calibration(report, folder)
    (out / "shadow.html").write_text(shadow_run.page(report), encoding="utf-8")
    right = report["right"]
    verdict = "passed" if report["passed"] else "not passed"
    _say(began, f"of {LATER} later e-mails right: {right['old']} before, {right['new']} after; {verdict}")

    registry.start_canary(FUNCTION, 1, 0.5, baseline=0.3, force=not report["passed"])
    sure = guard.Confidence(precision=SURE)
    served = read.using(model=TunedModel(FUNCTION, f"tuned:{FUNCTION}"), escalate_to=large, confidence=sure)
    for text in texts[LOGGED:]:
        ticket, call = served.traced(text)
        call.rate(ticket == known[text])
    found = canary.judge([store], registry, FUNCTION)
    assert found is not None
    _say(began, f"canary: {found.successes} of {found.answers} first answers taken, evidence {found.evidence:.2g}")
    registry.promote(FUNCTION, 1, force=not report["passed"])

    lines = {line.model: line for line in economics.by_first_model(store, FUNCTION)}
    for line in lines.values():
        cost = "not known" if line.cost_per_right is None else f"${line.cost_per_right:.4f}"
        alone = line.alone / max(1, line.valid)
        _say(began, f"{line.model}: {line.calls} calls, {alone:.0%} served alone, a right answer costs {cost}")
    (out / "economics.html").write_text(economics_page.page(FUNCTION, [*lines.values()], report), encoding="utf-8")
    _plot(out / "economics.png", (report["alone"] or {}).get("curve", []))
    _say(began, f"{out} has the pages, the trace and the models")
    after = lines.get(f"tuned:{FUNCTION}@1")
    return {"right": right, "before": lines["oracle"].cost_per_right, "after": after and after.cost_per_right}


def _read(text: str) -> Ticket:  # type: ignore[empty-body] # a model's
    """Read the e-mail."""


def _say(began: float, words: str) -> None:
    print(f"{time.monotonic() - began:5.0f} s  {words}", flush=True)


def _plot(file: Path, curve: list[list[float]]) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    figure = Figure(figsize=(6, 4))
    axes = figure.subplots()
    axes.plot([share for share, _ in curve], [precision for _, precision in curve])
    axes.set(xlabel="share served alone", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    figure.savefig(file)


if __name__ == "__main__":
    sys.exit(main())
