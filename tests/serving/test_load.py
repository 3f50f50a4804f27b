"""Loads: arrivals, lengths and traces; what they draw, what they read, what they refuse."""

import doctest
import importlib
import math

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pyarrow
import pytest
from hypothesis import given, settings
from pyarrow import parquet

import jaxroof
from jaxroof.files import CACHED_TOKENS, TOKENS, InputError
from jaxroof.request.workload import Lengths
from jaxroof.serving.arrivals import KINDS, closed_loop, generate_load, open_loop
from jaxroof.serving.lengths import parse_lengths
from jaxroof.serving.load import Load
from jaxroof.serving.token_counts import fixed, observed, uniform
from jaxroof.serving.trace_file import load_trace

MANY = 100_000
HEADER = "arrival_s,prompt_tokens,cached_tokens,output_tokens"
TEXTS = ("1024", "1024~20%", "7~100%", "819..1024", "normal:70,35", "normal:28,60,6,200", "lognormal:300,1.5,4000",
         "lognormal:90,0.4", "lognormal:10,0")  # fmt: skip


def lengths(text, legal=TOKENS):
    return parse_lengths("simulate", "--output", text, legal)


def rng(seed=0):
    return np.random.default_rng(seed)


def says(why, call, *args, **kwargs):
    """That a call is refused in one line that begins so."""
    with pytest.raises(InputError) as refused:
        call(*args, **kwargs)
    assert str(refused.value).startswith(why), refused.value
    assert "\n" not in str(refused.value)


# Lengths


@pytest.mark.parametrize(
    ("text", "low", "high", "mean", "stdev"),
    [
        ("1024", 1024, 1024, 1024, 0),
        ("1e3", 1000, 1000, 1000, 0),
        ("1024~20%", 820, 1228, 1024, math.sqrt((409**2 - 1) / 12)),
        ("100~42%", 58, 142, 100, math.sqrt((85**2 - 1) / 12)),  # 100 × (1 − 0.42) is above 58 in binary
        ("1000~0.1%", 999, 1001, 1000, math.sqrt(2 / 3)),
        ("3~10%", 3, 3, 3, 0),
        ("1~100%", 1, 2, 1.5, 0.5),  # 0 is no legal count
        ("819..1024", 819, 1024, 921.5, math.sqrt((206**2 - 1) / 12)),
        ("5..5", 5, 5, 5, 0),
        ("normal:2.25,0", 1, 3, 2, 0),
        ("normal:5,3,5,5", 5, 5, 5, 0),
        ("lognormal:10,0", 1, 10, 10, 0),
    ],
)
def test_mean_and_spread_of_lengths(text, low, high, mean, stdev):
    counts = lengths(text)
    assert (counts.tokens[0], counts.most, float(counts.probability.sum())) == (low, high, pytest.approx(1))
    assert counts.mean == pytest.approx(mean)
    assert counts.cv == pytest.approx(stdev / mean, abs=1e-9)


def test_cached_tokens_may_be_none():
    assert lengths("0", CACHED_TOKENS).cv == 0
    assert lengths("8~100%", CACHED_TOKENS).tokens.tolist() == list(range(17))
    assert lengths("normal:0,0", CACHED_TOKENS).mean == 0
    assert lengths("lognormal:0.1,0.1", CACHED_TOKENS).mean == pytest.approx(0, abs=1e-6)


def test_normal_lengths_are_those_of_a_workload():
    counts, workload = lengths("normal:28,60,6,200"), Lengths(28, 60, 6, 200)
    assert counts.mean == pytest.approx(workload.exact_mean(), rel=1e-12)
    assert lengths("normal:70.5,35").most == math.ceil(70.5 + 6 * 35)


def test_lognormal_lengths_have_their_mean_and_spread():
    counts = lengths("lognormal:1000,0.5")
    assert (counts.mean, counts.cv) == (pytest.approx(1000, rel=1e-5), pytest.approx(0.5, rel=1e-4))
    assert lengths("lognormal:1000,0.5,900").mean < 900
    sigma = math.sqrt(math.log(1.25))
    assert counts.most == math.ceil(1000 * math.exp(6 * sigma - sigma**2 / 2))
    median = counts.tokens[np.searchsorted(np.cumsum(counts.probability), 0.5)]
    assert median == pytest.approx(1000 / math.sqrt(1.25), abs=1)


