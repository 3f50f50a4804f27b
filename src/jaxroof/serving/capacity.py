"""Whether a model can be served: heads shared out over GPUs, weights and KV cache in their memory."""

import bisect

import jax
import jax.numpy as jnp

from jaxroof.parameters import Architecture, Deployment, Flag, Scalar, Tier0, Values, heads_divide, kv_heads_divide
from jaxroof.serving.activations import activation_bytes
from jaxroof.step import work
from jaxroof.step.shard import sharded
from jaxroof.units import GIGA

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


def slides(arch: Architecture) -> bool:
    """Whether some layers attend to a window or chunk only, so that a server may free what is before it."""
    layers = arch.layers
    return bool(jnp.any((layers.sliding_window > 0) | (layers.attention_chunk_size > 0)))


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
    arch: Architecture, tp: Scalar, tokens: Scalar | float, requests: Scalar | float = 1e9, block_size: Number = 1.0
) -> Scalar:
    """Weights and the KV cache of ``tokens`` of so many requests on one GPU [B].

    KV heads are replicated once T exceeds them, latents and what makes them are whole on every GPU. In layers with a
    window or chunks a request holds no more than the blocks of one: vLLM frees those before it.
    """
    shard, least = sharded(arch, Deployment(tp)), _windowed_tokens(arch, block_size)
    held = jnp.where(least > 0, jnp.minimum(tokens, requests * jnp.where(least > 0, least, 1.0)), tokens)
    cache = jnp.sum(shard.layers * shard.cached * held) * arch.kv_cache_bytes
    return work.gpu_weight_bytes(shard, arch) + cache


def _windowed_tokens(arch: Architecture, block_size: Number) -> Values:
    """Tokens of the blocks that a request which decodes keeps in each group of layers; 0: of all that it has.

    Blocks of the window and one more, as a window may begin inside a block; chunks begin where blocks do.
    Source: vLLM 0.15.1, v1/kv_cache_interface.py, ``max_memory_usage_bytes`` for one new token.
    """
    window, chunk = arch.layers.sliding_window, arch.layers.attention_chunk_size
    blocks = jnp.where(window > 0, jnp.ceil(window / block_size) + 1, jnp.ceil(chunk / block_size))
    return blocks * block_size


def usable_bytes(tier0: Tier0) -> Scalar:
    """The share of one GPU's memory that a server takes [B]."""
    return tier0.server.gpu_memory_utilization * tier0.hardware.hbm_bytes


def room_bytes(arch: Architecture, tp: Scalar, tier0: Tier0) -> Scalar:
    """What that leaves to weights and KV cache, beside activations and what is reserved [B].

    Source: vLLM 0.15.1, v1/worker/gpu_worker.py, ``determine_available_memory``. Not in it, and not in vLLM's budget:
    CUDA graphs, captured after the KV cache is there, and buffers of NCCL, which are there before memory is counted.
    """
    return usable_bytes(tier0) - activation_bytes(arch, tp, tier0) - tier0.server.reserved_bytes


def room_in_words(arch: Architecture, tp: Scalar, tier0: Tier0) -> str:
    """What there is for weights and KV cache on one GPU, and of what it is left."""
    terms = {"of activations": activation_bytes(arch, tp, tier0), "reserved": tier0.server.reserved_bytes}
    less = " and ".join(f"{float(term) / GIGA:.1f} GB {what}" for what, term in terms.items() if float(term) > 0)
    share = f"{float(tier0.server.gpu_memory_utilization):g} of its memory"
    return f"{float(room_bytes(arch, tp, tier0)) / GIGA:.1f} GB ({share}{', less ' * bool(less)}{less})"


def can_serve(arch: Architecture, tp: Scalar, tokens: Scalar, requests: Scalar, tier0: Tier0) -> Flag:
    """Whether heads are shared out, no more experts chosen than there are, and weights and KV cache fit."""
    layers = arch.layers
    grouped = layers.num_attention_heads % jnp.maximum(layers.num_key_value_heads, 1.0) == 0
    chosen = layers.num_experts_per_tok <= layers.num_experts
    fits = gpu_bytes(arch, tp, tokens, requests, tier0.server.block_size) <= room_bytes(arch, tp, tier0)
    return jnp.all(grouped & chosen) & divides(arch, tp) & fits


def kv_tokens(arch: Architecture, tp: Scalar, tier0: Tier0) -> Scalar:
    """Tokens whose KV cache fits beside the weights, below 0 where the weights alone do not fit.

    Every layer holds every token, as in the size that vLLM prints; where layers have windows, requests share more.
    """
    weights, with_token = (gpu_bytes(arch, tp, tokens) for tokens in (0.0, 1.0))
    return (room_bytes(arch, tp, tier0) - weights) / (with_token - weights)


def kv_blocks(arch: Architecture, tp: Scalar, tier0: Tier0) -> Scalar:
    """Blocks of KV cache that a server has beside the weights: whole ones."""
    return jnp.floor(kv_tokens(arch, tp, tier0) / tier0.server.block_size)


def most_requests(arch: Architecture, tp: Scalar, tier0: Tier0, *, prompt: float, cached: float, output: float) -> int:
    """How many requests fit beside the weights, as :func:`held_tokens` counts; none where one does not."""
    block, room = float(tier0.server.block_size), float(room_bytes(arch, tp, tier0))

    def needed(requests: int) -> float:
        held = held_tokens(prompt, cached, output, requests, block)
        return float(gpu_bytes(arch, tp, held, float(requests), block))

    return bisect.bisect_right(range(1, MOST_REQUESTS + 1), room, key=needed)
