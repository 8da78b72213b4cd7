"""Kernels for GPUs, in Triton, each with a plain torch twin beside it. Importing this package imports neither."""
