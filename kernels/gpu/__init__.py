"""Kernels for GPUs, in Triton, each with a plain torch twin beside it. Importing this package imports neither."""

import importlib.util

if importlib.util.find_spec("torch") is None:
    raise ModuleNotFoundError("guard.kernels.gpu needs torch: pip install 'guard-slm[local]'", name="torch")
