"""Measuring Guard, and peers beside it where they are installed."""
