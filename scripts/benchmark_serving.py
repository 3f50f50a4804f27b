"""How fast servers under load are simulated and solved, on ``kernels`` with greedy sampling and with penalties."""

import dataclasses

import jax
import numpy as np
from benchmark_physics import median_seconds

from jaxroof import Demand, Deployment, Load, Sampling, load_architecture, load_model, simulate, steady_state
from jaxroof.serving.setting import make_setting
from jaxroof.serving.simulate import with_history

SAMPLED = {"greedy": Sampling(temperature=0.0), "penalties": Sampling(top_p=0.9, repetition_penalty=1.1)}
PROMPT, OUTPUT, SETTINGS, REQUESTS, STEADY = 512.0, 200.0, 1000, 500, 65536


def rows() -> dict[str, float]:
    """Warm seconds, float64: 1 to 20 requests per second on one H100 with Llama-3.1-8B."""
    return {what: seconds for name, sampling in SAMPLED.items() for what, seconds in rows_of(name, sampling).items()}


def rows_of(name: str, sampling: Sampling) -> dict[str, float]:
    """With one sampling."""
    model, tp = load_model(), Deployment(1.0)
    arch = dataclasses.replace(load_architecture("llama-3.1-8b"), sampling=sampling)
    many = load(np.linspace(1, 20, SETTINGS), REQUESTS)
    one = make_setting(model, jax.tree.map(lambda leaf: leaf[0], load(np.array([5.0]), 2000)), arch, tp, None)
    demand = Demand(PROMPT, OUTPUT, rate_per_s=np.linspace(0.5, 20, STEADY))
    timed = {
        f"simulate, {name}, {SETTINGS} settings x {REQUESTS} requests [s]": lambda: simulate(model, many, arch, tp),
        f"simulate, {name}, one setting of 2000 requests [s]": lambda: with_history(one),
        f"steady state, {name}, {STEADY} settings [s]": lambda: jax.block_until_ready(
            steady_state(model, demand, arch, tp)
        ),
    }
    for call in timed.values():
        call()  # compiles
    return {what: median_seconds(call, 3) for what, call in timed.items()}


def load(rates: np.ndarray, requests: int) -> Load:
    """Poisson arrivals at each rate ``[setting request]``."""
    gaps = np.random.default_rng(0).exponential(1.0, (len(rates), requests)) / rates[:, None]
    each = np.ones_like(gaps)
    return Load(gaps.cumsum(axis=1), PROMPT * each, 0 * each, OUTPUT * each, np.zeros(len(rates)))


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    print("\n".join(f"{name:<66} {value:12,.3f}" for name, value in rows().items()))