@pytest.mark.parametrize("text", TEXTS)
def test_many_draws_have_the_distribution_s_mean_and_spread(text):
    counts = lengths(text)
    draws = counts.draw(rng(), MANY)
    stdev = counts.cv * counts.mean
    assert draws.mean() == pytest.approx(counts.mean, abs=5 * stdev / math.sqrt(MANY) + 1e-9)
    assert draws.std() == pytest.approx(stdev, rel=0.05, abs=1e-3)


@settings(deadline=None, max_examples=50)
@given(text=st.sampled_from(TEXTS), seed=st.integers(0, 2**32), count=st.integers(1, 200))
def test_draws_are_whole_and_in_range(text, seed, count):
    counts = lengths(text)
    draws = counts.draw(rng(seed), count)
    assert draws.shape == (count,)
    assert (draws == np.rint(draws)).all()
    assert ((draws >= max(1, counts.tokens[0])) & (draws <= counts.most)).all()
    assert (draws == counts.draw(rng(seed), count + 7)[:count]).all()


@settings(deadline=None, max_examples=50)
@given(low=st.integers(1, 50), more=st.integers(0, 50), seed=st.integers(0, 99))
def test_longer_lengths_are_longer_in_every_request(low, more, seed):
    short, long = (uniform(low + by, 100 + by).draw(rng(seed), 20) for by in (0, more))
    assert (long - short == more).all()


@pytest.mark.parametrize("suffix", [".csv", ".txt", ".parquet", "named.csv", "quoted.csv"])
def test_lengths_of_a_file(tmp_path, suffix):
    path = tmp_path / f"lengths{suffix}"
    header = {"named.csv": "output_tokens\n", "quoted.csv": '\ufeff"output tokens"\r\n'}.get(suffix, "")
    if suffix == ".parquet":
        pd.DataFrame({"n": [7, 3, 3, 11]}).to_parquet(path)
    else:
        path.write_text(f"{header}7\n 3\n\n3\n11", encoding="utf-8")
    counts = lengths(str(path))
    assert counts.tokens.tolist() == [3, 7, 11]
    assert counts.probability.tolist() == [0.5, 0.25, 0.25]
    assert (counts.mean, counts.cv) == (6, pytest.approx(math.sqrt(11) / 6))
    assert set(counts.draw(rng(), 1000)) == {3, 7, 11}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "must be a count (1024), COUNT~PERCENT%, LOW..HIGH, normal:MEAN,STDEV[,MIN,MAX], lognormal:MEAN,CV[,MAX]"),
        ("many", "must be a count (1024),"),
        ("norm:1,2", "must be a count (1024),"),
        ("0", "must be ≥ 1, got 0"),
        ("-3", "must be ≥ 1, got -3"),
        ("nan", "must be finite, got nan"),
        ("inf", "must be finite, got inf"),
        ("1.5", "must be a whole number, got 1.5"),
        ("1e8", "must be ≤ 1e+07, got 1e+08"),
        ("1024~20", "must be COUNT~PERCENT%, got 1024~20"),
        ("1024~101%", "PERCENT: must be ≤ 100, got 101"),
        ("1024~-1%", "PERCENT: must be ≥ 0, got -1"),
        ("1024~nan%", "PERCENT: must be finite, got nan"),
        ("1024~x%", "PERCENT: must be a number, got 'x'"),
        ("0~20%", "must be ≥ 1, got 0"),
        ("9e6~20%", "must be ≤ 1e+07, got 1.08e+07"),
        ("9..3", "must rise, got 9 to 3"),
        ("0..3", "LOW: must be ≥ 1, got 0"),
        ("1..3.5", "HIGH: must be a whole number, got 3.5"),
        ("3..", "HIGH: must be a number, got ''"),
        ("normal:5", "must be normal:MEAN,STDEV[,MIN,MAX], got 1 numbers"),
        ("normal:5,1,2", "must be normal:MEAN,STDEV[,MIN,MAX], got 3 numbers"),
        ("normal:0,1", "MEAN: must be ≥ 1, got 0"),
        ("normal:5,-1", "STDEV: must be ≥ 0, got -1"),
        ("normal:5,inf", "STDEV: must be finite, got inf"),
        ("normal:5,1,0,9", "MIN: must be ≥ 1, got 0"),
        ("normal:5,1,9,8", "must rise, got 9 to 8"),
        ("lognormal:5", "must be lognormal:MEAN,CV[,MAX], got 1 numbers"),
        ("lognormal:nan,1", "MEAN: must be finite, got nan"),
        ("lognormal:5,-1", "CV: must be ≥ 0, got -1"),
        ("lognormal:5,11", "CV: must be ≤ 10, got 11"),
        ("lognormal:5,1,0", "MAX: must be ≥ 1, got 0"),
        ("lognormal:5,,9", "CV: must be a number, got ''"),
    ],
)
def test_wrong_lengths(text, why):
    says(f"simulate: --output: {why}", lengths, text)


