"""What the ITL of loaded points would be if prompts that arrive shared their steps with decoding: an estimate.

    python scripts/mixed_steps.py

``predict``'s ITL is the mean of steps that only decode. On a server in balance, n output tokens per request and B in
flight, B / n requests start in each step on average; here their number is Poisson distributed, each starts in one step,
with its new tokens on top of its cached ones, and contexts are the mean ones. Nothing of jaxroof is changed.
"""

import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxroof import Architecture, Deployment, load_architecture, load_model, with_settings
from jaxroof.catalogue.sampling import sampled_by
from jaxroof.experiments import loaded
from jaxroof.parameters import Scalar
from jaxroof.request.in_flight import generated_tokens, longest_tokens, spread_tokens
from jaxroof.request.latency import rows
from jaxroof.step import Batch, Model

FOLDER = Path(__file__).parents[1] / "ground_truth"
LOADED = ("serving_h100.csv", "mlenergy_h100.csv")


@jax.jit
def step_s(
    model: Model, arch: Architecture, deployment: Deployment, numbers: dict[str, Scalar], starting: Scalar
) -> Scalar:
    """A step in which ``starting`` requests prefill and a batch decodes at its mean context [s]."""
    output, cv, batch, cached = (numbers[key] for key in ("output_tokens", "output_cv", "batch", "cached_tokens"))
    generated, prompt = generated_tokens(output, cv), numbers["prompt_tokens"]
    prefill, decode = rows(cached, prompt - cached, starting), rows(prompt + generated, 1.0, batch)
    in_flight = longest_tokens(output, cv, batch), spread_tokens(output, cv)
    return model(Batch(prefill, decode, arch.sampling, generated, *in_flight), arch, deployment).total_s


def itl_ms(point: loaded.LoadedPoint) -> tuple[float, float]:
    """ITL of steps that only decode, and of steps that others start in [ms]."""
    model = load_model("kernels", point.hardware, server=point.server)
    model = with_settings(model, filter(None, point.set.split(";")))
    arch = sampled_by("sampling", point.sampling, load_architecture(point.model))
    numbers = {key: jnp.asarray(getattr(point, key)) for key in loaded.NUMBERS}
    mean = point.batch / point.output_tokens
    counts = np.arange(mean + 6 * math.sqrt(mean) + 6)
    weights = np.array([math.exp(-mean) * mean**count / math.factorial(int(count)) for count in counts])
    deployment = Deployment(point.tp, point.ep)
    times = np.array([step_s(model, arch, deployment, numbers, jnp.asarray(count)) for count in counts])
    return 1e3 * float(times[0]), 1e3 * float(weights @ times / weights.sum())


def main() -> None:
    """Print MAPE and mean signed error of both, and the signed errors of every point."""
    for name in LOADED:
        points = loaded.load_points(FOLDER / name)
        groups = loaded.groups(points)
        errors = 100 * (np.array([itl_ms(point) for point in points]).T / [point.itl_ms for point in points] - 1)
        for kind, found in zip(("decode alone", "with prefills"), errors, strict=True):
            means = {group: (abs(found[mask]).mean(), found[mask].mean()) for group, mask in groups.items()}
            print(f"{name}, {kind}: " + "; ".join(f"{g} {mape:.1f} ({mean:+.1f})" for g, (mape, mean) in means.items()))
        for point, (alone, mixed) in zip(points, errors.T, strict=True):
            print(f"  {point.name:36}{alone:+8.1f}{mixed:+8.1f}")


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    main()
