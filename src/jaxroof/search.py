"""Grid search: a coarse pass over a range, then a fine one around the best value."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from jaxroof import metrics
from jaxroof.leaves import replace
from jaxroof.params import Runs, Tier0
from jaxroof.quadrature import Vector
from jaxroof.sweep import latencies


@dataclasses.dataclass(frozen=True)
class Grid:
    """Coarse values start … stop by step, then ± half_width around the best by fine_step."""

    start: float
    stop: float
    step: float
    half_width: float
    fine_step: float

    def coarse(self) -> Vector:
        """The values of the first pass."""
        return self.start + self.step * np.arange(round((self.stop - self.start) / self.step) + 1)

    @property
    def reach(self) -> int:
        """Fine steps on each side of the coarse best."""
        return round(self.half_width / self.fine_step)

    def fine(self, centre: float) -> Vector:
        """The values of the second pass, clipped at 0."""
        values = centre + self.fine_step * np.arange(-self.reach, self.reach + 1)
        return values[values >= 0]


@dataclasses.dataclass(frozen=True)
class Curve:
    """Loss at every value tried: coarse pass first, then fine."""

    coarse_values: Vector
    coarse_loss: Vector
    fine_values: Vector
    fine_loss: Vector

    @property
    def coarse_optimum(self) -> float:
        """Best value of the coarse pass; ties go to the smaller."""
        return float(self.coarse_values[np.argmin(self.coarse_loss)])

    @property
    def optimum(self) -> float:
        """Best value of the fine pass, which contains the coarse best."""
        return float(self.fine_values[np.argmin(self.fine_loss)])


def grid_search(tier0: Tier0, runs: Runs, keys: Sequence[str], grid: Grid, *, scoring: str, step_model: str) -> Curve:
    """Minimise the TPOT MAPE of ``runs`` over one value that all ``keys`` take (unit of their files)."""

    coarse = grid.coarse()
    size = max(len(coarse), 2 * grid.reach + 1)

    def loss(values: Vector) -> Vector:
        """Both passes are filled up to one size, so that they share one compiled program."""
        filled = np.pad(values, (0, size - len(values)), mode="edge")
        settings = replace(tier0, dict.fromkeys(keys, filled))
        predicted = latencies(settings, runs, scoring=scoring, step_model=step_model)
        errors = metrics.ape(np.asarray(predicted.tpot_s), runs.measured[scoring].tpot_s[:, None])
        return np.mean(errors, axis=0)[: len(values)]

    coarse_loss = loss(coarse)
    fine = grid.fine(float(coarse[np.argmin(coarse_loss)]))
    return Curve(coarse, coarse_loss, fine, loss(fine))
