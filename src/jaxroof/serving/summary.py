"""What came of a simulated server in a few numbers: percentiles of latencies, throughput, how busy it was."""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from jaxroof.parameters import Vector
from jaxroof.serving.actions import Action
from jaxroof.serving.history import token_times_s
from jaxroof.serving.queueing import Queue, Saturation, admission_s, jumps, queue_over_time, saturation
from jaxroof.serving.setting import Setting
from jaxroof.serving.simulate import Simulation, with_history
from jaxroof.serving.steady_state import Steady

# Percentiles by name, and how many values there must be: one at least beyond a percentile.
PERCENTILES = {"p50": (50, 1), "p90": (90, 1), "p99": (99, 100), "p99_9": (99.9, 1000)}
LATENCIES = ("ttft", "itl", "time_between_tokens", "e2e")

Spread = dict[str, float]


@dataclasses.dataclass(frozen=True)
class Summary:
    """Means and percentiles of each latency [s], behind which ``counts`` values stand; what is unknown is NaN.

    Of the time from the first arrival to the last token steps run in ``utilisation``; meanwhile ``batch`` requests run
    and hold ``kv_share`` of the blocks, on average.
    """

    latencies_s: Mapping[str, Spread]
    counts: Mapping[str, int]
    requests: int
    requests_served: float
    requests_per_s: float
    tokens_per_s: float
    batch: float
    utilisation: float
    kv_share: float
    preemptions: float
    saturation: Saturation


class Simulated(NamedTuple):
    """A simulation and what it says: latencies by name [s], the queue over time, admissions [request] [s]."""

    simulation: Simulation
    latencies_s: Mapping[str, Vector]
    queue: Queue
    admission_s: Vector
    summary: Summary


def simulated(setting: Setting) -> Simulated:
    """Simulate a single server, and say what came of it."""
    simulation, history = with_history(setting)
    taken, values = jumps(history), latencies_s(simulation, history)
    keeps_up = saturation(taken, setting.load, simulation, setting.model.constants.server)
    return Simulated(
        simulation, values, queue_over_time(taken, simulation), admission_s(taken, setting.load.requests),
        summarise(simulation, values, keeps_up),
    )  # fmt: skip


def summarise(simulation: Simulation, values: Mapping[str, Vector], saturation: Saturation) -> Summary:
    """Of all requests that were served, from the first one on; ``values`` are their latencies [s]."""
    served = np.isfinite(simulation.last_s)
    seconds = np.max(simulation.last_s[served], initial=-np.inf) - simulation.arrival_s[0]
    blocks = float(simulation.kv_blocks)
    return Summary(
        latencies_s={name: spread(of) for name, of in values.items()},
        counts={name: len(of) for name, of in values.items()},
        requests=len(served),
        requests_served=float(served.sum()),
        requests_per_s=float(served.sum() / seconds),
        tokens_per_s=float(simulation.output_tokens[served].sum() / seconds),
        batch=float(simulation.batch),
        utilisation=float(simulation.busy_s / seconds),
        kv_share=float(simulation.used_blocks / blocks) if np.isfinite(blocks) else np.nan,
        preemptions=float(simulation.preemptions.sum()),
        saturation=saturation,
    )


def of_steady_state(steady: Steady, output_tokens: float, kv_blocks: float) -> Summary:
    """Of a steady state, which has means only; of answers of one token no ITL, of blocks without end no share."""
    itl_s = steady.itl_s if output_tokens > 1 else np.nan
    means = {"ttft": steady.ttft_s, "itl": itl_s, "time_between_tokens": itl_s, "e2e": steady.e2e_s}
    rates = ("requests_per_s", "tokens_per_s", "batch", "utilisation")
    return Summary(
        latencies_s={name: {"mean": float(mean)} | dict.fromkeys(PERCENTILES, np.nan) for name, mean in means.items()},
        counts=dict.fromkeys(means, 0), requests=0, requests_served=np.nan, preemptions=np.nan,
        kv_share=float(steady.kv_share) if np.isfinite(kv_blocks) else np.nan,
        saturation=Saturation(bool(steady.saturated), None), **{name: float(getattr(steady, name)) for name in rates},
    )  # fmt: skip


def latencies_s(simulation: Simulation, history: Action) -> dict[str, Vector]:
    """Every latency that is known [s]: of requests, and the gaps between tokens of all of them."""
    gaps = [np.diff(times_s) for times_s in token_times_s(history, len(simulation.arrival_s))]
    values = (simulation.ttft_s, simulation.itl_s, np.concatenate(gaps), simulation.e2e_s)
    return {name: of[np.isfinite(of)] for name, of in zip(LATENCIES, values, strict=True)}


def spread(values: Vector) -> Spread:
    """Mean and percentiles; NaN where values are too few.

    >>> spread(np.arange(11.0))
    {'mean': 5.0, 'p50': 5.0, 'p90': 9.0, 'p99': nan, 'p99_9': nan}
    """
    known = {name: of for name, (of, fewest) in PERCENTILES.items() if len(values) >= fewest}
    found = map(float, np.percentile(values, list(known.values()))) if known else ()
    mean = float(np.mean(values)) if len(values) else np.nan
    return {"mean": mean, **dict.fromkeys(PERCENTILES, np.nan), **dict(zip(known, found, strict=True))}
