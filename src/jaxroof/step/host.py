"""How host and GPU share a step: one after the other, or the host hidden behind the GPU."""

import jax.numpy as jnp

from jaxroof.parameters import Flag, Scalar, Server


def launched_s(forward_s: Scalar, launches: Scalar, in_graph: Flag, server: Server) -> Scalar:
    """What a forward pass F of that many kernels takes with their launching [s]: ``max(F, launch·launches)``.

    F in a CUDA graph, which the host launches as a whole.
    """
    return jnp.maximum(forward_s, jnp.where(in_graph, 0.0, server.launch_s * launches))


def exposed_s(forward_s: Scalar, sampler_s: Scalar, tables_s: Scalar, requests: Scalar, server: Server) -> Scalar:
    """What the host adds to a step's forward pass F and sampler S: its work H and tables T for penalties [s].

    One step at a time: ``T + H``. Asynchronous: the host schedules and prepares the next step while the GPU works, but
    the tables need the tokens of the last one, and the sampler the tables: a step takes
    ``max(F + S, T + S, T + H)``. H is ``per_step + per_request·requests``.
    Source: vLLM's asynchronous scheduling, two batches in flight (``max_concurrent_batches`` = 2).
    """
    host_s = server.per_step_s + server.per_request_s * requests
    unhidden = jnp.maximum(tables_s - forward_s, tables_s + host_s - forward_s - sampler_s)
    return jnp.where(server.async_scheduling > 0, jnp.maximum(unhidden, 0.0), tables_s + host_s)
