"""A sweep in chunks: one compiled function from a block's first point to its metrics or their reductions.

A chunk is one block per device. Every device runs the same program on its own block, so the figures
do not depend on how many there are.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from jaxroof.sweeps.plan import Plan
from jaxroof.sweeps.reductions import Reduction, State

# Settings per device and chunk where memory allows: more gains nothing, and less is lost at an interruption.
BLOCK_SIZES = {"cpu": 2**16}
LARGEST_BLOCK = 2**20
SMALLEST_BLOCK = 2**6

States = dict[str, State]
Reductions = Mapping[str, Reduction]


@dataclasses.dataclass(frozen=True)
class Program:
    """A compiled sweep; ``block`` settings per device and chunk, ``device_bytes`` by XLA's own count."""

    plan: Plan
    block: int
    device_bytes: int
    constants: Sequence[Any]
    compiled: Sequence[Any]

    @property
    def chunk(self) -> int:
        """Points per chunk."""
        return len(self.compiled) * self.block

    @property
    def chunks(self) -> int:
        """Chunks of the whole space."""
        return -(-self.plan.space.size // self.chunk)

    def count(self, index: int) -> int:
        """Points of a chunk: the last one may have fewer."""
        return min(self.chunk, self.plan.space.size - index * self.chunk)

    def __call__(self, index: int, hints: Mapping[str, Any]) -> list[Any]:
        """The blocks of a chunk, one per device, on the host."""
        firsts = [index * self.chunk + device * self.block for device in range(len(self.compiled))]
        counts = [np.int32(np.clip(self.plan.space.size - first, 0, self.block)) for first in firsts]
        running = [
            run(constants, hints, self.plan.space.inputs(first, self.block), count)
            for run, constants, first, count in zip(self.compiled, self.constants, firsts, counts, strict=True)
        ]
        return list(jax.device_get(running))


def build(
    plan: Plan, *, left_bytes: Callable[[], float], host_bytes_per_setting: float = 0.0, block: int | None = None
) -> Program:
    """Compile a sweep on this process's devices, with blocks that fit what ``left_bytes()`` says once it is compiled.

    What a block needs is what XLA says of the compiled program (devices that are CPUs share the
    memory), and ``host_bytes_per_setting`` for what becomes of its results. ``block`` names the
    size instead. Raises MemoryError where not even a small block fits.
    """
    devices = jax.local_devices()
    share = len(devices) if devices[0].platform == "cpu" else 1
    size = block or _wanted_block(plan.space.size, devices[0].platform)
    while True:
        program = _compile(plan, devices, size)
        need, left = program.device_bytes + size * host_bytes_per_setting, left_bytes() / share
        if block is not None or need <= left:
            return program
        if size == SMALLEST_BLOCK:
            raise MemoryError(f"{size} settings need {need / 1e6:.0f} MB, and {max(left, 0) / 1e6:.0f} MB are left")
        fitting = 2 ** int(np.log2(max(size * left / need, 1)))
        size = max(min(fitting, size // 2), SMALLEST_BLOCK)


def start(reductions: Reductions) -> States:
    """The states of no chunk: ``counts`` of settings that cannot be, and one per reduction."""
    return {"counts": {"infeasible": np.zeros(1, dtype=np.int64)}} | {n: r.start() for n, r in reductions.items()}


def infeasible(states: States) -> int:
    """How many settings cannot be."""
    return int(states["counts"]["infeasible"][0])


def join(reductions: Reductions, each: Iterable[States]) -> States:
    """The states of several processes as one."""
    joined = start(reductions)
    for states in each:
        joined["counts"]["infeasible"] = joined["counts"]["infeasible"] + states["counts"]["infeasible"]
        joined |= {name: reduction.join(joined[name], states[name]) for name, reduction in reductions.items()}
    return joined


def reduced(program: Program, states: States, indices: Iterable[int]) -> Iterator[States]:
    """The states after each chunk."""
    reductions = program.plan.reductions.items()
    for index in indices:
        chunk = program(index, {name: r.hint(states[name]) for name, r in reductions})
        for device, block in enumerate(chunk):
            first = index * program.chunk + device * program.block
            counts = {"infeasible": states["counts"]["infeasible"] + block["infeasible"]}
            states = {"counts": counts} | {name: r.merge(states[name], block[name], first) for name, r in reductions}
        yield states


def metrics_of(program: Program, index: int) -> tuple[np.ndarray, int]:
    """Metrics ``[metric point]`` of a chunk of a program without reductions, and how many points cannot be."""
    chunk = program(index, {})
    joined = np.concatenate([block["metrics"] for block in chunk], axis=1)
    return joined[:, : program.count(index)], sum(int(block["infeasible"]) for block in chunk)


def _wanted_block(points: int, platform: str) -> int:
    """A power of two that does not depend on how many devices there are."""
    enough = 2 ** max(int(np.ceil(np.log2(points))), int(np.log2(SMALLEST_BLOCK)))
    return min(int(enough), BLOCK_SIZES.get(platform, LARGEST_BLOCK))


def _compile(plan: Plan, devices: list[Any], size: int) -> Program:
    """The same program for each device on its own: one that spans devices would be fused, and round, differently."""
    hints = {name: reduction.hint(reduction.start()) for name, reduction in plan.reductions.items()}
    inputs, count = plan.space.inputs(0, size), np.int32(0)
    run = jax.jit(functools.partial(_block, plan, size))
    constants = [jax.device_put((plan.objective.constants, plan.space.tables()), device) for device in devices]
    lowered = [run.lower(mine, hints, inputs, count) for mine in constants]
    with ThreadPoolExecutor() as pool:
        compiled = list(pool.map(lambda each: each.compile(), lowered))
    memory = compiled[0].memory_analysis()
    needed = memory.temp_size_in_bytes + memory.output_size_in_bytes + memory.argument_size_in_bytes
    return Program(plan, size, needed, constants, compiled)


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
