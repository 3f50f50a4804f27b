"""The array simulator against vLLM's own scheduler, the plain simulator, itself one step at a time, and ``predict``."""

import dataclasses
import math

import hypothesis.strategies as st
import jax
import numpy as np
import plain_simulator
import pytest
from comparing import LINEAR, apart, load_of, padded, ruled, setting_of, simulated
from hypothesis import given, settings
from plain_simulator import Request, Rules
from traces import CONSTANTS, load_traces, random_case, step_time

from jaxroof import (
    Deployment,
    InputError,
    Load,
    Sampling,
    load_architecture,
    load_model,
    predict,
    replace,
    simulate,
    with_settings,
)
from jaxroof.serving.history import token_times_s
from jaxroof.serving.setting import make_setting
from jaxroof.serving.simulate import CHUNK, LEAST_SLOTS, with_history

COUNT = 24  # requests of every load, so that one program serves all
SERVERS = ("vllm-sync", "vllm-0.11-async", "vllm-0.15", "sglang-0.5", "trtllm-1.0")
SAMPLERS = {
    "greedy": {"temperature": 0.0},
    "top_p": {"top_p": 0.9},
    "penalties": {"top_p": 0.9, "top_k": 50.0, "repetition_penalty": 1.1},
    "min_p": {"min_p": 0.1},
}
MODELS = {"llama-3.1-8b": Deployment(1.0), "qwen3-30b-a3b": Deployment(2.0, 2.0)}
ONLY_NEW_TOKENS = dict.fromkeys(CONSTANTS, 0.0) | {"per_new_token_s": 1.0}


@pytest.fixture(autouse=True, scope="module")
def quickly_compiled():
    """Programs run for a moment: XLA compiles them quickly rather than well."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def compare(rules, constants, requests, think_s=0.0, admission_s=0.0):
    """How far the two simulators are apart; they preempt alike."""
    options = {"think_s": think_s, "admission_s": admission_s}
    ours = simulated(requests, rules, constants, **options)
    theirs = plain_simulator.simulate(requests, rules, step_time(constants), **options)
    assert ours[1] == theirs[1]
    return apart(ours[0], theirs[0])


def architecture(name, sampler=None):
    """A model whose tokens are drawn so, or as its own files say."""
    arch = load_architecture(name)
    return arch if sampler is None else dataclasses.replace(arch, sampling=Sampling(**SAMPLERS[sampler]))


def random_load(seed, seconds, prompt, output, cached=0.0):
    """A load whose requests come within ``seconds``, with uniform lengths, a share of their prompts cached."""
    rng = np.random.default_rng(seed)
    prompts = rng.integers(*prompt, COUNT)
    arrivals = np.sort(rng.uniform(0, seconds, COUNT))
    return Load(arrivals, prompts, np.floor(cached * prompts), rng.integers(*output, COUNT))


def stacked(loads):
    """Loads as settings."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *loads)


# Against vLLM's own scheduler and the plain simulator


def test_every_token_and_preemption_of_vllms_own_scheduler():
    for rules, constants, requests, times, preemptions in load_traces():
        ours = simulated(padded(requests, COUNT), rules, constants)
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


# Jumps against one step at a time


def jumps_and_steps(model, load, arch, deployment, kv_blocks=None):
    """A simulation, what it did, and how far it is from one step at a time, relative to each time."""
    setting = make_setting(model, load, arch, deployment, kv_blocks)
    (found, history), (slow, single) = with_history(setting), with_history(setting, 1.0)
    assert single.jump.steps.max() == 1
    assert found.preemptions.tolist() == slow.preemptions.tolist()
    assert found.steps == slow.steps
    times, singly = (token_times_s(one, load.requests) for one in (history, single))
    assert apart(times, singly) < 1e-9
    pairs = zip(times, singly, strict=True)
    return found, history, max(float(np.max(np.abs(x / y - 1))) for x, y in pairs)


@pytest.mark.parametrize("server", SERVERS)
def test_jumps_take_as_long_as_their_steps(server):
    model = load_model(server=server)
    size, supported = float(model.constants.server.block_size), float(model.constants.server.penalties.supported)
    for seed, (name, deployment) in enumerate(MODELS.items()):
        for sampler in SAMPLERS if supported else ("greedy", "top_p", "min_p"):
            arch = architecture(name, sampler)
            roomy, tight = (random_load(seed, seconds, (50, 600), (10, 300)) for seconds in (5, 1))
            found, history, difference = jumps_and_steps(model, roomy, arch, deployment)
            assert difference < 1e-9
            assert found.preemptions.sum() == 0
            assert history.jump.steps.max() > 10
            found, _, difference = jumps_and_steps(model, tight, arch, deployment, math.ceil(2500 / size))
            assert difference < 1e-9
            assert found.preemptions.sum() > 0


@pytest.mark.parametrize("server", SERVERS)
def test_jumps_of_memory(server):
    model, arch = load_model("memory", overheads="h2b", server=server), architecture("llama-3.1-8b")
    size = float(model.constants.server.block_size)
    for kv_blocks in None, math.ceil(2500 / size):
        load = random_load(3, 2, (50, 600), (10, 300), cached=0.5)
        assert jumps_and_steps(model, load, arch, MODELS["llama-3.1-8b"], kv_blocks)[2] < 1e-9


