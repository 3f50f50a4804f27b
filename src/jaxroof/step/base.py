"""What a step-time model is, and the breakdown that it returns."""

from typing import Protocol

import equinox as eqx
import jax.numpy as jnp

from jaxroof.leaves import Scalar
from jaxroof.params import Architecture, Batch, Deployment, Requests, Tier0


class Phase(eqx.Module):
    """Time of one phase of a step on each side of the roofline [s]; zero where it is not there."""

    compute_s: Scalar
    memory_s: Scalar

    @property
    def bound_s(self) -> Scalar:
        """The side that binds: max(compute, memory) [s]."""
        return jnp.maximum(self.compute_s, self.memory_s)


class StepTime(eqx.Module):
    """Time of one step and what it is made of [s]."""

    total_s: Scalar
    prefill: Phase
    decode: Phase
    overhead_s: Scalar


class StepModel(Protocol):
    """A pure function from one step's batch to its time."""

    def __call__(self, batch: Batch, arch: Architecture, deployment: Deployment, tier0: Tier0) -> StepTime: ...


def present(requests: Requests) -> Scalar:
    """1 where a phase has any request, else 0."""
    return jnp.where(jnp.sum(requests.count) > 0, 1.0, 0.0)