def test_cached_tokens_that_are_no_counts():
    says("simulate: --output: must be ≥ 0, got -1", lengths, "-1", CACHED_TOKENS)
    says("simulate: --output: MEAN: must be > 0, got 0", lengths, "lognormal:0,1", CACHED_TOKENS)


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("a.csv", "", "has no rows"),
        ("a.csv", "tokens\n", "has no rows"),
        ("a.csv", "tokens\n5\nx\n", "line 3: must be a number, got 'x'"),
        ("a.csv", "1O24\n", "line 1: must be a number, got '1O24'"),
        ("a.csv", "nan\n", "line 1: must be finite, got nan"),
        ("a.csv", "a,b\n1,2\n", "line 2: must be a number, got '1,2'"),
        ("a.txt", '"\n', "line 1: must be a number"),
        ("a.txt", "5\n0\n", "line 2: must be ≥ 1, got 0"),
        ("a.txt", "5\n\n1.5\n", "line 3: must be a whole number, got 1.5"),
        ("a.parquet", "no", "Parquet"),
    ],
)
def test_wrong_file_of_lengths(tmp_path, name, text, why):
    (tmp_path / name).write_text(text)
    says(f"{tmp_path / name}: {why}", lengths, str(tmp_path / name))


def test_wrong_parquet_of_lengths(tmp_path):
    path = tmp_path / "a.parquet"
    says(f"{path}: No such file", lengths, str(path))
    for table, why in (
        ({"a": [1], "b": [2]}, "must have one column, got a, b"),
        ({"a": ["1"]}, "a: must hold numbers, got string"),
        ({"a": [1.0, None]}, "row 2: a: must be finite, got nan"),
        ({"a": pyarrow.array([], pyarrow.int64())}, "has no rows"),
    ):
        parquet.write_table(pyarrow.table(table), path)
        says(f"{path}: {why}", lengths, str(path))


# Arrivals


def test_constant_arrivals_and_clients_one_after_another():
    assert open_loop(4, 4, "constant", 1.0, rng()).tolist() == [0, 0.25, 0.5, 0.75]
    assert closed_loop(2, 4).tolist() == [0, 0, np.inf, np.inf]
    assert closed_loop(3, 5, 0.1).tolist() == [0, 0.1, 0.2, np.inf, np.inf]
    assert closed_loop(10**12, 2, 1).tolist() == [0, 1]


def test_gaps_have_the_rate_s_mean_and_the_burstiness_s_spread():
    for kind, burstiness, cv in (("poisson", 1.0, 1.0), ("gamma", 0.25, 2.0), ("gamma", 4.0, 0.5)):
        times = open_loop(8.0, MANY, kind, burstiness, rng(1))
        gaps = np.diff(times, prepend=0.0)
        assert gaps.mean() == pytest.approx(1 / 8, rel=5 * cv / math.sqrt(MANY))
        assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.03)
        assert times[0] == gaps[0] > 0
    assert (open_loop(8, 99, "gamma", 1.0, rng(1)) == open_loop(8, 99, "poisson", 1.0, rng(1))).all()


def test_a_poisson_count_fills_its_time_evenly():
    times = open_loop(5.0, MANY, "poisson-count", 1.0, rng(2))
    assert 0 <= times[0] <= times[-1] < MANY / 5
    assert np.histogram(times, 10, (0, MANY / 5))[0] == pytest.approx(MANY / 10, rel=0.05)


