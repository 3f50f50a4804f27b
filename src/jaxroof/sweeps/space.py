"""The points of a sweep: numbered 0 … size − 1, decoded where they are needed, never stored.

A value is a number in the unit of its key's file, or the code of a name (its place in ``labels``).
"""

import dataclasses
import hashlib
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int
from numpy.typing import NDArray

# A sequence has 2^bits points; more bits are beyond the generator's fast_forward.
SOBOL_BITS = 32

Columns = dict[str, NDArray[Any]]
Labels = Mapping[str, tuple[str, ...]]


class Settings(NamedTuple):
    """Decoded points on the device: values by key ``[setting]``, and the place on each axis ``[setting]``."""

    values: dict[str, Array]
    digits: tuple[Int[Array, " setting"], ...]


@dataclasses.dataclass(frozen=True)
class Axis:
    """Values by key that advance together. ``spacing`` (linear, log) says how to draw between the ends."""

    columns: Mapping[str, NDArray[Any]]
    spacing: str | None = None

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def at(self, index: NDArray[Any]) -> Columns:
        """Values by key at places on the axis."""
        return {key: values[index] for key, values in self.columns.items()}

    def drawn(self, share: NDArray[np.floating]) -> Columns:
        """Values at ``share`` in [0, 1) of the way: between the ends, or one of them where there is no spacing."""
        if self.spacing is None:
            return self.at(np.minimum((share * len(self)).astype(np.int64), len(self) - 1))
        ends = {key: (values[0], values[-1]) for key, values in self.columns.items()}
        if self.spacing == "log":
            return {key: np.clip(low * (high / low) ** share, low, high) for key, (low, high) in ends.items()}
        return {key: low + share * (high - low) for key, (low, high) in ends.items()}

    def identity(self) -> dict[str, Any]:
        """Every value of a short axis, a digest of a long one."""
        return {key: identity(values, 1000) for key, values in self.columns.items()} | {"spacing": self.spacing}


@dataclasses.dataclass(frozen=True)
class Grid:
    """The product of axes, the last one fastest: the number's digits in mixed radix are places on the axes.

    The host finds the first point's digits in 64 bits; a device adds 32-bit offsets with carry, so
    ``size`` may exceed what 32 bits hold.
    """

    axes: Sequence[Axis]
    labels: Labels

    @property
    def size(self) -> int:
        """Product of the axes' lengths."""
        return math.prod(map(len, self.axes))

    def block(self, first: int, count: int) -> Columns:
        """Values by key, from the same digits as on a device."""
        digits = self._digits(self.inputs(first, count), np.arange(count))
        return {key: v for axis, digit in zip(self.axes, digits, strict=True) for key, v in axis.at(digit).items()}

    def inputs(self, first: int, count: int) -> NDArray[np.int32]:
        """The place of point ``first`` on every axis: its digits in mixed radix ``[axis]``."""
        return np.array(np.unravel_index(first % self.size, [len(axis) for axis in self.axes]), dtype=np.int32)

    def tables(self) -> list[Columns]:
        """The values that a device looks up by place, axis by axis."""
        return [{key: _for_device(values) for key, values in axis.columns.items()} for axis in self.axes]

    def settings(self, tables: Any, inputs: Any, offsets: Int[Array, " setting"]) -> Settings:
        """Places on the axes, and the values there."""
        digits = self._digits(inputs, offsets)
        each = zip(tables, digits, strict=True)
        return Settings({key: values[digit] for table, digit in each for key, values in table.items()}, tuple(digits))

    def smallest(self, key: str) -> float:
        """The smallest value of the key on the axis that has it."""
        return _ends(self.axes)[key][0]

    def largest(self, key: str) -> float:
        """The largest value of the key on the axis that has it."""
        return _ends(self.axes)[key][1]

    def identity(self) -> dict[str, Any]:
        """Every axis, and the names of what is no number."""
        return {"axes": [axis.identity() for axis in self.axes], "labels": _lists(self.labels)}

    def _digits(self, first: Any, offset: Any) -> list[Any]:
        digits = []
        for axis, digit in zip(reversed(self.axes), first[::-1], strict=True):
            place = digit + offset
            digits.append(place % len(axis))
            offset = place // len(axis)
        return digits[::-1]


