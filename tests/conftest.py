"""Numerics of the tests: float64, no implicit promotion of ranks or dtypes."""

import jax
import matplotlib
import pytest

from jaxroof import load_ground_truth, load_tier0

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
matplotlib.use("Agg")


@pytest.fixture(scope="session")
def truth():
    """The 13 experiments."""
    return load_ground_truth()


@pytest.fixture(scope="session")
def tier0():
    """H100 and the h2b formula."""
    return load_tier0()
