"""The parts of ``scripts/fit_kernels.py``."""
