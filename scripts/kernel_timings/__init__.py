"""Timing operations on a GPU: what ``scripts/measure_kernels.py`` is made of."""
