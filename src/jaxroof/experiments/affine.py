"""Overheads are added to a step, so every latency is affine in their constants: one exact small table.

A grid of millions of constants is then a matrix product instead of as many evaluations.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxroof.experiments.evaluate import latencies_of
from jaxroof.experiments.runs import Runs
from jaxroof.parameters import Vector, replace
from jaxroof.step import Model

# The constants' size [unit of their files] in the evaluations: a step's own, so that differences keep their digits.
UNIT = 1e4


class Affine(NamedTuple):
    """A latency = base + slopes · constants [s]: ``base_s[experiment]``, ``slopes_s[experiment constant]``."""

    base_s: Vector
    slopes_s: Vector

    def select(self, mask: NDArray[np.bool_]) -> "Affine":
        """The experiments where ``mask`` is true."""
        return Affine(self.base_s[mask], self.slopes_s[mask])

    def tpot_s(self, constants: Vector) -> Vector:
        """The latency ``[experiment ...]`` at ``constants[constant ...]``, each in the unit of its file [s]."""
        return self.base_s[(..., *(None,) * (constants.ndim - 1))] + np.tensordot(self.slopes_s, constants, axes=1)


def affine_tpot(
    model: Model, runs: Runs, free: Sequence[Sequence[str]], *, scoring: str, metric: str = "tpot"
) -> Affine:
    """The affine TPOT (or other ``metric``) of ``model`` in overhead constants.

    Each of ``free`` is the keys that share one value, in the unit of their files.

    Exact for ``memory`` and ``kernels``; for ``roofline`` as long as no step is shorter than its tick.
    From one evaluation with all constants at 0 and one with each alone.
    """
    alone = [
        replace(model, {key: UNIT * (i == j) for j, keys in enumerate(free) for key in keys}) for i in range(len(free))
    ]
    zero = replace(model, {key: 0.0 for keys in free for key in keys})
    seconds = latencies_of([*alone, zero], runs, scoring=scoring)[metric]
    return Affine(seconds[:, -1], (seconds[:, : len(free)] - seconds[:, -1:]) / UNIT)
