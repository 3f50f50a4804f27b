"""``memory``: a step takes the time to move its bytes (the published H1, H2, H2b and HG1)."""

import jax.numpy as jnp

from jaxroof.parameters import Architecture, Deployment, Scalar, Tier0
from jaxroof.step import work
from jaxroof.step.base import Part, StepTime
from jaxroof.step.batch import Batch
from jaxroof.step.overhead import overhead_s


def memory(batch: Batch, arch: Architecture, deployment: Deployment, tier0: Tier0) -> StepTime:
    """``t = (W + Σ request bytes) / T / BW + overhead`` [s], W read once per step. Dense models only.

    Source: latency model of the BLIS inference simulator, branch roofline-go-and-hypotheses.
    """

    def part(total_bytes: Scalar) -> Part:
        share = total_bytes / deployment.tp
        seconds = share / tier0.hardware.effective_bytes_per_s
        none = jnp.zeros_like(seconds)
        light_s = share / tier0.hardware.hbm_bytes_per_s
        return Part(seconds, none, seconds, none, light_s, share, none)

    parts = {
        "weights": part(work.layer_weight_bytes(arch)),
        "prefill": part(work.request_bytes(arch, batch.prefill, tier0.traffic)),
        "decode": part(work.request_bytes(arch, batch.decode, tier0.traffic)),
    }
    overhead = overhead_s(tier0.overheads, arch, deployment, batch)
    total = sum(part.seconds for part in parts.values()) + overhead
    none = jnp.zeros_like(total)
    return StepTime(total, overhead, none, none, none, parts)
