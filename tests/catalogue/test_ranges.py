"""Ranges of constants in their files."""

import pytest

import jaxroof
from jaxroof.catalogue.ranges import load_ranges

GPU = """base = "h100-sxm"
peak_tflops = {{ value = 900, source = "data sheet", {} }}
"""


def gpu_file(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(GPU.format(text), encoding="utf-8")
    return path


def test_a_range_is_read_beside_its_value(tmp_path):
    path = str(gpu_file(tmp_path, 'low = 700, high = 950, range_source = "sustained clocks"'))
    assert load_ranges(path)["hardware.peak_tflops"] == (900, 700, 950)
    assert float(jaxroof.load_hardware(path).peak_flops_per_s) == pytest.approx(9e14)


def test_keys_are_those_that_are_set(tmp_path):
    assert set(load_ranges()) <= {key for key, _, _ in jaxroof.parameters.walk(jaxroof.load_model())}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("low = 700", "peak_tflops.high: missing key"),
        ("low = 700, high = 950", "peak_tflops.range_source: missing key"),
        ('low = 700, high = 950, range_source = ""', "peak_tflops.range_source: must be text, got none"),
        ('low = 950, high = 960, range_source = "x"', "peak_tflops: low and high must be on both sides of 900"),
        ('low = 900, high = 900, range_source = "x"', "peak_tflops: low and high must be on both sides of 900"),
        ('low = -1, high = 950, range_source = "x"', "peak_tflops.low: must be > 0"),
        ('low = "1", high = 950, range_source = "x"', "peak_tflops.low: must be a number"),
        ('low = 1, high = inf, range_source = "x"', "peak_tflops.high: must be finite"),
    ],
)
def test_ranges_that_are_none(tmp_path, text, says):
    path = gpu_file(tmp_path, text)
    with pytest.raises(jaxroof.InputError) as raised:
        jaxroof.load_hardware(str(path))
    assert str(raised.value).startswith(f"{path}: {says}")
