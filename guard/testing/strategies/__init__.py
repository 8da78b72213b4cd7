"""Hypothesis strategies over any schema or type that Guard compiles: values, near misses, and texts of both."""
