"""Numerics of the tests: float64, no implicit promotion of ranks or dtypes. Programs are compiled once per run."""

import gc
import os
import shutil
import tempfile

import annotations
import jax
import matplotlib
import pytest

annotations.install("jaxroof")  # before anything of it is imported

from jaxroof import load_ground_truth, load_model  # noqa: E402
from jaxroof.commands.program_cache import KEEP_ALL  # noqa: E402

QUICKLY = (
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true --xla_cpu_use_fusion_emitters=false "
    "--xla_cpu_opt_preset=FAST_COMPILE --xla_cpu_parallel_codegen_split_count=1"
)

pytest.register_assert_rewrite("command_line")
gc.set_threshold(100_000, 50, 50)  # tracing makes many objects and little garbage
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
matplotlib.use("Agg")

# One fresh cache for the run, its workers and the command lines that they start.
if "PYTEST_XDIST_WORKER" not in os.environ:
    os.environ["JAXROOF_CACHE"] = tempfile.mkdtemp(prefix="jaxroof-tests-")
    # Most of the run is compiling, and programs run for a moment: XLA compiles them quickly rather than well.
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {QUICKLY}".strip()
for name, value in {"jax_compilation_cache_dir": os.environ["JAXROOF_CACHE"], **KEEP_ALL}.items():
    jax.config.update(name, value)


def pytest_unconfigure():
    """The run that made the cache removes it."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        shutil.rmtree(os.environ["JAXROOF_CACHE"], ignore_errors=True)


@pytest.fixture(scope="session")
def truth():
    """The 13 experiments."""
    return load_ground_truth()


@pytest.fixture(scope="session")
def h2b():
    """``memory`` on the H100 with the h2b formula: what was published."""
    return load_model("memory", overheads="h2b")
