"""How programs of simulations are compiled."""

import sys

import jax
import pytest


@pytest.fixture(scope="module")
def quickly_compiled():
    """Programs run for a moment: XLA compiles them quickly rather than well."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture
def fused(monkeypatch):
    """Simulations with XLA's own emitters of fused loops: without, batches of other sizes round differently."""
    module = sys.modules["jaxroof.serving.simulate"]
    program = module._program

    def run(setting, *static):
        lowered = program.lower(setting, *static)
        return lowered.compile(compiler_options={"xla_cpu_use_fusion_emitters": True})(setting)

    monkeypatch.setattr(module, "_program", run)
