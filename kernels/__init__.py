"""Kernels: the mask engine for CPUs, the mask kernels for GPUs, and what both need."""
