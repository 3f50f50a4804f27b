"""The load of a server: which requests its clients send, and when."""

from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Float

from jaxroof.parameters import Values, scalar


class Load(eqx.Module):
    """What clients send to one server: requests in the order in which they arrive.

    Shapes [request]; loads of equally many requests can be stacked, settings in front. Counts are whole numbers;
    ``prompt_tokens`` is the whole prompt, of which the prefix cache holds ``cached_tokens``. ``arrival_s`` [s] rises;
    inf is a request that is sent once an earlier one has ended and ``think_s`` [s] has passed.

    >>> load = jaxroof.Load([0.0, 0.5], [100, 200], [0, 16], [10, 30])
    >>> float(load.total_output_tokens), float(load.output_cv)
    (40.0, 0.5)
    """

    arrival_s: Float[Any, "... request"] = eqx.field(converter=scalar)
    prompt_tokens: Float[Any, "... request"] = eqx.field(converter=scalar)
    cached_tokens: Float[Any, "... request"] = eqx.field(converter=scalar)
    output_tokens: Float[Any, "... request"] = eqx.field(converter=scalar)
    think_s: Values = eqx.field(converter=scalar, default=0.0)

    @property
    def requests(self) -> int:
        """How many requests there are."""
        return int(self.output_tokens.shape[-1])

    @property
    def closed(self) -> bool:
        """Whether requests are sent once others have ended."""
        return bool(np.isinf(self.arrival_s).any())

    @property
    def total_output_tokens(self) -> Float[Any, "..."]:
        """Sum of the outputs."""
        return self.output_tokens.sum(-1)

    @property
    def total_new_tokens(self) -> Float[Any, "..."]:
        """Sum of the prompts without what is cached: what prefill has to compute."""
        return (self.prompt_tokens - self.cached_tokens).sum(-1)

    @property
    def output_mean_tokens(self) -> Float[Any, "..."]:
        """Mean output."""
        return self.output_tokens.mean(-1)

    @property
    def output_cv(self) -> Float[Any, "..."]:
        """Standard deviation / mean of the outputs."""
        return self.output_tokens.std(-1) / self.output_mean_tokens
