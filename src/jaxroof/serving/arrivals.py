"""When requests are sent, and whole loads: all is drawn from one seed."""

import numpy as np

from jaxroof.files import InputError, Range, check
from jaxroof.parameters import Vector
from jaxroof.serving.load import Load
from jaxroof.serving.token_counts import TokenCounts, fixed

KINDS = ("poisson", "poisson-count", "gamma", "constant")
# Clients beyond the requests send nothing, so there may be any number of them.
MANY = Range(low=1, whole=True)
# Beyond any server's and any client's; inside them no arrival is infinite and no array too large.
LEGAL = {
    "rate_per_s": Range(low=1e-6, high=1e6), "requests": Range(low=1, high=1e7, whole=True),
    "burstiness": Range(low=1e-3, high=1e6), "clients": MANY, "stagger_s": Range(high=1e6),
    "think_s": Range(high=1e6), "seed": Range(whole=True, high=2**63),
}  # fmt: skip


def open_loop(rate_per_s: float, requests: int, kind: str, burstiness: float, generator: np.random.Generator) -> Vector:
    """Arrivals [request] of clients that do not wait for answers [s], from 0 on.

    Arguments: ``rate_per_s``, requests per second; ``kind``, one of

    - ``constant``: k / rate, the first at 0
    - ``poisson``: gaps are exponential, of mean 1 / rate; the first request comes after the first gap
    - ``gamma``: gaps are gamma of shape ``burstiness`` and mean 1 / rate, as in vLLM's ``bench serve``: their standard
      deviation / mean is 1/√burstiness, 1 is ``poisson``
    - ``poisson-count``: Poisson given that ``requests`` come within requests / rate: sorted uniform times

    From the same generator another rate gives the same arrivals in another unit of time. Raises InputError.

    >>> open_loop(4.0, 3, "constant", 1.0, np.random.default_rng(0))
    array([0.  , 0.25, 0.5 ])
    """
    _check(rate_per_s=rate_per_s, requests=requests, burstiness=burstiness)
    check.one_of("load", "kind", kind, KINDS)
    if burstiness != 1 and kind != "gamma":
        raise InputError("load", "burstiness", f"is for gamma arrivals, got {burstiness:g} with {kind}")
    if kind == "constant":
        return np.arange(requests) / rate_per_s
    if kind == "poisson-count":
        return np.sort(generator.random(requests)) * (requests / rate_per_s)
    return np.cumsum(generator.standard_gamma(burstiness, requests)) / (burstiness * rate_per_s)


def closed_loop(clients: int, requests: int, stagger_s: float = 0.0) -> Vector:
    """Arrivals [request] of ``clients`` that each wait for an answer before they send the next [s].

    The first of each are ``stagger_s`` apart, from 0 on; the others are inf. Of more clients than requests only as many
    send. Raises InputError.

    >>> closed_loop(2, 4, stagger_s=0.5)
    array([0. , 0.5, inf, inf])
    """
    _check(clients=clients, requests=requests, stagger_s=stagger_s)
    number = np.arange(requests)
    return np.where(number < clients, number * float(stagger_s), np.inf)


def generate_load(
    prompt: TokenCounts,
    output: TokenCounts,
    cached: TokenCounts | None = None,
    *,
    requests: int,
    seed: int = 0,
    rate_per_s: float | None = None,
    kind: str = "poisson",
    burstiness: float = 1.0,
    clients: int | None = None,
    stagger_s: float = 0.0,
    think_s: float = 0.0,
) -> Load:
    """A load drawn from one seed: open loop with ``rate_per_s``, closed loop with ``clients``.

    Arrivals, prompts, cached tokens and outputs have random numbers of their own, so that no setting of one changes
    another. Prompts hold at most their own length of cached tokens, none by default.
    Raises InputError for what is out of range, and where not exactly one of rate and clients is given.

    >>> load = generate_load(fixed(1024), fixed(128), requests=1000, rate_per_s=2.0)
    >>> load.requests, float(load.total_output_tokens)
    (1000, 128000.0)
    """
    _check(requests=requests, seed=seed, think_s=think_s)
    arrivals, prompts, hits, outputs = map(np.random.default_rng, np.random.SeedSequence(int(seed)).spawn(4))
    if (rate_per_s is None) == (clients is None):
        raise InputError("load", "needs rate_per_s or clients, and not both")
    if rate_per_s is not None:
        if stagger_s or think_s:
            raise InputError("load", "stagger_s and think_s are for clients")
        arrival_s = open_loop(rate_per_s, requests, kind, burstiness, arrivals)
    elif clients is not None:
        if kind != "poisson" or burstiness != 1:
            raise InputError("load", "kind and burstiness are for rate_per_s")
        arrival_s = closed_loop(clients, requests, stagger_s)
    prompt_tokens = prompt.draw(prompts, requests)
    cached_tokens = np.minimum((cached or fixed(0)).draw(hits, requests), prompt_tokens)
    return Load(arrival_s, prompt_tokens, cached_tokens, output.draw(outputs, requests), think_s)


def _check(**values: float) -> None:
    for key, value in values.items():
        check.number("load", key, value, LEGAL[key])
