"""Attention of a step: decoding requests in a kernel of their own, or in the prefill kernel of a step with both."""

from typing import NamedTuple

import jax.numpy as jnp

from jaxroof.parameters import Architecture, Groups, Hardware
from jaxroof.parameters.hardware import DecodeAttention, Spread
from jaxroof.step import cost, precision
from jaxroof.step.base import Part, present
from jaxroof.step.batch import Batch, Requests
from jaxroof.step.shard import Shard
from jaxroof.step.span import attended_pairs, first_attended


def attention(batch: Batch, shard: Shard, arch: Architecture, hardware: Hardware) -> dict[str, Part]:
    """Decode reads every request's KV cache; prefill does causal FLOPs, c·m + m²/2 pairs per head.

    A window or a chunk leaves pairs out (:mod:`jaxroof.step.span`). Decoding attends to latents as they are, prefill
    to expanded ones.
    Prefill MFU grows with length: a new token costs h/2 pairs more than it attends to, h = ``half_length``:
    time = FLOPs / (P·μ) · (c·m + m²/2 + m·h/2) / (c·m + m²/2), and for c = 0 that is FLOPs / (P·μ) · (1 + h/m).
    Where decoding requests run in the prefill kernel, each fills a tile of rows: tile·(c + h/2) pairs.
    """
    decode, prefill = precision.attention(arch, hardware)
    half, tile = prefill.half_length_tokens / 2, prefill.mixed_tile_tokens
    decoding, prefilling = present(batch.decode), present(batch.prefill)
    joined = jnp.where((tile > 0) & ~arch.layers.latent, decoding * prefilling, 0.0)
    alone, new = _kv(batch.decode, shard, shard.pair, arch), _kv(batch.prefill, shard, shard.prefill_pair, arch)
    halves = decode.half_tile_tokens * jnp.sum(batch.decode.count) * shard.cached * arch.kv_cache_bytes
    floor_s, efficiency = _decode_constants(alone.moved + halves, decode, hardware)
    efficiency *= jnp.where(alone.moved > 0, alone.moved, 1.0) / jnp.where(alone.moved > 0, alone.moved + halves, 1.0)
    efficiency /= _spread_factor(batch, shard, arch, decode.spread)
    done = new.flops + joined * alone.flops
    paid = new.flops + 2 * shard.prefill_pair * (
        half * jnp.sum(batch.prefill.count * batch.prefill.new_tokens)
        + joined * tile * (alone.context + half * jnp.sum(batch.decode.count))
    )
    # The share of the rate μ that is reached, so that P·μ·busy is; what an absent phase reaches does not matter.
    busy = jnp.where(paid > 0, done, 1.0) / jnp.where(paid > 0, paid, 1.0)
    rates = cost.Rates(hardware.hbm_bytes_per_s, efficiency, hardware.peak_flops_per_s, prefill.mfu)
    # The floor is paid once, so that only the rate of large caches is left of decoding's two regimes.
    mixed = rates._replace(efficiency=decode.large_hbm_efficiency, mfu=prefill.mfu * busy)
    layers = jnp.where(shard.heads > 0, shard.layers, 0.0)
    own, moved = layers * decoding * (1 - joined), new.moved + joined * alone.moved
    return {
        "decode_attention": cost.kernel(own, floor_s, alone.moved, alone.flops, rates),
        "prefill_attention": cost.kernel(layers * prefilling, prefill.floor_s, moved, done, mixed),
    }


class Attended(NamedTuple):
    """Cached tokens attended to, cache read [B] and work [FLOP] of a phase's attention, per layer."""

    context: Groups
    moved: Groups
    flops: Groups


def _kv(requests: Requests, shard: Shard, pair: Groups, arch: Architecture) -> Attended:
    # [group, request]
    m, c, count = (tokens[None] for tokens in (requests.new_tokens, requests.context_tokens, requests.count))
    kept = c - first_attended(c, arch.layers)
    moved = jnp.sum(count * (kept + m), axis=1) * shard.cached * arch.kv_cache_bytes
    flops = 2 * pair * jnp.sum(count * attended_pairs(c, m, arch.layers), axis=1)
    return Attended(jnp.sum(count * kept, axis=1), moved, flops)


def _spread_factor(batch: Batch, shard: Shard, arch: Architecture, spread: Spread) -> Groups:
    """How much longer decode attention takes than with equal contexts, see :class:`Spread`; not for latents."""
    layers, applies = arch.layers, (spread.multiprocessors > 0) & ~arch.layers.latent & (shard.heads > 0)
    requests = jnp.sum(batch.decode.count)
    tokens = jnp.sum(batch.decode.count * batch.decode.context_tokens)
    several = jnp.maximum(requests, 1.0)
    unevenness = batch.spread_tokens * several / jnp.maximum(tokens, 1.0) * (1 - 1 / several)
    # A window that the mean context fills has the same work for all.
    filled = (layers.sliding_window > 0) & (tokens >= several * layers.sliding_window)
    unevenness = jnp.where(filled, 0.0, unevenness)
    heads = jnp.where(applies, shard.keys / layers.head_dim, 1.0)
    tiles = several * heads / jnp.where(applies, spread.multiprocessors, 1.0)
    splits = (spread.split / tiles) ** 2
    tail = (spread.tail * tiles) ** 2 * jnp.sqrt(heads)
    width = tail + unevenness**2 * (spread.bound + splits**2)
    return jnp.where(applies, 1 + unevenness / jnp.sqrt(width), 1.0)


def _decode_constants(moved: Groups, decode: DecodeAttention, hardware: Hardware) -> tuple[Groups, Groups]:
    """Floor and η of the faster of decode attention's two regimes for a cache of ``moved`` bytes."""
    light_s = moved / hardware.hbm_bytes_per_s
    small_s = decode.floor_s + light_s / decode.hbm_efficiency
    small = small_s <= decode.large_floor_s + light_s / decode.large_hbm_efficiency
    return (
        jnp.where(small, decode.floor_s, decode.large_floor_s),
        jnp.where(small, decode.hbm_efficiency, decode.large_hbm_efficiency),
    )
