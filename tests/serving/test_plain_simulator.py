"""The plain simulator against vLLM's own scheduler, and against cases computed by hand."""

import math
from itertools import pairwise

import pytest
from plain_simulator import Request, Rules, simulate
from traces import load_traces, random_case, step_time

ONE_SECOND = step_time({"base_s": 1.0, "per_new_token_s": 0.0, "per_context_token_s": 0.0, "per_request_s": 0.0})
ROOMY = {"max_num_batched_tokens": 64, "max_num_seqs": 4}
BOTH = pytest.mark.parametrize("async_scheduling", [False, True])


def recorded(requests, rules, seconds=ONE_SECOND, **options):
    """The rows of every step beside the token times and preemptions."""
    steps = []

    def step_seconds(step):
        """The step time, once the step is noted."""
        steps.append(step.rows)
        return seconds(step)

    return steps, *simulate(requests, rules, step_seconds, **options)


def test_every_token_and_preemption_of_vllms_own_scheduler():
    traces = load_traces()
    assert len(traces) == 80
    assert sum(rules.async_scheduling for rules, *_ in traces) == 48
    for rules, constants, requests, times, preemptions in traces:
        ours = simulate(requests, rules, step_time(constants))
        assert ours[0] == [pytest.approx(of_one, rel=0, abs=1e-10) for of_one in times]  # stored with 10 decimals
        assert ours[1] == preemptions


@BOTH
def test_a_lone_request(async_scheduling):
    constants = {"base_s": 1.0, "per_new_token_s": 0.5, "per_context_token_s": 0.25, "per_request_s": 0.125}
    rules = Rules(**ROOMY, async_scheduling=async_scheduling)
    steps, times, _ = recorded([Request(2.0, 4, 3)], rules, step_time(constants))
    assert steps == [[(0, 4, 0, True)], [(4, 1, 1, False)], [(5, 1, 2, False)]]
    assert times == [[5.125, 7.75, 10.625]]


def test_an_arrival_waits_for_the_running_step_and_if_asynchronous_for_the_next():
    requests = [Request(0.0, 4, 6), Request(0.5, 4, 1)]
    assert simulate(requests, Rules(**ROOMY), ONE_SECOND)[0][1] == [2.0]
    assert simulate(requests, Rules(**ROOMY, async_scheduling=True), ONE_SECOND)[0][1] == [3.0]


def test_a_slot_is_free_one_pass_late_if_asynchronous():
    requests = [Request(0.0, 4, 2), Request(0.0, 4, 5), Request(0.0, 4, 1)]
    rules = {"max_num_batched_tokens": 64, "max_num_seqs": 2}
    assert simulate(requests, Rules(**rules), ONE_SECOND)[0][2] == [3.0]
    assert simulate(requests, Rules(**rules, async_scheduling=True), ONE_SECOND)[0][2] == [4.0]


@BOTH
def test_an_empty_pass_is_repeated_when_the_step_in_flight_ends(async_scheduling):
    rules = Rules(max_num_batched_tokens=64, max_num_seqs=1, async_scheduling=async_scheduling)
    assert simulate([Request(0.0, 4, 1), Request(0.5, 4, 1)], rules, ONE_SECOND)[0] == [[1.0], [2.0]]


def test_a_cached_prompt_of_whole_blocks_computes_one_block():
    steps, _, _ = recorded([Request(0.0, 32, 1, 32), Request(9.0, 33, 1, 33)], Rules(**ROOMY))
    assert steps == [[(16, 16, 0, True)], [(32, 1, 0, True)]]


@BOTH
def test_one_client_sends_once_it_has_seen_its_last_token_and_thought(async_scheduling):
    requests = [Request(0.0, 4, 2), Request(math.inf, 4, 2), Request(math.inf, 4, 2)]
    rules = Rules(**ROOMY, async_scheduling=async_scheduling)
    times, _ = simulate(requests, rules, ONE_SECOND, think_s=0.5, admission_s=0.25)
    assert times == [[1.25, 2.25], [4.0, 5.0], [6.75, 7.75]]


def test_a_preempted_request_computes_its_output_again_as_part_of_its_prompt():
    rules = Rules(**ROOMY, blocks=2)
    steps, times, preemptions = recorded([Request(0.0, 16, 3), Request(0.0, 16, 3)], rules)
    assert times == [[1.0, 2.0, 3.0], [1.0, 4.0, 5.0]]
    assert preemptions == [0, 1]
    assert steps[3:] == [[(0, 17, 1, True)], [(17, 1, 2, False)]]


