"""``jaxroof devices``: what JAX sees, and how fast it evaluates."""

import os
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxroof.catalogue.load import load_model
from jaxroof.experiments.evaluate import latencies
from jaxroof.experiments.load import load_experiments
from jaxroof.parameters import get, put, scalar, walk
from jaxroof.report.report import Report, sheets
from jaxroof.report.tables import columns
from jaxroof.step import Model
from jaxroof.sweeps.memory import free_bytes
from jaxroof.units import GIGA

SETTINGS = 2**14
SECONDS_PER_MODEL = 1.0
STEP_MODELS = ("memory", "kernels")


def run(json: bool) -> None:
    """Devices, memory, cores, precision, and a self-test of two seconds on one device."""
    seen = [_device(device) for device in jax.devices()]
    rates = {step: _rate(load_model(step)) for step in STEP_MODELS}
    data: dict[str, Any] = {
        "devices": seen,
        "precision": "f64" if jnp.result_type(float) == np.float64 else "f32",
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "evaluations_per_s": rates,
    }
    found = {f"devices ({data['cores']} cores, {data['precision']})": columns(seen)}
    rows = [{"step_model": model, "million_evaluations_per_s": rate / 1e6} for model, rate in rates.items()]
    fast = Report("rates", {}, sheets({f"one device, {SETTINGS} settings of the 13 runs": columns(rows)}), digits=2)
    Report("devices", data, sheets(found), parts=[fast]).show(json)


def _device(device: Any) -> dict[str, Any]:
    """Platform, kind, memory [GB]: a CPU's is what is free."""
    stats = device.memory_stats()
    memory = stats["bytes_limit"] if stats and "bytes_limit" in stats else free_bytes()
    return {
        "id": device.id, "platform": device.platform, "kind": device.device_kind,
        "process": device.process_index, "memory_gb": memory / GIGA,
    }  # fmt: skip


def _rate(model: Model) -> float:
    """Experiment evaluations (TTFT, TPOT and E2E of a request) per second, warm, every constant varying."""
    runs = load_experiments(model=model)
    around = np.linspace(0.9, 1.0, SETTINGS)
    settings = put(model, {path: scalar(get(model, path) * around) for _, path, _ in walk(model)})

    def evaluate() -> None:
        jax.block_until_ready(latencies(settings, runs))

    evaluate()
    began, calls = time.perf_counter(), 0
    while time.perf_counter() - began < SECONDS_PER_MODEL:
        evaluate()
        calls += 1
    return float(calls * SETTINGS * runs.deployment.tp.size / (time.perf_counter() - began))