@settings(deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    rate=st.floats(1e-6, 1e6),
    burstiness=st.floats(1e-3, 1e6),
    seed=st.integers(0, 2**32),
    requests=st.integers(1, 200),
)
def test_arrivals_rise_and_scale_with_the_rate(kind, rate, burstiness, seed, requests):
    burstiness = burstiness if kind == "gamma" else 1.0
    times = open_loop(rate, requests, kind, burstiness, rng(seed))
    assert times.shape == (requests,)
    assert np.isfinite(times).all()
    assert (np.diff(times, prepend=0.0) >= 0).all()
    np.testing.assert_allclose(times * rate, open_loop(1.0, requests, kind, burstiness, rng(seed)), rtol=1e-12)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"rate_per_s": 0.0}, "rate_per_s: must be ≥ 1e-06, got 0"),
        ({"rate_per_s": -1.0}, "rate_per_s: must be ≥ 1e-06, got -1"),
        ({"rate_per_s": math.nan}, "rate_per_s: must be finite, got nan"),
        ({"rate_per_s": math.inf}, "rate_per_s: must be finite, got inf"),
        ({"requests": 0}, "requests: must be ≥ 1, got 0"),
        ({"requests": 10**8}, "requests: must be ≤ 1e+07, got 1e+08"),
        ({"kind": "poison"}, "kind: must be one of poisson, poisson-count, gamma, constant, got 'poison'"),
        ({"kind": "gamma", "burstiness": 0.0}, "burstiness: must be ≥ 0.001, got 0"),
        ({"burstiness": 2.0}, "burstiness: is for gamma arrivals, got 2 with poisson"),
        ({"seed": -1}, "seed: must be ≥ 0, got -1"),
        ({"think_s": 1.0}, "stagger_s and think_s are for clients"),
        ({"stagger_s": 1.0}, "stagger_s and think_s are for clients"),
        ({"think_s": math.inf}, "think_s: must be finite, got inf"),
        ({"rate_per_s": None}, "needs rate_per_s or clients, and not both"),
        ({"clients": 3}, "needs rate_per_s or clients, and not both"),
        ({"rate_per_s": None, "clients": 0}, "clients: must be ≥ 1, got 0"),
        ({"rate_per_s": None, "clients": 2, "stagger_s": -1.0}, "stagger_s: must be ≥ 0, got -1"),
        ({"rate_per_s": None, "clients": 2, "kind": "constant"}, "kind and burstiness are for rate_per_s"),
        ({"rate_per_s": None, "clients": 2, "burstiness": 2.0}, "kind and burstiness are for rate_per_s"),
    ],
)
def test_wrong_loads(changed, why):
    says(f"load: {why}", generate_load, fixed(8), fixed(8), **{"requests": 4, "rate_per_s": 1.0, **changed})


# Loads


def test_a_load_s_totals():
    load = Load([0, 1, 1], [10, 20, 30], [0, 16, 16], [2, 4, 6])
    assert (load.requests, float(load.total_new_tokens), float(load.total_output_tokens)) == (3, 28, 12)
    assert float(load.output_mean_tokens) == 4
    assert float(load.output_cv) == pytest.approx(math.sqrt(8 / 3) / 4)
    assert isinstance(load.arrival_s, np.ndarray)
    assert load.think_s.shape == ()


def test_loads_can_be_stacked():
    loads = [generate_load(fixed(8), uniform(1, 9), requests=5, rate_per_s=rate) for rate in (1.0, 2.0)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *loads)
    assert stacked.requests == 5
    assert stacked.output_cv.tolist() == pytest.approx([float(load.output_cv) for load in loads])
    assert jax.vmap(lambda load: load.total_new_tokens)(stacked).tolist() == [40, 40]


def test_cached_tokens_are_at_most_the_prompt():
    load = generate_load(uniform(1, 100), fixed(1), fixed(50), requests=1000, rate_per_s=1)
    assert (load.cached_tokens == np.minimum(load.prompt_tokens, 50)).all()
    assert (load.prompt_tokens < 50).any()
    assert not generate_load(uniform(1, 100), fixed(1), requests=9, rate_per_s=1).cached_tokens.any()


