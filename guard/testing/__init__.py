"""The property-based harness: strategies of model answers, models that misbehave, and a search for what breaks.

`values`, `near_misses` and `texts` are Hypothesis strategies over any schema or type that Guard compiles; `FlakyModel`
and `AdversarialModel` are models that misbehave; `serving` puts one behind an address. `check` searches for an answer
that breaks an application. They need the extra `testing`, and are imported on first use (PEP 562).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from guard.support.lazy_names import lazy_names

if TYPE_CHECKING:
    from guard.testing.adversarial import AdversarialModel
    from guard.testing.flaky import FlakyModel, serving
    from guard.testing.report import Report
    from guard.testing.scripted_replies import FAULTS
    from guard.testing.search import Check, check
    from guard.testing.strategies.near_misses import NearMiss, near_misses
    from guard.testing.strategies.texts import Text, texts
    from guard.testing.strategies.values import values

__all__ = [
    "FAULTS",
    "AdversarialModel",
    "Check",
    "FlakyModel",
    "NearMiss",
    "Report",
    "Text",
    "check",
    "near_misses",
    "serving",
    "texts",
    "values",
]

#: Public names by module.
_HOMES = {
    "guard.testing.adversarial": ("AdversarialModel",),
    "guard.testing.flaky": ("FlakyModel", "serving"),
    "guard.testing.scripted_replies": ("FAULTS",),
    "guard.testing.report": ("Report",),
    "guard.testing.search": ("Check", "check"),
    "guard.testing.strategies.values": ("values",),
    "guard.testing.strategies.near_misses": ("NearMiss", "near_misses"),
    "guard.testing.strategies.texts": ("Text", "texts"),
}

__getattr__, __dir__ = lazy_names(__name__, _HOMES, extra="testing")
