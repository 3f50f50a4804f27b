"""An interval from the ranges of constants: to first order by the gradients, or by samples.

Constants are taken as independent, each normal below and above its value, with the ends of its range as 5 % and 95 %
quantile; one that cannot be 0 divides, and its inverse is normal.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from jaxroof.files import InputError, Range, check
from jaxroof.intervals.constants import Constants
from jaxroof.parameters import Mask, Predicted, Values, Vector, slopes_along, values_along

QUANTILES = (0.05, 0.95)
# Distance of those quantiles from the median of a normal distribution, in standard deviations.
DEVIATIONS = 1.6448536269514722
# Mean of a normal variable's positive part, 1/√(2π).
HALF_MEAN = 0.3989422804014327
# What rounding leaves of a derivative that is 0, as a share of the number per share of the constant.
ROUNDING = 1e-9
SAMPLES = Range(low=16, high=65536, whole=True)
# Beyond it the expansion of a quantile by skewness falls where it should rise: 6·(√2 − 1).
MOST_SKEW = 2.4852813742385704


def check_samples(where: object, samples: int | None) -> None:
    """Raise InputError for a number of samples that is none; None is by gradients."""
    if samples is not None:
        check.number(where, "--samples", samples, SAMPLES)
        if samples & (samples - 1):
            raise InputError(where, "--samples", f"must be a power of 2, got {samples}")


@dataclass(frozen=True)
class Bounds:
    """Trees of what was predicted, and of its lower and its upper end.

    It depends on the constants ``depends``, of which ``ranged`` state a range; the others count as exact.
    ``samples`` is how many points were tried, 0 where the gradients told.
    """

    value: Any
    low: Any
    high: Any
    depends: frozenset[str]
    ranged: frozenset[str]
    samples: int = 0


def bounds(
    predicted: Predicted, model: Any, traced: Sequence[Any], constants: Constants, static: Sequence[Any] = (),
    samples: int | None = None,
) -> Bounds:  # fmt: skip
    """What 90 % of the cases lie between: to first order, or over ``samples`` points of a Sobol sequence.

    ``predicted`` and its arguments as for :func:`jaxroof.parameters.slopes_along`. To first order a constant at an end
    of its range moves y by ``e = dy/du·(u(end) − u(θ))`` with u its value or inverse, and the ends of y are the
    quantiles of the sum of all moves: by their mean, variance and skewness (Cornish and Fisher, 1938); for ranges that
    are symmetric ``y ± √(Σ e²)``. The prediction itself always lies between them.
    """
    count = len(constants.keys)
    points, directions = np.tile(constants.values, (count, 1)), np.eye(count)
    found = slopes_along(predicted, model, traced, points, directions, keys=constants.keys, static=static)
    values, slopes = jax.tree.map(np.asarray, found)
    pairs = zip(jax.tree.leaves(values), jax.tree.leaves(slopes), strict=True)
    felt = np.any([_felt(value, slope, constants.values) for value, slope in pairs], axis=0)
    depends, ranged = (frozenset(np.array(constants.keys)[of].tolist()) for of in (felt, felt & constants.ranged))
    value = jax.tree.map(lambda y: y[0], values)
    if samples:
        low, high = _quantiles(predicted, model, traced, constants, samples, static)
    else:
        low, high = (
            jax.tree.map(lambda y, g, sign=sign: _end(sign, y, g, constants), value, slopes) for sign in (-1, 1)
        )
    return Bounds(value, low, high, depends, ranged, samples or 0)


def _end(sign: int, value: Values, slope: Vector, constants: Constants) -> Vector:
    """The lower (−1) or upper (1) end, from the moments of each constant's move of half-normals below and above 0."""
    moves = [_along(slope, constants.du_to(end)) for end in (constants.low, constants.high)]
    below, above = (move / DEVIATIONS for move in moves)
    mean = (below + above) * HALF_MEAN
    second, third = (below**2 + above**2) / 2, (below**3 + above**3) * 2 * HALF_MEAN
    variance = (second - mean**2).sum(axis=0)
    moment = (third - 3 * mean * second + 2 * mean**3).sum(axis=0)
    spread = np.sqrt(variance)
    skew = np.clip(moment / np.where(variance > 0, variance * spread, 1.0), -MOST_SKEW, MOST_SKEW)
    z = sign * DEVIATIONS
    moved = mean.sum(axis=0) + spread * (z + skew * (z**2 - 1) / 6 - skew**2 * (2 * z**3 - 5 * z) / 36)
    # No further than with every constant at the end of its range that moves it so.
    furthest = np.maximum(0.0, np.maximum(*(sign * move for move in moves))).sum(axis=0)
    return np.asarray(value + sign * np.clip(sign * moved, 0.0, furthest))


def _quantiles(
    predicted: Predicted, model: Any, traced: Sequence[Any], constants: Constants, samples: int, static: Sequence[Any]
) -> list[Any]:
    """Both ends, by samples."""
    from scipy.stats import norm, qmc

    moving = [i for i, moves in enumerate(constants.ranged) if moves]
    drawn = qmc.Sobol(max(1, len(moving)), seed=0).random(samples)[:, : len(moving)]
    points = constants.at(norm.ppf(drawn) / DEVIATIONS, moving)
    keys = tuple(constants.keys[i] for i in moving)
    found = values_along(predicted, model, traced, points, keys=keys, static=static)
    return [jax.tree.map(lambda x, q=q: np.quantile(x, q, axis=0), found) for q in QUANTILES]


def _along(slope: Vector, width: Vector) -> Vector:
    """``[constant …] × [constant]``."""
    return slope * width.reshape(-1, *[1] * (slope.ndim - 1))


def _felt(value: Vector, slope: Vector, at: Vector) -> Mask:
    """Which constants change the number at all ``[constant]``."""
    share = abs(_along(slope, np.where(at == 0, 1.0, at)))
    return np.asarray((share > ROUNDING * abs(value)).reshape(len(at), -1).any(axis=1))
