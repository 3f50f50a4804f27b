"""A sweep in chunks: one compiled function from a block's first point to its metrics or their reductions.

A chunk is one block per device. Every device runs the same program on its own block, so the figures
do not depend on how many there are.
"""

import dataclasses
import functools
import importlib.metadata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from jaxroof.files import InputError
from jaxroof.sweeps.memory import HOST_COPIES, left_bytes
from jaxroof.sweeps.plan import Plan
from jaxroof.sweeps.reductions import Reduction, State

# Settings per device and chunk where memory allows: more gains nothing, and less is lost at an interruption.
BLOCK_SIZES = {"cpu": 2**16}
LARGEST_BLOCK = 2**20
SMALLEST_BLOCK = 2**6

States = dict[str, State]
Reductions = Mapping[str, Reduction]
Hints = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Chunks:
    """A sweep's points in chunks: a ``block`` per device each."""

    points: int
    block: int
    devices: int

    def __len__(self) -> int:
        return -(-self.points // self.size)

    @property
    def size(self) -> int:
        """Points per chunk."""
        return self.devices * self.block

    def count(self, index: int) -> int:
        """Points of a chunk: the last one may have fewer."""
        return min(self.size, self.points - index * self.size)

    def share(self, index: int, count: int) -> range:
        """The run of chunks that is shard ``index`` of ``count``."""
        return range(len(self) * index // count, len(self) * (index + 1) // count)


@dataclasses.dataclass(frozen=True)
class Program:
    """A sweep compiled for this process's devices; ``device_bytes`` of each, by XLA's own count."""

    plan: Plan
    chunks: Chunks
    device_bytes: int
    constants: Sequence[Any]
    compiled: Sequence[Any]

    @functools.cached_property
    def manifest(self) -> dict[str, Any]:
        """Everything that determines the result, bit for bit."""
        return {
            "jaxroof": importlib.metadata.version("jaxroof"),
            "jax": jax.__version__,
            "precision": jnp.result_type(float).name,
            "device": jax.local_devices()[0].device_kind,
            "devices": self.chunks.devices,
            "block": self.chunks.block,
            **self.plan.identity(),
        }

    def __call__(self, index: int, hints: Hints) -> list[Any]:
        """The blocks of a chunk, one per device, on the host."""
        firsts = [index * self.chunks.size + device * self.chunks.block for device in range(self.chunks.devices)]
        counts = [np.int32(np.clip(self.chunks.points - first, 0, self.chunks.block)) for first in firsts]
        running = [
            run(constants, hints, self.plan.space.inputs(first, self.chunks.block), count)
            for run, constants, first, count in zip(self.compiled, self.constants, firsts, counts, strict=True)
        ]
        return list(jax.device_get(running))

    def state(self, index: int, hints: Hints) -> States:
        """What is kept of one chunk; without reductions that is its ``rows``: metrics ``[metric point]``."""
        blocks, reductions = self(index, hints), self.plan.reductions
        states = start(reductions)
        for device, block in enumerate(blocks):
            first = index * self.chunks.size + device * self.chunks.block
            states["counts"]["infeasible"] += block["infeasible"]
            states |= {name: r.merge(states[name], block[name], first) for name, r in reductions.items()}
        if not reductions:
            metrics = np.concatenate([block["metrics"] for block in blocks], axis=1)
            states["rows"] = {"metrics": metrics[:, : self.chunks.count(index)]}
        return states

    def states(self, indices: Iterable[int], hints: Callable[[], Hints]) -> Iterator[States]:
        """As :meth:`state`, chunk after chunk."""
        return (self.state(index, hints()) for index in indices)


def build(plan: Plan, memory: float | None, block: int | None, same_block: bool) -> Program:
    """Compile a sweep on this process's devices, with blocks that fit ``memory``, or else half of what is free [B].

    What a block needs is what XLA says of the compiled program (devices that are CPUs share the memory), and
    copies of its results on the host. ``block`` names the size instead. Where others share the sweep, all must
    have the ``same_block``, so what is free here does not decide it. Raises InputError where a block does not fit.
    """
    devices = jax.local_devices()
    share = len(devices) if devices[0].platform == "cpu" else 1
    host_bytes = HOST_COPIES * 8 * (len(plan.space.block(0, 0)) + len(plan.objective.metrics))
    size = block or _wanted_block(plan.space.size, devices[0].platform)
    while True:
        program = _compile(plan, devices, size)
        need, left = program.device_bytes + size * host_bytes, left_bytes(memory) / share
        if block is not None or need <= left:
            return program
        if size == SMALLEST_BLOCK or (same_block and memory is None):
            says = f"{size} settings need {need / 1e6:.0f} MB, and {max(left, 0) / 1e6:.0f} MB are left"
            raise InputError("--memory", says + ("; the same --memory everywhere makes blocks smaller" * same_block))
        fitting = 2 ** int(np.log2(max(size * left / need, 1)))
        size = max(min(fitting, size // 2), SMALLEST_BLOCK)


def start(reductions: Reductions) -> States:
    """The states of no chunk: ``counts`` of settings that cannot be, and one per reduction."""
    return {"counts": {"infeasible": np.zeros(1, dtype=np.int64)}} | {n: r.start() for n, r in reductions.items()}


def hints(reductions: Reductions, states: States) -> Hints:
    """What a device may know of the states so far."""
    return {name: reduction.hint(states[name]) for name, reduction in reductions.items()}


def infeasible(states: States) -> int:
    """How many settings cannot be."""
    return int(states["counts"]["infeasible"][0])


def join(reductions: Reductions, one: States, other: States) -> States:
    """The states of both."""
    counts = {"infeasible": one["counts"]["infeasible"] + other["counts"]["infeasible"]}
    return {"counts": counts} | {name: r.join(one[name], other[name]) for name, r in reductions.items()}


def _wanted_block(points: int, platform: str) -> int:
    """A power of two that does not depend on how many devices there are."""
    enough = 2 ** max(int(np.ceil(np.log2(points))), int(np.log2(SMALLEST_BLOCK)))
    return min(int(enough), BLOCK_SIZES.get(platform, LARGEST_BLOCK))


def _compile(plan: Plan, devices: list[Any], size: int) -> Program:
    """The same program for each device on its own: one that spans devices would be fused, and round, differently."""
    unknown = hints(plan.reductions, start(plan.reductions))
    inputs, count = plan.space.inputs(0, size), np.int32(0)
    run = jax.jit(functools.partial(_block, plan, size))
    constants = [jax.device_put((plan.objective.constants, plan.space.tables()), device) for device in devices]
    lowered = [run.lower(mine, unknown, inputs, count) for mine in constants]
    with ThreadPoolExecutor() as pool:
        compiled = list(pool.map(lambda each: each.compile(), lowered))
    memory = compiled[0].memory_analysis()
    needed = memory.temp_size_in_bytes + memory.output_size_in_bytes + memory.argument_size_in_bytes
    return Program(plan, Chunks(plan.space.size, size, len(devices)), needed, constants, compiled)


def _block(plan: Plan, size: int, constants: Any, hints: Any, inputs: Any, count: Int[Array, ""]) -> dict[str, Any]:
    """What one device makes of its block, traced."""
    fixed, tables = constants
    offsets = jnp.arange(size, dtype=np.int32)
    settings = plan.space.settings(tables, inputs, offsets)
    metrics, feasible = plan.objective.evaluate(fixed, settings.values)
    there = offsets < count
    out: dict[str, Any] = {"infeasible": jnp.sum(there & ~feasible, dtype=np.int32)}
    if not plan.reductions:
        return out | {"metrics": metrics}
    each = plan.reductions.items()
    return out | {name: r.of_block(settings, metrics, there & feasible, hints[name]) for name, r in each}
