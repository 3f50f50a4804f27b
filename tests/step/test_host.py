"""What host and server add to a step: times by hand, and gradients of the server's leaves on both sides of switches."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
from quick import jit
from stencil import LEAVES, check_leaves

from jaxroof.catalogue.load import load_architecture, load_tier0
from jaxroof.parameters import Architecture, Deployment, Sampling, layers_of, put, replace, scalar
from jaxroof.parameters.server import TUNED_SHAPES
from jaxroof.step import Batch, Requests
from jaxroof.step.host import exposed_s
from jaxroof.step.kernels import kernels

SYNC, ASYNC = (load_tier0(server=server) for server in ("vllm-sync", "vllm-0.15"))
LLAMA, MIXTRAL = (load_architecture(name) for name in ("llama-3.1-8b", "mixtral-8x7b"))
EXPERTS = {"num_experts": 64.0, "num_experts_per_tok": 8.0, "moe_intermediate_size": 1024.0}
ATTENTION = {"num_attention_heads": 32.0, "num_key_value_heads": 8.0, "head_dim": 128.0, "attention_input_bytes": 1.0}
# Eight-bit inputs, norms of queries and keys, and in each group another router.
ROUTED = Architecture(
    4096,
    128256,
    layers_of(
        {key: [value] * 4 for key, value in (EXPERTS | ATTENTION | {"num_hidden_layers": 9.0, "qk_norm": 1.0}).items()}
        | {"router_bias": [1, 0, 1, 0], "router_groups": [0, 1, 1, 0], "router_late_sigmoid": [0, 0, 0, 1]}
    ),
)
PARTS_OF_SAMPLER = ("sampling", "sorting", "penalties")
STEP = jit(kernels)
OURS = [key for key in LEAVES if key.startswith(("server.", "hardware.kernels.decode_attention.spread"))]


def row(context, new, count):
    return Requests(*(np.array([float(value)]) for value in (context, new, count)))


def step_of(count, context=700, sampling=None, generated=100, longest=200, spread=0, prefill=0):
    """A step with one row per phase, so that one program serves all; ``prefill`` new tokens, none by default."""
    tokens = {"generated_tokens": generated, "longest_tokens": longest, "spread_tokens": spread}
    prompts = row(50, max(prefill, 1), float(prefill > 0))
    return Batch(prompts, row(context, 1, count), sampling or Sampling(), **{k: scalar(v) for k, v in tokens.items()})


def server(per_step_us, per_request_us, flag):
    keys = {"per_step_us": per_step_us, "per_request_us": per_request_us, "async_scheduling": flag}
    return replace(SYNC, {f"server.{key}": value for key, value in keys.items()}).server


@pytest.mark.parametrize(
    ("forward", "sampler", "tables", "per_step"),
    [
        (5, 1, 0, 4),  # all hidden
        (5, 1, 4, 1.9),
        (5, 1, 4.9, 0.9),
        (5, 1, 5.1, 0.9),  # tables longer than the forward pass, hidden host
        (5, 1, 0, 5.9),
        (5, 1, 0, 6.1),  # host longer than the GPU
        (5, 1, 4, 2.1),  # tables and host together
        (5, 1, 9, 0.9),
        (5, 1, 9, 1.1),  # tables too long, host longer than the sampler
    ],
)
def test_a_step_takes_what_its_longest_chain_does(forward, sampler, tables, per_step):
    requests, per_request = 16, 0.25 / 16
    host = per_step + 0.25
    longest = max(forward + sampler, tables + sampler, tables + host)
    for flag, total in ((0, forward + sampler + tables + host), (1, longest)):
        engine = server(1e3 * per_step, 1e3 * per_request, flag)
        exposed = exposed_s(*(jnp.asarray(ms / 1e3) for ms in (forward, sampler, tables)), scalar(requests), engine)
        assert 1e3 * float(exposed) == pytest.approx(total - forward - sampler, abs=1e-12)


@pytest.mark.parametrize(("tier0", "waits"), [(SYNC, 0.5), (ASYNC, 1.5)], ids=["sync", "async"])
def test_a_request_waits_for_the_queued_steps_of_those_that_decode(tier0, waits):
    for count, steps in ((0, 0), (8, waits)):
        assert STEP(step_of(count, prefill=30), LLAMA, Deployment(1.0), tier0).queued_steps == steps


def test_tuned_tiles_are_those_of_the_shape_on_one_gpu():
    shapes = jnp.zeros((TUNED_SHAPES, 2)).at[5].set(jnp.array([8.0, 7168.0]))
    tuned = put(ASYNC, {"server.tuned_moe": shapes})
    for tp, ep, slowdown in ((2.0, 1.0, 1.0), (4.0, 1.0, 1.25), (1.0, 1.0, 1.25), (2.0, 2.0, 1.25)):
        ours, plain = (
            STEP(step_of(200), MIXTRAL, Deployment(tp, ep), tier0).parts["experts"].seconds
            for tier0 in (tuned, replace(tuned, {"server.untuned_moe_slowdown": 1.0}))
        )
        assert float(ours / plain) == pytest.approx(slowdown, rel=1e-12)


@pytest.mark.parametrize(
    ("tokens", "amiss"), [(64, 0), (80, 0.5), (96, 1), (300, 1), (512, 1), (768, 0.5), (1024, 0), (3000, 0)]
)
def test_untuned_tiles_are_slower_from_64_to_1024_tokens(tokens, amiss):
    untuned = put(ASYNC, {"server.tuned_moe": jnp.zeros((TUNED_SHAPES, 2))})
    plain = replace(untuned, {"server.untuned_moe_slowdown": 1.0})
    ours, theirs = (
        STEP(step_of(tokens), MIXTRAL, Deployment(2.0), tier0).parts["experts"].seconds for tier0 in (untuned, plain)
    )
    assert float(ours / theirs) == pytest.approx(1 + 0.25 * amiss, rel=1e-12)


@pytest.mark.parametrize("count", [1, 3, 64, 300])
@pytest.mark.parametrize("tp", [1.0, 4.0])
def test_spread_of_contexts_by_hand(count, tp):
    keys = {"multiprocessors": 100.0, "bound": 1.5, "tail": 0.8, "split": 2.0}
    spread = replace(ASYNC, {f"hardware.kernels.decode_attention.spread.{key}": value for key, value in keys.items()})
    none = replace(spread, {"hardware.kernels.decode_attention.spread.multiprocessors": 0.0})
    parts = [
        STEP(step_of(count, 900, spread=630), LLAMA, Deployment(tp), tier0).parts["decode_attention"]
        for tier0 in (spread, none)
    ]
    heads = 8 / tp
    uneven, tiles = 630 / 900 * (1 - 1 / count), count * heads / 100
    width = (0.8 * tiles) ** 2 * heads**0.5 + uneven**2 * (1.5 + (2 / tiles) ** 4)
    assert float(parts[0].memory_s / parts[1].memory_s) == pytest.approx(1 + uneven / width**0.5, rel=1e-12)


CUTS = {"top_p": 0.9, "top_k": 50, "min_p": 0.1, "repetition_penalty": 1.1}
HIDING, SHOWING = {"per_step_us": 10.0, "per_request_us": 0.1}, {"per_step_us": 3e4}
LONG_TABLES = {"sampling": Sampling(repetition_penalty=1.1), "generated": 6000, "longest": 9000, "count": 64}
# tier0, changes of its server, model, tp, and the step; what the host adds is nothing ("hidden"), or some.
SIDES = {
    "synchronous": (SYNC, {}, LLAMA, 1.0, {"count": 8}, True),
    "synchronous with tables": (SYNC, {}, LLAMA, 1.0, LONG_TABLES, True),
    "host hidden": (ASYNC, {}, LLAMA, 1.0, {"count": 8}, False),
    "host longer": (ASYNC, SHOWING, LLAMA, 1.0, {"count": 8}, True),
    "tables hidden": (ASYNC, {}, LLAMA, 1.0, LONG_TABLES | {"generated": 300, "longest": 600}, False),
    "tables longer": (ASYNC, HIDING, LLAMA, 1.0, LONG_TABLES, True),
    "tables and host longer": (ASYNC, SHOWING, LLAMA, 1.0, LONG_TABLES, True),
    "greedy": (SYNC, {}, LLAMA, 2.0, {"count": 8, "sampling": Sampling(temperature=0.0)}, True),
    **{
        f"{key}, {count} rows": (SYNC, {}, LLAMA, 2.0, {"count": count, "sampling": Sampling(**{key: value})}, True)
        for key, value in CUTS.items()
        for count in (127, 128)
    },
    "all cuts": (SYNC, {}, LLAMA, 2.0, {"count": 200, "sampling": Sampling(**CUTS)}, True),
    "tuned": (ASYNC, {}, MIXTRAL, 2.0, {"count": 200}, False),
    **{f"untuned, {m} tokens": (ASYNC, {}, MIXTRAL, 1.0, {"count": m}, False) for m in (63, 65, 95, 97, 511, 513)},
    **{f"untuned, {m} tokens": (ASYNC, {}, MIXTRAL, 1.0, {"count": m}, False) for m in (1023, 1025)},
    "in the largest graph": (SYNC, {}, LLAMA, 4.0, {"count": 500, "prefill": 11}, True),
    "beyond the largest graph": (SYNC, {}, LLAMA, 4.0, {"count": 500, "prefill": 13}, True),
    "prefill alone": (ASYNC, {}, LLAMA, 2.0, {"count": 0, "prefill": 600}, False),
    **{f"spread, {n} requests": (ASYNC, {}, LLAMA, 1.0, {"count": n, "spread": 500}, False) for n in (1, 2, 64, 300)},
    "equal contexts": (ASYNC, {}, LLAMA, 1.0, {"count": 64}, False),
    "routers": (SYNC, {}, ROUTED, 2.0, {"count": 64}, True),
    "launches longer": (ASYNC, {"launch_us": 200.0}, LLAMA, 2.0, {"count": 0, "prefill": 600}, True),
    "launches of experts longer": (ASYNC, {"launch_us": 200.0}, ROUTED, 2.0, {"count": 8, "prefill": 600}, True),
    "launches in a graph": (ASYNC, {"launch_us": 200.0}, LLAMA, 2.0, {"count": 8, "prefill": 500}, False),
}


@pytest.mark.parametrize("side", SIDES)
def test_gradients_of_the_servers_leaves_on_both_sides_of_each_switch(side):
    gradients(side)
    assert bool(found(side).overhead_s > 0) == SIDES[side][-1]


@functools.cache
def gradients(side):
    tier0, arch, deployment, batch = case(side)
    return check_leaves(kernels, tier0, arch, deployment, batch, rtol=1e-5)


def case(side):
    tier0, changes, arch, tp, step, _ = SIDES[side]
    return replace(tier0, {f"server.{k}": v for k, v in changes.items()}), arch, Deployment(tp), step_of(**step)


def found(side):
    tier0, arch, deployment, batch = case(side)
    return STEP(batch, arch, deployment, tier0)


def test_the_gradient_checks_reach_every_leaf_that_a_step_depends_on():
    unreached = {key for key in OURS if not any(gradients(side)[key] for side in SIDES)}
    of_memory = {"server.gpu_memory_utilization", "server.reserved_gb", "server.sampler.peak_bytes_per_logit"}
    assert unreached == {"server.admission_ms", "server.graph_tokens"} | of_memory


def test_which_tables_and_hosts_are_longer_in_the_gradient_checks():
    for side, longer in {"tables longer": False, "tables and host longer": True}.items():
        server_ = case(side)[0].server
        sampler_s = sum(found(side).parts[name].seconds for name in PARTS_OF_SAMPLER)
        assert bool(server_.per_step_s + server_.per_request_s * 64 > sampler_s) == longer