def test_a_request_preempted_with_its_last_token_in_flight_ends_when_that_is_delivered():
    rules = Rules(**ROOMY, blocks=2, async_scheduling=True)
    assert simulate([Request(0.0, 16, 3), Request(0.0, 16, 1)], rules, ONE_SECOND) == ([[1.0, 2.0, 3.0], [1.0]], [0, 1])


@pytest.mark.parametrize(("reserve", "second"), [(False, [(0, 48, 0, True)]), (True, [])])
def test_the_first_chunk_or_the_whole_prompt_must_fit_at_admission(reserve, second):
    rules = Rules(**ROOMY, blocks=6, reserve_full_prompt=reserve)
    steps, _, _ = recorded([Request(0.0, 16, 1), Request(0.0, 90, 1)], rules)
    assert steps[0] == [(0, 16, 0, True), *second]


def test_with_a_threshold_several_prompts_are_partly_computed():
    rules = Rules(max_num_batched_tokens=16, max_num_seqs=3, long_prefill_token_threshold=8)
    steps, _, _ = recorded([Request(0.0, 20, 2), Request(0.0, 28, 1), Request(0.0, 6, 1)], rules)
    assert steps == [
        [(0, 8, 0, True), (0, 8, 0, True)],
        [(8, 8, 0, True), (8, 8, 0, True)],
        [(16, 4, 0, True), (16, 8, 0, True), (0, 4, 0, True)],
        [(20, 1, 1, False), (24, 4, 0, True), (4, 2, 0, True)],
    ]


def test_prefill_first_keeps_decodes_out_of_a_pass_that_has_prompts():
    rules = Rules(max_num_batched_tokens=16, max_num_seqs=2, prefill_first=True)
    steps, _, _ = recorded([Request(0.0, 4, 3), Request(0.5, 20, 2), Request(0.5, 4, 1)], rules)
    assert steps == [
        [(0, 4, 0, True)],
        [(0, 16, 0, True)],
        [(16, 4, 0, True)],
        [(4, 1, 1, False), (20, 1, 1, False)],
        [(0, 4, 0, True)],
        [(5, 1, 2, False)],
    ]


def test_waiting_requests_are_held_back_while_others_decode():
    requests = [Request(0.0, 4, 9), Request(0.5, 4, 1), Request(1.5, 4, 1), Request(3.5, 4, 1)]
    times, _ = simulate(requests, Rules(**ROOMY, batch_wait_steps=2), ONE_SECOND)
    assert times[1:] == [[4.0], [4.0], [7.0]]
    assert simulate(requests[1:], Rules(**ROOMY, batch_wait_steps=2), ONE_SECOND)[0] == [[1.5], [2.5], [4.5]]


@pytest.mark.parametrize("options", [{}, {"ties": True}, {"other_servers": True}])
def test_random_cases_keep_to_the_rules(options):
    for seed in range(60):
        rules, constants, requests = random_case(seed, **options)
        steps, times, _ = recorded(requests, rules, step_time(constants), think_s=0.25)
        assert [len(of_one) for of_one in times] == [request.output_tokens for request in requests]
        assert all(first < second for of_one in times for first, second in pairwise(of_one))
        for rows in steps:
            assert 0 < len(rows) <= rules.max_num_seqs
            assert sum(new for _, new, _, _ in rows) <= rules.max_num_batched_tokens
            assert max(new for _, new, _, _ in rows) <= (rules.long_prefill_token_threshold or math.inf)
            assert sum(math.ceil((context + new) / 16) for context, new, _, _ in rows) <= rules.blocks
            assert not rules.prefill_first or len({prompt for *_, prompt in rows}) == 1


def test_random_cases_cover_what_they_should():
    cases = [random_case(seed) for seed in range(200)]
    rules, requests = [rules for rules, _, _ in cases], [requests for _, _, requests in cases]
    for name in ("async_scheduling", "reserve_full_prompt", "long_prefill_token_threshold"):
        assert {bool(getattr(of_one, name)) for of_one in rules} == {False, True}
    assert any(of_one.max_num_batched_tokens == of_one.max_num_seqs for of_one in rules)
    assert any(of_one[-1].arrival_s == math.inf for of_one in requests)
    everyone = [request for of_one in requests for request in of_one]
    assert {request.prompt_tokens == 1 for request in everyone} == {request.output_tokens == 1 for request in everyone}
    assert sum(sum(simulate(r, q, step_time(c))[1]) for q, c, r in cases) > 200  # preemptions
