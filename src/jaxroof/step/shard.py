"""A model's shape on one of the GPUs that share each layer."""

from typing import NamedTuple

import jax.numpy as jnp

from jaxroof.parameters import Architecture, Deployment, Scalar


class Shard(NamedTuple):
    """A model's shape on one of T GPUs; KV heads are replicated once T exceeds them.

    ``experts`` whole or partial experts of width ``expert``; ``routed`` is the share of the (token, expert) pairs.
    """

    layers: Scalar
    hidden: Scalar
    q: Scalar
    kv: Scalar
    dense: Scalar
    experts: Scalar
    expert: Scalar
    routed: Scalar
    vocab: Scalar


def sharded(arch: Architecture, deployment: Deployment) -> Shard:
    """Heads, widths and vocabulary over T GPUs; experts over ``ep`` groups, each expert over the T / ep GPUs of one."""
    tp, ep = deployment.tp, deployment.ep
    return Shard(
        arch.num_hidden_layers,
        arch.hidden_size,
        arch.num_attention_heads * arch.head_dim / tp,
        jnp.maximum(1.0, arch.num_key_value_heads / tp) * arch.head_dim,
        arch.intermediate_size / tp,
        arch.num_experts / ep,
        arch.moe_intermediate_size / (tp / ep),
        1 / ep,
        arch.vocab_size / tp,
    )
