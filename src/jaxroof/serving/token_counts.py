"""Distributions of whole token counts: exact mean and spread, draws."""

import dataclasses
import math

import numpy as np

from jaxroof.parameters import Vector
from jaxroof.request.workload import Lengths


@dataclasses.dataclass(frozen=True, eq=False)
class TokenCounts:
    """Whole token counts, rising, and the probability of each.

    >>> fixed(1024).mean, round(uniform(819, 1024).cv, 4)
    (1024.0, 0.0645)
    """

    tokens: Vector
    probability: Vector

    @property
    def mean(self) -> float:
        """The exact mean [tokens]."""
        return float(self.probability @ self.tokens)

    @property
    def cv(self) -> float:
        """The exact standard deviation / mean; 0 where all are 0."""
        return math.sqrt(self.probability @ (self.tokens - self.mean) ** 2) / (self.mean or 1.0)

    @property
    def most(self) -> float:
        """The largest count that may be drawn [tokens]."""
        return float(self.tokens[-1])

    def draw(self, generator: np.random.Generator, count: int) -> Vector:
        """``count`` independent draws [request].

        One random number each, by the inverse of the distribution function: from the same seed, longer lengths are
        longer in every request, and more requests begin with the same ones.
        """
        below = np.cumsum(self.probability)
        return self.tokens[np.searchsorted(below / below[-1], generator.random(count), side="right")]


def fixed(tokens: float) -> TokenCounts:
    """Always the same count."""
    return TokenCounts(np.array([float(tokens)]), np.ones(1))


def uniform(low: int, high: int) -> TokenCounts:
    """Every count from ``low`` to ``high``, both included, equally often."""
    tokens = np.arange(low, high + 1.0)
    return TokenCounts(tokens, np.full(len(tokens), 1 / len(tokens)))


def normal(mean: float, stdev: float, low: int, high: int) -> TokenCounts:
    """Gaussian, clamped to [low, high], then rounded."""
    return TokenCounts(np.arange(low, high + 1.0), Lengths(mean, stdev, low, high).distribution()[low:])


def lognormal(mean: float, cv: float, low: int, high: int) -> TokenCounts:
    """Log-normal, clamped to [low, high], then rounded; ``mean`` and standard deviation / mean are those before that.

    ln x is Gaussian with σ² = ln(1 + cv²) and mean ln(mean) − σ²/2.
    """
    from scipy.special import ndtr  # slow to load

    sigma = lognormal_sigma(cv)
    edges = np.log(np.arange(low, high) + 0.5)
    below = ndtr((edges - math.log(mean) + sigma**2 / 2) / (sigma or 1e-9))
    return TokenCounts(np.arange(low, high + 1.0), np.diff(below, prepend=0.0, append=1.0))


def lognormal_sigma(cv: float) -> float:
    """The standard deviation of the logarithm."""
    return math.sqrt(math.log1p(cv**2))


def observed(tokens: Vector) -> TokenCounts:
    """Each count as often as it was observed; draws are with replacement."""
    values, counts = np.unique(tokens, return_counts=True)
    return TokenCounts(values, counts / counts.sum())
