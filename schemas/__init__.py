"""The front end: JSON Schema, Pydantic models and types become the nodes that the engine works on.

`compile` is the way in. Below it, each module holds one idea: documents and references, keywords and dialects, the
scan that decides what is enforced, the lowering of a schema to a record, regexes, exact decimals, formats.
"""

from guard.kernels.errors import Finding, GuardError, SchemaError
from guard.kernels.vocabulary import Vocabulary
from guard.schemas.compiled import Compiled, Options
from guard.schemas.compiling import compile  # noqa: A004 - as re.compile is called
from guard.schemas.limits import Limits
from guard.schemas.scan import ReportLine
from guard.schemas.typed.grounded import Quoted, Stated

__all__ = [
    "Compiled",
    "Finding",
    "GuardError",
    "Limits",
    "Options",
    "Quoted",
    "ReportLine",
    "SchemaError",
    "Stated",
    "Vocabulary",
    "compile",
]