def test_clients_think():
    load = generate_load(fixed(8), fixed(1), requests=3, clients=2, stagger_s=0.5, think_s=2)
    assert load.arrival_s.tolist() == [0, 0.5, np.inf]
    assert float(load.think_s) == 2


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**62), rate=st.floats(0.01, 100), kind=st.sampled_from(KINDS))
def test_arrivals_change_no_lengths_and_the_same_seed_gives_the_same_bits(seed, rate, kind):
    counts = [lengths(text) for text in ("normal:70,35", "1..512", "1..90")]

    def load(**arrivals):
        return generate_load(*counts, requests=50, seed=seed, **arrivals)

    drawn = load(rate_per_s=rate, kind=kind)
    again = load(rate_per_s=rate, kind=kind)
    assert all((one == other).all() for one, other in zip(jax.tree.leaves(drawn), jax.tree.leaves(again), strict=True))
    closed = load(clients=4)
    for key in ("prompt_tokens", "cached_tokens", "output_tokens"):
        assert (getattr(drawn, key) == getattr(closed, key)).all()
    longer = generate_load(counts[0], fixed(7), counts[2], requests=50, seed=seed, rate_per_s=rate, kind=kind)
    for key in ("arrival_s", "prompt_tokens", "cached_tokens"):
        assert (getattr(drawn, key) == getattr(longer, key)).all()
    assert (load(rate_per_s=2 * rate, kind=kind).arrival_s * 2 == drawn.arrival_s).all()
    assert (generate_load(*counts, requests=50, seed=seed + 1, clients=4).prompt_tokens != drawn.prompt_tokens).any()


def test_prompts_and_outputs_are_independent():
    load = generate_load(uniform(1, 1000), uniform(1, 1000), uniform(0, 1), requests=MANY, rate_per_s=1)
    columns = (np.diff(load.arrival_s, prepend=0), load.prompt_tokens, load.cached_tokens, load.output_tokens)
    assert np.abs(np.corrcoef(columns) - np.eye(4)).max() < 0.02


# Traces


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_trace_is_read_as_it_stands(tmp_path, suffix):
    path, count = tmp_path / f"trace{suffix}", 200_000
    load = generate_load(uniform(1, 2000), uniform(1, 500), uniform(0, 300), requests=count, rate_per_s=30)
    table = pd.DataFrame({key: getattr(load, key) for key in HEADER.split(",")})
    table = table.astype({key: int for key in table.columns[1:]})
    if suffix == ".csv":
        table.to_csv(path, index=False)
    else:
        table.to_parquet(path)
    read = load_trace(path)
    assert all((one == other).all() for one, other in zip(jax.tree.leaves(read), jax.tree.leaves(load), strict=True))


