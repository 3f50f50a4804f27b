"""How host and GPU share a step: one after the other, or the host hidden behind the GPU."""

import jax.numpy as jnp

from jaxroof.parameters import Scalar, Server


def step_s(forward_s: Scalar, sampler_s: Scalar, penalties_s: Scalar, requests: Scalar, server: Server) -> Scalar:
    """Time of a step [s] of a forward pass F, a sampler S, the host's work H, and its tables for penalties T.

    Synchronous: ``F + S + T + H``. Asynchronous: the host schedules and prepares the next step while the GPU works, but
    the tables need the tokens of the last one: ``max(F + S, T + S, T + H)``. H is ``per_step + per_request·requests``.
    Source: vLLM's asynchronous scheduling, two batches in flight (``max_concurrent_batches`` = 2).
    """
    host_s = server.per_step_s + server.per_request_s * requests
    hidden = jnp.maximum(jnp.maximum(forward_s, penalties_s) + sampler_s, penalties_s + host_s)
    return jnp.where(server.async_scheduling > 0, hidden, forward_s + sampler_s + penalties_s + host_s)
