"""What one step works on."""

from typing import Any

import equinox as eqx
from jaxtyping import Float

from jaxroof.parameters import Sampling, Scalar


class Requests(eqx.Module):
    """Requests of one phase of a step.

    Shapes ``[request]``; ``count`` multiplies a row, and a row with count 0 is not there.
    """

    context_tokens: Float[Any, " request"]
    new_tokens: Float[Any, " request"]
    count: Float[Any, " request"]


class Batch(eqx.Module):
    """What one step works on; a phase with no rows costs nothing.

    All requests are sampled alike. Of the tokens that a request has already generated, penalties need the mean and
    the most among those in flight. ``spread_tokens`` is the standard deviation of the decode contexts beyond what
    their rows show.
    """

    prefill: Requests
    decode: Requests
    sampling: Sampling = eqx.field(default_factory=Sampling)
    generated_tokens: Scalar = 0.0
    longest_tokens: Scalar = 0.0
    spread_tokens: Scalar = 0.0
