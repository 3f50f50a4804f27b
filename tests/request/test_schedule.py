"""Quadrature over lengths against sums over every token and every prompt."""

import dataclasses
import functools
from pathlib import Path

import jax
import numpy as np
import pytest
from quick import jit

from jaxroof.catalogue.load import load_architecture, load_model
from jaxroof.experiments.load import load_ground_truth
from jaxroof.experiments.runs import settled
from jaxroof.parameters import Deployment, Sampling
from jaxroof.request import schedule
from jaxroof.request import workload as request_workload
from jaxroof.request.latency import latency, step_times
from jaxroof.request.schedule import Knots, Schedule
from jaxroof.request.workload import Lengths, Share, Workload

H2B = load_model("memory", overheads="h2b")

TABLES = Path(__file__).parents[1] / "data/roofline_parity"
STEP_TIMES, LATENCY = jit(functools.partial(step_times, parts=False)), jit(latency)
LONGEST = 10_752  # one size for every experiment, so that one program serves them all
BUDGET = 2048
# No node lies where a GEMM turns compute-bound (it moves with the constants) or on a one-token last chunk.
CASES = [
    ("memory", "h2b", None, 1e-6, 1e-10),
    ("memory", "idea_e", None, 1e-6, 1e-10),
    ("kernels", "none", None, 2e-3, 1e-5),  # the all-reduces change their algorithm between nodes
    ("roofline", "h2b", None, 1e-3, 1e-10),
    ("roofline", "idea_e", TABLES, 1e-3, 1e-4),
]


def every_step(model, arch, deployment, contexts, new_tokens, drawn=None):
    """Prefill and decode step times at every given context, one by one."""
    count = len(contexts)
    contexts, new_tokens = (np.pad(x, (0, -count % LONGEST), mode="edge") for x in (contexts, new_tokens))
    unit = np.ones(len(contexts))
    nodes = Schedule(contexts, new_tokens, unit, new_tokens, unit, contexts, unit, unit, *np.zeros(3), arch.sampling)
    if drawn is not None:
        nodes = dataclasses.replace(nodes, output_tokens=drawn.output_tokens)
    prefill, decode = STEP_TIMES(model, nodes, arch, deployment)
    return np.asarray(prefill.total_s)[:count], np.asarray(decode.total_s)[:count]


def assert_close(ours, exact, tolerance):
    np.testing.assert_allclose(ours, exact, rtol=tolerance)


def published_token_by_token(workload: Workload, ttft_of, decode_of):
    """The published scoring's means, request by request and token by token."""
    prompt, output = workload.prompt.distribution(), workload.output.distribution()
    prefix = np.concatenate([[0.0], np.cumsum(decode_of)])
    lengths, tokens = np.flatnonzero(prompt), np.flatnonzero(output)
    start = workload.prefix_tokens + lengths[:, None]
    steps = np.maximum(tokens - 1, 1)[None]
    mean_step = (prefix[start + steps] - prefix[start]) / steps
    weight = prompt[lengths][:, None] * output[tokens][None]
    several = weight * (tokens > 1)
    tpot = (several * tokens / steps * mean_step).sum() / several.sum()
    ttft = prompt[lengths] @ ttft_of[lengths]
    return ttft, tpot, ttft + (weight * tokens * mean_step).sum()


def ttft_by_prompt(model, arch, deployment, workload: Workload, drawn):
    """TTFT of every prompt length, chunk by chunk."""
    longest = workload.prompt.max
    total = np.zeros(longest + 1)
    for done in range(0, longest, BUDGET):
        prompts = np.arange(done + 1, longest + 1)
        new = np.minimum(prompts - done, BUDGET).astype(float)
        context = np.full(len(new), float(workload.prefix_tokens + done))
        total[done + 1 :] += every_step(model, arch, deployment, context, new, drawn)[0]
    return total


