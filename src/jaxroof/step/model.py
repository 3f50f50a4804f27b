"""A step-time model with its constants."""

import dataclasses
from collections.abc import Iterable
from typing import Any

import equinox as eqx
import jax
from jax.lax import stop_gradient

from jaxroof.files.check import one_of
from jaxroof.parameters import Architecture, Deployment, Server, Tier0, get, inlined, put
from jaxroof.step.base import StepModel, StepTime
from jaxroof.step.batch import Batch
from jaxroof.step.kernels import kernels
from jaxroof.step.memory import memory
from jaxroof.step.roofline import roofline

STEP_MODELS: dict[str, StepModel] = {"kernels": kernels, "memory": memory, "roofline": roofline}
# Affine in a prefill step's context and new tokens, but for the overheads' chunks (and chunks of one token).
AFFINE = frozenset({"memory"})

SERVER = "constants.server."


class Model(eqx.Module):
    """A step-time model, by name, with its constants: a frozen pytree whose leaves are the constants.

    ``step`` is static: ``kernels``, ``memory`` or ``roofline``. The constants are Tier 0: each one comes from a data
    sheet, a published micro-benchmark or a formula file, with its source, and none is fitted to the latencies that it
    is scored on. Their keys are the model's own: ``replace(model, {"hardware.hbm_efficiency": 0.8})``.
    A gradient with respect to a model is a model of slopes.
    ``own`` is static too: None where the server was named. Else the server is the default one, measured runs keep
    theirs (:meth:`served_by`), and ``own`` lists the paths of its constants that were set since.

    >>> model = jaxroof.load_model("memory", overheads="h2b")
    >>> model.step, round(1e6 * float(model.constants.overheads.decode.per_layer_s))  # 100 µs
    ('memory', 100)
    """

    step: str = eqx.field(static=True)
    constants: Tier0 = inlined()
    own: tuple[str, ...] | None = eqx.field(static=True, default=None)

    def __call__(self, batch: Batch, arch: Architecture, deployment: Deployment) -> StepTime:
        """Time of one step [s] and its parts. Raises InputError for an unknown ``step``."""
        return STEP_MODELS[one_of("model", "step", self.step, STEP_MODELS)](batch, arch, deployment, self.constants)

    def server_for(self, server: Server) -> Server:
        """The server that serves runs which were measured on ``server``: what is this model's ``own`` is kept."""
        if self.own is None:
            return self.constants.server
        return put(server, {path.removeprefix(SERVER): get(self, path) for path in self.own})

    def served_by(self, server: Server) -> "Model":
        """The model with :meth:`server_for` that server, which moves as the model's own does.

        So a gradient with respect to the model's server is one of theirs.
        """
        if self.own is None:
            return self
        mine: dict[str, Any] = {path: get(self, path) for path in self.own}
        theirs = jax.tree.map(lambda value, leaf: value + (leaf - stop_gradient(leaf)), server, self.constants.server)
        return put(put(self, {"constants.server": theirs}), mine)

    def changed(self, paths: Iterable[str]) -> "Model":
        """The model that knows that the constants at ``paths`` were set."""
        if self.own is None:
            return self
        mine = [path for path in paths if path.startswith(SERVER)]
        return dataclasses.replace(self, own=tuple(dict.fromkeys([*self.own, *mine])))
