"""How many weights a layer has and how many numbers of KV cache a token: counts, before they are shared out over GPUs.

``layer`` has the fields of :class:`jaxroof.parameters.layers.Layers`, numbers or arrays of NumPy or JAX.
"""

from typing import Any

import numpy as np


def value_dim(layer: Any) -> Any:
    """Width of a head's values: that of its keys unless stated."""
    return _where(layer.v_head_dim > 0, layer.v_head_dim, layer.head_dim)


def attention(hidden: Any, layer: Any) -> Any:
    """Projections of queries, keys and values, compressed or not, and of the output."""
    heads, value = layer.num_attention_heads, value_dim(layer)
    queries, rank, rope = heads * layer.head_dim, layer.kv_lora_rank, layer.qk_rope_head_dim
    compressed = layer.q_lora_rank * (hidden + queries)
    of_heads = hidden * layer.num_key_value_heads * (layer.head_dim + (layer.kv_projections - 1) * value)
    of_latents = hidden * (rank + rope) + rank * heads * (layer.head_dim - rope + value)
    of_queries = _where(layer.q_lora_rank > 0, compressed, hidden * queries)
    return of_queries + _where(rank > 0, of_latents, of_heads) + heads * value * hidden


def ffn(hidden: Any, layer: Any) -> Any:
    """The dense FFN, or a mixture's shared experts."""
    return layer.ffn_matrices * hidden * layer.intermediate_size


def expert(hidden: Any, layer: Any) -> Any:
    """One routed expert."""
    return layer.ffn_matrices * hidden * layer.moe_intermediate_size


def router(hidden: Any, layer: Any) -> Any:
    """What chooses among the experts."""
    return hidden * layer.num_experts


def cached(layer: Any) -> Any:
    """Numbers of KV cache that a token has in a layer: keys and values, or one latent for all heads."""
    of_heads = layer.num_key_value_heads * (layer.head_dim + value_dim(layer))
    return _where(layer.kv_lora_rank > 0, layer.kv_lora_rank + layer.qk_rope_head_dim, of_heads)


def _where(condition: Any, yes: Any, no: Any) -> Any:
    """JAX's where one of them is: who only counts a file's weights loads no JAX."""
    if all(isinstance(each, float | int | np.generic | np.ndarray) for each in (condition, yes, no)):
        return np.where(condition, yes, no)
    import jax.numpy as jnp

    return jnp.where(condition, yes, no)
