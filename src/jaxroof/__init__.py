"""jaxroof: a differentiable roofline model of LLM serving.

The public functions load on first use, so that ``jaxroof --help`` does not import JAX.
"""

import importlib
from typing import Any

_HOMES = {
    "load_architecture": "catalogue.load",
    "load_hardware": "catalogue.load",
    "load_overheads": "catalogue.load",
    "load_model": "catalogue.load",
    "load_tier0": "catalogue.load",
    "with_settings": "catalogue.load",
    "load_experiments": "experiments.load",
    "load_ground_truth": "experiments.load",
    "replace": "parameters.leaves",
    "Deployment": "parameters.architecture",
    "predict": "request.predict",
    "sensitivities": "sensitivity.derivatives",
    "latencies": "experiments.evaluate",
    "tpot_mape": "experiments.evaluate",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'jaxroof' has no attribute {name!r}")
    return getattr(importlib.import_module(f"jaxroof.{_HOMES[name]}"), name)
