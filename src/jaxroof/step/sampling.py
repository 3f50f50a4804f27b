"""From logits to tokens: the sampler's kernels, and what penalties cost on the GPU and on the host.

B requests have V float32 logits each. Sources of every constant: ``configs/servers/``.
"""

import jax.numpy as jnp

from jaxroof.parameters import Architecture, Flag, Hardware, Scalar, Server
from jaxroof.step import cost
from jaxroof.step.base import Part
from jaxroof.step.batch import Batch

LOGIT_BYTES = 4  # float32


def sampler(batch: Batch, sampled: Scalar, arch: Architecture, hardware: Hardware, server: Server) -> dict[str, Part]:
    """Kernels that draw ``sampled`` tokens: passes over the logits, a sort for ``top_p``, penalties."""
    chosen, costs, logits = batch.sampling, server.sampler, sampled * arch.vocab_size
    drawn = costs.random_passes + jnp.where(chosen.cuts_share, costs.min_p_passes, 0.0)
    passes = jnp.where(chosen.random, drawn, costs.greedy_passes)
    segmented = sampled >= costs.segmented_sort_rows
    sort = jnp.where(segmented, costs.segmented_sort_bytes_per_logit, costs.sort_bytes_per_logit)
    cut = jnp.where(chosen.cuts_mass, sort, 0.0) + jnp.where(chosen.cuts_count, costs.top_k_bytes_per_logit, 0.0)
    cuts = chosen.cuts_mass | chosen.cuts_count
    penalties = server.penalties
    # The copy of the tokens so far is no traffic of the GPU's memory: it counts as a launch that takes that long.
    copy_s = _padded_tokens(batch, sampled) * penalties.copy_s_per_padded_token
    return {
        "sampling": cost.streaming(passes, 2 * logits * LOGIT_BYTES, hardware),
        "sorting": _bandwidth_bound(cuts, costs.sort_floor_s, cut * logits, hardware),
        "penalties": _bandwidth_bound(
            chosen.penalises, penalties.floor_s + copy_s, penalties.bytes_per_logit * logits, hardware
        ),
    }


def penalties_host_s(batch: Batch, sampled: Scalar, server: Server) -> Scalar:
    """Time in which the host turns each request's tokens so far into one padded matrix [s]."""
    costs = server.penalties
    tokens_s = costs.host_s_per_token * sampled * batch.generated_tokens
    padded_s = costs.host_s_per_padded_token * _padded_tokens(batch, sampled)
    return jnp.where(batch.sampling.penalises, tokens_s + padded_s, 0.0)


def _padded_tokens(batch: Batch, sampled: Scalar) -> Scalar:
    return sampled * batch.longest_tokens


def _bandwidth_bound(launched: Flag, floor_s: Scalar, moved: Scalar, hardware: Hardware) -> Part:
    """Published times of these kernels, as bytes at the data sheet's bandwidth."""
    seconds = floor_s + moved * (1 / hardware.hbm_bytes_per_s)
    return cost.transfer(jnp.where(launched, 1.0, 0.0), seconds, floor_s, moved, hardware.hbm_bytes_per_s)
