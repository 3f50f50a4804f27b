"""``--vary``, ``--zip``, ``--points`` and ``--random`` → a space of points, every value checked."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxroof.files import COUNT, POSITIVE, InputError, Range, check
from jaxroof.parameters.leaves import check_numbers
from jaxroof.sweeps.points_file import read_points
from jaxroof.sweeps.space import SOBOL_BITS, Axis, Grid, Space, sobol

# The legal values of a key that may vary; None: a name.
Keys = Mapping[str, Range | None]
LONGEST_AXIS = 10**7
# Numbers of points stay within 64 bits.
MOST_POINTS = 2**62


@dataclasses.dataclass(frozen=True)
class Axes:
    """The options that say what varies."""

    vary: Sequence[str]
    zipped: Sequence[str]
    points: Path | None
    random: int | None
    seed: int | None


@dataclasses.dataclass(frozen=True)
class _Parsed:
    """One ``KEY=…``: numbers, or names and their codes."""

    key: str
    values: NDArray[Any]
    spacing: str | None = None
    names: tuple[str, ...] = ()


def load_space(options: Axes, keys: Keys) -> Space:
    """The points that the options name. Raises InputError."""
    if options.seed is not None and options.random is None:
        raise InputError("--seed", "is for --random")
    if options.points is not None:
        if options.vary or options.zipped or options.random is not None:
            raise InputError(
                "--points", str(options.points), "names every point: no --vary, --zip or --random beside it"
            )
        return read_points(options.points, keys)
    parsed = [("--vary", [_parse("--vary", text, keys)]) for text in options.vary]
    if options.zipped:
        parsed.append(("--zip", [_parse("--zip", text, keys) for text in options.zipped]))
    if not parsed:
        raise InputError("sweep", "nothing varies: --vary KEY=…, --zip KEY=… or --points FILE")
    _no_key_twice(parsed)
    labels = {p.key: p.names for _, each in parsed for p in each if p.names}
    axes = [_axis(option, each) for option, each in parsed]
    if options.random is not None:
        points = int(check.number("--random", "N", options.random, dataclasses.replace(COUNT, high=2**SOBOL_BITS)))
        return sobol(axes, labels, points, int(check.number("--seed", "S", options.seed or 0, Range(whole=True))))
    grid = Grid(axes, labels)
    if grid.size > MOST_POINTS:
        raise InputError("--vary", f"{grid.size:.3g} points", "are more than can be numbered")
    return grid


def key_of(text: str) -> str:
    """The key of ``KEY=…``."""
    return text.partition("=")[0]


def _parse(option: str, text: str, keys: Keys) -> _Parsed:
    key, right = check.key_and_value(option, text, "KEY=VALUES")
    check.unknown_key(option, [key], keys)
    legal = keys[key]
    if legal is None:
        names = check.names(option, key, right)
        return _Parsed(key, np.arange(len(names)), names=tuple(names))
    values, spacing = _numbers(option, key, right)
    check_numbers(option, key, values, legal)
    return _Parsed(key, values, None if legal.whole else spacing)


def _numbers(option: str, key: str, text: str) -> tuple[NDArray[np.float64], str | None]:
    parts = text.split(":")
    if parts[0] == "log":
        return _logarithmic(option, key, parts[1:]), "log"
    if len(parts) > 1:
        return _steps(option, key, parts), "linear"
    return np.array([check.parsed_number(option, key, part, Range(low=-np.inf)) for part in text.split(",")]), None


def _logarithmic(option: str, key: str, parts: Sequence[str]) -> NDArray[np.float64]:
    if len(parts) != 3:
        raise InputError(option, key, "must be log:LOW:HIGH:N")
    low, high = (check.parsed_number(option, key, part, POSITIVE) for part in parts[:2])
    count = int(check.parsed_number(option, f"{key}: N", parts[2], Range(low=2, high=LONGEST_AXIS, whole=True)))
    if high <= low:
        raise InputError(option, key, f"must rise, got {low:g} to {high:g}")
    values = np.geomspace(low, high, count)
    near = np.rint(values)  # 1, 2, 4, 8 and not 3.9999999999999996
    return np.where(np.abs(values - near) < 1e-12 * values, near, values)


def _steps(option: str, key: str, parts: Sequence[str]) -> NDArray[np.float64]:
    """Decimal arithmetic, so that the values are the numbers one would write."""
    if len(parts) != 3:
        raise InputError(option, key, "must be START:STOP:STEP")
    try:
        start, stop, step = map(Decimal, parts)
        finite = all(map(math.isfinite, (start, stop, step)))
    except (ArithmeticError, ValueError):  # ValueError: a signalling NaN
        finite = False
    if not finite:
        raise InputError(option, key, f"must be three numbers, got {':'.join(parts)!r}")
    if step <= 0 or stop < start:
        raise InputError(option, key, f"must rise, got {start} to {stop} by {step}")
    if (stop - start) / step >= LONGEST_AXIS:
        raise InputError(option, key, f"has more than {LONGEST_AXIS} values")
    if (stop - start) % step:
        raise InputError(option, key, f"{step} does not divide {start} to {stop}")
    return np.array([float(start + i * step) for i in range(int((stop - start) / step) + 1)])


def _no_key_twice(parsed: Sequence[tuple[str, Sequence[_Parsed]]]) -> None:
    keys = [(option, p.key) for option, each in parsed for p in each]
    for i, (option, key) in enumerate(keys):
        if any(key == other for _, other in keys[:i]):
            raise InputError(option, key, "varies twice")


def _axis(option: str, each: Sequence[_Parsed]) -> Axis:
    lengths = {p.key: len(p.values) for p in each}
    if len(set(lengths.values())) > 1:
        raise InputError(option, "lengths differ", ", ".join(f"{key} has {n} values" for key, n in lengths.items()))
    return Axis({p.key: p.values for p in each}, each[0].spacing if len(each) == 1 else None)
