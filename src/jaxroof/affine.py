"""Overheads are added to a step, so every latency is affine in their constants: one exact small table.

A grid of millions of constants is then a matrix product instead of as many evaluations.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxroof.leaves import replace
from jaxroof.params import Runs, Tier0
from jaxroof.quadrature import Vector
from jaxroof.sweep import latencies

# The constants' size [unit of their files] in the evaluations: a step's own, so that differences keep their digits.
UNIT = 1e4


class Affine(NamedTuple):
    """TPOT = base + slopes · constants [s]: ``base_s[experiment]``, ``slopes_s[experiment constant]``."""

    base_s: Vector
    slopes_s: Vector

    def tpot_s(self, constants: Vector) -> Vector:
        """TPOT ``[experiment ...]`` at ``constants[constant ...]``, each in the unit of its file [s]."""
        return self.base_s[(..., *(None,) * (constants.ndim - 1))] + np.tensordot(self.slopes_s, constants, axes=1)


def affine_tpot(tier0: Tier0, runs: Runs, free: Sequence[Sequence[str]], *, scoring: str, step_model: str) -> Affine:
    """The affine TPOT of ``tier0`` in overhead constants; each of ``free`` is the keys that share one value.

    Exact for ``memory`` and ``kernels``; for ``roofline`` as long as no step is shorter than its tick.
    From len(free) + 1 evaluations: all constants at 0, and each alone at its unit.
    """
    unit = np.eye(len(free) + 1)[1:]
    settings = replace(tier0, {key: unit[i] * UNIT for i, keys in enumerate(free) for key in keys})
    tpot = np.asarray(latencies(settings, runs, scoring=scoring, step_model=step_model).tpot_s)
    return Affine(tpot[:, 0], (tpot[:, 1:] - tpot[:, :1]) / UNIT)
