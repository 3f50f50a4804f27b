"""Numerics of the tests: float64, no implicit promotion of ranks or dtypes."""

import os

import jax
import matplotlib
import pytest
from jax.experimental.compilation_cache import compilation_cache

from jaxroof import load_ground_truth, load_tier0

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
matplotlib.use("Agg")


@pytest.fixture(scope="session")
def compile_cache(tmp_path_factory):
    """Programs that are compiled once for all workers and their children; the environment that says so."""
    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if os.environ.get("PYTEST_XDIST_WORKER") else folder) / "compiled"
    options = {"jax_compilation_cache_dir": str(folder), "jax_persistent_cache_min_compile_time_secs": 0}
    for name, value in options.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
    return {name.upper(): str(value) for name, value in options.items()}


@pytest.fixture(scope="session")
def truth():
    """The 13 experiments."""
    return load_ground_truth()


@pytest.fixture(scope="session")
def tier0():
    """H100 and the h2b formula."""
    return load_tier0()
