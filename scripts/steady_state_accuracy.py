"""How far the steady state is from the simulation: 60 random settings, eight servers of 5 000 requests each.

    python scripts/steady_state_accuracy.py [--settings 60] [--servers 8] [--requests 5000] [--seed 1]

Models, GPUs, degrees and servers at random, prompts of 50 to 6 000 and outputs of 20 to 600 tokens (log-uniform), 5 to
80 % of the saturation rate, Poisson arrivals. The first fifth of the requests and the last 4 % are left out. Takes
about two minutes on two cores.
"""

import argparse
from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np

from jaxroof import Demand, Deployment, InputError, Load, load_architecture, load_model, simulate, steady_state

MODELS = ("llama-3.1-8b", "qwen3-14b", "llama-3.1-70b", "qwen3-30b-a3b", "mistral-7b")
GPUS, SERVERS = ("h100-sxm", "h200-sxm", "a100-sxm"), ("vllm-0.15", "vllm-sync")
LATENCIES = ("itl_s", "ttft_s", "e2e_s")


class Case(NamedTuple):
    """A model on GPUs, and what is asked of it."""

    model: str
    hardware: str
    tp: int
    server: str
    prompt: int
    output: int
    load: float


def cases(seed: int, count: int) -> Iterator[Case]:
    """Random settings; llama-3.1-70b on four GPUs."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        model, hardware = MODELS[rng.integers(len(MODELS))], GPUS[rng.integers(len(GPUS))]
        tp = int(rng.choice([1, 2, 4])) if model != "llama-3.1-70b" else 4
        server = SERVERS[rng.integers(len(SERVERS))]
        prompt, output = (int(np.exp(rng.uniform(*np.log(ends)))) for ends in ((50, 6000), (20, 600)))
        yield Case(model, hardware, tp, server, prompt, output, rng.uniform(0.05, 0.8))


def errors(case: Case, servers: int, requests: int, seed: int) -> np.ndarray:
    """Steady state over simulated mean − 1 of each latency [%]. Raises InputError for what cannot be served."""
    model, arch = load_model("kernels", case.hardware, server=case.server), load_architecture(case.model)
    tp, lengths = Deployment(float(case.tp)), (float(case.prompt), float(case.output))
    most = steady_state(model, Demand(*lengths, rate_per_s=1.0), arch, tp).saturation_requests_per_s
    rate = case.load * float(most)
    gaps = np.random.default_rng(seed).exponential(1 / rate, (servers, requests))
    each = np.ones_like(gaps)
    found = simulate(model, Load(gaps.cumsum(1), case.prompt * each, 0 * each, case.output * each), arch, tp)
    means = steady_state(model, Demand(*lengths, rate_per_s=rate), arch, tp)
    counted = slice(requests // 5, -requests // 25)
    simulated = [np.nanmean(getattr(found, name)[:, counted]) for name in LATENCIES]
    return np.array([100 * (float(getattr(means, name)) / s - 1) for name, s in zip(LATENCIES, simulated, strict=True)])


def main() -> None:
    """Print the errors of every setting, then their means and the largest."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name, default in {"settings": 60, "servers": 8, "requests": 5000, "seed": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    rows = []
    for i, case in enumerate(cases(options.seed, options.settings)):
        try:
            rows.append(errors(case, options.servers, options.requests, i))
        except InputError as error:
            print(f"{' '.join(map(str, case[:6]))}: {error}")
            continue
        print(f"{' '.join(map(str, case[:6]))} load {case.load:.2f}: " + ", ".join(f"{e:+.2f}" for e in rows[-1]))
    sizes = abs(np.array(rows))
    for name, mean, worst in zip(LATENCIES, sizes.mean(0), sizes.max(0), strict=True):
        print(f"{name}: mean error {mean:.2f} %, worst {worst:.2f} %")


if __name__ == "__main__":
    main()
