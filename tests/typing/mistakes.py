"""What type checkers must refuse: each line that ends in `# wrong` is one error, and no other line is any."""

from __future__ import annotations

import guard


@guard.structured(retires=2)  # wrong
def misspelt(text: str) -> int:
    """Count."""
    raise NotImplementedError


@guard.structured(retries="two")  # wrong
def of_another_type(text: str) -> int:
    """Count."""
    raise NotImplementedError


@guard.structured(on={"refusel": "fail"})  # wrong
def no_such_failure(text: str) -> int:
    """Count."""
    raise NotImplementedError


@guard.structured(on={"refusal": "explode"})  # wrong
def no_such_action(text: str) -> int:
    """Count."""
    raise NotImplementedError


@guard.structured(mode="reply")  # wrong
def no_such_mode(text: str) -> int:
    """Count."""
    raise NotImplementedError


@guard.structured
def read(text: str) -> int:
    """Count."""
    raise NotImplementedError


class Desk:
    """Methods."""

    @guard.structured
    def read(self, text: str) -> int:
        """Count."""
        raise NotImplementedError


def forgotten(text: str) -> int:  # wrong
    """Count; nothing decorates this."""


read(3)  # wrong
read("x", "y")  # wrong
Desk().read(3)  # wrong
Desk().read("x", "y")  # wrong
read("x").vendor  # wrong
read.using(retires=2)  # wrong
read.using(seed="3")  # wrong
guard.Guard(retires=2)  # wrong
guard.Guard().using(modle="smollm2")  # wrong
guard.Guard(mode="reply")  # wrong
guard.Guard().generate(int)  # wrong
