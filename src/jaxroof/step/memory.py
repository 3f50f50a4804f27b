"""``memory``: a step takes the time to move its bytes (the published H1, H2, H2b and HG1)."""

import jax.numpy as jnp

from jaxroof import work
from jaxroof.overhead import overhead_s
from jaxroof.params import Architecture, Batch, Deployment, Tier0
from jaxroof.step.base import Phase, StepTime, present


def memory(batch: Batch, arch: Architecture, deployment: Deployment, tier0: Tier0) -> StepTime:
    """``t = (W + Σ request bytes) / T / BW + overhead`` [s].

    W is read once per step; in a mixed step the prefill phase shows it. Dense models only.
    Source: latency model of the BLIS inference simulator, branch roofline-go-and-hypotheses.
    """
    bytes_per_s = deployment.tp * tier0.hardware.effective_bytes_per_s
    weights_s = work.layer_weight_bytes(arch) / bytes_per_s
    any_prefill = present(batch.prefill)
    prefill_s = weights_s * any_prefill + work.request_bytes(arch, batch.prefill, tier0.traffic) / bytes_per_s
    decode_s = weights_s * (1 - any_prefill) + work.request_bytes(arch, batch.decode, tier0.traffic) / bytes_per_s
    overhead = overhead_s(tier0.overheads, arch, deployment, batch)
    none = jnp.zeros_like(prefill_s)
    return StepTime(prefill_s + decode_s + overhead, Phase(none, prefill_s), Phase(none, decode_s), overhead)
