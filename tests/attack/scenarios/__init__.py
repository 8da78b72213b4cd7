"""Scenarios: attacks that need a sidecar of their own, for what they do to its keys, database, signals or files.

A scenario returns what did not hold, as sentences; none is good.
"""

from attack.scenarios import answers, database, keys, signals
from attack.scenarios.setting import SCENARIOS, played

__all__ = ["SCENARIOS", "answers", "database", "keys", "played", "signals"]  # imported, the modules fill SCENARIOS
