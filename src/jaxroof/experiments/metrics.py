"""TPOT conventions and errors; every error is a share of the measured value, not percent."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Float

from jaxroof.parameters import Values
from jaxroof.request.schedule import METRICS as METRICS
from jaxroof.request.schedule import Latency

SCORINGS = ("published", "itl", "e2e_per_token")


def realised_output_tokens(measured: Latency) -> Values:
    """n = E2E / TPOT of a record whose TPOT is E2E per token, the only count that means reveal."""
    return measured.e2e_s / measured.tpot_s


def itl_s(measured: Latency) -> Values:
    """(E2E − TTFT) / (n − 1) at the realised n [s]."""
    return (measured.e2e_s - measured.ttft_s) / (realised_output_tokens(measured) - 1)


def by_scoring(measured: Latency) -> dict[str, Latency]:
    """What each scoring compares its TPOT with: ITL, or E2E per token as recorded."""
    itl = Latency(measured.ttft_s, itl_s(measured), measured.e2e_s)
    return {scoring: itl if scoring == "itl" else measured for scoring in SCORINGS}


def signed_error(predicted: Values, measured: Values) -> Values:
    """predicted / measured − 1; positive: predicted too slow."""
    return predicted / measured - 1


def ape(predicted: Values, measured: Values) -> Values:
    """|predicted mean / measured mean − 1| of one experiment."""
    return abs(signed_error(predicted, measured))


def mean(errors: Float[Any, "experiment ..."], group: Float[Any, " experiment"] | None = None) -> Values:
    """Mean over experiments, or over those whose ``group`` weight is not 0: MAPE, from APE ``[...]``."""
    if group is None:
        return jnp.mean(errors, axis=0)
    return jnp.tensordot(group, errors, axes=1) / jnp.sum(group)
