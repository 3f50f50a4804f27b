"""``jaxroof sweep``: load, stream chunk by chunk, write."""

import contextlib
import dataclasses
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from pyarrow import parquet

from jaxroof.catalogue.choice import ModelOptions, RequestOptions
from jaxroof.commands.interruption import LAST_WORDS
from jaxroof.commands.sweep_cluster import Cluster, connected
from jaxroof.files import InputError, write
from jaxroof.report.folder import PART, RESULTS, SWEEP, check_out, missing
from jaxroof.report.report import note
from jaxroof.sweeps import findings, shards, stream
from jaxroof.sweeps import store as sweep_store
from jaxroof.sweeps.axes import Axes
from jaxroof.sweeps.memory import parse_bytes, peak_bytes
from jaxroof.sweeps.options import Keep, Score, load_plan, read, written
from jaxroof.sweeps.plan import Plan
from jaxroof.sweeps.progress import rated, speed
from jaxroof.sweeps.shards import Shard
from jaxroof.sweeps.store import Store
from jaxroof.sweeps.stream import Program

# What evaluates chunks.
Engine = Program | Cluster
KEEPS = "--best, --pareto or --marginals say what to keep"
INFEASIBLE = "for heads or experts that are not divided, memory, a window, more cached than prompt tokens, or no time"


@dataclasses.dataclass(frozen=True)
class Output:
    """The options that say who computes what, where it goes, and what may happen to what is there."""

    out: Path | None
    resume: bool
    force: bool
    json: bool
    memory: str | None
    shard: str | None
    join: Path | None
    scheduler: str | None


def run(options: ModelOptions, axes: Axes, request: RequestOptions, score: Score, keep: Keep, where: Output) -> None:
    """Evaluate every point of a space; write them all, or what is kept of them."""
    if where.join is not None:
        return _join(where.join, where)
    asked, plan = (options, axes, request, score, keep), load_plan(options, axes, request, score, keep)
    memory = parse_bytes("--memory", where.memory) if where.memory is not None else None
    shard = shards.parse_shard(where.shard) if where.shard is not None else None
    store = _store(plan, where, shard)
    LAST_WORDS.set(f"jaxroof: interrupted{'; --resume goes on' if store else ''}\n")
    with contextlib.ExitStack() as stack:
        previous = stack.enter_context(store.locked()) if store else None
        block = previous["block"] if previous and sweep_store.same_points(previous, plan.identity()) else None
        if where.scheduler is None:
            engine: Engine = stream.build(plan, memory, block, same_block=shard is not None)
        else:
            engine = stack.enter_context(connected(where.scheduler, plan, written(asked), memory, block))
        more = {shards.SHARD: shard, shards.ASKED: written(asked)} if shard else {}
        _evaluate(engine, store, engine.manifest | more, where)


def _store(plan: Plan, output: Output, shard: Shard | None) -> Store | None:
    """Where results go: one file, a shard's file, or a folder of what is kept."""
    out, kept = output.out, bool(plan.reductions)
    if output.json and (shard or not kept):
        raise InputError("--json", "is for --best, --pareto and --marginals, of all shards: rows go to the file")
    if out is None and kept and not shard:
        if output.resume or output.force:
            raise InputError("--out", "is missing: without it there is nothing to resume or to overwrite")
        return None
    folder = kept or shard is not None
    if out is None or folder == (out.suffix == ".parquet"):
        says = "a folder: of shards, or of tables of what is kept" if folder else f"a FILE.parquet, unless {KEEPS}"
        raise InputError(out or "sweep", "--out", f"must be {says}")
    if kept and not shard:
        check_out(out, SWEEP, output.force)
    target = out / (shards.name_of(shard, kept) if shard else RESULTS) if folder else out
    part = out / PART if folder and not shard else target.with_name(f"{target.name}{PART}")
    return Store(target, part, output.resume, output.force)


