"""Measured TPOT to more digits than the records have."""

from decimal import Decimal
from pathlib import Path

import numpy as np

from jaxroof.experiments.ground_truth import GroundTruth
from jaxroof.experiments.rounding import HALF_UNIT_S, Interval
from jaxroof.files import POSITIVE, InputError, check, data_dir, read_csv
from jaxroof.units import MILLI

DIGITS = data_dir() / "ground_truth/tpot_digits.csv"


def tpot_digits(truth: GroundTruth, path: Path = DIGITS) -> Interval | None:
    """Intervals of TPOT [s] that a file's more precise values leave, unbounded where it has none; None without a file.

    Raises InputError for an unknown experiment, or a value that does not round to the recorded one.
    """
    if not path.exists():
        return None
    recorded = {e.name: e.tpot_ms for e in truth.experiments}
    low, high = dict.fromkeys(recorded, -np.inf), dict.fromkeys(recorded, np.inf)
    for row in read_csv(path, ("name", "tpot_ms", "source")):
        name, text = row["name"], row["tpot_ms"]
        check.one_of(path, "name", name, recorded)
        value = check.parsed_number(path, f"{name}.tpot_ms", text, POSITIVE)
        half_ms = 0.5 * 10.0 ** int(Decimal(text).as_tuple().exponent)
        if abs(value - recorded[name]) * MILLI > HALF_UNIT_S * (1 + 1e-9):
            raise InputError(path, f"{name}.tpot_ms", f"{text} does not round to the recorded {recorded[name]:g}")
        low[name], high[name] = value - half_ms, value + half_ms
    return Interval(*(np.array(list(end.values())) * MILLI for end in (low, high)))