@pytest.mark.parametrize(("step", "formula", "tables", "ttft_tolerance", "decode_tolerance"), CASES)
def test_published_scoring_equals_the_token_by_token_sum_on_all_13(
    step, formula, tables, ttft_tolerance, decode_tolerance
):
    model = load_model(step, overheads=formula, mfu_tables=tables)
    truth = load_ground_truth(models=[model])
    model = settled(model, truth.runs)
    # Tables take long: one experiment of each model and workload shape.
    some = range(0, 13, 3) if tables else range(13)
    for i, e in ((i, truth.experiments[i]) for i in some):
        arch, deployment, nodes = jax.tree.map(
            lambda leaf, i=i: leaf[i],
            (truth.runs.architecture, truth.runs.deployment, truth.runs.schedules["published"]),
        )
        workload = truth.workloads[e.workload]
        contexts = np.arange(workload.prefix_tokens + workload.prompt.max + workload.output.max, dtype=float)
        decode = every_step(model, arch, deployment, contexts, np.ones(len(contexts)), nodes)[1]
        ttft = ttft_by_prompt(model, arch, deployment, workload, nodes)
        exact = published_token_by_token(workload, ttft, decode)
        ours = LATENCY(model, nodes, arch, deployment)
        admission = float(model.constants.server.admission_s) if step == "kernels" else 0.0
        assert_close(ours.ttft_s - admission, exact[0], ttft_tolerance)
        assert_close(ours.tpot_s, exact[1], decode_tolerance)
        assert_close(ours.e2e_s - ours.ttft_s, exact[2] - exact[0], decode_tolerance)


def test_realised_scoring_equals_the_sum_over_steps():
    arch, deployment = load_architecture("llama-2-7b"), Deployment(2)
    share = Share(1.0, 100, request_workload.point(50), request_workload.point(1))
    itl, per_token = schedule.realised([share], 41.25, Sampling(), BUDGET)
    steps = every_step(H2B, arch, deployment, np.arange(150.0, 191.0), np.ones(41))[1]
    total = steps[:40].sum() + 0.25 * steps[40]
    ours, theirs = (latency(H2B, s, arch, deployment) for s in (itl, per_token))
    np.testing.assert_allclose(ours.tpot_s, total / 40.25, rtol=1e-12)
    np.testing.assert_allclose(ours.e2e_s - ours.ttft_s, total, rtol=1e-12)
    np.testing.assert_allclose(theirs.tpot_s, ours.e2e_s / 41.25, rtol=1e-12)


def test_distribution_clamps_then_rounds():
    lengths = Lengths(2048, 1974, 2, 3500)
    p = lengths.distribution()
    draws = lengths.draw(np.random.default_rng(0), 200_000)
    assert p.sum() == pytest.approx(1, abs=1e-12)
    assert len(p) == 3501
    assert p[2] == pytest.approx((draws == 2).mean(), abs=2e-3)
    assert p[3500] == pytest.approx((draws == 3500).mean(), abs=3e-3)
    assert Lengths(7, 0, 1, 9).distribution()[7] == 1


def test_many_sampled_requests_approach_the_exact_distribution():
    workload = Workload(284, Lengths(70, 35, 2, 200), Lengths(215, 80, 1, 512))
    arch, deployment = load_architecture("llama-2-7b"), Deployment(1)
    exact, drawn = (
        latency(H2B, schedule.every_scoring(shares, 2.0, Sampling(), BUDGET)[0], arch, deployment)
        for shares in (request_workload.exact(workload), request_workload.sampled(workload, seed=1, count=1000))
    )
    np.testing.assert_allclose(drawn.e2e_s, exact.e2e_s, rtol=0.02)
    np.testing.assert_allclose(drawn.tpot_s, exact.tpot_s, rtol=1e-3)


def test_first_sampled_request_computes_the_prefix():
    workload = Workload(284, Lengths(70, 0, 70, 70), Lengths(215, 0, 215, 215))
    shares = request_workload.sampled(workload, seed=0, count=3)
    assert [s.cached_tokens for s in shares] == [0, 284, 284]
    assert [len(s.prompt) - 1 for s in shares] == [354, 70, 70]


def test_long_prompts_are_chunked():
    share = Share(1.0, 10, request_workload.point(5000), request_workload.point(2))
    nodes, _ = schedule.realised([share], 2, Sampling(), BUDGET)
    steps = {(float(c), float(m)) for c, m in zip(nodes.prefill_context_tokens, nodes.prefill_new_tokens, strict=True)}
    assert steps == {(10.0, 2048.0), (2058.0, 2048.0), (4106.0, 904.0)}
    assert nodes.prefill_weight.sum() == 3


def test_chunk_terms_are_integrated_exactly():
    """⌈prompt/chunk⌉ is a staircase: knots at its jumps keep the mean exact."""
    prompt = Lengths(900, 500, 1, 2048).distribution()
    for chunk in (512.0, 300.0):
        share = Share(1.0, 0, prompt, request_workload.point(2))
        nodes, _ = schedule.realised([share], 2, Sampling(), BUDGET, Knots((chunk,)))
        ours = nodes.chunk_weight @ np.ceil(nodes.chunk_new_tokens / chunk)
        assert ours == pytest.approx(prompt @ np.ceil(np.arange(2049) / chunk), rel=1e-12)
