"""What it takes to draw tokens: published times of sorts, which kernels run, what penalties cost the host."""

import itertools

import numpy as np
import pytest
from quick import jit

from jaxroof.catalogue.load import load_architecture, load_tier0
from jaxroof.parameters import Deployment, Sampling, replace, scalar
from jaxroof.step import Batch, Requests
from jaxroof.step.kernels import kernels
from jaxroof.step.sampling import penalties_host_s, sampler

H100 = load_tier0("h100-sxm")
LLAMA = load_architecture("llama-3.1-8b")
SAMPLER = jit(sampler)
HOST = jit(penalties_host_s)
NOBODY = Requests(*np.zeros((3, 0)))
NUCLEUS, TOP_K = Sampling(top_p=0.9), Sampling(top_k=50)
PASS = 2 * 4 * 16 * 128256  # bytes of a pass over the logits of 16 rows
# Rows, logits, ms of the sort alone on an H100-class GPU (vLLM PRs 33538, 42191, 51507), and whether top-k sorts too.
SORTS = [
    (1, 128256, 0.099, False), (1, 151936, 0.099, False), (56, 32768, 0.393, False), (512, 32768, 2.252, False),
    (1024, 32768, 4.236, False), (512, 32768, 2.572, True), (1024, 32768, 5.04, True), (512, 131072, 8.79, False),
    (128, 131072, 2.32, False),
]  # fmt: skip


def batch_of(sampling, generated=0, longest=0):
    return Batch(NOBODY, NOBODY, sampling, scalar(generated), scalar(longest))


def parts(sampling, rows=16, tier0=H100, **in_flight):
    return SAMPLER(batch_of(sampling, **in_flight), scalar(rows), LLAMA, tier0.hardware, tier0.server)


def seconds(sampling, rows=16, tier0=H100, **in_flight):
    return float(sum(part.seconds for part in parts(sampling, rows, tier0, **in_flight).values()))


@pytest.mark.parametrize(("rows", "logits", "ms", "with_top_k"), SORTS)
def test_sorts_take_what_was_published(rows, logits, ms, with_top_k):
    arch = replace(LLAMA, {"vocab_size": logits})
    sampling = Sampling(top_p=0.9, top_k=50 if with_top_k else 0)
    found = SAMPLER(batch_of(sampling), scalar(rows), arch, H100.hardware, H100.server)
    assert 1e3 * float(found["sorting"].seconds) == pytest.approx(ms, rel=0.15)


@pytest.mark.parametrize(
    ("sampling", "passes"),
    [(Sampling(temperature=0.0), 1.25), (Sampling(), 5.25), (Sampling(min_p=0.1), 8.5), (NUCLEUS, 5.25)],
)
def test_passes_by_hand(sampling, passes):
    part = parts(sampling)["sampling"]
    kernel = H100.hardware.kernels.elementwise
    assert float(part.bytes) == passes * PASS
    one = kernel.floor_s + PASS / (H100.hardware.hbm_bytes_per_s * kernel.hbm_efficiency)
    assert float(part.seconds) == pytest.approx(float(passes * one), rel=1e-12)


@pytest.mark.parametrize(("rows", "per_logit"), [(127, 536), (128, 436), (400, 436)])
def test_a_sort_by_hand(rows, per_logit):
    for sampling, moved in ((NUCLEUS, per_logit), (TOP_K, 50), (Sampling(top_p=0.9, top_k=50), per_logit + 50)):
        expected = 77e-6 + moved * rows * 128256 / 3.35e12
        assert float(parts(sampling, rows)["sorting"].seconds) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("given", [{}, {"top_p": 0.9}, {"top_k": 50}, {"min_p": 0.1}])
@pytest.mark.parametrize("rows", [1, 200])
def test_what_does_not_sample_costs_its_passes_alone(given, rows):
    """Greedy whatever the cuts are; cuts at their neutral values cut nothing."""
    greedy = parts(Sampling(temperature=0.0, **given), rows)
    assert greedy["sorting"].seconds == greedy["penalties"].seconds == 0
    assert float(greedy["sampling"].seconds) == seconds(Sampling(temperature=0.0), rows)
    neutral = Sampling(top_p=1.0, top_k=0, min_p=0.0, repetition_penalty=1.0)
    assert seconds(neutral, rows) == seconds(Sampling(), rows)


@pytest.mark.parametrize("server", ["vllm-sync", "vllm-0.15", "sglang-0.5", "trtllm-1.0"])
@pytest.mark.parametrize("rows", [1, 127, 128, 1000])
def test_more_sampling_takes_longer(server, rows):
    tier0 = load_tier0(server=server)
    rising = [Sampling(temperature=0.0), Sampling(), NUCLEUS, Sampling(top_p=0.9, min_p=0.1)]
    times = [seconds(sampling, rows, tier0) for sampling in rising]
    assert all(less < more for less, more in itertools.pairwise(times))
    both = Sampling(top_p=0.9, top_k=50)
    assert seconds(both, rows, tier0) >= max(seconds(NUCLEUS, rows, tier0), seconds(TOP_K, rows, tier0))


@pytest.mark.parametrize(
    "given", [{"repetition_penalty": 1.1}, {"presence_penalty": 0.5}, {"frequency_penalty": 0.5, "temperature": 0.0}]
)
def test_penalties_by_hand(given):
    """One launch and its bytes; a matrix of 16 rows as long as the longest, filled by the host and copied."""
    chosen, plain = Sampling(**given), Sampling(temperature=given.get("temperature", 1.0))
    in_flight = {"generated": 250, "longest": 900}
    more = seconds(chosen, **in_flight) - seconds(plain, **in_flight)
    assert more == pytest.approx(60e-6 + 85 * 16 * 128256 / 3.35e12 + 16 * 900 * 0.16e-9, rel=1e-9)
    host = HOST(batch_of(chosen, **in_flight), scalar(16), H100.server)
    assert float(host) == pytest.approx(16 * (250 * 23.1e-9 + 900 * 1.5e-9), rel=1e-12)
    assert HOST(batch_of(plain, **in_flight), scalar(16), H100.server) == 0


def test_a_step_draws_a_token_for_each_of_its_requests():
    batch = Batch(Requests(*np.array([[0.0], [300.0], [1.0]])), Requests(*np.array([[50.0], [1.0], [10.0]])))
    step = jit(kernels)(batch, LLAMA, Deployment(2.0), H100)
    assert float(step.parts["sampling"].bytes) == pytest.approx(5.25 * PASS * 11 / 16, rel=1e-12)
