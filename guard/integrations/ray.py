"""Batches on Ray Data: `Mapper` for `Dataset.map_batches`, and what `guard.map(…, engine=RayEngine(…))` may be told.

The work is done in guard/batch: ray_mapper.py is what a worker does, ray_engine.py what the driver of a run does,
ray_limits.py the rate and the budget that workers share.
"""

from guard.batch.ray_engine import RayEngine, check_installed
from guard.batch.ray_limits import JobLimits
from guard.batch.ray_mapper import COLUMNS, Mapper

__all__ = ["COLUMNS", "JobLimits", "Mapper", "RayEngine"]

check_installed()
