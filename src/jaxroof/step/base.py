"""What a step-time model is, and the breakdown that it returns."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp

from jaxroof.parameters import Architecture, Deployment, Scalar, Tier0, Values
from jaxroof.step.batch import Batch, Requests


class Part(eqx.Module):
    """One part of a step, on one GPU: its time, what it is made of [s], and its work [B, FLOP].

    ``seconds = floor + max(memory, compute)``, or a smooth join of the two; ``light_s`` is the same work at the data
    sheet's rates, ``launches`` are how many kernels do it. Of each group of layers, until they are summed.
    """

    seconds: Values
    floor_s: Values
    memory_s: Values
    compute_s: Values
    light_s: Values
    bytes: Values
    flops: Values | float
    launches: Values | float = 0.0


class StepTime(eqx.Module):
    """Time of one step [s], and its parts by name.

    What a new request waits for once, before its first step, is no part of it: ``admission_s``, and as many steps as
    are queued where it joins other requests; ``waiting_s`` is their time, which a breakdown of a request knows.
    """

    total_s: Scalar
    overhead_s: Scalar
    admission_s: Scalar
    queued_steps: Scalar
    waiting_s: Scalar
    parts: dict[str, Part]


# A pure function from one step's batch to its time.
StepModel = Callable[[Batch, Architecture, Deployment, Tier0], StepTime]


def present(requests: Requests) -> Scalar:
    """1 where a phase has any request, else 0."""
    return jnp.where(jnp.sum(requests.count) > 0, 1.0, 0.0)
