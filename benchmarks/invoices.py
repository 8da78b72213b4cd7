"""Does tuning carry over to layouts that it never saw? `python -m benchmarks.invoices --minutes 5 --out FOLDER`.

Invoices are made up and printed in sixteen layouts, which differ in labels, order, notation and what stands beside.
A model is trained on twelve of them and asked about the other four under masks, once each: how many invoices have all
fields right, by the base and after.
"""

from __future__ import annotations

import argparse
import datetime
import json
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import guard
from guard import models
from guard.models.base import Request
from guard.tuning.examples import Pair
from guard.tuning.job import tune
from guard.tuning.training import Recipe

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "vendor": {"type": "string", "maxLength": 40},
        "number": {"type": "string", "maxLength": 16},
        "date": {"type": "string", "format": "date"},
        "currency": {"enum": ["EUR", "GBP", "USD"]},
        "total": {"type": "number", "minimum": 0},
    },
    "required": ["vendor", "number", "date", "currency", "total"],
    "additionalProperties": False,
}
QUESTION = "Read the invoice: who sends it, its number, its date (YYYY-MM-DD), the currency and the total to be paid."
SYMBOL = {"EUR": "€", "GBP": "£", "USD": "$"}
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
          "December")  # fmt: skip
FIRST = ("Northwind", "Alder", "Brightwater", "Castle", "Delta", "Elm Street", "Fairfax", "Granite", "Harbour", "Ivory")
SECOND = ("Supplies", "Printing", "Logistics", "Tools", "Catering", "Software", "Paper", "Electric", "Gardens", "Foods")
KIND = ("Ltd", "GmbH", "Inc", "& Sons", "Co")
BUYERS = ("Marta Kowalczyk", "Otis Bakery", "Riverside School", "Hotel Adler", "Tom Baker", "City of Lund")
ITEMS = (
    "paper A4",
    "toner",
    "desk lamps",
    "consulting",
    "coffee beans",
    "cable 5 m",
    "cleaning",
    "seedlings",
    "chairs",
)


@dataclass(frozen=True)
class Bill:
    """An invoice before it is printed."""

    vendor: str
    number: str
    date: datetime.date
    currency: str
    net: int  # cents
    rate: int  # per cent
    buyer: str
    items: tuple[str, ...]

    @property
    def vat(self) -> int:
        """Cents."""
        return round(self.net * self.rate / 100)

    @property
    def total(self) -> int:
        """Cents."""
        return self.net + self.vat

    @property
    def answer(self) -> dict[str, Any]:
        """What is to be read."""
        return {"vendor": self.vendor, "number": self.number, "date": self.date.isoformat(),
                "currency": self.currency, "total": self.total / 100}  # fmt: skip

    def money(self, cents: int) -> str:
        """Return an amount with its currency's code."""
        return f"{cents / 100:,.2f} {self.currency}"

    def sign(self, cents: int) -> str:
        """Return an amount with its currency's sign."""
        return f"{SYMBOL[self.currency]}{cents / 100:,.2f}"

    @property
    def long(self) -> str:
        """The date in words."""
        return f"{self.date.day} {MONTHS[self.date.month - 1]} {self.date.year}"


def drawn(chance: random.Random) -> Bill:
    """Draw an invoice."""
    number = chance.choice(("INV-{}", "{}", "R{}", "2026/{}", "A-{}")).format(chance.randrange(1000, 99999))
    return Bill(
        f"{chance.choice(FIRST)} {chance.choice(SECOND)} {chance.choice(KIND)}",
        number,
        datetime.date(2024, 1, 1) + datetime.timedelta(days=chance.randrange(1000)),
        chance.choice(("EUR", "GBP", "USD")),
        chance.randrange(900, 400_000),
        chance.choice((0, 5, 7, 19, 20)),
        chance.choice(BUYERS),
        tuple(f"{chance.randrange(1, 9)} x {item}" for item in chance.sample(ITEMS, chance.randrange(1, 4))),
    )


def _lines(*lines: str) -> str:
    return "\n".join(lines)


