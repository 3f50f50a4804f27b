"""A step-time model with its constants."""

from collections.abc import Iterable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import stop_gradient
from jaxtyping import Float

from jaxroof.files.check import one_of
from jaxroof.parameters import Architecture, Deployment, Server, Tier0, get, inlined, put, scalar, walk
from jaxroof.step.base import StepModel, StepTime
from jaxroof.step.batch import Batch
from jaxroof.step.kernels import kernels
from jaxroof.step.linear import linear
from jaxroof.step.memory import memory
from jaxroof.step.roofline import roofline

STEP_MODELS: dict[str, StepModel] = {"kernels": kernels, "linear": linear, "memory": memory, "roofline": roofline}
# Affine in a prefill step's context and new tokens, but for the overheads' chunks (and chunks of one token).
AFFINE = frozenset({"linear", "memory"})

SERVER = "constants.server."


class Model(eqx.Module):
    """A step-time model, by name, with its constants: a frozen pytree whose leaves are the constants.

    ``step`` is static: ``kernels``, ``linear``, ``memory`` or ``roofline``. The constants are Tier 0: each one comes
    from a data sheet, a published micro-benchmark or a formula file, with its source, and none is fitted to the
    latencies that it is scored on. Their keys are the model's own:
    ``replace(model, {"hardware.hbm_efficiency": 0.8})``. A gradient with respect to a model is a model of slopes,
    per SI unit: per second where the key is in µs.
    ``own`` is 1 for each constant of the server that is the model's own: all (or None) where the server was named. Else
    the server is the default one, measured runs keep theirs (:meth:`served_by`), and its own are those set since.

    >>> model = jaxroof.load_model("memory", overheads="h2b")
    >>> model.step, round(1e6 * float(model.constants.overheads.decode.per_layer_s))  # 100 µs
    ('memory', 100)
    """

    step: str = eqx.field(static=True)
    constants: Tier0 = inlined()
    own: Float[Any, " constant"] | None = None

    def __call__(self, batch: Batch, arch: Architecture, deployment: Deployment) -> StepTime:
        """Time of one step [s] and its parts. Raises InputError for an unknown ``step``."""
        return STEP_MODELS[one_of("model", "step", self.step, STEP_MODELS)](batch, arch, deployment, self.constants)

    def server_for(self, server: Server) -> Server:
        """The server that serves runs which were measured on ``server``: what is this model's own is kept."""
        if self.own is None:
            return self.constants.server
        mine = [path for path, own in zip(_paths(server), np.asarray(self.own), strict=True) if own]
        return put(server, {path: get(self.constants.server, path) for path in mine})

    def served_by(self, server: Server) -> "Model":
        """The model with :meth:`server_for` that server, traced; what is not its own moves as the model's does.

        So a gradient with respect to the model's server is one of theirs.
        """
        if self.own is None:
            return self
        mine = self.constants.server
        theirs = jax.tree.map(lambda value, leaf: value + (leaf - stop_gradient(leaf)), server, mine)
        leaves = {p: jnp.where(self.own[i] > 0, get(mine, p), get(theirs, p)) for i, p in enumerate(_paths(mine))}
        return put(self, {"constants.server": put(theirs, leaves)})

    def changed(self, paths: Iterable[str]) -> "Model":
        """The model that knows that the constants at ``paths`` were set."""
        mine = {path.removeprefix(SERVER) for path in paths if path.startswith(SERVER)}
        if self.own is None or not mine:
            return self
        new = np.array([path in mine for path in _paths(self.constants.server)], dtype=float)
        return put(self, {"own": self.own * (1 - new) + new})


def with_server(step: str, constants: Tier0, named: bool) -> Model:
    """A model whose server was named or is the default."""
    return Model(step, constants, scalar(np.full(len(_paths(constants.server)), float(named))))


def _paths(server: Server) -> list[str]:
    return [path for _, path, _ in walk(server)]
