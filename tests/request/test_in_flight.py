"""What a server has in flight, against drawn requests, and what predictions make of it."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxroof
from jaxroof import Deployment, Sampling
from jaxroof.request.in_flight import generated_tokens, longer_tokens, longest_tokens, spread_tokens

SYNC, ASYNC = (jaxroof.load_model(server=server) for server in ("vllm-sync", "vllm-0.15"))
LLAMA, QWEN = (jaxroof.load_architecture(name) for name in ("llama-3.1-8b", "qwen3-30b-a3b"))
GREEDY, PLAIN = Sampling(temperature=0.0), Sampling()
REQUEST = {"prompt": 900, "output": 400}


def drawn(output, cv, count=400_000):
    """Outputs with a Gamma distribution's lengths."""
    return np.random.default_rng(1).gamma(1 / cv**2, output * cv**2, count)


def aged(outputs):
    """How far requests are that are in flight at a random moment: each as often as it has tokens to go."""
    rng = np.random.default_rng(2)
    there = rng.choice(outputs, len(outputs), p=outputs / outputs.sum())
    return there * rng.uniform(size=len(there))


@pytest.mark.parametrize("cv", [0.5, 1.0, 1.058])
def test_mean_and_spread_in_flight_are_those_of_drawn_requests(cv):
    output = 2000.0
    ages = aged(drawn(output, cv))
    assert float(longer_tokens(output, cv) + output / 2) == pytest.approx(ages.mean(), rel=0.01)
    assert float(generated_tokens(output, cv)) == pytest.approx(ages.mean(), rel=0.01)
    extra = float(spread_tokens(output, cv)) ** 2 + output**2 / 12
    assert extra**0.5 == pytest.approx(ages.std(), rel=0.01)


@pytest.mark.parametrize("output", [2, 3, 50, 1001])
def test_without_spread_the_mean_is_that_of_the_steps(output):
    assert float(generated_tokens(output, 0.0)) == np.arange(output - 1).mean()
    assert longer_tokens(output, 0.0) == spread_tokens(output, 0.0) == 0


def test_moments_of_outputs_by_hand():
    assert float(longer_tokens(101, 0.5)) == 0.25 * 101**2 / 200
    assert float(generated_tokens(101, 0.5)) == 99 / 2 + 0.25 * 101**2 / 200
    assert float(spread_tokens(120.0, 1.0)) == pytest.approx(120 * (11 / 12) ** 0.5, rel=1e-14)
    assert generated_tokens(1, 0.0) == 0


@pytest.mark.parametrize("batch", [1, 2, 10, 64])
def test_the_longest_of_equal_outputs_is_the_last_of_uniform_ages(batch):
    assert float(longest_tokens(300, 0.0, batch)) == pytest.approx(300 * batch / (batch + 1), rel=1e-14)


@pytest.mark.parametrize("batch", [1, 2, 10, 64])
def test_the_longest_of_exponential_outputs_is_the_harmonic_sum(batch):
    harmonic = (1 / np.arange(1, batch + 1)).sum()
    assert float(longest_tokens(300, 1.0, batch)) == pytest.approx(300 * harmonic, rel=0.015)
    ages = np.random.default_rng(3).exponential(300, (20_000, batch)).max(axis=1)
    assert float(longest_tokens(300, 1.0, batch)) == pytest.approx(ages.mean(), rel=0.02)


def test_the_longest_in_flight_lies_between_for_a_spread_between():
    for batch in (2, 64):
        three = [float(longest_tokens(300, cv, batch)) for cv in (0.0, 0.5**0.5, 1.0)]
        assert three[1] == pytest.approx((three[0] + three[2]) / 2, rel=1e-12)


def test_no_spread_has_a_finite_gradient():
    for function in (longer_tokens, generated_tokens, spread_tokens):
        assert np.isfinite(jax.grad(function, argnums=(0, 1))(300.0, 0.0)).all()


def predicted(model=ASYNC, arch=LLAMA, tp=1, **request):
    return jaxroof.predict(model, arch, Deployment(tp), **REQUEST | request)


@pytest.mark.parametrize("model", [SYNC, ASYNC], ids=["sync", "async"])
def test_without_spread_a_batch_is_as_it_would_be_without_saying_so(model):
    said, unsaid = (predicted(model, batch=32, **more).latency for more in ({"output_cv": 0.0}, {}))
    assert jax.tree.leaves(said) == jax.tree.leaves(unsaid)


def test_spread_is_longer_contexts():
    """Where no kernel has tiles of unequal work, a spread batch is one of longer prompts."""
    even = jaxroof.replace(ASYNC, {"hardware.kernels.decode_attention.spread.multiprocessors": 0.0})
    longer = float(longer_tokens(401, 0.8))
    assert longer == 0.32 * 401**2 / 400
    fewer, more = (
        predicted(even, sampling=PLAIN, batch=64, prompt=prompt, output=401, output_cv=cv).latency["tpot"]
        for prompt, cv in ((900, 0.8), (900 + round(longer), 0.0))
    )
    assert float(fewer) == pytest.approx(float(more), rel=1e-4)


@pytest.mark.parametrize(("model", "steps"), [(SYNC, 0.5), (ASYNC, 1.5)], ids=["sync", "async"])
def test_a_request_that_joins_others_waits_for_steps(model, steps):
    """The TTFT beside that of the same prefill on a server with nothing queued."""
    for batch, queued in ((1, 0), (2, steps)):
        found = predicted(model, batch=batch)
        waited = float(found.latency["ttft"] - found.prefill.total_s - model.constants.server.admission_s)
        assert waited == pytest.approx(queued * float(found.latency["tpot"]), rel=1e-9, abs=1e-15)
        assert float(found.prefill.waiting_s) == pytest.approx(waited, rel=1e-12, abs=1e-15)
        assert float(found.prefill.admission_s) == pytest.approx(9.5e-3, rel=1e-12)
        e2e = found.latency["ttft"] + 399 * found.latency["tpot"]
        assert float(found.latency["e2e"]) == pytest.approx(float(e2e), rel=1e-12)


SAMPLINGS = [GREEDY, PLAIN, Sampling(top_p=0.9), Sampling(top_p=0.9, repetition_penalty=1.1)]


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([LLAMA, QWEN]),
    st.sampled_from([SYNC, ASYNC]),
    st.tuples(st.integers(1, 900), st.floats(0, 2), st.integers(0, 2)),
    st.sampled_from([(1, 0, 0), (0, 1, 0), (0, 0, 1)]),
    st.tuples(st.integers(0, 900), st.floats(0, 1), st.just(1)),
)
def test_itl_never_falls_with_batch_spread_or_sampling(arch, model, point, grow, more):
    """Of tuned tiles and one kind of sort: untuned tiles and a segmented sort do get better with more rows."""
    larger = tuple(x + way * step for x, way, step in zip(point, grow, more, strict=True))
    changes = {"server.untuned_moe_slowdown": 1.0}
    if point[0] < 128 <= larger[0]:
        changes["server.sampler.segmented_sort_rows"] = 1.0
    model = jaxroof.replace(model, changes)
    less, now = (
        predicted(model, arch, 4, batch=batch, output_cv=cv, sampling=SAMPLINGS[which]).latency["tpot"]
        for batch, cv, which in (point, larger)
    )
    assert now >= less * (1 - 1e-12)
