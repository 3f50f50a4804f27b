"""The array simulator against vLLM's own scheduler and the plain simulator; settings; what is refused."""

import dataclasses
import math

import hypothesis.strategies as st
import jax
import numpy as np
import plain_simulator
import pytest
from comparing import COUNT, LINEAR, apart, assert_same, load_of, padded, ruled, setting_of, simulated
from hypothesis import given, settings
from plain_simulator import Request, Rules
from traces import CONSTANTS, load_traces, random_case, step_time

from jaxroof import Deployment, InputError, Load, load_architecture, load_model, replace, simulate, with_settings
from jaxroof.serving.history import token_times_s
from jaxroof.serving.setting import make_setting
from jaxroof.serving.simulate import CHUNK, LEAST_SLOTS, with_history

pytestmark = pytest.mark.usefixtures("quickly_compiled")

ONLY_NEW_TOKENS = dict.fromkeys(CONSTANTS, 0.0) | {"per_new_token_s": 1.0}


def compare(rules, constants, requests, think_s=0.0, admission_s=0.0):
    """How far the two simulators are apart; they preempt alike."""
    options = {"think_s": think_s, "admission_s": admission_s}
    ours = simulated(requests, rules, constants, **options)
    theirs = plain_simulator.simulate(requests, rules, step_time(constants), **options)
    assert ours[1] == theirs[1]
    return apart(ours[0], theirs[0])


# Against vLLM's own scheduler and the plain simulator


def test_every_token_and_preemption_of_vllms_own_scheduler():
    for rules, constants, requests, times, preemptions in load_traces():
        ours = simulated(padded(requests), rules, constants)
        assert apart(ours[0][: len(requests)], times) < 1e-9
        assert ours[1][: len(requests)] == preemptions


@pytest.mark.parametrize(
    "options", [{}, {"ties": True}, {"other_servers": True}, {"other_servers": True, "ties": True}]
)
def test_every_token_and_preemption_of_the_plain_simulator(options):
    for seed in range(50):
        rules, constants, requests = random_case(seed, count=COUNT, **options)
        if rules.prefill_first:  # no server has both
            rules = dataclasses.replace(rules, batch_wait_steps=0)
        if seed % 5 == 0:
            rules = dataclasses.replace(rules, block_size=1, blocks=16 * rules.blocks)
        assert compare(rules, constants, requests, (0.0, 0.25)[seed % 2], (0.0, 0.0, 0.125)[seed % 3]) < 1e-9, seed


@pytest.mark.parametrize("async_scheduling", [False, True])
@pytest.mark.parametrize("only", CONSTANTS)
def test_a_line_of_one_constant(only, async_scheduling):
    constants = dict.fromkeys(CONSTANTS, 0.0) | {only: 1 / 64}
    if only == "per_context_token_s":
        constants["per_request_s"] = 1 / 1024  # prompts have no context yet, and their steps would take no time
    arrivals = [0.0] * 4 + [2.0] * 4 + [100 + i / 64 for i in range(COUNT - 8)]  # at once, and after a pause
    requests = [Request(arrival, 1 + i % 5, 2 + i % 3) for i, arrival in enumerate(arrivals)]
    for blocks, size in (1, 16), (8, 1), (math.inf, 4):
        rules = Rules(100_000, 5, size, blocks, async_scheduling=async_scheduling)
        assert compare(rules, constants, requests) < 1e-9


@pytest.mark.parametrize("async_scheduling", [False, True])
def test_one_block_one_slot_one_token(async_scheduling):
    constants = dict.fromkeys(CONSTANTS, 0.125)
    for prompt, output, slots in (1, 1, 1), (1, 1, 16), (16, 1, 2), (1, 16, 2), (8, 9, 2):
        requests = [Request(0.5, prompt, output)] * COUNT
        rules = Rules(slots, slots, blocks=1, async_scheduling=async_scheduling)
        assert compare(rules, constants, requests) < 1e-9


@pytest.mark.parametrize("think_s", [0.0, 0.375])
def test_closed_loops_of_any_number_of_clients(think_s):
    for seed, clients in enumerate((1, 2, 5, COUNT - 1)):
        rules, constants, requests = random_case(seed, count=COUNT, ties=True)
        sent = [dataclasses.replace(r, arrival_s=0.0 if i < clients else math.inf) for i, r in enumerate(requests)]
        for lag in False, True:
            compared = compare(dataclasses.replace(rules, async_scheduling=lag), constants, sent, think_s, 0.25)
            assert compared < 1e-9