def _evaluate(engine: Engine, store: Store | None, manifest: dict[str, Any], to: Output) -> None:
    """Do this process's share of the chunks, unless that is done."""
    if store is not None and not store.begin(manifest):
        if store.target.name == RESULTS and (gone := missing(store.target.parent)):
            raise InputError(
                store.target, "--resume", f"is complete, but {gone[0]} is gone; --force in its place computes anew"
            )
        note(engine.plan.notes)
        sys.stderr.write(f"jaxroof: {store.target} is complete\n")
        sys.stdout.write(store.printed() if to.json else "")
        return
    note(engine.plan.notes)
    shard = manifest.get(shards.SHARD)
    began, share = time.monotonic(), engine.chunks.share(*shard or (0, 1))
    if shard and not share:
        note([f"this shard has nothing to do: {shard[1]} shards, and chunks of the sweep: {len(engine.chunks)}"])
    if store is not None and not engine.plan.reductions:
        done = _rows(engine, store, share, manifest)
    else:
        done = _kept(engine, store, share, manifest, to)
    _summary(engine, *done, time.monotonic() - began)


def _rows(engine: Engine, store: Store, share: range, manifest: dict[str, Any]) -> tuple[int, int]:
    """Write every point of the share: how many were computed now, and how many of those cannot be."""
    plan, chunks, missing, infeasible = engine.plan, engine.chunks, store.missing(share), 0
    for index, state in rated(engine.states(missing, dict), missing, chunks, plan.objective.evaluations):
        values = plan.space.block(index * chunks.size, chunks.count(index))
        store.write_chunk(index, sweep_store.table(plan, values, state["rows"]["metrics"]))
        infeasible += stream.infeasible(state)
    nothing = np.zeros((len(plan.objective.metrics), 0), dtype=jax.numpy.result_type(float))
    schema = sweep_store.table(plan, plan.space.block(0, 0), nothing).schema
    store.finish(map(store.chunk, share), schema, manifest)
    return sum(map(chunks.count, missing)), infeasible


def _kept(engine: Engine, store: Store | None, share: range, manifest: dict[str, Any], to: Output) -> tuple[int, int]:
    """Keep what was asked for of the share: a shard as states, the whole as tables. Counts as :func:`_rows`."""
    plan = engine.plan
    says, states = (store and store.read_state()) or ({"done": 0}, stream.start(plan.reductions))
    rest, before = share[says["done"] :], stream.infeasible(states)
    later = engine.states(rest, lambda: stream.hints(plan.reductions, states))
    for index, more in rated(later, rest, engine.chunks, plan.objective.evaluations):
        states = stream.join(plan.reductions, states, more)
        if store is not None:
            store.write_state(index + 1 - share.start, states)
    if store is not None and shards.SHARD in manifest:
        write(store.target, sweep_store.pack(states, manifest))
    else:
        findings.sweep_report(plan, states, manifest).deliver(to.out, to.force, to.json)
    if store is not None:
        store.clear()
    return sum(map(engine.chunks.count, rest)), stream.infeasible(states) - before


def _join(folder: Path, where: Output) -> None:
    """Make one sweep of a folder's shards: the files that one process would have written."""
    files, manifest, asked = shards.finished(folder)
    if kept := files[0].suffix == ".npz":
        jax.config.update("jax_enable_x64", manifest["precision"] == "float64")
    store = Store(folder / (RESULTS if kept else "all.parquet"), folder / PART, False, where.force)
    with store.locked():
        if not kept:
            if where.json:
                raise InputError("--json", "is for what was kept: rows go to the file")
            store.finish(files, parquet.read_schema(files[0]), manifest)
        else:
            plan = load_plan(*read(asked))
            if differing := sweep_store.difference(manifest, manifest | plan.identity()):
                raise InputError(
                    "--join", str(folder), f"what the sweep was made from has changed: {differing} differs"
                )
            states = shards.joined(files, plan)
            note(plan.notes)
            findings.sweep_report(plan, states, manifest).deliver(folder, where.force, where.json)
    sys.stderr.write(f"jaxroof: {len(files)} shards joined: {store.target}\n")


def _summary(engine: Engine, points: int, infeasible: int, seconds: float) -> None:
    """One line on stderr: what this process did now, how fast, in how much memory."""
    why = f", {INFEASIBLE}" if infeasible else ""
    sys.stderr.write(
        f"jaxroof: {points} points ({infeasible} infeasible{why}) in {seconds:.1f} s, "
        f"{speed(points, engine.plan.objective.evaluations, seconds)}; chunks of {engine.chunks.devices} × "
        f"{engine.chunks.block}, peak memory {peak_bytes() / 1e6:.0f} MB\n"
    )
