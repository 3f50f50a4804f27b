"""Intervals from the ranges of constants."""

import jax
import numpy as np
import pytest

import jaxroof
from jaxroof.catalogue.ranges import load_ranges
from jaxroof.catalogue.sourced_tree import Ranged
from jaxroof.files import InputError
from jaxroof.intervals.bounds import bounds, check_samples
from jaxroof.intervals.constants import constants_of
from jaxroof.intervals.words import end_name, interval_in_words, interval_record
from jaxroof.parameters import numbers
from jaxroof.request.predict import latency_of, prepared

HOST, LATER = "server.per_step_us", "server.admission_ms"


def host_and_admission_s(model, share):
    """2·host − admission, and a share of the host."""
    server = model.constants.server
    return {"both": 2 * server.per_step_s - server.admission_s, "host": share * server.per_step_s}


@pytest.fixture(scope="module")
def model():
    return jaxroof.load_model()


def around(model, key, low, high):
    """A range of shares of the value."""
    value = numbers(model)[key]
    return {key: Ranged(value, low * value, high * value)}


def test_ends_of_symmetric_ranges_by_hand(model):
    ranges = around(model, HOST, 0.8, 1.2) | around(model, LATER, 0.7, 1.3)
    host, admission = (float(x) for x in (model.constants.server.per_step_s, model.constants.server.admission_s))
    found = bounds(host_and_admission_s, model, (3.0,), constants_of(model, ranges))
    middle, width = 2 * host - admission, np.hypot(2 * 0.2 * host, 0.3 * admission)
    assert found.value["both"] == pytest.approx(middle)
    assert (found.low["both"], found.high["both"]) == pytest.approx((middle - width, middle + width))
    assert (found.low["host"], found.high["host"]) == pytest.approx((2.4 * host, 3.6 * host))
    assert found.depends == found.ranged == {HOST, LATER}


def test_a_lopsided_range_alone_is_all_but_its_ends_and_always_about_the_value(model):
    host = float(model.constants.server.per_step_s)
    for low, high in ((0.5, 1.2), (1.0, 2.0), (0.6, 1.0)):
        found = bounds(host_and_admission_s, model, (1.0,), constants_of(model, around(model, HOST, low, high)))
        ends = np.array([found.low["host"], found.high["host"]]) / host
        np.testing.assert_allclose(ends, [low, high], atol=0.17 * (high - low))
        assert ends[0] <= 1 <= ends[1]


def test_an_extreme_range_goes_no_further_than_its_ends(model):
    """A bandwidth that may be a tenth: the time rises tenfold, and falls by no more than what the other end gives."""
    rate = "hardware.hbm_tb_per_s"
    constants = constants_of(model, around(model, rate, 0.1, 1.1))
    found = bounds(lambda m: 1 / m.constants.hardware.hbm_bytes_per_s, model, (), constants)
    assert found.value / 1.1 * (1 - 1e-9) <= found.low <= found.value <= found.high <= found.value * 10 * (1 + 1e-9)


def test_what_divides_moves_by_its_inverse(model):
    """Twice the rate is half the time, and half of it twice."""
    key = "hardware.kernels.gemm.hbm_efficiency"
    constants = constants_of(model, around(model, key, 0.5, 1.1))
    found = bounds(lambda m: 1 / m.constants.hardware.kernels.gemm.hbm_efficiency, model, (), constants, samples=4096)
    value = 1 / numbers(model)[key]
    np.testing.assert_allclose([found.low, found.high], [value / 1.1, value / 0.5], rtol=0.01)


def test_samples_agree_with_gradients_where_all_is_linear(model):
    constants = constants_of(model, around(model, HOST, 0.8, 1.2) | around(model, LATER, 0.9, 1.1))
    ends = [bounds(host_and_admission_s, model, (3.0,), constants, samples=samples) for samples in (None, 4096)]
    for name in ("both", "host"):
        first, sampled = ((float(each.low[name]), float(each.high[name])) for each in ends)
        np.testing.assert_allclose(sampled, first, atol=0.02 * (first[1] - first[0]))


@pytest.mark.parametrize("request_", [{"prompt": 512, "output": 128}, {"prompt": 2000, "output": 300, "batch": 40}])
def test_a_prediction_s_ends_by_gradients_are_those_of_4096_samples(model, request_):
    arch, deployment = jaxroof.load_architecture("llama-3.1-8b"), jaxroof.Deployment(tp=1)
    traced, static = prepared(model, arch, deployment, **request_)
    constants = constants_of(model, load_ranges())
    first, sampled = (bounds(latency_of, model, traced, constants, static, n) for n in (None, 4096))
    assert first.ranged
    for name in ("ttft", "tpot", "e2e"):
        low, high = (float(end[name]) for end in (first.low, first.high))
        assert low < float(first.value[name]) < high
        ends = [float(end[name]) for end in (sampled.low, sampled.high)]
        np.testing.assert_allclose(ends, [low, high], atol=0.1 * (high - low))


def test_what_was_set_has_no_range_and_what_has_none_counts_as_exact(model):
    ranges = around(model, HOST, 0.8, 1.2)
    changed = jaxroof.with_settings(model, [f"{HOST}=500"])
    found = [bounds(host_and_admission_s, each, (3.0,), constants_of(each, ranges)) for each in (model, changed)]
    assert [each.ranged for each in found] == [{HOST}, set()]
    assert found[1].depends == {HOST, LATER}
    for low, value, high in zip(*map(jax.tree.leaves, (found[1].low, found[1].value, found[1].high)), strict=True):
        assert low == value == high


def test_samples_stay_legal(model):
    """A share that is all but 1 is never sampled above 1."""
    key = "hardware.kernels.gemm.hbm_efficiency"
    near = jaxroof.with_settings(model, [f"{key}=0.99"])
    constants = constants_of(near, {key: Ranged(0.99, 0.5, 1.0)})
    found = bounds(lambda m: m.constants.hardware.kernels.gemm.hbm_efficiency, near, (), constants, samples=1024)
    assert 0 < found.low < found.high <= 1


def test_in_json_and_in_words(model):
    found = bounds(host_and_admission_s, model, (3.0,), constants_of(model, around(model, HOST, 0.8, 1.2)))
    record = interval_record(found)
    assert record == {"level": 0.9, "method": "gradient", "samples": 0, "constants": 2, "with_range": 1}
    assert interval_in_words(record).startswith(
        "at least, at most: 90 % of the cases, to first order, by the ranges of 1 "
    )
    assert [end_name(name, "low") for name in ("itl_ms", "tokens_per_s")] == ["itl_low_ms", "tokens_per_s_low"]


@pytest.mark.parametrize("samples", [0, 15, 17, -1, 1 << 20])
def test_samples_that_are_none(samples):
    with pytest.raises(InputError, match=r"^predict: --samples: must be"):
        check_samples("predict", samples)
