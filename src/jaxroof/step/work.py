"""Work of one step before sharding: bytes and FLOPs, per weight, KV cache, activation and kernel."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxroof.parameters import Architecture, Scalar, Traffic
from jaxroof.step.batch import Requests


def gemm_shapes(arch: Architecture) -> tuple[Float[Array, "7"], Float[Array, "7"]]:
    """(k, n) of the seven GEMMs of a layer: Q, K, V, O, gate, up, down."""
    h, i = arch.hidden_size, arch.intermediate_size
    q, kv = arch.num_attention_heads * arch.head_dim, arch.num_key_value_heads * arch.head_dim
    return jnp.stack([h, h, h, q, h, h, i]), jnp.stack([q, kv, kv, h, i, i, h])


def layer_weight_bytes(arch: Architecture) -> Scalar:
    """W = b·L·Σ k·n: bytes of the layers' matrices, read once per step [B]."""
    k, n = gemm_shapes(arch)
    return arch.weight_bytes * arch.num_hidden_layers * jnp.sum(k * n)


def total_weight_bytes(arch: Architecture) -> Scalar:
    """All weights: layers at ``weight_bytes``, embedding and head at ``activation_bytes`` [B]."""
    embeddings = (2 - arch.tie_word_embeddings) * arch.vocab_size * arch.hidden_size
    expert = arch.hidden_size * (3 * arch.moe_intermediate_size + 1)  # and its row of the router
    routed = arch.num_hidden_layers * arch.num_experts * expert * arch.weight_bytes
    return layer_weight_bytes(arch) + routed + embeddings * arch.activation_bytes


def kv_bytes_per_token(arch: Architecture) -> Scalar:
    """K = 2·L·g·d·b [B]."""
    return 2 * arch.num_hidden_layers * arch.num_key_value_heads * arch.head_dim * arch.activation_bytes


def request_bytes(arch: Architecture, requests: Requests, traffic: Traffic) -> Scalar:
    """Σ K·m + K·c·δ_kv + L·H·b·m·δ_act over requests of context c and m new tokens [B].

    The discounts δ are decode's for m = 1 and prefill's otherwise.
    """
    m, c = requests.new_tokens, requests.context_tokens
    one = m == 1
    kv = jnp.where(one, traffic.decode_kv, traffic.prefill_kv)
    activation = jnp.where(one, traffic.decode_activation, traffic.prefill_activation)
    per_token = arch.num_hidden_layers * arch.hidden_size * arch.activation_bytes
    return jnp.sum(requests.count * (kv_bytes_per_token(arch) * (m + c * kv) + per_token * m * activation))


def attention_flops(
    arch: Architecture, new_tokens: Float[Any, " request"], attended_tokens: Float[Any, " request"]
) -> Float[Any, " request"]:
    """4·h·d·m·c'·L: scores and weighted values of m tokens against c' [FLOP]."""
    per_pair = 4 * arch.num_attention_heads * arch.head_dim * arch.num_hidden_layers
    return per_pair * new_tokens * attended_tokens
