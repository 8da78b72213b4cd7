"""What Python types say as JSON Schema: all that Pydantic checks of a JSON text, where a schema can say it.

`generator.py` is the way in, `notes.py` keeps what no schema says. The others hold regular expressions: texts of dates,
numbers, addresses, URLs, and of the types of other packages.
"""
