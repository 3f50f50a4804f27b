"""Every constant that is no shape: frozen pytrees of floats, one leaf per constant, SI units inside."""

import equinox as eqx

from jaxroof.files import AT_LEAST_ONE, POSITIVE
from jaxroof.parameters.arrays import Scalar
from jaxroof.parameters.hardware import Hardware
from jaxroof.parameters.leaves import leaf
from jaxroof.parameters.server import Server
from jaxroof.units import MICRO


class Traffic(eqx.Module):
    """Discounts on the work of a step; decode ones apply to requests with one new token."""

    decode_kv: Scalar = leaf("decode_kv")
    decode_activation: Scalar = leaf("decode_activation")
    prefill_kv: Scalar = leaf("prefill_kv")
    prefill_activation: Scalar = leaf("prefill_activation")
    causal_divisor: Scalar = leaf("causal_divisor", range=POSITIVE)


class OverheadTerms(eqx.Module):
    """Terms of the additive overhead formula, see :mod:`jaxroof.step.overhead`; all [s] but the chunk."""

    base_s: Scalar = leaf("base_us", MICRO, default=0.0)
    per_layer_s: Scalar = leaf("per_layer_us", MICRO, default=0.0)
    per_layer_replicated_s: Scalar = leaf("per_layer_replicated_us", MICRO, default=0.0)
    per_sqrt_layer_s: Scalar = leaf("per_sqrt_layer_us", MICRO, default=0.0)
    per_vocab_s: Scalar = leaf("per_vocab_us", MICRO, default=0.0)
    per_kv_group_s: Scalar = leaf("per_kv_group_us", MICRO, default=0.0)
    per_request_s: Scalar = leaf("per_request_us", MICRO, default=0.0)
    per_chunk_s: Scalar = leaf("per_chunk_us", MICRO, default=0.0)
    chunk_tokens: Scalar = leaf("chunk_tokens", range=AT_LEAST_ONE, default=512.0)


class Overheads(eqx.Module):
    """Overhead of a step with any prefill, and of a step with none."""

    prefill: OverheadTerms = eqx.field(default_factory=OverheadTerms)
    decode: OverheadTerms = eqx.field(default_factory=OverheadTerms)


class Line(eqx.Module):
    """Step time as somebody measured it on a server of theirs, see :mod:`jaxroof.step.linear`."""

    base_s: Scalar = leaf("base_us", MICRO, default=0.0)
    per_new_token_s: Scalar = leaf("per_new_token_us", MICRO, default=0.0)
    per_context_token_s: Scalar = leaf("per_context_token_us", MICRO, default=0.0)
    per_request_s: Scalar = leaf("per_request_us", MICRO, default=0.0)


class Tier0(eqx.Module):
    """Every constant of the model that is not the model's or the deployment's shape.

    Tier 0 says where the constants come from: a data sheet, a published micro-benchmark or a formula file, each
    with its source beside it. None is fitted to the latencies that it is scored on; ``jaxroof calibrate`` fits.

    >>> tier0 = jaxroof.load_tier0("h100-sxm")
    >>> round(float(tier0.hardware.effective_bytes_per_s / 1e12), 3)  # of the data sheet's 3.35 TB/s
    2.747
    """

    hardware: Hardware
    traffic: Traffic
    server: Server
    overheads: Overheads
    linear: Line = eqx.field(default_factory=Line)
