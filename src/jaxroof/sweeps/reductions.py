"""What a sweep keeps of its points: the best, the Pareto front, the least metric at each value of each axis.

A device reduces its block; the host merges. Merging is associative and the order does not matter, so
chunks, devices, processes and interruptions leave no trace. A state is arrays by name.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from numpy.typing import NDArray

from jaxroof.sweeps.space import Settings

State = dict[str, NDArray[Any]]
Metrics = Float[Array, "metric setting"]
# Points of the front so far that a device compares every setting with.
GUARDS = 32
# The k least of many are among the k blocks with the least minima.
BLOCK = 256


@dataclasses.dataclass(frozen=True)
class Best:
    """The ``count`` points with the least metric ``by``; ties go to the smaller number."""

    count: int
    by: int
    metrics: int

    def start(self) -> State:
        """A table without points."""
        return _no_points(self.metrics)

    def hint(self, state: State) -> NDArray[Any]:
        """Empty: a block sends back its own ``count`` least, whatever was found before."""
        return np.zeros(0, dtype=np.int32)

    def of_block(self, settings: Settings, metrics: Metrics, there: Bool[Array, " setting"], hint: Array) -> Any:
        """The ``count`` settings with the least metric ``by``, by their place in the block."""
        least = least_indices(_or_inf(metrics[self.by], there), self.count)
        return {"offsets": least, "metrics": metrics[:, least], "there": there[least]}

    def merge(self, state: State, block: Any, first: int) -> State:
        """The ``count`` least of the state and the block, NaN left out."""
        kept = block["there"] & ~np.isnan(block["metrics"][self.by])
        return self.join(state, _points(first + block["offsets"].astype(np.int64), block["metrics"], kept))

    def join(self, one: State, other: State) -> State:
        """The ``count`` least of two states; a tie goes to the smaller number."""
        numbers, metrics = _together(one, other)
        order = np.lexsort((numbers, metrics[self.by]))[: self.count]
        return {"numbers": numbers[order], "metrics": metrics[:, order]}


@dataclasses.dataclass(frozen=True)
class Pareto:
    """The points that no other is at least as good as in all ``objectives``; of equal ones the smallest number."""

    objectives: Sequence[int]
    metrics: int

    def start(self) -> State:
        """A front without points."""
        return _no_points(self.metrics)

    def hint(self, state: State) -> NDArray[Any]:
        """Some points of the front ``[guard objective]``, evenly along it."""
        front = state["metrics"][list(self.objectives)].T
        some = np.unique(np.linspace(0, len(front) - 1, min(len(front), GUARDS)).astype(int))
        guards = np.full((GUARDS, len(self.objectives)), np.inf)
        guards[: len(some)] = front[some]
        return guards.astype(jnp.result_type(float))

    def of_block(self, settings: Settings, metrics: Metrics, there: Bool[Array, " setting"], hint: Array) -> Any:
        """Every setting that no guard is better than; the host finishes the exact front."""
        wanted = jnp.stack([metrics[i] for i in self.objectives])
        no_worse = jnp.all(hint[:, :, None] <= wanted[None], axis=1)
        better = no_worse & jnp.any(hint[:, :, None] < wanted[None], axis=1)
        kept = there & ~jnp.any(better, axis=0) & ~jnp.any(jnp.isnan(wanted), axis=0)
        return {"metrics": metrics, "kept": kept}

    def merge(self, state: State, block: Any, first: int) -> State:
        """The front of the state and of what the block kept."""
        kept = np.asarray(block["kept"])
        return self.join(state, _points(first + np.arange(len(kept)), block["metrics"], kept))

    def join(self, one: State, other: State) -> State:
        """The front of both, in increasing order of the objectives."""
        numbers, metrics = _together(one, other)
        front = pareto_front(metrics[list(self.objectives)].T, numbers)
        return {"numbers": numbers[front], "metrics": metrics[:, front]}


@dataclasses.dataclass(frozen=True)
class Marginals:
    """The least metric ``by`` at every place on every axis; inf where there is none."""

    by: int
    lengths: Sequence[int]

    def start(self) -> State:
        """inf at every place: no point has been there."""
        return {f"axis{i}": np.full(n, np.inf) for i, n in enumerate(self.lengths)}

    def hint(self, state: State) -> NDArray[Any]:
        """Empty: a block sends back one least value per place, whatever was found before."""
        return np.zeros(0, dtype=np.int32)

    def of_block(self, settings: Settings, metrics: Metrics, there: Bool[Array, " setting"], hint: Array) -> Any:
        """The least metric at every place of every axis, among this block's settings."""
        values = _or_inf(metrics[self.by], there)
        each = enumerate(zip(settings.digits, self.lengths, strict=True))
        return {f"axis{i}": jax.ops.segment_min(values, digit, n) for i, (digit, n) in each}

    def merge(self, state: State, block: Any, first: int) -> State:
        """The smaller value at every place."""
        return self.join(state, block)

    def join(self, one: State, other: State) -> State:
        """The smaller value at every place."""
        return {axis: np.minimum(least, other[axis]) for axis, least in one.items()}


# A mergeable summary of evaluated settings; ``start`` is that of nothing. On a device ``of_block`` has the summary of
# one block, point numbers as offsets; ``hint`` is what it may know of the state, to send less back, and must not change
# the result. On the host ``merge`` is the state with a block whose first point is ``first``, ``join`` is both states'.
Reduction = Best | Pareto | Marginals


def least_indices(values: Float[Any, " setting"], count: int) -> Int[Array, " best"]:
    """Indices of the ``count`` least values in order, ties to the smaller index: minima of blocks first."""
    count = min(count, values.size)
    if values.size % BLOCK or values.size // BLOCK <= count:
        return jax.lax.top_k(-values, count)[1]
    blocks = values.reshape(-1, BLOCK)
    some = jnp.sort(jax.lax.top_k(-jnp.min(blocks, axis=1), count)[1])
    among = jax.lax.top_k(-blocks[some].reshape(-1), count)[1]
    return some[among // BLOCK] * BLOCK + among % BLOCK


def pareto_front(values: NDArray[np.floating], numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Indices of the exact front of ``values[point objective]``, all minimised, in increasing order.

    The first in lexical order is on the front; drop all that it is no worse than, and repeat.
    """
    remaining, front = np.lexsort((numbers, *values.T[::-1])), []
    while remaining.size:
        front.append(remaining[0])
        remaining = remaining[~np.all(values[remaining] >= values[remaining[0]], axis=1)]
    return np.array(front, dtype=np.int64)


def _or_inf(values: Float[Array, " setting"], there: Bool[Array, " setting"]) -> Float[Array, " setting"]:
    return jnp.where(there & ~jnp.isnan(values), values, jnp.inf)


def _no_points(metrics: int) -> State:
    return {"numbers": np.zeros(0, dtype=np.int64), "metrics": np.zeros((metrics, 0))}


def _points(numbers: NDArray[np.int64], metrics: NDArray[np.floating], kept: NDArray[np.bool_]) -> State:
    return {"numbers": numbers[kept], "metrics": np.asarray(metrics, dtype=np.float64)[:, kept]}


def _together(one: State, other: State) -> tuple[NDArray[np.int64], NDArray[np.floating]]:
    numbers, metrics = (np.concatenate([one[name], other[name]], axis=-1) for name in ("numbers", "metrics"))
    return numbers, metrics
