"""``jaxroof sweep``: load, stream chunk by chunk, write."""

import dataclasses
import functools
import importlib.metadata
import os
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

import jax
import numpy as np

from jaxroof.catalogue.choice import ModelOptions, RequestOptions
from jaxroof.files import InputError, write
from jaxroof.sweeps import findings, processes, stream
from jaxroof.sweeps import store as sweep_store
from jaxroof.sweeps.axes import Axes
from jaxroof.sweeps.memory import HOST_COPIES, left_bytes, parse_bytes, peak_bytes
from jaxroof.sweeps.options import Keep, Score, load_plan
from jaxroof.sweeps.plan import Plan
from jaxroof.sweeps.processes import Processes
from jaxroof.sweeps.progress import rated, speed
from jaxroof.sweeps.store import Store
from jaxroof.sweeps.stream import Program

INFEASIBLE = "for heads or experts that are not divided, memory, a window, or more cached than prompt tokens"


@dataclasses.dataclass(frozen=True)
class Output:
    """The options that say where results go, and what may happen to what is there."""

    out: Path | None
    resume: bool
    force: bool
    json: bool
    memory: str | None


def run(
    options: ModelOptions,
    axes: Axes,
    request: RequestOptions,
    score: Score,
    keep: Keep,
    where: Output,
    group: Processes,
) -> None:
    """Evaluate every point of a space; write them all, or what is kept of them."""
    memory = parse_bytes("--memory", where.memory) if where.memory is not None else None
    processes.join(group)
    plan = load_plan(options, axes, request, score, keep)
    store = _store(plan, where, group)
    previous = store.previous(must=not group.several) if store else None
    program = _build(plan, memory, previous)
    manifest = _manifest(program, group)
    complete = store is not None and not store.begin(manifest)
    began = time.monotonic()
    try:
        if store is not None and complete:
            sys.stderr.write(f"jaxroof: {store.target} is complete\n")
            sys.stdout.write(store.printed() if where.json else "")
        elif plan.reductions:
            done = _reduce(program, store, group, manifest, where.json)
        elif store is not None:
            done = _rows(program, store, group, manifest)
        if store is not None and not plan.reductions:
            _shards(program, store, group, manifest)
    except KeyboardInterrupt:
        _interrupted(store)
    if not complete:
        _summary(program, *done, time.monotonic() - began)


def _store(plan: Plan, output: Output, group: Processes) -> Store | None:
    """Where results go: one file, a shard per process, or a folder of what is kept."""
    shard = f"-{group.process_id:05}" if group.several else ""
    if plan.reductions:
        if output.out is None:
            if output.resume or output.force:
                raise InputError("--out", "is missing: without it there is nothing to resume or to overwrite")
            return None
        if output.out.suffix == ".parquet":
            raise InputError(output.out, "--out", "must be a folder: what is kept are tables, not rows")
        return Store(output.out / "results.json", output.out / f".part{shard}", output.resume, output.force)
    if output.out is None or output.out.suffix != ".parquet":
        says = "must be a FILE.parquet, unless --best, --pareto or --marginals say what to keep"
        raise InputError(output.out or "sweep", "--out", says)
    if output.json:
        raise InputError("--json", "is for --best, --pareto and --marginals: rows go to the file")
    file = output.out / f"shard{shard}.parquet" if group.several else output.out
    return Store(file, file.with_name(f"{file.name}.part"), output.resume, output.force)


def _build(plan: Plan, memory: float | None, previous: dict[str, Any] | None) -> Program:
    """The compiled sweep, the same block on every process; a resumed one keeps its own."""
    host_bytes = HOST_COPIES * 8 * (len(plan.space.block(0, 0)) + len(plan.objective.metrics))
    build = functools.partial(
        stream.build, plan, left_bytes=lambda: left_bytes(memory), host_bytes_per_setting=host_bytes
    )
    block = previous["block"] if previous and sweep_store.same_points(previous, plan.identity()) else None
    try:
        program = build(block=block)
    except MemoryError as error:
        raise InputError("--memory", str(error)) from None
    least = min(int(data) for data in processes.gather(str(program.block).encode()))
    return program if least == program.block else build(block=least)


