"""How fast: the cold process and the compiled evaluations of ``study hg1``.

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

from jaxroof import study
from jaxroof.ground_truth import load_ground_truth
from jaxroof.studies import load_study, study_tier0s


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


def main() -> None:
    """Print the table, or JSON with ``--json``."""
    jax.config.update("jax_enable_x64", True)
    spec, truth = load_study("hg1"), load_ground_truth()
    tier0s, groups = study_tier0s(spec), truth.groups()
    rows = {
        "jaxroof --help, process [s]": median_seconds(help_process, 5),
        "study hg1 --json, cold process [s]": median_seconds(cold_process, 5),
        "327 evaluations of hg1, compiled [s]": median_seconds(
            lambda: study.run(spec, "published", truth.runs, groups, tier0s), 20
        ),
    }
    if "--json" in sys.argv:
        print(json.dumps(rows, indent=2))
    else:
        print("\n".join(f"{name:<40} {seconds:8.3f}" for name, seconds in rows.items()))


if __name__ == "__main__":
    main()
