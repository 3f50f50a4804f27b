"""Whether a model can be served: heads shared out over GPUs, weights and KV cache in their memory."""

import bisect

import jax
import jax.numpy as jnp

from jaxroof.parameters import Architecture, Deployment, Flag, Scalar, Tier0, heads_divide, kv_heads_divide
from jaxroof.step import work
from jaxroof.step.shard import sharded

# More than any server has: whatever the memory, a count is finite.
MOST_REQUESTS = 10**9
Number = Scalar | float


def divides(arch: Architecture, tp: Scalar) -> Flag:
    """Whether T GPUs can share a model's heads."""
    return jnp.all(heads_divide(arch.layers, tp) & kv_heads_divide(arch.layers, tp))


def attends_in_full(arch: Architecture, tokens: Scalar) -> Flag:
    """Whether no attention window is shorter than a request of ``tokens``."""
    windows = arch.layers.sliding_window
    return jnp.all((windows == 0) | (tokens <= windows))


def beyond_positions(arch: Architecture, tokens: float) -> str | None:
    """What there is to say of a request of ``tokens`` that is longer than the model's positions."""
    positions = float(arch.max_position_embeddings)
    return f"{tokens:g} tokens are more than the model's {positions:g} positions" if 0 < positions < tokens else None


def held_tokens(prompt: Number, cached: Number, output: Number, batch: Number, block_size: Number) -> Number:
    """KV cache that a server with ``batch`` requests in flight cannot do without [tokens].

    The least that may be: the cached part of their prompts is the same in all, and each has half of its output,
    whatever the spread. Blocks are filled up. One request must fit as a whole.
    """
    each, whole = _blocks_of(prompt, cached, output, block_size)
    return jnp.maximum(cached + batch * each, whole)


def _blocks_of(prompt: Number, cached: Number, output: Number, size: Number) -> tuple[Number, Number]:
    """Tokens of the blocks that a request fills by itself with half of its output, and of all it has in the end."""

    def filled(tokens: Number) -> Number:
        return -(-tokens // size) * size

    return filled(prompt - cached + output / 2), filled(prompt + output)


@jax.jit
def gpu_bytes(
    arch: Architecture, tp: Scalar, tokens: Scalar | float, requests: Scalar | float = jnp.inf, block_size: Number = 0.0
) -> Scalar:
    """Weights and the KV cache of ``tokens`` of so many requests on one GPU [B].

    KV heads are replicated once T exceeds them, latents and what makes them are whole on every GPU. In layers with a
    window a request holds as many tokens at most, and a block that is being filled.
    """
    shard, layers = sharded(arch, Deployment(tp)), arch.layers
    window = jnp.maximum(layers.sliding_window, layers.attention_chunk_size)
    slides = window > 0
    held = jnp.where(slides, jnp.minimum(tokens, requests * (jnp.where(slides, window, 1.0) + block_size)), tokens)
    cache = jnp.sum(shard.layers * shard.cached * held) * arch.kv_cache_bytes
    return work.gpu_weight_bytes(shard, arch) + cache


def usable_bytes(tier0: Tier0) -> Scalar:
    """The share of one GPU's memory that a server gives to weights and KV cache [B]."""
    return tier0.server.gpu_memory_utilization * tier0.hardware.hbm_bytes


def can_serve(arch: Architecture, tp: Scalar, tokens: Scalar, requests: Scalar, tier0: Tier0) -> Flag:
    """Whether heads are shared out, no more experts chosen than there are, and weights and KV cache fit."""
    layers = arch.layers
    grouped = layers.num_attention_heads % jnp.maximum(layers.num_key_value_heads, 1.0) == 0
    chosen = layers.num_experts_per_tok <= layers.num_experts
    fits = gpu_bytes(arch, tp, tokens, requests, tier0.server.block_size) <= usable_bytes(tier0)
    return jnp.all(grouped & chosen) & divides(arch, tp) & fits


def kv_tokens(arch: Architecture, tp: Scalar, tier0: Tier0) -> Scalar:
    """Tokens whose KV cache fits beside the weights, below 0 where the weights alone do not fit."""
    weights, with_token = (gpu_bytes(arch, tp, tokens) for tokens in (0.0, 1.0))
    return (usable_bytes(tier0) - weights) / (with_token - weights)


def kv_blocks(arch: Architecture, tp: Scalar, tier0: Tier0) -> Scalar:
    """Blocks of KV cache that a server has beside the weights: whole ones."""
    return jnp.floor(kv_tokens(arch, tp, tier0) / tier0.server.block_size)


def most_requests(arch: Architecture, tp: Scalar, tier0: Tier0, *, prompt: float, cached: float, output: float) -> int:
    """How many requests fit beside the weights, as :func:`held_tokens` counts; none where one does not."""
    block, usable = float(tier0.server.block_size), float(usable_bytes(tier0))

    def needed(requests: int) -> float:
        held = held_tokens(prompt, cached, output, requests, block)
        return float(gpu_bytes(arch, tp, held, float(requests), block))

    return bisect.bisect_right(range(1, MOST_REQUESTS + 1), usable, key=needed)
