"""A sweep in chunks: one compiled function from a block's first point to its metrics or their reductions.

A chunk is one block per device. Every device runs the same program on its own block, whatever their
number, so the figures do not depend on it.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int

from jaxroof.objectives import Objective
from jaxroof.reductions import Reduction, State
from jaxroof.space import Space

AXIS = "setting"
# Settings per device and chunk where memory allows: more gains nothing, and less is lost at an interruption.
BLOCK_SIZES = {"cpu": 2**16}
LARGEST_BLOCK = 2**20
SMALLEST_BLOCK = 2**6

States = dict[str, State]
Reductions = Mapping[str, Reduction]


@dataclasses.dataclass(frozen=True)
class Program:
    """A compiled sweep; ``block`` settings per device and chunk, ``device_bytes`` by XLA's own count."""

    space: Space
    reductions: Reductions
    devices: int
    block: int
    device_bytes: int
    constants: Any
    compiled: Any

    @property
    def chunk(self) -> int:
        """Points per chunk."""
        return self.devices * self.block

    @property
    def chunks(self) -> int:
        """Chunks of the whole space."""
        return -(-self.space.size // self.chunk)

    def count(self, index: int) -> int:
        """Points of a chunk: the last one may have fewer."""
        return min(self.chunk, self.space.size - index * self.chunk)

    def __call__(self, index: int, hints: Mapping[str, Any]) -> Any:
        """Blocks of a chunk, every leaf ``[device ...]``, on the host."""
        firsts = [index * self.chunk + device * self.block for device in range(self.devices)]
        blocks = [self.space.inputs(first, self.block) for first in firsts]
        counts = np.clip(self.space.size - np.array(firsts), 0, self.block).astype(np.int32)
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *blocks)
        return jax.device_get(self.compiled(self.constants, hints, stacked, counts))


def build(
    space: Space,
    objective: Objective,
    reductions: Reductions,
    *,
    budget_bytes: float,
    host_bytes_per_setting: float = 0.0,
    block: int | None = None,
) -> Program:
    """Compile a sweep on this process's devices, with blocks that fit ``budget_bytes`` of memory.

    What a block needs is what XLA says of the compiled program (devices that are CPUs share the
    memory), and ``host_bytes_per_setting`` for what becomes of its results. ``block`` names the
    size instead. Raises MemoryError where not even a small block fits.
    """
    devices = jax.local_devices()
    share = len(devices) if devices[0].platform == "cpu" else 1
    budget = (budget_bytes - len(devices) * SMALLEST_BLOCK * host_bytes_per_setting) / share
    size = block or _wanted_block(space.size, devices[0].platform)
    while True:
        program = _compile(space, objective, reductions, devices, size)
        need = program.device_bytes + size * host_bytes_per_setting
        if block is not None or need <= budget:
            return program
        smaller = 2 ** int(np.log2(max(size * budget / need, 1)))
        size = min(smaller, size // 2)
        if size < SMALLEST_BLOCK:
            raise MemoryError(f"{need / 1e6:.0f} MB for {size * 2} settings, {max(budget, 0) / 1e6:.0f} MB are left")


def start(reductions: Reductions) -> States:
    """The states of no chunk: ``counts`` of settings that cannot be, and one per reduction."""
    return {"counts": {"infeasible": np.zeros(1, dtype=np.int64)}} | {n: r.start() for n, r in reductions.items()}


def merge(program: Program, states: States, index: int, chunk: Any) -> States:
    """The states with a chunk's blocks."""
    states = dict(states)
    states["counts"] = {"infeasible": states["counts"]["infeasible"] + chunk["infeasible"].sum()}
    for name, reduction in program.reductions.items():
        for device in range(program.devices):
            block = {key: leaf[device] for key, leaf in chunk[name].items()}
            states[name] = reduction.merge(states[name], block, index * program.chunk + device * program.block)
    return states


def join(reductions: Reductions, each: Iterable[States]) -> States:
    """The states of several processes as one."""
    joined = start(reductions)
    for states in each:
        joined["counts"]["infeasible"] = joined["counts"]["infeasible"] + states["counts"]["infeasible"]
        joined |= {name: reduction.join(joined[name], states[name]) for name, reduction in reductions.items()}
    return joined


def reduced(program: Program, states: States, indices: Iterable[int]) -> Iterator[States]:
    """The states after each chunk."""
    for index in indices:
        chunk = program(index, {name: r.hint(states[name]) for name, r in program.reductions.items()})
        states = merge(program, states, index, chunk)
        yield states


def metrics_of(program: Program, index: int) -> tuple[np.ndarray, int]:
    """Metrics ``[metric point]`` of a chunk of a program without reductions, and how many points cannot be."""
    chunk = program(index, {})
    joined = np.moveaxis(chunk["metrics"], 1, 0).reshape(chunk["metrics"].shape[1], -1)
    return joined[:, : program.count(index)], int(chunk["infeasible"].sum())


def _wanted_block(points: int, platform: str) -> int:
    """A power of two that does not depend on how many devices there are."""
    enough = 2 ** max(int(np.ceil(np.log2(points))), int(np.log2(SMALLEST_BLOCK)))
    return min(enough, BLOCK_SIZES.get(platform, LARGEST_BLOCK))


def _compile(space: Space, objective: Objective, reductions: Reductions, devices: list[Any], size: int) -> Program:
    mesh = Mesh(np.array(devices), (AXIS,))
    everywhere, split = PartitionSpec(), PartitionSpec(AXIS)

    def body(constants: Any, hints: Any, inputs: Any, count: Int[Array, "1"]) -> Any:
        block = _block(space, objective, reductions, size, constants, hints, jax.tree.map(lambda x: x[0], inputs), count)
        return jax.tree.map(lambda x: x[None], block)

    run = jax.jit(
        jax.shard_map(body, mesh=mesh, in_specs=(everywhere, everywhere, split, split), out_specs=split, check_vma=False)
    )
    constants = jax.device_put((objective.constants, space.tables()), NamedSharding(mesh, everywhere))
    hints = {name: reduction.hint(reduction.start()) for name, reduction in reductions.items()}
    inputs = jax.tree.map(lambda x: np.stack([x] * len(devices)), space.inputs(0, size))
    compiled = run.lower(constants, hints, inputs, np.zeros(len(devices), dtype=np.int32)).compile()
    memory = compiled.memory_analysis()
    needed = memory.temp_size_in_bytes + memory.output_size_in_bytes + memory.argument_size_in_bytes
    return Program(space, reductions, len(devices), size, needed, constants, compiled)


def _block(
    space: Space, objective: Objective, reductions: Reductions, size: int, constants: Any, hints: Any, inputs: Any,
    count: Int[Array, "1"],
) -> dict[str, Any]:  # fmt: skip
    """What one device makes of its block, traced."""
    fixed, tables = constants
    offsets = jnp.arange(size, dtype=np.int32)
    settings = space.settings(tables, inputs, offsets)
    metrics, feasible = objective.evaluate(fixed, settings.values)
    there = offsets < count
    out: dict[str, Any] = {"infeasible": jnp.sum(there & ~feasible, dtype=np.int32)}
    if not reductions:
        return out | {"metrics": metrics}
    return out | {
        name: reduction.of_block(settings, metrics, there & feasible, hints[name])
        for name, reduction in reductions.items()
    }
