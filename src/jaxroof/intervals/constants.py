"""The constants of a model, and what each lies between."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import numpy as np

from jaxroof.parameters import Mask, Vector, numbers, walk

# A constant has its file's range while it has its file's value, to float32's last digits.
SAME = 1e-6
# Far out in the normal distribution of an inverse it would be below 0: it stays above this share of the value's.
LEAST_INVERSE = 0.05


@dataclass(frozen=True)
class Constants:
    """Constants that have a derivative: their keys, values and ranges ``[constant]``, in the units of files.

    90 % of the cases lie between ``low`` and ``high``; both are the value where no range is stated. ``legal`` are the
    least and the largest legal values. ``divides`` marks those that cannot be 0: a time is linear in their inverse.
    """

    keys: Sequence[str]
    values: Vector
    low: Vector
    high: Vector
    legal: tuple[Vector, Vector]
    divides: Mask

    @property
    def ranged(self) -> Mask:
        """Which ones have a range."""
        return np.asarray(self.low < self.high)

    def du_to(self, end: Vector) -> Vector:
        """How far ``end`` is from the value, by a derivative at the value: θ·(1 − θ/end) of those that divide."""
        inverse = self.values * (1 - self.values / np.where(self.divides, end, 1.0))
        return np.asarray(np.where(self.divides, inverse, end - self.values))

    def at(self, shares: Vector, which: Sequence[int]) -> Vector:
        """Values ``[… constant]`` of those constants, ``shares`` of the way to their high, or below 0 their low end."""
        value, low, high, least, most = (x[which] for x in (self.values, self.low, self.high, *self.legal))
        end = np.where(shares < 0, low, high)
        plain = value + abs(shares) * (end - value)
        divides = self.divides[which]
        shorter = abs(shares) * np.where(divides, value / np.where(divides, end, 1.0) - 1, 0.0)
        inverse = value / np.maximum(1 + shorter, LEAST_INVERSE)
        return np.asarray(np.clip(np.where(divides, inverse, plain), least, most))


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
    legal = [continuous[key] for key in values]
    least, most = np.array([(each.low, each.high) for each in legal]).T
    divides = np.array([not each.low_is_legal for each in legal])
    return Constants(tuple(values), np.array(list(values.values())), low, high, (least, most), divides)
