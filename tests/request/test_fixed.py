"""The schedule of given lengths in closed form against quadrature over distributions, and the sum over steps."""

import functools
from pathlib import Path

import jax
import numpy as np
import pytest
from quick import jit

from jaxroof import load_architecture, load_model, load_tier0, predict
from jaxroof.parameters import Deployment, Sampling, scalar
from jaxroof.request import schedule, workload
from jaxroof.request.fixed_lengths import PANELS, FixedLengths, chunks_of, fixed_schedule
from jaxroof.request.latency import step_times, total
from jaxroof.request.workload import Share
from jaxroof.step.roofline import heads

TABLES = Path(__file__).parents[1] / "data/roofline_parity"


def every_node(model, nodes, *served):
    """Every node's step, nothing merged: as ``predict`` and a sweep do."""
    return total(nodes, *step_times(model, nodes, *served, parts=False))


latency = jit(every_node)


FORMULAS = {"memory": "h2b", "roofline": "idea_e", "kernels": "none"}
LENGTHS = [(prompt, output) for prompt in (1, 512, 2047, 2048, 2049, 4096, 5000) for output in (1, 2, 3, 130)]
CHUNKS = 3
BUDGET = 2048


def fixed(prompt, output, cached, **nodes):
    request = FixedLengths(*map(scalar, (prompt, output, cached, 0)), Sampling())
    return fixed_schedule(request, scalar(BUDGET), **nodes)


@functools.partial(jit, static_argnames="panels")
def traced(prompt, output, batch, model, *, panels):
    """Latencies at traced lengths, padded to ``CHUNKS`` prefill steps."""

    def one(prompt, output):
        nodes = fixed(prompt + 7, output, 7, chunks=CHUNKS, panels=panels)
        return every_node(model, nodes, load_architecture("llama-2-7b"), Deployment(2), batch)

    return jax.vmap(one)(prompt, output)


def columns(lengths):
    return (np.array(column, dtype=float) for column in zip(*lengths, strict=True))


@pytest.mark.parametrize("step", FORMULAS)
def test_the_closed_form_is_the_rule_of_the_distribution(step):
    """One-point distributions by the general quadrature, no knots; one token has no decode step to ride along."""
    model, arch = load_model(step, overheads=FORMULAS[step]), load_architecture("llama-2-7b")
    for batch in (1, 32):
        lengths = [(prompt, output) for prompt, output in LENGTHS if output > 1 or batch == 1]
        ours = traced(*columns(lengths), scalar(batch), model, panels=1)
        shares = [[Share(1.0, 7, workload.point(prompt), workload.point(output))] for prompt, output in lengths]
        rules = [
            schedule.realised(share, n, Sampling(), BUDGET, schedule.Knots(()))[0]
            for share, (_, n) in zip(shares, lengths, strict=True)
        ]
        for i, nodes in enumerate(schedule.pad(rules)):
            theirs = latency(model, nodes, arch, Deployment(2), scalar(batch))
            for name in ("ttft_s", "tpot_s", "e2e_s"):
                np.testing.assert_allclose(getattr(ours, name)[i], getattr(theirs, name), rtol=1e-9)


def test_panels_follow_measured_tables_as_the_sum_over_steps_does():
    tier0, arch = load_tier0(overheads="h2b", mfu_tables=TABLES), load_architecture("llama-2-7b")
    per_token = jax.jit(
        jax.vmap(lambda c: c / tier0.hardware.mfu.decode_attention(heads(arch), scalar(2), scalar(8), c))
    )
    for prompt, output in ((100, 100), (300, 2000), (6000, 700)):
        nodes = fixed(7 + prompt, output, 7, chunks=1, panels=PANELS)
        ours = nodes.e2e_weight @ per_token(nodes.decode_context_tokens)
        np.testing.assert_allclose(ours, per_token(7.0 + prompt + np.arange(output - 1.0)).sum(), rtol=1e-3)


@pytest.mark.parametrize("panels", [1, 4, 64])
@pytest.mark.parametrize("output", [1, 2, 3, 5, 64, 65, 200])
def test_nodes_sum_a_parabola_exactly_and_few_steps_one_by_one(panels, output):
    nodes = fixed(15, output, 5, chunks=1, panels=panels)
    contexts = 15 + np.arange(output - 1.0)
    context, weight = np.asarray(nodes.decode_context_tokens), np.asarray(nodes.e2e_weight)
    for power in range(3):
        assert weight @ context**power == pytest.approx((contexts**power).sum(), rel=1e-12, abs=1e-9)
    if 1 < output <= panels:
        assert weight @ np.sin(context) == pytest.approx(np.sin(contexts).sum(), rel=1e-9)


def test_a_prompt_that_is_cached_whole_still_computes_one_token():
    nodes = fixed(9, 3, 9, chunks=1)
    assert (nodes.prefill_context_tokens.tolist(), nodes.prefill_new_tokens.tolist()) == ([8], [1])


def test_prefill_chunks():
    nodes = fixed(5010, 2, 10, chunks=4)
    there = np.asarray(nodes.prefill_weight) > 0
    assert np.asarray(nodes.prefill_context_tokens)[there].tolist() == [10, 2058, 4106]
    assert np.asarray(nodes.prefill_new_tokens)[there].tolist() == [2048, 2048, 904]
    assert [chunks_of(prompt, BUDGET) for prompt in (1, 2048, 2049, 5000)] == [1, 1, 2, 3]


@pytest.mark.parametrize("output", [2, 10, 100])
@pytest.mark.parametrize("name", ["measured tables", "windows", "neither"])
def test_the_context_on_average_is_that_of_the_steps(name, output):
    """However many nodes stand for them."""
    model = load_model("roofline", mfu_tables=TABLES) if name == "measured tables" else load_model()
    arch = load_architecture("gemma-2-9b" if name == "windows" else "llama-2-7b")
    predicted = predict(model, arch, Deployment(1.0), prompt=1000, output=output)
    assert float(predicted.context_tokens) == pytest.approx(1000 + (output - 2) / 2, rel=1e-9)
