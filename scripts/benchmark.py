"""How fast: the cold process and the compiled evaluations of ``study hg1``, and single steps.

    python scripts/benchmark.py [--json]

Medians of several runs. The original simulator takes 77 to 135 s for the same 327 evaluations.
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax import Array

from jaxroof import metrics, splits, study
from jaxroof.inputs.configs import load_architecture, load_tier0
from jaxroof.inputs.ground_truth import GroundTruth, load_ground_truth
from jaxroof.inputs.studies import load_study, study_tier0s
from jaxroof.params import Batch, Deployment, Requests, Tier0
from jaxroof.request import no_requests
from jaxroof.step import STEP_MODELS


def median_seconds(call: Callable[[], Any], repeats: int) -> float:
    """Median wall time of ``call``, its first run not counted."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def cold_process() -> None:
    """``jaxroof study hg1 --json`` in a process of its own."""
    code = "from jaxroof.cli import main; main(['study', 'hg1', '--json'])"
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def help_process() -> None:
    """``jaxroof --help`` in a process of its own."""
    code = "from jaxroof.cli import main; main(['--help'])"
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def steps_per_second(name: str, requests: int, settings: int = 100_000) -> float:
    """Single decode steps per second in one compiled call, every constant its own value in each."""
    generator = np.random.default_rng(0)
    tier0, arch = load_tier0(overheads="none"), load_architecture("llama-2-7b")
    varied = jax.tree.map(lambda leaf: leaf * generator.uniform(0.9, 1.1, (settings, *np.shape(leaf))), tier0)
    contexts = generator.uniform(100, 4000, (settings, requests))
    ones = np.ones(requests)

    @jax.jit
    @jax.vmap
    def seconds(context: Array, constants: Tier0) -> Array:
        batch = Batch(no_requests(), Requests(context, ones, ones))
        return STEP_MODELS[name](batch, arch, Deployment(2.0), constants).total_s

    return settings / median_seconds(lambda: seconds(contexts, varied).block_until_ready(), 5)


def all_splits(tier0: Tier0, truth: GroundTruth, scoring: str) -> None:
    """HG1's search on every split of the experiments into train and test."""
    values = splits.GRID.coarse()
    tpot = splits.tpot_s(tier0, truth.runs, values, scoring=scoring, step_model="memory")
    errors = np.asarray(metrics.ape(tpot, np.asarray(truth.runs.measured[scoring].tpot_s)[:, None]))
    splits.search(errors, values, splits.every_split(len(errors)))


def main() -> None:
    """Print the table, or JSON with ``--json``."""
    jax.config.update("jax_enable_x64", True)
    ideas = load_study("idea_ac")
    spec, truth = load_study("hg1"), load_ground_truth()
    tier0s, groups = study_tier0s(spec), truth.groups()
    rates = {
        f"{name}, batch {batch}, single steps [1/s]": steps_per_second(name, batch)
        for name in STEP_MODELS
        for batch in (1, 32)
    }
    rows = {
        "jaxroof --help, process [s]": median_seconds(help_process, 5),
        "study hg1 --json, cold process [s]": median_seconds(cold_process, 5),
        "327 evaluations of hg1, compiled [s]": median_seconds(
            lambda: study.run(spec, "published", truth.runs, groups, tier0s), 20
        ),
        "715 splits x 101 values, published and itl, compiled [s]": median_seconds(
            lambda: [all_splits(tier0s["none"], truth, scoring) for scoring in ("published", "itl")], 10
        ),
        "132 651 grid points x 9 experiments (ideas A + C) [s]": median_seconds(
            lambda: study.run(ideas, "itl", truth.runs, groups, study_tier0s(ideas)), 3
        ),
        **rates,
    }
    if "--json" in sys.argv:
        print(json.dumps(rows, indent=2))
    else:
        print("\n".join(f"{name:<58} {value:14,.3f}" for name, value in rows.items()))


if __name__ == "__main__":
    main()
