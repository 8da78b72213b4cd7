"""Fifty e-mails, a small model first and a larger one for those of which the small one is not sure.

`python -m examples.fifty [--model smollm2] [--large transformers:FOLDER] [--count 50]`. The e-mails are made here,
each from its number, so that what is right is known. Every call ends in a valid value or a typed error; what each tier
did is what `guard trace stats` prints.
"""

from __future__ import annotations

import argparse
import random
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, Field
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

import guard

SENDERS = ("Marta Kowalczyk", "Tom Adeyemi", "Ines Duarte", "Piotr Zielinski", "Hannah Okafor", "Luca Ferrari")
PRODUCTS = ("Tallyho Reader 3", "Tallyho Dock", "Brightscan X2", "Paylane Mini", "Cashbox Pro")
PROBLEMS = {
    "broken": ("It does not turn on any more.", "The screen stays black.", "It stopped working this morning."),
    "late": ("The parcel has not arrived yet.", "I have been waiting for it for three weeks.", "Where is my delivery?"),
    "wrong": ("You sent me another model.", "The box held something that I had not ordered.", "It is the wrong item."),
}
WISHES = {
    "replacement": ("Please send me a new one.", "I would like a replacement."),
    "refund": ("I want my money back.", "Please refund what I paid."),
}
GREETINGS = ("Hello,", "Dear team,", "Good morning,")


class Mail(BaseModel):
    """What the help desk files."""

    sender: Annotated[str, Field(pattern=r"^[A-Z][a-z]+ [A-Z][a-z]+$", max_length=40)]
    order: Annotated[str, Field(pattern=r"^TH-\d{6}$")]
    product: Annotated[str, Field(min_length=2, max_length=30)]
    problem: Literal["broken", "late", "wrong"]
    wish: Literal["replacement", "refund"]


@dataclass(frozen=True)
class Document:
    """An e-mail and what is right about it."""

    text: str
    right: Mail


def made(number: int) -> Document:
    """Return the e-mail of a number."""
    choose = random.Random(number)  # noqa: S311 (no secret)
    problem, wish = choose.choice(list(PROBLEMS)), choose.choice(list(WISHES))
    sender, product = choose.choice(SENDERS), choose.choice(PRODUCTS)
    order = f"TH-{choose.randrange(100_000, 1_000_000)}"
    text = (
        f"{choose.choice(GREETINGS)}\n\nI ordered a {product} from you, order {order}. "
        f"{choose.choice(PROBLEMS[problem])} {choose.choice(WISHES[wish])}\n\nBest regards,\n{sender}\n"
    )
    return Document(text, Mail(sender=sender, order=order, product=product, problem=problem, wish=wish))  # type: ignore[arg-type] # the keys of PROBLEMS and WISHES


@guard.structured(retries=0, max_tokens=96)
def read(document: str) -> Mail:
    """Read the e-mail."""


def main() -> int:
    """Read the e-mails, and say what came of them."""
    parser = argparse.ArgumentParser(description="Read fifty e-mails with a small model and a larger one.")
    parser.add_argument("--model", default="smollm2", help="the model asked first (default: %(default)s)")
    parser.add_argument("--large", default=None, help="the model asked where the first is not sure (default: none)")
    parser.add_argument("--count", type=int, default=50, help="how many e-mails (default: %(default)s)")
    given = parser.parse_args()
    console = Console()
    ask = read.using(model=given.model)
    if given.large:
        ask = ask.using(escalate_to=given.large, confidence=guard.Confidence(margin=1.0))
    outcomes: dict[str, int] = {}
    right = total = 0
    columns = SpinnerColumn(), TextColumn("{task.description} {task.completed}/{task.total}"), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("reading", total=given.count)
        for number in range(given.count):
            document = made(number)
            try:
                value, call = ask.traced(document.text)
            except guard.GuardError as error:
                outcome = type(error).__name__
            else:
                outcome = f"valid, by {call.served}"
                fields = Mail.model_fields
                right += sum(getattr(value, name) == getattr(document.right, name) for name in fields)
            total += len(Mail.model_fields)
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
            bar.advance(task)
    for outcome, count in sorted(outcomes.items()):
        console.print(f"{count:4d}  {outcome}")
    console.print(f"{right}/{total} fields right; guard trace stats shows what each tier did")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
