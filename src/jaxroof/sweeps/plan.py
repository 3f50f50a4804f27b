"""A sweep as plain data: where, what, and what is kept of it."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jaxroof.sweeps.objectives import Objective
from jaxroof.sweeps.reductions import Reduction
from jaxroof.sweeps.space import Space, identity


@dataclasses.dataclass(frozen=True)
class Plan:
    """A sweep: ``objective`` is evaluated at every point of ``space``.

    ``reductions`` say what is kept of the results. Without any, every point is kept. ``by`` is the position, among
    the objective's metrics, of the one that points are ranked by. ``settled`` are the options that all of this was
    made from, after defaults are filled in: they are written down, so that a run can be resumed and repeated.
    ``notes`` are what there is to say of it that its numbers do not show.
    """

    space: Space
    objective: Objective
    reductions: dict[str, Reduction]
    by: int
    settled: dict[str, Any]
    notes: Sequence[str] = ()

    def identity(self) -> dict[str, Any]:
        """Everything that determines the figures, for JSON."""
        return self.settled | {
            "metrics": list(self.objective.metrics),
            "space": self.space.identity(),
            "constants": _described(self.objective.constants),
            "keep": {name: dataclasses.asdict(reduction) for name, reduction in self.reductions.items()},
        }


def _described(constants: Any) -> dict[str, Any]:
    """Every number of a tree by its path, a model's constants as its own; arrays that are long as a digest."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(constants)
    return {
        jax.tree_util.keystr(path).replace("constants.", ""): identity(np.asarray(leaf), 32) for path, leaf in leaves
    }
