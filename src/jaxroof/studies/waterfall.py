"""From the published way of predicting TPOT to a model's own, one term switched on at a time."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

from jaxroof.experiments.evaluate import breakdowns, latencies_of
from jaxroof.experiments.runs import Runs
from jaxroof.parameters import Vector
from jaxroof.request.latency import no_requests, rows
from jaxroof.step import Batch, Model

# Terms that every step has; a study names the others.
WORK, FLOORS, HOST = "own bytes and FLOPs", "launch floors", "host"


class Stage(NamedTuple):
    """What was switched on, and the TPOT then predicted and the one it is compared with ``[experiment]`` [s]."""

    term: str
    predicted_s: Vector
    measured_s: Vector


def stages(start: Model, end: Model, runs: Runs, terms: Mapping[str, Sequence[str]]) -> list[Stage]:
    """``start`` as published, then against ITL; then ``end``'s mean decode step, term by term.

    First the work of its kernels, then their launch floors, then ``terms`` (each the parts it names,
    with their floors), then the host: the last stage is the whole model.
    """
    names = {"published": "published way", "itl": "metric fix: ITL against ITL"}
    measured = {scoring: np.asarray(runs.measured[scoring].tpot_s) for scoring in names}
    found = [
        Stage(name, latencies_of([start], runs, scoring=scoring).tpot_s[:, 0], measured[scoring])
        for scoring, name in names.items()
    ]
    added = _decode_terms(end, runs, terms)
    so_far = np.cumsum([*added.values()], axis=0)
    return found + [Stage(term, tpot_s, measured["itl"]) for term, tpot_s in zip(added, so_far, strict=True)]


def part_names(model: Model, runs: Runs) -> list[str]:
    """The parts that a step model breaks a step into."""
    arch, deployment = jax.tree.map(lambda leaf: leaf[0], (runs.architecture, runs.deployment))
    batch = Batch(no_requests(), rows(0.0, 1.0, 1.0))
    return list(jax.eval_shape(lambda: model(batch, arch, deployment)).parts)


def _decode_terms(model: Model, runs: Runs, terms: Mapping[str, Sequence[str]]) -> dict[str, Vector]:
    """Seconds that each term adds to the mean decode step ``[experiment]``; they add up to it."""
    _, step = breakdowns(model, runs, scoring="itl")
    named = {name for parts in terms.values() for name in parts}
    layers = {name: part for name, part in step.parts.items() if name not in named}
    work = np.sum([part.seconds - part.floor_s for part in layers.values()], axis=0)
    floors = np.sum([part.floor_s for part in layers.values()], axis=0)
    own = {term: np.sum([step.parts[name].seconds for name in parts], axis=0) for term, parts in terms.items()}
    return {WORK: work, FLOORS: floors, **own, HOST: np.asarray(step.overhead_s)}
