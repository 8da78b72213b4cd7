"""Many inputs: `guard.map`, and what `guard run` reads and writes of them.

mapping.py  one function over many inputs, several at a time; map_run.py: the run of it, resumed after a kill
ray_engine.py, ray_mapper.py, ray_limits.py  the same by a Ray cluster: its driver, its workers, what they share
inputs.py   files, patterns and tables as texts; outputs.py: answers in order, as JSONL, CSV or Parquet
declared_columns.py  which columns a type's answers have
"""
