"""Output: what an answer must be, and how a text is read, checked and mended.

target.py                       a type or schema as what an answer must be
partial.py, partial_json.py     values as they come in
checking.py, judge.py           the check after decoding, which knows nothing of the masks
worker.py, worker_pool.py       the same in a process that can be killed
repair.py                       edits that make broken JSON whole
provider_schema.py              schemas as providers take them, and their answers back
provider_translation.py         the translation there
optional_nulls.py               whether a null can stand for a property that is absent
schema_report.py                what `guard check` says of a schema
"""