def test_a_trace_s_columns_in_any_order_and_none_cached(tmp_path):
    path = tmp_path / "trace.csv"
    path.write_text("\ufeffoutput_tokens,arrival_s,prompt_tokens\r\n5,0,10\r\n\r\n6,0,1e1\r\n", encoding="utf-8")
    load = load_trace(path)
    assert (load.arrival_s.tolist(), load.prompt_tokens.tolist()) == ([0, 0], [10, 10])
    assert (load.cached_tokens.tolist(), load.output_tokens.tolist()) == ([0, 0], [5, 6])
    path.write_text(f"{HEADER}\n0,8,8,1\n")
    assert load_trace(path).cached_tokens.tolist() == [8]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("x,1,0,1", "row 2: arrival_s: must be a number, got 'x'"),
        ("2024-01-01 00:00:00,1,0,1", "row 2: arrival_s: must be a number, got '2024-01-01 00:00:00'"),
        ("nan,1,0,1", "row 2: arrival_s: must be finite, got nan"),
        ("inf,1,0,1", "row 2: arrival_s: must be finite, got inf"),
        (",1,0,1", "row 2: arrival_s: must be finite, got nan"),
        ("-1,1,0,1", "row 2: arrival_s: must be ≥ 0, got -1"),
        ("1.4999999,1,0,1", "row 2: arrival_s: must be ≥ that of the row before, 1.5, got 1.4999999"),
        ("2,0,0,1", "row 2: prompt_tokens: must be ≥ 1, got 0"),
        ("2,-3,0,1", "row 2: prompt_tokens: must be ≥ 1, got -3"),
        ("2,1e9,0,1", "row 2: prompt_tokens: must be ≤ 1e+07, got 1e+09"),
        ("2,1,-1,1", "row 2: cached_tokens: must be ≥ 0, got -1"),
        ("2,9,10,1", "row 2: cached_tokens: must be ≤ prompt_tokens 9, got 10"),
        ("2,9,0,0", "row 2: output_tokens: must be ≥ 1, got 0"),
        ("2,9,0,1.5", "row 2: output_tokens: must be a whole number, got 1.5"),
        ("2,9,0,true", "row 2: output_tokens: must be a number, got 'true'"),
        ('2,9,0,"1\n2,9,0,1\n3,9,0,1', r"row 2: output_tokens: must be a number, got '1\n2,9,0,1\n3,9,0,1\n'"),
        ("2,9,0", "row 2: has 3 fields, the header 4"),
        ("2,9,0,1,1", "row 2: has 5 fields, the header 4"),
    ],
)
def test_wrong_row_of_a_trace(tmp_path, row, why):
    path = tmp_path / "trace.csv"
    path.write_text(f"{HEADER}\n1.5,10,0,5\n{row}\n")
    says(f"{path}: {why}", load_trace, path)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "Empty CSV file"),
        (HEADER.encode() + b"\n", "has no rows"),
        (b"arrival_s,prompt_tokens,ouput_tokens\n0,1,1\n", "ouput_tokens: unknown key; did you mean output_tokens?"),
        (b"arrival_s,prompt_tokens\n0,1\n", "output_tokens: missing column"),
        (b"cached_tokens\n0\n", "arrival_s, prompt_tokens, output_tokens: missing columns"),
        (b"arrival_s,arrival_s\n0,1\n", "columns: arrival_s stands twice"),
        (b"\xff\n1\n", "is not UTF-8 text"),
        (HEADER.encode() + b"\n0,1,0,\xff\n", "row 1: output_tokens: must be a number"),
    ],
)
def test_wrong_trace(tmp_path, text, why):
    path = tmp_path / "trace.csv"
    path.write_bytes(text)
    says(f"{path}: {why}", load_trace, path)


def test_traces_that_cannot_be_read(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    for name, why in (
        ("no.csv", "No such file"),
        ("folder.csv", "Is a directory"),
        ("trace.jsonl", "must end in .csv or .parquet"),
        ("\0.csv", "embedded null byte"),
    ):
        says(f"{tmp_path / name}: {why}", load_trace, tmp_path / name)


def test_wrong_parquet_trace(tmp_path):
    path, good = tmp_path / "trace.parquet", {"arrival_s": [0.5, 1.0], "prompt_tokens": [9, 9], "output_tokens": [1, 1]}
    for changed, why in (
        ({"arrival_s": pd.to_datetime(["2024-01-01", "2024-01-02"])}, "arrival_s: must hold numbers, got timestamp["),
        ({"prompt_tokens": ["9", "9"]}, "prompt_tokens: must hold numbers, got string"),
        ({"output_tokens": [True, True]}, "output_tokens: must hold numbers, got bool"),
        ({"output_tokens": [[1], [1]]}, "output_tokens: must hold numbers, got list"),
        ({"output_tokens": [1, None]}, "row 2: output_tokens: must be finite, got nan"),
        ({"arrival_s": [1.0, 0.5]}, "row 2: arrival_s: must be ≥ that of the row before, 1.0, got 0.5"),
        ({"cached_tokens": [0, 10]}, "row 2: cached_tokens: must be ≤ prompt_tokens 9, got 10"),
        ({"cache_tokens": [0, 1]}, "cache_tokens: unknown key; did you mean cached_tokens?"),
    ):
        parquet.write_table(pyarrow.table({**good, **changed}), path)
        says(f"{path}: {why}", load_trace, path)
    whole = path.read_bytes()
    for broken in (b"", b"no parquet at all", whole[:-20], whole[:8] + bytes(100) + whole[108:]):
        path.write_bytes(broken)
        says(f"{path}: ", load_trace, path)


@pytest.mark.parametrize("name", ["arrivals", "lengths", "load", "token_counts", "trace_file"])
def test_examples_run(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(f"jaxroof.serving.{name}")
    assert doctest.testmod(module, extraglobs={"jaxroof": jaxroof}).failed == 0


def test_observed_lengths_keep_their_shares():
    assert observed(np.array([2.0, 2.0, 5.0])).mean == 3
