"""Many inputs: `guard.map`, and what `guard run` reads and writes of them.

mapping.py  one function over many inputs, several at a time, resumed after a kill
inputs.py   files, patterns and tables as texts; outputs.py: answers in order, as JSONL, CSV or Parquet
"""
