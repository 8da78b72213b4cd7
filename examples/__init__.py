"""Real inputs: a document each, the type that is read from it, and the values that a person would read.

`make demo` reads them all. Each module is an example of its own, too:
`guard run examples/invoice.py:Invoice --input examples/invoice.txt`.
"""