@dataclasses.dataclass(frozen=True)
class Listed:
    """Points that the host reads or draws block by block: ``block(first, count)``."""

    size: int
    labels: Labels
    block: Callable[[int, int], Columns]
    ends: Mapping[str, tuple[float, float]]
    described: dict[str, Any]

    def inputs(self, first: int, count: int) -> Columns:
        """The values themselves; the last point stands in past the end."""
        there = max(min(count, self.size - first), 1)
        block = self.block(min(first, self.size - 1), there)
        return {key: _for_device(np.pad(values, (0, count - there), mode="edge")) for key, values in block.items()}

    def tables(self) -> None:
        """None: every block brings its own values along."""

    def settings(self, tables: Any, inputs: Any, offsets: Int[Array, " setting"]) -> Settings:
        """The inputs as they are: the host has decoded them, and a list has no axes."""
        return Settings(inputs, ())

    def smallest(self, key: str) -> float:
        """The smallest value of the key, which the reader looked up beforehand."""
        return self.ends[key][0]

    def largest(self, key: str) -> float:
        """The largest value of the key, looked up likewise."""
        return self.ends[key][1]

    def identity(self) -> dict[str, Any]:
        """The file's digest, or the axes and the seed, and the names of what is no number."""
        return self.described | {"labels": _lists(self.labels)}


# Points by number, ``size`` of them; ``labels`` are the names of the keys that are not numbers, in the order of their
# codes. On the host ``block`` has the values of so many points from a first one on. A device decodes ``inputs`` of the
# same (past the end anything legal) by ``settings``, traced, with the ``tables`` that all blocks share. ``identity``
# tells a space from another, for JSON.
Space = Grid | Listed


def sobol(axes: Sequence[Axis], labels: Labels, size: int, seed: int) -> Listed:
    """``size`` points of a scrambled Sobol sequence, one dimension per axis; any block can be drawn alone.

    Source: Joe and Kuo, Constructing Sobol sequences with better two-dimensional projections (2008).
    """
    from scipy.stats import qmc

    engine = qmc.Sobol(len(axes), scramble=True, rng=seed, bits=SOBOL_BITS)

    def block(first: int, count: int) -> Columns:
        if first < engine.num_generated:
            engine.reset()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of balance, which needs a power of 2
            if first > engine.num_generated:
                engine.fast_forward(first - engine.num_generated)
            shares = engine.random(count)
        return {key: v for axis, u in zip(axes, shares.T, strict=True) for key, v in axis.drawn(u).items()}

    described = {"random": size, "seed": seed, "axes": [axis.identity() for axis in axes]}
    return Listed(size, labels, block, _ends(axes), described)


def rows(space: Space, numbers: NDArray[np.int64]) -> Columns:
    """Values by key of the points of these numbers."""
    order = np.argsort(numbers)
    blocks = [space.block(int(number), 1) for number in numbers[order]] or [space.block(0, 0)]
    back = np.argsort(order)
    return {key: np.concatenate([block[key] for block in blocks])[back] for key in blocks[0]}


def _for_device(values: NDArray[Any]) -> NDArray[Any]:
    """Numbers in the default float type, codes in 32 bits."""
    is_code = np.issubdtype(values.dtype, np.integer)
    return values.astype(np.int32 if is_code else jnp.result_type(float))


def _ends(axes: Sequence[Axis]) -> dict[str, tuple[float, float]]:
    columns = (column for axis in axes for column in axis.columns.items())
    return {key: (float(values.min()), float(values.max())) for key, values in columns}


def identity(values: NDArray[Any], longest: int) -> Any:
    """The values themselves, a digest of more than ``longest``."""
    return values.tolist() if values.size <= longest else hashlib.sha256(values.tobytes()).hexdigest()


def _lists(labels: Labels) -> dict[str, list[str]]:
    return {key: list(names) for key, names in labels.items()}
