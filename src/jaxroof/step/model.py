"""A step-time model with its constants."""

import equinox as eqx

from jaxroof.files.check import one_of
from jaxroof.parameters import Architecture, Deployment, Tier0, inlined
from jaxroof.step.base import StepModel, StepTime
from jaxroof.step.batch import Batch
from jaxroof.step.kernels import kernels
from jaxroof.step.memory import memory
from jaxroof.step.roofline import roofline

STEP_MODELS: dict[str, StepModel] = {"kernels": kernels, "memory": memory, "roofline": roofline}
# Affine in a prefill step's context and new tokens, but for the overheads' chunks (and chunks of one token).
AFFINE = frozenset({"memory"})


class Model(eqx.Module):
    """A step-time model, by name, with its constants: a frozen pytree whose leaves are the constants.

    ``step`` is static: ``kernels``, ``memory`` or ``roofline``. The constants are Tier 0: each one comes from a data
    sheet, a published micro-benchmark or a formula file, with its source, and none is fitted to the latencies that it
    is scored on. Their keys are the model's own: ``replace(model, {"hardware.hbm_efficiency": 0.8})``.
    A gradient with respect to a model is a model of slopes.

    >>> model = jaxroof.load_model("memory", overheads="h2b")
    >>> model.step, round(1e6 * float(model.constants.overheads.decode.per_layer_s))  # 100 µs
    ('memory', 100)
    """

    step: str = eqx.field(static=True)
    constants: Tier0 = inlined()

    def __call__(self, batch: Batch, arch: Architecture, deployment: Deployment) -> StepTime:
        """Time of one step [s] and its parts. Raises InputError for an unknown ``step``."""
        return STEP_MODELS[one_of("model", "step", self.step, STEP_MODELS)](batch, arch, deployment, self.constants)