# What holds of every server


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), other_servers=st.booleans())
def test_what_a_server_keeps_to(seed, other_servers):
    rules, _, requests = random_case(seed, count=COUNT, other_servers=other_servers)
    found, history = with_history(setting_of(requests, rules, ONLY_NEW_TOKENS, 0.0, 0.0))
    times = token_times_s(history, COUNT)
    assert [len(of_one) for of_one in times] == [request.output_tokens for request in requests]
    assert all((np.diff(of_one) > 0).all() for of_one in times)
    assert (found.first_s, found.last_s) == (
        pytest.approx([of_one[0] for of_one in times]), pytest.approx([of_one[-1] for of_one in times])
    )  # fmt: skip
    assert history.running.max() <= rules.max_num_seqs
    assert (
        not math.isfinite(rules.blocks) or 0 <= history.used_blocks.min() <= history.used_blocks.max() <= rules.blocks
    )
    tokens = history.jump.first_s[history.jump.steps > 0]  # a token takes a second
    assert 1 <= tokens.min() <= tokens.max() <= rules.max_num_batched_tokens + 1e-9
    assert found.busy_s <= found.last_s.max() + 1e-9
    assert 0 < found.batch <= rules.max_num_seqs
    if found.preemptions.sum() == 0 and rules.long_prefill_token_threshold == 0:
        assert (np.diff(found.first_s) >= 0).all()


# Many settings


