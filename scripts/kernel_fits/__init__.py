"""The parts of ``scripts/fit_kernels.py`` and ``scripts/make_mfu_tables.py``."""