@pytest.mark.parametrize(
    ("server", "sampler"), [("vllm-0.15", "top_p"), ("vllm-0.15", "penalties"), ("vllm-0.11-async", "greedy")]
)
def test_a_jump_ends_where_step_time_has_a_kink(server, sampler):
    load = random_load(7, 2, (50, 300), (500, 4000))
    found, history, difference = jumps_and_steps(
        load_model(server=server), load, architecture("llama-3.1-8b", sampler), MODELS["llama-3.1-8b"]
    )
    assert difference < 1e-9
    assert found.steps > 2000
    # A kink lies between two jumps of the same requests with different slopes, one right after the other.
    runs = np.flatnonzero(history.jump.steps > 2)
    slope_s, alike = history.jump.slope_s[runs], np.diff(history.running[runs]) == 0
    assert np.any(alike & (np.diff(history.head[runs]) == 0) & (np.abs(np.diff(slope_s)) > 1e-3 * slope_s[1:]))


# Against predictions of one request


@pytest.mark.parametrize(
    ("step", "server", "name", "sampler", "prompt", "cached", "output"),
    [
        ("kernels", "vllm-0.15", "llama-3.1-8b", None, 700, 96, 65),
        ("kernels", "vllm-0.15", "qwen2.5-7b", None, 700, 0, 200),
        ("kernels", "vllm-sync", "qwen2.5-7b", None, 700, 0, 200),
        ("kernels", "vllm-sync", "llama-3.1-8b", "greedy", 5000, 0, 30),
        ("kernels", "vllm-sync", "llama-3.1-8b", "penalties", 5000, 48, 30),
        ("kernels", "vllm-0.15", "qwen3-30b-a3b", "min_p", 1, 0, 2),
        ("kernels", "vllm-0.15", "qwen3-30b-a3b", None, 2000, 0, 100),
        ("kernels", "sglang-0.5", "llama-3.1-8b", "top_p", 300, 299, 50),
        ("kernels", "trtllm-1.0", "llama-3.1-8b", "top_p", 300, 0, 1),
        ("memory", "vllm-0.15", "llama-3.1-8b", None, 700, 96, 65),
        ("memory", "vllm-sync", "qwen2.5-7b", None, 5000, 0, 64),
    ],
)
def test_a_request_alone_takes_as_long_as_is_predicted(step, server, name, sampler, prompt, cached, output):
    model = load_model(step, server=server, overheads="h2b" if step == "memory" else None)
    arch, deployment = architecture(name, sampler), MODELS.get(name, Deployment(1.0))
    says = predict(model, arch, deployment, prompt=prompt, cached=cached, output=output).latency
    columns = [np.full(COUNT, tokens) for tokens in (prompt, cached, output)]
    rare = with_history(make_setting(model, Load(100.0 * np.arange(COUNT), *columns), arch, deployment, None))[0]
    client = simulate(model, Load([3.0, *[math.inf] * (COUNT - 1)], *columns), arch, deployment)
    for found in rare, client:
        assert found.ttft_s == pytest.approx(float(says.ttft_s), rel=1e-6)
        assert found.e2e_s == pytest.approx(float(says.e2e_s), rel=1e-6)
        assert found.itl_s == pytest.approx(float(says.tpot_s) if output > 1 else math.nan, rel=1e-6, nan_ok=True)


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


def same(batch, place, one):
    """Bit by bit."""
    for ours, theirs in zip(jax.tree.leaves(batch), jax.tree.leaves(one), strict=True):
        np.testing.assert_array_equal(ours[place], theirs)


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
        same(found, i, simulate(one, loads[i], kv_blocks=blocks[i]))
        same(found, i, simulate(one, loads[i], kv_blocks=blocks[i]))


def test_a_constant_of_the_model_varies():
    model, arch = load_model("memory", overheads="h2b"), architecture("llama-3.1-8b")
    load, efficiency = random_load(5, 2, (50, 600), (10, 100)), np.linspace(0.5, 0.9, 5)
    load = dataclasses.replace(load, arrival_s=[0.0] * 8 + [math.inf] * (COUNT - 8))
    found = simulate(replace(model, {"hardware.hbm_efficiency": efficiency}), load, arch, Deployment(1.0))
    assert (np.diff(found.e2e_s.mean(1)) < 0).all()
    for i in range(5):
        one = replace(model, {"hardware.hbm_efficiency": efficiency[i]})
        same(found, i, simulate(one, load, arch, Deployment(1.0)))


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
    load, arch, one = Load(**ASKED), architecture("llama-2-7b"), Deployment(1.0)
    small = with_settings(LINE, ["server.max_num_batched_tokens=8", "server.max_num_seqs=9"])
    says("server.max_num_batched_tokens: must be ≥ server.max_num_seqs: 8 tokens for 9 requests", simulate, small, load)
    for blocks in 1, -1, math.nan, np.array([5, 1]):
        says("kv_blocks: a request needs 2 blocks of 16 tokens", simulate, LINE, load, kv_blocks=blocks)
    assert make_setting(LINE, load, None, None, 2).kv_blocks == 2
    says("linear: steps take no time", simulate, LINEAR, load)
    lines = replace(LINEAR, {"linear.base_us": np.array([1.0, 0.0])})
    says("linear: steps take no time", simulate, lines, load)
    says("leaves differ in their number of settings: [2, 3]", simulate,
         replace(LINE, {"linear.base_us": np.ones(3)}), load, kv_blocks=np.ones(2) * 9)  # fmt: skip
    says("step model: roofline is not simulated", simulate, load_model("roofline"), load, arch, one)
    says("kernels needs a model and its deployment", simulate, load_model(), load)
    long = Load(**ASKED | {"prompt_tokens": [20, 4097]})
    says("prompt: 4097 tokens are more than the model's 4096 positions", simulate, load_model(), long, arch, one)
    says("kv_blocks: a request needs", simulate, load_model(), load, architecture("llama-3.1-70b"), one)
    says("sampling: the server's penalties are not known", simulate, load_model(server="trtllm-1.0"), load,
         architecture("llama-3.1-8b", "penalties"), one)  # fmt: skip
