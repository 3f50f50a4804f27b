"""Points by number against a NumPy product, and the text that names them."""

import jax
import numpy as np
import pytest

from jaxroof.files import COUNT, FRACTION, NON_NEGATIVE, InputError
from jaxroof.sweeps.axes import Axes, load_space
from jaxroof.sweeps.space import Axis, Grid, Listed, rows

KEYS = {"a": NON_NEGATIVE, "b": FRACTION, "tp": COUNT, "model": None}


def space(*vary, zipped=(), points=None, random=None, seed=None):
    return load_space(Axes(vary, zipped, points, random, seed), KEYS)


def on_device(points, first, count):
    """Values by key as a compiled program decodes them."""
    offsets = np.arange(count, dtype=np.int32)
    return jax.jit(points.settings)(points.tables(), points.inputs(first, count), offsets)


def test_steps_logarithms_and_lists_are_the_numbers_one_would_write():
    steps = space("a=0:1:0.1").block(0, 11)["a"]
    assert steps.tolist() == [float(f"0.{i}") for i in range(10)] + [1.0]
    assert space("tp=log:1:64:7").block(0, 7)["tp"].tolist() == [1, 2, 4, 8, 16, 32, 64]
    np.testing.assert_allclose(space("a=log:1e-3:10:5").block(0, 5)["a"], np.geomspace(1e-3, 10, 5), rtol=1e-15)
    assert space("a=3,1,2").block(0, 3)["a"].tolist() == [3, 1, 2]


def test_a_grid_is_the_product_with_the_last_axis_fastest():
    points = space("a=0:2:0.5", "model=x,y,z", "tp=1,2,4,8", zipped=["b=0.25,0.5"])
    assert points.size == 5 * 3 * 4 * 2
    axes = [points.block(0, points.size)[key].reshape(5, 3, 4, 2) for key in ("a", "model", "tp", "b")]
    product = np.meshgrid(np.arange(5) / 2, np.arange(3), [1, 2, 4, 8], [0.25, 0.5], indexing="ij")
    assert all((ours == theirs).all() for ours, theirs in zip(axes, product, strict=True))
    assert points.labels == {"model": ("x", "y", "z")}


def test_zipped_keys_advance_together():
    points = space("a=1,2", zipped=["b=0.1,0.2,0.3", "tp=1,2,4"])
    block = points.block(0, points.size)
    assert block["b"].tolist() == [0.1, 0.2, 0.3] * 2
    assert block["tp"].tolist() == [1, 2, 4] * 2


