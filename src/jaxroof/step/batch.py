"""What one step works on."""

from typing import Any

import equinox as eqx
from jaxtyping import Float


class Requests(eqx.Module):
    """Requests of one phase of a step.

    Shapes ``[request]``; ``count`` multiplies a row, and a row with count 0 is not there.
    """

    context_tokens: Float[Any, " request"]
    new_tokens: Float[Any, " request"]
    count: Float[Any, " request"]


class Batch(eqx.Module):
    """What one step works on; a phase with no rows costs nothing."""

    prefill: Requests
    decode: Requests
