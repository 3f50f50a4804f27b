"""What ``--free`` says → the constants that a calibration moves, checked."""

import dataclasses
from collections.abc import Mapping, Sequence

from jaxroof.calibration.bounds import Bounded
from jaxroof.calibration.fit import most_free
from jaxroof.experiments.ground_truth import GroundTruth
from jaxroof.experiments.runs import SPLITTING
from jaxroof.files import InputError, Range, check
from jaxroof.parameters import numbers, walk
from jaxroof.step import Model

OPTION = "--free"


def load_free(texts: Sequence[str], model: Model) -> list[Bounded]:
    """``KEY[,KEY…][=LOW:HIGH]``, * for any one word of a key; bounds default to the legal range. Raises InputError.

    Keys of one text share one value, which starts at the first key's in ``model``.
    """
    ranges, values = {key: leaf.range for key, _, leaf in walk(model)}, numbers(model)
    free = [_bounded(text, ranges, values) for text in texts]
    if not free:
        raise InputError(OPTION, "KEY", "nothing is free; name one constant or more")
    check.no_repeats(OPTION, "KEY", [key for constant in free for key in constant.keys])
    return free


def check_size(where: str, free: int, truth: GroundTruth, force: bool) -> None:
    """A guard needs both splits, and a calibration fewer constants than half its experiments. Raises InputError."""
    groups = truth.groups()
    if missing := next((split for split in ("train", "test") if split not in groups), None):
        raise InputError(where, "split", f"no experiment is in {missing}, so a calibration cannot be judged")
    train = int(groups["train"].sum())
    if free > (most := most_free(train)) and not force:
        says = f"{train} train experiments calibrate at most {most} (--force fits them all the same)"
        raise InputError(OPTION, f"{free} constants", says)


def _bounded(text: str, ranges: Mapping[str, Range], values: Mapping[str, float]) -> Bounded:
    names, given, bounds = text.partition("=")
    keys = [key for name in names.split(",") for key in _matching(name, ranges)]
    if whole := next((key for key in keys if ranges[key].whole), None):
        raise InputError(OPTION, whole, "is a count or a flag, and cannot be fitted")
    _check_shared(names, keys, values)
    low, high = max(ranges[key].low for key in keys), min(ranges[key].high for key in keys)
    if given:
        low, high = _bounds(names, bounds, [ranges[key] for key in keys])
    start = values[keys[0]]
    if not low <= start <= high:
        raise InputError(
            OPTION, names, f"starts at {start:g}, outside {low:g} to {high:g} (--set {keys[0]}=VALUE moves it)"
        )
    return Bounded(keys, low, high, start)


def _matching(name: str, ranges: Mapping[str, Range]) -> list[str]:
    words = name.split(".")
    found = [
        key for key in ranges
        if len(words) == key.count(".") + 1 and all(w in ("*", k) for w, k in zip(words, key.split("."), strict=True))
    ]  # fmt: skip
    if not found:
        raise InputError(OPTION, name, f"unknown key{check.suggestion(name, ranges)}")
    return found


def _check_shared(names: str, keys: Sequence[str], values: Mapping[str, float]) -> None:
    """Keys of one option share a unit and a start, and have a slope. Raises InputError."""
    if step := next((key for key in keys if key in SPLITTING), None):
        raise InputError(OPTION, step, "latencies only jump with it, so it has no gradient; sweep searches it")
    if len({key.rsplit("_")[-1] for key in keys}) > 1:
        raise InputError(OPTION, names, f"keys of different units cannot share a value: {', '.join(keys)}")
    if len({values[key] for key in keys}) > 1:
        starts = ", ".join(f"{values[key]:g}" for key in keys)
        raise InputError(OPTION, names, f"its keys start at different values ({starts}); --set them to one")


def _bounds(names: str, text: str, ranges: Sequence[Range]) -> tuple[float, float]:
    """A bound may be an end that is itself illegal: no transform reaches it."""
    ends, closed = text.split(":"), [dataclasses.replace(legal, low_is_legal=True) for legal in ranges]
    if len(ends) != 2:
        raise InputError(OPTION, names, f"bounds must be LOW:HIGH, got {text!r}")
    low, high = (max(check.parsed_number(OPTION, names, end, legal) for legal in closed) for end in ends)
    if high <= low:
        raise InputError(OPTION, names, f"bounds must be LOW:HIGH with LOW < HIGH, got {text}")
    return low, high