#: Each prints an invoice; the last four are held out.
LAYOUTS: tuple[Callable[[Bill], str], ...] = (
    lambda b: _lines(b.vendor, f"Invoice {b.number}", f"Date: {b.date}", f"Bill to: {b.buyer}", *b.items,
                     f"Subtotal {b.money(b.net)}", f"VAT {b.rate}% {b.money(b.vat)}", f"Total {b.money(b.total)}"),
    lambda b: _lines("INVOICE", f"From: {b.vendor}", f"To: {b.buyer}", f"No. {b.number}, {b.long}",
                     f"For {', '.join(b.items)}", f"Amount due: {b.sign(b.total)} (tax included: {b.sign(b.vat)})"),
    lambda b: _lines(f"Dear {b.buyer},", f"for {' and '.join(b.items)} we charge {b.money(b.total)}.",
                     f"Please quote invoice {b.number} of {b.long}.", f"Kind regards, {b.vendor}"),
    lambda b: _lines(f"| Invoice no. | {b.number} |", f"| Issued | {b.date} |", f"| Seller | {b.vendor} |",
                     f"| Customer | {b.buyer} |", f"| Net | {b.sign(b.net)} |", f"| Gross | {b.sign(b.total)} |"),
    lambda b: _lines(f"*** {b.vendor} ***", f"Receipt {b.number}", b.date.strftime("%d/%m/%Y"), *b.items,
                     f"NET   {b.net / 100:.2f}", f"TAX   {b.vat / 100:.2f}", f"TOTAL {b.currency} {b.total / 100:.2f}"),
    lambda b: _lines(f"Customer: {b.buyer}", f"Reference: {b.number}", f"Supplier: {b.vendor}", f"Dated {b.long}",
                     f"Sum payable: {b.money(b.total)}"),
    lambda b: _lines(f"{b.long}", f"Our invoice: {b.number}", f"Your account: {b.buyer}", *b.items,
                     f"Balance to pay: {b.sign(b.total)}", f"Payable to {b.vendor}"),
    lambda b: _lines(f"number={b.number}; date={b.date}; seller={b.vendor}; buyer={b.buyer};"
                     f" net={b.net / 100:.2f}; vat={b.vat / 100:.2f}; gross={b.total / 100:.2f}; cur={b.currency}"),
    lambda b: _lines(f"{b.vendor}, sent to {b.buyer}", "-" * 20, *b.items, "-" * 20,
                     f"net {b.sign(b.net)} + {b.rate}% VAT = {b.sign(b.total)}", f"{b.number} / {b.date}"),
    lambda b: _lines("TAX INVOICE", f"Invoice number : {b.number}", f"Invoice date   : {b.date.strftime('%d %b %Y')}",
                     f"Issued by      : {b.vendor}", f"Total incl. tax: {b.money(b.total)}"),
    lambda b: _lines(f"To {b.buyer}: {b.vendor} has sent invoice {b.number} on {b.date}.",
                     f"It comes to {b.sign(b.total)}, of which {b.sign(b.vat)} is VAT."),
    lambda b: _lines(f"BILL   {b.number}", *b.items, f"Sub {b.net / 100:.2f}", f"VAT {b.vat / 100:.2f}",
                     f"To pay {b.currency} {b.total / 100:,.2f}", f"{b.vendor}, {b.long}"),
    # held out
    lambda b: _lines(f"Statement for {b.buyer}", f"Document {b.number} issued {b.date} by {b.vendor}",
                     f"Goods: {', '.join(b.items)}", f"Grand total: {b.money(b.total)}"),
    lambda b: _lines(b.vendor, f"Sales invoice #{b.number}", f"Date of issue {b.long}", f"Sold to {b.buyer}", *b.items,
                     f"Excl. VAT {b.sign(b.net)}", f"VAT {b.rate}% {b.sign(b.vat)}", f"Incl. VAT {b.sign(b.total)}"),
    lambda b: _lines("Payment request", f"Amount: {b.money(b.total)}", f"Payee: {b.vendor}", f"Payer: {b.buyer}",
                     f"Invoice: {b.number}", f"Invoice date: {b.date}"),
    lambda b: _lines(f"Hello {b.buyer},", f"please find our bill {b.number} from {b.long} over {b.sign(b.total)}",
                     f"(net {b.sign(b.net)}).", f"Thank you, {b.vendor}"),
)  # fmt: skip
HELD_OUT = 4  #: Layouts.


def pairs(layouts: tuple[Callable[[Bill], str], ...], count: int, seed: int) -> list[Pair]:
    """Return printed invoices with what is to be read, the layouts in turn."""
    compiled, chance = guard.compile(SCHEMA), random.Random(seed)
    found = []
    for number in range(count):
        bill = drawn(chance)
        text = f"{QUESTION}\n\n{layouts[number % len(layouts)](bill)}"
        answer = json.dumps(bill.answer, ensure_ascii=False)
        found.append(Pair(({"role": "user", "content": text},), compiled, answer, f"invoice {number}", by="person"))
    return found


def measured(name: str, asked: list[Pair]) -> tuple[int, Counter[str]]:
    """Return how many invoices are read without a fault, and how often each field is right."""
    model = models.load(name)

    def one(pair: Pair) -> dict[str, bool]:
        try:
            value = json.loads(model.generate(Request(pair.messages, pair.compiled, max_tokens=120)).text)
        except (guard.GuardError, ValueError):
            value = {}
        return {key: value.get(key) == right for key, right in json.loads(pair.answer).items()}

    with ThreadPoolExecutor(2) as pool:
        read = list(pool.map(one, asked))
    fields = Counter(key for each in read for key, is_right in each.items() if is_right)
    return sum(all(each.values()) for each in read), fields


def main() -> int:
    """Train, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0, help="of one processor, for training")
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    parser.add_argument("--train", type=int, default=600, help="invoices of the other layouts")
    parser.add_argument("--ask", type=int, default=60, help="invoices of the held-out layouts")
    parser.add_argument("--model", default="smollm2")
    args = parser.parse_args()
    asked = pairs(LAYOUTS[-HELD_OUT:], args.ask, seed=2)
    before, fields = measured(args.model, asked)
    print(f"{args.model}: {before} of {len(asked)} invoices without a fault; {dict(fields)}", flush=True)
    began, dropped = time.process_time(), Counter[str]()
    recipe = Recipe(epochs=2.0, seconds=args.minutes * 60)
    usable = pairs(LAYOUTS[:-HELD_OUT], args.train, seed=1)
    tuned = tune(usable, args.out, model=args.model, recipe=recipe, clock=time.process_time, dropped=dropped)
    spent, peak = time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"{tuned.card['examples']} examples, {tuned.card['steps']} steps, {spent:.0f} s, {peak:.2f} GB; {dict(dropped)}"
    )
    after, fields = measured(f"transformers:{args.out}", asked)
    print(f"after: {after} of {len(asked)}, {after / len(asked):.1%}; {dict(fields)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
