"""A program that an answer may hold: whoever runs it is told of, for what a stranger writes is never to be run.

`PROGRAM` is an expression of Python that finds the class below among all classes and makes one. It needs no built-in
name, so that `eval(answer, {"__builtins__": {}})` runs it too.
"""

from __future__ import annotations

from typing import ClassVar


class EvaluatedByTheApplication:
    """Counts how often the program was run in this process; the harness starts one call at a time."""

    runs: ClassVar[int] = 0

    def __init__(self) -> None:
        EvaluatedByTheApplication.runs += 1


PROGRAM = (
    "[c for c in ().__class__.__base__.__subclasses__()"
    " if c.__name__ == 'EvaluatedByTheApplication'][0]().__class__.runs"
)
