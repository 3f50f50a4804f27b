"""``linear``: a step takes as long as a line says that somebody measured on a server of theirs."""

import jax.numpy as jnp

from jaxroof.parameters import Architecture, Deployment, Tier0
from jaxroof.step.base import StepTime
from jaxroof.step.batch import Batch


def linear(batch: Batch, arch: Architecture, deployment: Deployment, tier0: Tier0) -> StepTime:
    """``base + per_new_token·Σm + per_context_token·Σc + per_request·n`` [s], whatever the model and the GPU.

    Σm new tokens and Σc tokens that are in the KV cache when the step starts, of n requests. The line is all that a
    step costs: no overhead, sampler or host beside it.
    """
    line, phases = tier0.linear, (batch.prefill, batch.decode)
    new = sum(jnp.sum(phase.count * phase.new_tokens) for phase in phases)
    context = sum(jnp.sum(phase.count * phase.context_tokens) for phase in phases)
    requests = sum(jnp.sum(phase.count) for phase in phases)
    total_s = (
        line.base_s + line.per_new_token_s * new + line.per_context_token_s * context + line.per_request_s * requests
    )
    none = jnp.zeros_like(total_s)
    queued = tier0.server.queued_steps * jnp.minimum(jnp.sum(batch.decode.count), 1.0)
    return StepTime(total_s, none, tier0.server.admission_s + none, queued, none, {})