def _manifest(program: Program, group: Processes) -> dict[str, Any]:
    """Everything that determines the result, bit for bit."""
    return {
        "jaxroof": importlib.metadata.version("jaxroof"),
        "jax": jax.__version__,
        "precision": jax.numpy.result_type(float).name,
        "device": jax.local_devices()[0].device_kind,
        "devices": len(program.compiled),
        "processes": group.processes or 1,
        "block": program.block,
        **program.plan.identity(),
    }


def _rows(program: Program, store: Store, group: Processes, manifest: dict[str, Any]) -> tuple[int, int]:
    """Write every point of this process's share: how many were computed now, and how many of those cannot be."""
    plan, indices = program.plan, group.share(program.chunks)
    missing, infeasible = store.missing(indices), 0
    for index in rated(missing, program):
        metrics, more = stream.metrics_of(program, index)
        infeasible += more
        values = plan.space.block(index * program.chunk, program.count(index))
        store.write_chunk(index, sweep_store.table(plan, values, metrics))
    nothing = np.zeros((len(plan.objective.metrics), 0), dtype=jax.numpy.result_type(float))
    schema = sweep_store.table(plan, plan.space.block(0, 0), nothing).schema
    store.finish(indices, schema, manifest)
    return sum(map(program.count, missing)), infeasible


def _shards(program: Program, store: Store, group: Processes, manifest: dict[str, Any]) -> None:
    """When all shards are complete, the first process writes the manifest of them."""
    shards = [data.decode() for data in processes.gather(store.target.name.encode())]
    if group.several and group.process_id == 0:
        text = sweep_store.dump(manifest | {"points": program.plan.space.size, "shards": shards})
        write(store.target.with_name(sweep_store.MANIFEST), text.encode())


def _reduce(
    program: Program, store: Store | None, group: Processes, manifest: dict[str, Any], json: bool
) -> tuple[int, int]:
    """Keep what was asked for, across all processes; the first one reports. Counts as :func:`_rows`."""
    plan, share, first = program.plan, group.share(program.chunks), (group.process_id or 0) == 0
    done, states = (store and store.read_state()) or (0, stream.start(plan.reductions))
    rest, before = share[done:], stream.infeasible(states)
    for latest in stream.reduced(program, states, rated(rest, program)):
        states, done = latest, done + 1
        if store is not None:
            store.write_state(done, states)
    infeasible = stream.infeasible(states) - before
    everyone = [sweep_store.unpack(data)[1] for data in processes.gather(sweep_store.pack(states, done))]
    states = stream.join(plan.reductions, everyone)
    if store is not None:
        if first:
            findings.sweep_report(plan, states, manifest).write(store.target.parent)
        processes.gather(b"written")
        store.clear()
    if first:
        findings.sweep_report(plan, states, manifest).show(json)
    return sum(map(program.count, rest)), infeasible


def _interrupted(store: Store | None) -> NoReturn:
    sys.stderr.write(f"jaxroof: interrupted{'; --resume goes on' if store else ''}\n")
    sys.stderr.flush()
    if jax.process_count() > 1:
        os._exit(130)  # the others cannot be waited for
    sys.exit(130)


def _summary(program: Program, points: int, infeasible: int, seconds: float) -> None:
    """One line on stderr: what this process did now, how fast, in how much memory."""
    why = f", {INFEASIBLE}" if infeasible else ""
    sys.stderr.write(
        f"jaxroof: {points} points ({infeasible} infeasible{why}) in {seconds:.1f} s, "
        f"{speed(program, points, seconds)}; chunks of {len(program.compiled)} × {program.block}, "
        f"peak memory {peak_bytes() / 1e6:.0f} MB\n"
    )
