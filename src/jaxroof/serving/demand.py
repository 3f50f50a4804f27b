"""What clients ask of a server on average: how many requests, and how long they are."""

import equinox as eqx

from jaxroof.parameters import Scalar, scalar


class Demand(eqx.Module):
    """Of an open loop ``rate_per_s`` requests per second, of a closed one ``clients`` that think for ``think_s``.

    The other of the two is 0. ``prompt_tokens``, ``cached_tokens`` and ``output_tokens`` are means, the first and the
    last with a coefficient of variation (standard deviation / mean).

    >>> float(jaxroof.Demand(prompt_tokens=512, output_tokens=128, clients=16).clients)
    16.0
    """

    prompt_tokens: Scalar = eqx.field(converter=scalar)
    output_tokens: Scalar = eqx.field(converter=scalar)
    cached_tokens: Scalar = eqx.field(converter=scalar, default=0.0)
    prompt_cv: Scalar = eqx.field(converter=scalar, default=0.0)
    output_cv: Scalar = eqx.field(converter=scalar, default=0.0)
    rate_per_s: Scalar = eqx.field(converter=scalar, default=0.0)
    clients: Scalar = eqx.field(converter=scalar, default=0.0)
    think_s: Scalar = eqx.field(converter=scalar, default=0.0)
