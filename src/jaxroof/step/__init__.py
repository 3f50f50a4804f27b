"""Step-time models of one signature, by name."""

from jaxroof.step.base import Phase, StepModel, StepTime
from jaxroof.step.memory import memory
from jaxroof.step.roofline import roofline

STEP_MODELS: dict[str, StepModel] = {"memory": memory, "roofline": roofline}

__all__ = ["STEP_MODELS", "Phase", "StepModel", "StepTime", "memory", "roofline"]
