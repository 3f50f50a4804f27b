"""What the experiments can tell about the constants: stiff and sloppy directions, intervals, trade-offs.

The loss is Σ (log predicted − log measured)² / 2. Near a calibrated point its Hessian is, by Gauss and
Newton, JᵀJ with J = d log(latency) / d log θ, so every direction in the space of constants has a
stiffness, and along one of stiffness 0 the experiments cannot tell two models apart.
Source: Transtrum, Machta and Sethna, Geometry of nonlinear least squares (2011).
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from jaxroof.parameters import Mask, Vector

# A direction this much less stiff than the stiffest is one that no experiment sees.
SINGULAR = 1e-10
# Columns of the Jacobian with a cosine beyond this are one column: no experiment tells their constants apart.
PARALLEL = 0.999
# Two constants that are correlated at least as much are said to trade off.
TRADE_OFF = 0.9
CONFIDENCE = 0.95
# Variance of a least-absolute-error estimate over that of least squares, residuals being Gaussian.
# Source: Koenker and Bassett, Regression quantiles (1978).
LEAST_ABSOLUTE = np.pi / 2


@dataclasses.dataclass(frozen=True)
class Identifiability:
    """Gauss-Newton analysis of log-latencies in log-constants.

    ``eigenvalues[direction]``, stiffest first, with ``directions[constant direction]``, and which of them the
    experiments see at all, ``seen[direction]``; ``covariance`` of the log-constants ``[constant constant]``, infinite
    for one that is not ``identified[constant]``; ``noise`` is the standard deviation of a log-residual, ``freedom``
    the residuals less the constants that they determine.
    """

    names: Sequence[str]
    eigenvalues: Vector
    directions: Vector
    seen: Mask
    identified: Mask
    covariance: Vector
    noise: float
    freedom: int

    @property
    def half_widths(self) -> Vector:
        """Half the 95 % Laplace interval of each log-constant, Student's t on the residuals left ``[constant]``."""
        from scipy import stats  # slow to load

        if self.freedom < 1:
            return np.full(len(self.names), np.inf)
        return np.asarray(stats.t.ppf((1 + CONFIDENCE) / 2, self.freedom) * np.sqrt(np.diag(self.covariance)))

    @property
    def correlation(self) -> Vector:
        """Correlation of the identified constants' estimates ``[constant constant]``, NaN for the others."""
        correlation, kept = np.full(self.covariance.shape, np.nan), np.ix_(self.identified, self.identified)
        spread = np.sqrt(np.diag(self.covariance)[self.identified])
        correlation[kept] = self.covariance[kept] / np.where(spread > 0, np.outer(spread, spread), np.nan)
        return correlation

    def trade_offs(self) -> list[tuple[str, str, float]]:
        """Pairs of identified constants whose estimates are correlated by 0.9 or more, strongest first."""
        correlation = self.correlation
        pairs = _pairs(self.names, correlation, np.nan_to_num(abs(correlation)) >= TRADE_OFF)
        return sorted(pairs, key=lambda pair: -abs(pair[2]))


def identifiability(
    names: Sequence[str], jacobian: Vector, residuals: Vector, variance_factor: float = 1.0
) -> Identifiability:
    """Analyse ``jacobian[residual constant]``, d log(latency) / d log θ, at log-residuals ``[residual]``.

    ``variance_factor`` is the estimator's variance over that of least squares.
    """
    eigenvalues, directions = np.linalg.eigh(jacobian.T @ jacobian)
    eigenvalues, directions = np.maximum(eigenvalues[::-1], 0.0), directions[:, ::-1]
    seen = eigenvalues > SINGULAR * max(eigenvalues.max(initial=0.0), np.finfo(float).tiny)
    identified = (directions[:, ~seen] ** 2).sum(axis=1) < SINGULAR**0.5
    freedom = len(residuals) - int(seen.sum())
    noise = float(np.sqrt((residuals**2).sum() / max(freedom, 1)))
    inverse = (directions[:, seen] / eigenvalues[seen]) @ directions[:, seen].T
    covariance = np.where(identified[:, None] & identified[None], variance_factor * noise**2 * inverse, np.nan)
    covariance[np.diag_indices(len(names))] = np.where(identified, np.diag(covariance), np.inf)
    largest = np.take_along_axis(directions, abs(directions).argmax(axis=0)[None], axis=0) if names else directions
    directions = directions * np.sign(largest)
    return Identifiability(names, eigenvalues, directions, seen, identified, covariance, noise, freedom)


def in_words(names: Sequence[str], direction: Vector, least: float = 0.2) -> str:
    """A direction as its largest components: "+0.71 a −0.70 b"."""
    order = np.argsort(-abs(direction), kind="stable")
    large = [i for i in order if abs(direction[i]) >= least]
    return " ".join(f"{'+' if direction[i] > 0 else '−'}{abs(direction[i]):.2f} {names[i]}" for i in large)


def indistinguishable(names: Sequence[str], jacobian: Vector) -> list[tuple[str, str, float]]:
    """Pairs whose columns of ``jacobian[residual constant]`` are parallel, with the cosine; zero columns have none."""
    length = np.linalg.norm(jacobian, axis=0)
    unit = jacobian / np.where(length > 0, length, 1.0)
    cosine = unit.T @ unit
    return _pairs(names, cosine, abs(cosine) > PARALLEL)


def _pairs(names: Sequence[str], values: Vector, wanted: Mask) -> list[tuple[str, str, float]]:
    """Each pair of names that is ``wanted[row column]`` once, with its value."""
    return [(names[i], names[j], float(values[i, j])) for i, j in np.argwhere(np.triu(wanted, 1)).tolist()]
