"""The constants of a model, and what each lies between."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import numpy as np

from jaxroof.parameters import Mask, Vector, numbers, walk

# A constant has its file's range while it has its file's value, to float32's last digits.
SAME = 1e-6


@dataclass(frozen=True)
class Constants:
    """Constants that have a derivative: their keys, values and ranges ``[constant]``, in the units of files.

    90 % of the cases lie between ``low`` and ``high``; both are the value where no range is stated. ``legal`` are the
    least and the largest legal values.
    """

    keys: Sequence[str]
    values: Vector
    low: Vector
    high: Vector
    legal: tuple[Vector, Vector]

    @property
    def ranged(self) -> Mask:
        """Which ones have a range."""
        return np.asarray(self.low < self.high)


def constants_of(model: eqx.Module, ranges: Mapping[str, Any]) -> Constants:
    """Those of ``model``; one that was set otherwise than its file says has no range.

    ``ranges`` of :func:`jaxroof.catalogue.ranges.load_ranges`.
    """
    # Counts and flags have no derivative.
    continuous = {key: leaf.range for key, _, leaf in walk(model) if not leaf.range.whole}
    values = {key: value for key, value in numbers(model).items() if key in continuous}

    def ends(key: str, value: float) -> tuple[float, float]:
        found = ranges.get(key)
        return (found.low, found.high) if found and np.isclose(found.value, value, rtol=SAME) else (value, value)

    low, high = np.array([ends(*item) for item in values.items()]).T
    least, most = np.array([(continuous[key].low, continuous[key].high) for key in values]).T
    return Constants(tuple(values), np.array(list(values.values())), low, high, (least, most))