def stacked(loads):
    """Loads as settings."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *loads)


@pytest.mark.usefixtures("fused")
def test_a_setting_is_the_same_alone_and_in_a_batch_of_several_chunks():
    many = CHUNK + 2
    cases = [random_case(seed, count=COUNT) for seed in range(many)]
    loads = [load_of([dataclasses.replace(r, arrival_s=i / 8) for i, r in enumerate(q)]) for _, _, q in cases]
    base, blocks = np.linspace(1e-3, 0.1, many), np.array([rules.blocks for rules, _, _ in cases])
    model = ruled(Rules(64, 16, async_scheduling=True), dict.fromkeys(CONSTANTS, 1e-4))
    found = simulate(replace(model, {"linear.base_us": base * 1e6}), stacked(loads), kv_blocks=blocks)
    assert found.ttft_s.shape == (many, COUNT)
    assert found.preemptions.sum() > 0
    for i in 0, 1, 64, CHUNK - 1, CHUNK, many - 1:
        one = replace(model, {"linear.base_us": base[i] * 1e6})
        assert_same(found, i, simulate(one, loads[i], kv_blocks=blocks[i]))
        assert_same(found, i, simulate(one, loads[i], kv_blocks=blocks[i]))


def test_more_requests_run_than_there_were_places():
    rng, many = np.random.default_rng(0), 120
    lengths = [(int(p), int(o)) for p, o in zip(rng.integers(1, 60, many), rng.integers(2, 60, many), strict=True)]
    burst, spread = ([Request(gap * i, *length) for i, length in enumerate(lengths)] for gap in (0.0, 5.0))
    rules, constants = Rules(8192, 1024, async_scheduling=True), dict.fromkeys(CONSTANTS, 2.0**-10)
    found = simulate(ruled(rules, constants), stacked([load_of(burst), load_of(spread)]))
    assert found.batch[0] > 2 * LEAST_SLOTS
    assert found.batch[1] < LEAST_SLOTS
    for i, requests in enumerate((burst, spread)):
        times, _ = plain_simulator.simulate(requests, rules, step_time(constants))
        assert found.first_s[i] == pytest.approx([of_one[0] for of_one in times], rel=1e-9)
        assert found.last_s[i] == pytest.approx([of_one[-1] for of_one in times], rel=1e-9)


# Refusals

LINE = with_settings(LINEAR, ["linear.base_us=1000"])
ASKED = {"arrival_s": [0.0, 1.0], "prompt_tokens": [20, 20], "cached_tokens": [0, 0], "output_tokens": [5, 5]}


def says(why, call, *args, **kwargs):
    with pytest.raises(InputError) as refused:
        call(*args, **kwargs)
    assert str(refused.value).startswith(f"simulate: {why}"), refused.value
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("transform", [jax.grad, jax.jit, jax.vmap])
def test_no_function_to_differentiate_or_map(transform):
    bare = Load(**ASKED)

    def of_base(base):
        return simulate(replace(LINE, {"linear.base_us": base}), bare).e2e_s.sum()

    def of_think(think_s):
        return simulate(LINE, dataclasses.replace(bare, think_s=think_s)).e2e_s.sum()

    def of_blocks(kv_blocks):
        return simulate(LINE, bare, kv_blocks=kv_blocks).e2e_s.sum()

    for function in of_base, of_think, of_blocks:
        with pytest.raises(InputError, match="steady_state has gradients"):
            transform(function)(np.ones(3) if transform is jax.vmap else 1.0)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"arrival_s": [1.0, 0.5]}, "arrival_s: must rise"),
        ({"arrival_s": [0.0, math.nan]}, "arrival_s: must be ≥ 0"),
        ({"arrival_s": [-1.0, 0.0]}, "arrival_s: must be ≥ 0"),
        ({"arrival_s": [math.inf, math.inf]}, "arrival_s: the first request must be sent"),
        ({"prompt_tokens": [0, 20]}, "prompt_tokens: must be whole numbers ≥ 1"),
        ({"prompt_tokens": [20.5, 20]}, "prompt_tokens: must be whole numbers ≥ 1"),
        ({"output_tokens": [5, math.nan]}, "output_tokens: must be whole numbers ≥ 1"),
        ({"output_tokens": [5, math.inf]}, "output_tokens: must be whole numbers ≥ 1"),
        ({"cached_tokens": [-1, 0]}, "cached_tokens: must be whole numbers ≥ 0"),
        ({"cached_tokens": [0, 21]}, "cached_tokens: must be ≤ prompt_tokens"),
        ({"think_s": -1.0}, "think_s: must be finite and ≥ 0"),
        ({"think_s": math.nan}, "think_s: must be finite and ≥ 0"),
        ({key: [] for key in ASKED}, "load: has no requests"),
    ],
)
def test_a_load_that_cannot_be(change, why):
    says(why, simulate, LINE, Load(**ASKED | change))


def test_a_server_that_cannot_be():
    load, arch, one = Load(**ASKED), load_architecture("llama-2-7b"), Deployment(1.0)
    small = with_settings(LINE, ["server.max_num_batched_tokens=8", "server.max_num_seqs=9"])
    says("server.max_num_batched_tokens: must be ≥ server.max_num_seqs: 8 tokens for 9 requests", simulate, small, load)
    for blocks in 1, -1, math.nan, np.array([5, 1]):
        says("kv_blocks: a request needs 2 blocks of 16 tokens", simulate, LINE, load, kv_blocks=blocks)
    assert make_setting(LINE, load, None, None, 2).kv_blocks == 2
    says("linear: steps take no time", simulate, LINEAR, load)
    lines = replace(LINEAR, {"linear.base_us": np.array([1.0, 0.0])})
    says("linear: steps take no time", simulate, lines, load)
    says("linear: steps take no time", simulate, with_settings(LINEAR, ["linear.per_context_token_us=1"]), load)
    for key in "base", "per_new_token", "per_request":
        assert make_setting(with_settings(LINEAR, [f"linear.{key}_us=1"]), load, None, None, 2)
    says("leaves differ in their number of settings: [2, 3]", simulate,
         replace(LINE, {"linear.base_us": np.ones(3)}), load, kv_blocks=np.ones(2) * 9)  # fmt: skip
    says("step model: roofline is not simulated", simulate, load_model("roofline"), load, arch, one)
    says("kernels needs a model and its deployment", simulate, load_model(), load)
    long = Load(**ASKED | {"prompt_tokens": [20, 4097]})
    says("prompt: 4097 tokens are more than the model's 4096 positions", simulate, load_model(), long, arch, one)
    says("kv_blocks: a request needs", simulate, load_model(), load, load_architecture("llama-3.1-70b"), one)
    penalised = load_architecture("qwen2.5-7b")
    other = load_model(server="trtllm-1.0")
    says("sampling: the server's penalties are not known", simulate, other, load, penalised, one)
