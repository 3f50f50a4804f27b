"""jaxroof: a differentiable roofline model of LLM serving.

The public functions load on first use, so that ``jaxroof --help`` does not import JAX.
"""

import importlib
from typing import Any

_HOMES = {
    "load_architecture": "inputs.configs",
    "load_hardware": "inputs.configs",
    "load_overheads": "inputs.configs",
    "load_tier0": "inputs.configs",
    "with_settings": "inputs.configs",
    "load_experiments": "inputs.ground_truth",
    "load_ground_truth": "inputs.ground_truth",
    "replace": "leaves",
    "Deployment": "params",
    "predict": "prediction",
    "sensitivities": "sensitivity",
    "latencies": "sweep",
    "tpot_mape": "sweep",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'jaxroof' has no attribute {name!r}")
    return getattr(importlib.import_module(f"jaxroof.{_HOMES[name]}"), name)