@pytest.mark.parametrize("first", [0, 1, 997, 2**31 - 5, 10**12 + 7, 10**15 - 40])
def test_a_device_decodes_as_the_host_does_beyond_32_bits(first):
    axes = [Axis({"a": np.arange(10**5) / 7}), Axis({"b": np.arange(10**5) / 3, "c": np.arange(10**5)})]
    points = Grid([*axes, Axis({"tp": np.arange(10**5) + 1.0})], {})
    settings, block = on_device(points, first, 40), points.block(first, 40)
    numbers = np.arange(first, first + 40)
    assert (np.asarray(settings.digits[0]) == numbers // 10**10).all()
    assert (block["tp"] == numbers % 10**5 + 1).all()
    for key, values in settings.values.items():
        assert (np.asarray(values) == block[key]).all()


def test_rows_come_back_in_the_order_asked_for():
    for points in (space("a=0:100:1", "b=0.5,1"), space("a=0:100:1", "b=0.5,1", random=64, seed=1)):
        numbers = np.array([40, 3, 63, 0])
        assert (rows(points, numbers)["a"] == points.block(0, 64)["a"][numbers]).all()
    assert rows(points, np.zeros(0, dtype=np.int64))["a"].shape == (0,)


def test_random_points_are_sobol_between_the_ends_and_any_block_is_the_same_alone():
    vary = "a=10:20:1", "b=log:0.001:1:4", "tp=1:8:1", "model=x,y"
    points = space(*vary, random=1024, seed=7)
    block = points.block(0, 1024)
    assert block["a"].min() >= 10
    assert block["a"].max() < 20
    assert block["a"].mean() == pytest.approx(15, abs=0.05)
    assert np.log(block["b"]).mean() == pytest.approx(np.log(0.001) / 2, abs=0.05)
    assert set(block["tp"]) == set(range(1, 9))
    assert np.bincount(block["model"]).tolist() == [512, 512]
    for first in (512, 1, 0):
        assert all((points.block(first, 9)[key] == block[key][first : first + 9]).all() for key in block)
    other = space(*vary, random=1024, seed=8).block(0, 1024)
    assert (other["a"] != block["a"]).any()
    assert (np.asarray(on_device(points, 1020, 8).values["a"])[:4] == block["a"][1020:]).all()


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_points_of_a_file(tmp_path, suffix):
    import pyarrow
    from pyarrow import csv, parquet

    path, count = tmp_path / f"points{suffix}", 5000
    columns = {"a": np.linspace(0, 1, count), "model": ["x", "y"] * (count // 2), "tp": np.arange(count) % 8 + 1}
    (csv.write_csv if suffix == ".csv" else parquet.write_table)(pyarrow.table(columns), path)
    points = space(points=path)
    assert isinstance(points, Listed)
    assert (points.size, points.largest("tp"), points.labels) == (count, 8, {"model": ("x", "y")})
    block = points.block(4990, 10)
    assert (block["a"] == columns["a"][4990:]).all()
    assert block["model"].tolist() == [0, 1] * 5
    assert (np.asarray(on_device(points, 4990, 16).values["tp"])[:10] == columns["tp"][4990:]).all()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a", "--vary: a: must be KEY=VALUES"),
        ("c=1", "--vary: c: unknown key"),
        ("modle=x", "--vary: modle: unknown key; did you mean model?"),
        ("a=", "--vary: a: must be a number, got ''"),
        ("a=x", "--vary: a: must be a number, got 'x'"),
        ("a=1,,2", "--vary: a: must be a number, got ''"),
        ("a=nan", "--vary: a: must be finite, got nan"),
        ("a=-1,2", "--vary: a: must be ≥ 0, got -1"),
        ("b=0:1:0.5", "--vary: b: must be > 0, got 0"),
        ("b=0.5,1.5", "--vary: b: must be ≤ 1, got 1.5"),
        ("tp=1:2:0.5", "--vary: tp: must be a whole number, got 1.5"),
        ("a=1:0:1", "--vary: a: must rise, got 1 to 0 by 1"),
        ("a=0:1:0", "--vary: a: must rise, got 0 to 1 by 0"),
        ("a=0:1:0.3", "--vary: a: 0.3 does not divide 0 to 1"),
        ("a=0:1", "--vary: a: must be START:STOP:STEP"),
        ("a=0:inf:1", "--vary: a: must be three numbers"),
        ("a=0:1e9:1", "--vary: a: has more than"),
        ("a=log:0:1:3", "--vary: a: must be > 0, got 0"),
        ("a=log:2:1:3", "--vary: a: must rise, got 2 to 1"),
        ("a=log:1:2", "--vary: a: must be log:LOW:HIGH:N"),
        ("a=log:1:2:2.5", "--vary: a: N: must be a whole number, got 2.5"),
        ("model=x,x", "--vary: model: x stands twice"),
    ],
)
def test_wrong_axis(text, why):
    with pytest.raises(InputError) as refused:
        space(text)
    assert str(refused.value).startswith(why)


def test_wrong_combinations(tmp_path):
    file = tmp_path / "points.csv"
    file.write_text("a\n1\n")
    for options, why in (
        ({}, "sweep: nothing varies"),
        ({"vary": ["a=1", "a=2"]}, "--vary: a: varies twice"),
        ({"vary": ["a=1"], "zipped": ["a=2"]}, "--zip: a: varies twice"),
        ({"zipped": ["a=1,2", "tp=1"]}, "--zip: lengths differ: a has 2 values, tp has 1 values"),
        ({"vary": ["a=1"], "points": file}, f"--points: {file}: names every point"),
        ({"vary": ["a=1"], "random": 0}, "--random: N: must be ≥ 1, got 0"),
        ({"vary": ["a=1"], "random": 2**33}, "--random: N: must be ≤"),
        ({"vary": ["a=1"], "random": 8, "seed": -1}, "--seed: S: must be ≥ 0, got -1"),
        ({"vary": ["a=1"], "seed": 1}, "--seed: is for --random"),
        ({"vary": ["a=log:1:2:9999999", "b=log:0.1:1:9999999", "tp=1:99999:1"]}, "--vary: 1e+19 points: are more than"),
    ):
        with pytest.raises(InputError) as refused:
            space(*options.pop("vary", ()), **options)
        assert str(refused.value).startswith(why)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "Empty CSV file"),
        ("a\n", "has no rows"),
        ("c\n1\n", "c: unknown key"),
        ("a,a\n1,2\n", "columns: a stands twice"),
        ("a\nx\n", "row 1: a: must be a number, got 'x'"),
        ("a,tp\n1\n", "row 1: has 1 fields, the header 2"),
        ("a,tp\n1,1\n1,1.5\n", "row 2: tp: must be a whole number, got 1.5"),
        ("a,b\n1,\n", "row 1: b: must be finite, got nan"),
    ],
)
def test_wrong_file_of_points(tmp_path, text, why):
    path = tmp_path / "points.csv"
    path.write_text(text)
    with pytest.raises(InputError) as refused:
        space(points=path)
    assert str(refused.value).startswith(f"{path}: {why}")


def test_unreadable_file_of_points(tmp_path):
    broken = tmp_path / "points.parquet"
    broken.write_text("no")
    for path, why in (
        (tmp_path / "no.csv", "No such file"),
        (broken, "Parquet"),
        (tmp_path / "x.txt", "must end in .csv or .parquet"),
    ):
        with pytest.raises(InputError) as refused:
            space(points=path)
        assert str(refused.value).startswith(f"{path}: {why}")
