"""Gauss quadrature of discrete measures: many weighted points become a few nodes."""

from collections.abc import Sequence

import numpy as np

from jaxroof.parameters import Vector


def gauss_nodes(points: Vector, weights: Vector, count: int) -> Vector:
    """Nodes of the ``count``-point Gauss rule of the measure Σ weights·δ(points).

    Eigenvalues of the Jacobi matrix of the measure's orthogonal polynomials, by Lanczos.
    With no more than ``count`` points the points are their own rule.
    Source: Golub and Welsch, Calculation of Gauss Quadrature Rules (1969).
    """
    if len(points) <= count:
        return points
    basis = [np.sqrt(weights / weights.sum())]
    diagonal, off = [], []
    for _ in range(count):
        v = points * basis[-1]
        diagonal.append(v @ basis[-1])
        for _ in range(2):  # twice is enough for orthogonality to rounding
            for q in basis:
                v = v - (v @ q) * q
        off.append(np.linalg.norm(v))
        basis.append(v / off[-1])
    jacobi = np.diag(diagonal) + np.diag(off[:-1], 1) + np.diag(off[:-1], -1)
    return np.linalg.eigvalsh(jacobi)


def rule(
    points: Vector, functionals: Sequence[Vector], knots: Sequence[float] = (), count: int = 2, negligible: float = 0.0
) -> tuple[Vector, list[Vector]]:
    """Common nodes, and weights per functional, for Σ functional·f(points) with f smooth between knots.

    Each interval (knot, next knot] gets ``count`` Gauss nodes of the functionals' sum. The weights
    match the functional's moments: exact for polynomials of degree < count, and up to degree
    2·count − 1 for a functional that is alone. Points need increasing order, weights ≥ 0.
    An interval with less than the share ``negligible`` of all weight gets one node.
    """
    interval = np.searchsorted(np.sort(np.asarray(knots, dtype=float)), points)
    total = np.sum(functionals, axis=0)
    if not total.any():  # nothing to integrate: one idle node
        return points[-1:], [np.zeros(1) for _ in functionals]
    nodes: list[Vector] = []
    weights: list[list[Vector]] = [[] for _ in functionals]
    for part in np.unique(interval[total > 0]):
        inside = (interval == part) & (total > 0)
        rare = total[inside].sum() < negligible * total.sum()
        x = gauss_nodes(points[inside], total[inside], 1 if rare else count)
        nodes.append(x)
        for mine, functional in zip(weights, functionals, strict=True):
            mine.append(_match_moments(x, points[inside], functional[inside]))
    return np.concatenate(nodes), [np.concatenate(w) for w in weights]


def _match_moments(nodes: Vector, points: Vector, functional: Vector) -> Vector:
    centre, half = nodes.mean(), max(float(np.ptp(points)) / 2, 1.0)
    degree = len(nodes) - 1
    moments = np.polynomial.legendre.legvander((points - centre) / half, degree).T @ functional
    return np.linalg.solve(np.polynomial.legendre.legvander((nodes - centre) / half, degree).T, moments)
