"""Numerics of the tests: float64, no implicit promotion of ranks or dtypes; programs compiled once for all workers."""

import os
import shutil
import tempfile

import jax
import matplotlib
import pytest

from jaxroof import load_ground_truth, load_tier0
from jaxroof.cache import KEEP_ALL

IS_WORKER = "PYTEST_XDIST_WORKER" in os.environ
if not IS_WORKER:  # workers and child processes inherit it
    os.environ["JAXROOF_CACHE"] = tempfile.mkdtemp(prefix="jaxroof-tests-")

for name, value in {"jax_compilation_cache_dir": os.environ["JAXROOF_CACHE"], **KEEP_ALL}.items():
    jax.config.update(name, value)
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
matplotlib.use("Agg")


def pytest_sessionfinish():
    """Drop the compiled programs."""
    if not IS_WORKER:
        shutil.rmtree(os.environ["JAXROOF_CACHE"], ignore_errors=True)


@pytest.fixture(scope="session")
def truth():
    """The 13 experiments."""
    return load_ground_truth()


@pytest.fixture(scope="session")
def tier0():
    """H100 and the h2b formula."""
    return load_tier0()
