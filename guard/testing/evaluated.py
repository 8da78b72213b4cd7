"""A program inside an answer, which reports when an application runs it: no answer may ever be run.

`PROGRAM` is a Python expression that finds the class below among all classes and instantiates it. It needs no built-in
name, so `eval(answer, {"__builtins__": {}})` runs it too.
"""

from __future__ import annotations

from typing import ClassVar


class EvaluatedByTheApplication:
    """Counts how often the program ran in this process. The harness makes one call at a time."""

    runs: ClassVar[int] = 0

    def __init__(self) -> None:
        EvaluatedByTheApplication.runs += 1


PROGRAM = (
    "[c for c in ().__class__.__base__.__subclasses__()"
    " if c.__name__ == 'EvaluatedByTheApplication'][0]().__class__.runs"
)
