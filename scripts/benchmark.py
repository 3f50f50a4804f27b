"""How fast: processes, evaluations, steps, gradients, scaling, and the share of what the machine can do.

    python scripts/benchmark.py [--json] [--plot FILE.png]

Medians of several runs, on whatever device JAX sees. The original simulator takes 77 to 135 s for hg1's
327 evaluations.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import benchmark_physics as physics
import benchmark_serving as serving
import jax
from benchmark_physics import CASES, median_seconds

from jaxroof.experiments.ground_truth import GroundTruth
from jaxroof.experiments.load import load_ground_truth
from jaxroof.report.figures import Figure
from jaxroof.splits import search as splits
from jaxroof.step import Model
from jaxroof.studies.load import load_study, study_models
from jaxroof.studies.run import run
from jaxroof.studies.spec import Study

SIZES = [10**n for n in range(3, 8)]


def process_seconds(arguments: list[str], repeats: int = 5, **environment: str) -> float:
    """Median wall time of a command line in a process of its own."""
    command = [sys.executable, "-c", "from jaxroof.cli import main; main()", *arguments]
    everything = {**os.environ, **environment}
    return median_seconds(
        lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=everything), repeats
    )


def processes() -> dict[str, float]:
    """Start-up: help, and hg1 without and with programs in the cache."""
    with tempfile.TemporaryDirectory() as cache:
        return {
            "jaxroof --help, process [s]": process_seconds(["--help"]),
            "study hg1 --json, process, cold [s]": process_seconds(["study", "hg1", "--json", "--no-cache"]),
            "study hg1 --json, process, programs cached [s]": process_seconds(
                ["study", "hg1", "--json"], JAXROOF_CACHE=cache
            ),
        }


def all_splits(model: Model, truth: GroundTruth, study: Study, scoring: str) -> None:
    """A study's search on every split of the experiments into train and test."""
    assert study.search
    values = study.search.free[0].values()
    ape = splits.tpot_ape(model, truth.runs, study.search.keys, values, scoring=scoring)
    splits.search(ape, values, splits.every_split(len(ape), int(truth.groups()["train"].sum())))


def studies() -> dict[str, float]:
    """Whole searches in float64, compiled."""
    spec, ideas, truth = load_study("hg1"), load_study("idea_ac"), load_ground_truth()
    models, groups = study_models(spec), truth.groups()
    return {
        "327 evaluations of hg1, compiled [s]": median_seconds(
            lambda: run(spec, "published", truth.runs, groups, models), 20
        ),
        "715 splits x 101 values, published and itl, compiled [s]": median_seconds(
            lambda: [all_splits(models["none"], truth, spec, scoring) for scoring in ("published", "itl")], 10
        ),
        "158 661 grid points x 9 experiments (ideas A + C) [s]": median_seconds(
            lambda: run(ideas, "itl", truth.runs, groups, study_models(ideas)), 3
        ),
    }


def rates(precision: str) -> dict[str, float]:
    """Evaluations and steps per second, and the cost of a gradient, for every step model."""
    rows = {}
    for name, case in CASES.items():
        rows[f"{name}, {precision}, all constants vary [M evaluations/s]"] = (
            physics.evaluations_per_second(case, physics.varied) / 1e6
        )
    for name, case in CASES.items():
        rows[f"{name}, {precision}, one overhead varies [M evaluations/s]"] = (
            physics.evaluations_per_second(case, physics.one_overhead_varied) / 1e6
        )
    for name, case in CASES.items():
        for batch in (1, 32):
            rows[f"{name}, {precision}, batch {batch} [M steps/s]"] = physics.steps_per_second(case, batch) / 1e6
    for name, case in CASES.items():
        rows[f"{name}, {precision}, gradient in all leaves [evaluations]"] = physics.gradient_cost(case)
    return rows


def roofline_share(rows: Mapping[str, float]) -> dict[str, float]:
    """The least time of an evaluation on this machine over its measured time, per step model, in float32."""
    bandwidth, flop_rate = physics.machine_limits()
    shares = {"measured bandwidth [GB/s]": bandwidth / 1e9, "measured matrix product [GFLOP/s]": flop_rate / 1e9}
    for name in ("memory", "kernels"):
        work = physics.limits(CASES[name])
        least_s = max(work["least_bytes"] / bandwidth, work["flops"] / flop_rate)
        rate = rows[f"{name}, f32, all constants vary [M evaluations/s]"] * 1e6
        shares |= {f"{name}, {what} per evaluation": work[what] for what in ("flops", "bytes", "least_bytes")}
        shares[f"{name}, share of the roofline [%]"] = 100 * least_s * rate
    return shares


def plot_scaling(seconds: Mapping[str, Mapping[int, float]], *, ax: Any) -> None:
    """Time per evaluation over the number of settings."""
    for name, line in seconds.items():
        ax.loglog(list(line), [1e9 * s / physics.EXPERIMENTS for s in line.values()], marker="o", label=name)
    ax.set(xlabel="settings, all constants varying", ylabel="time per evaluation [ns]")
    ax.set_ylim(bottom=1)
    ax.xaxis.set_major_formatter("{x:,.0f}")
    ax.yaxis.set_major_formatter("{x:g}")
    ax.legend()


def device() -> str:
    """What JAX computes on."""
    kind = jax.devices()[0].device_kind
    return f"{os.cpu_count()}-core {platform.machine()} CPU" if kind == "cpu" else f"{jax.device_count()} x {kind}"


def main() -> None:
    """Print the table, or JSON with ``--json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--plot", type=Path, help="PNG of the scaling")
    options = parser.parse_args()
    rows = processes()
    for precision in ("f32", "f64"):
        with jax.enable_x64(precision == "f64"):
            rows |= rates(precision)
    with jax.enable_x64(True):
        rows |= studies() | serving.rows()
    with jax.enable_x64(False):
        lines = {name: physics.scaling(CASES[name], SIZES) for name in ("memory", "kernels")}
        rows |= roofline_share(rows)
    for name, line in lines.items():
        rows |= {f"{name}, f32, 10^{len(str(n)) - 1} settings [ns per setting]": 1e9 * s for n, s in line.items()}
    rows["peak memory [MB]"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    if options.plot:
        scaling = Figure("scaling", "scaling", f"float32, {device()}", plot_scaling, (lines,), size=(7, 4.5))
        options.plot.write_bytes(scaling.png())
    if options.json:
        print(json.dumps({"device": device(), **rows}, indent=2))
    else:
        print(f"{device()}\n" + "\n".join(f"{name:<66} {value:12,.3f}" for name, value in rows.items()))


if __name__ == "__main__":
    main()
