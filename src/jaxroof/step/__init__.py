"""What one step works on, and the step-time models of one signature: a batch → its time and what that is made of."""

from jaxroof.step.base import Part, StepModel, StepTime
from jaxroof.step.batch import Batch, Requests
from jaxroof.step.model import AFFINE, STEP_MODELS, Model

__all__ = ["AFFINE", "STEP_MODELS", "Batch", "Model", "Part", "Requests", "StepModel", "StepTime"]
