"""The steady state against the simulation, an idle server and its own differences."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxroof import (
    Demand,
    Deployment,
    InputError,
    Load,
    load_architecture,
    load_model,
    predict,
    simulate,
    steady_state,
    with_settings,
)
from jaxroof.serving.setting import make_asked
from jaxroof.serving.steady_state import steady

LINE = {"base": 6000, "per_new_token": 20, "per_context_token": 0.03, "per_request": 10}
LINEAR = with_settings(load_model("linear"), [f"linear.{key}_us={value}" for key, value in LINE.items()])
MEANS = ("ttft_s", "itl_s", "e2e_s", "requests_per_s", "batch", "utilisation", "saturation_requests_per_s")


@pytest.mark.parametrize("how", [{"rate_per_s": 1e-6}, {"clients": 1.0}])
def test_an_idle_server_is_a_prediction(how):
    arch, model, tp = load_architecture("llama-3.1-8b"), load_model(), Deployment(1.0)
    found = steady_state(model, Demand(512.0, 128.0, **how), arch, tp)
    latency = predict(model, arch, tp, prompt=512, output=128).latency
    for mine, theirs in zip((found.ttft_s, found.itl_s, found.e2e_s), vars(latency).values(), strict=True):
        np.testing.assert_allclose(float(mine), float(theirs), rtol=1e-6)


@pytest.mark.parametrize("rate", [2.0, 8.0, 16.0])
def test_means_are_those_of_the_simulation(rate):
    requests, servers = 3000, 6
    gaps = np.random.default_rng(0).exponential(1 / rate, (servers, requests))
    each = np.ones((servers, requests))
    found = simulate(LINEAR, Load(gaps.cumsum(1), 512 * each, 0 * each, 200 * each))
    means = steady_state(LINEAR, Demand(512.0, 200.0, rate_per_s=rate))
    for name, legal in {"ttft_s": 0.05, "itl_s": 0.02, "e2e_s": 0.02}.items():
        simulated = getattr(found, name)[:, 500:-200].mean()
        np.testing.assert_allclose(float(getattr(means, name)), simulated, rtol=legal)


@functools.cache
def means_of(structure):
    """The means as a function of an asked setting's leaves, and their Jacobian: traced once."""

    def values(leaves):
        found = steady(jax.tree.unflatten(structure, leaves))
        return jnp.stack([getattr(found, name) for name in MEANS])

    return jax.jit(values), jax.jit(jax.jacrev(values))


@pytest.mark.parametrize("how", [{"rate_per_s": 9.0}, {"clients": 24.0}])
def test_derivatives_are_differences_of_the_root(how):
    asked = make_asked(LINEAR, Demand(512.0, 200.0, **how), None, None, 4000.0)
    asked = jax.tree.map(lambda leaf: jnp.asarray(leaf, float), asked)
    leaves, structure = jax.tree.flatten(asked)
    values, jacobian = means_of(structure)
    slopes = jacobian(leaves)
    middle = np.asarray(values(leaves))
    for i, leaf in enumerate(leaves):
        if np.ndim(leaf) or float(leaf) == 0:
            continue

        def difference(h, i=i, leaf=leaf):
            ends = (values([*leaves[:i], leaf * (1 + side), *leaves[i + 1 :]]) for side in (h, -h))
            high, low = map(np.asarray, ends)
            return (high - low) / 2

        # Relative to the value, by Richardson's extrapolation.
        central = (4 * difference(5e-4) * 2 - difference(1e-3)) / 3 / 1e-3
        np.testing.assert_allclose(np.asarray(slopes[i]) * float(leaf) / middle, central / middle, atol=1e-6)


def test_beyond_saturation_the_queue_grows_for_ever():
    found = steady_state(LINEAR, Demand(512.0, 200.0, rate_per_s=1e4))
    assert bool(found.saturated)
    assert float(found.ttft_s) == np.inf
    np.testing.assert_allclose(float(found.requests_per_s), float(found.saturation_requests_per_s))


def test_settings_are_alike_alone_and_together():
    rates = np.array([1.0, 4.0, 9.0])
    together = steady_state(LINEAR, Demand(512.0, 200.0, rate_per_s=rates))
    alone = [steady_state(LINEAR, Demand(512.0, 200.0, rate_per_s=rate)).itl_s for rate in rates]
    np.testing.assert_allclose(np.asarray(together.itl_s), np.array(alone), rtol=1e-12)


@pytest.mark.parametrize(
    ("demand", "says"),
    [
        (Demand(512.0, 200.0), "needs a rate_per_s or clients"),
        (Demand(512.0, 200.0, rate_per_s=-1.0), "rate_per_s: must be ≥ 0"),
        (Demand(512.0, 200.0, rate_per_s=np.nan), "rate_per_s: must be finite"),
        (Demand(512.0, 0.0, rate_per_s=1.0), "output_tokens: must be ≥ 1"),
        (Demand(512.0, 200.0, cached_tokens=600.0, rate_per_s=1.0), "cached_tokens: must be ≤ prompt_tokens"),
    ],
)
def test_what_cannot_be_is_refused(demand, says):
    with pytest.raises(InputError, match=says):
        steady_state(LINEAR, demand)


@pytest.mark.parametrize("settings", [[], ["linear.per_context_token_us=1"]])
def test_a_line_of_steps_that_take_no_time_is_refused(settings):
    line = with_settings(load_model("linear"), settings)
    with pytest.raises(InputError, match=r"^steady_state: linear: steps take no time; .* linear.base_us"):
        steady_state(line, Demand(512.0, 200.0, rate_per_s=1.0))
