"""How programs of simulations are compiled."""

import jax
import pytest


@pytest.fixture(scope="module")
def quickly_compiled():
    """Programs run for a moment: XLA compiles them quickly rather than well."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
