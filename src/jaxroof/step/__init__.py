"""Step-time models of one signature, by name."""

from jaxroof.step.base import Part, StepModel, StepTime
from jaxroof.step.batch import Batch, Requests
from jaxroof.step.kernels import kernels
from jaxroof.step.memory import memory
from jaxroof.step.roofline import roofline

STEP_MODELS: dict[str, StepModel] = {"kernels": kernels, "memory": memory, "roofline": roofline}
# Affine in a prefill step's context and new tokens, but for the overheads' chunks (and chunks of one token).
AFFINE: frozenset[StepModel] = frozenset({memory})

__all__ = [
    "AFFINE",
    "STEP_MODELS",
    "Batch",
    "Part",
    "Requests",
    "StepModel",
    "StepTime",
    "kernels",
    "memory",
    "roofline",
]
