"""What ``--prompt``, ``--output``, ``--cached`` take: a text such as ``1024~20%`` → a distribution of token counts."""

import dataclasses
import math
from decimal import Decimal
from pathlib import Path

import numpy as np

from jaxroof.files import TOKENS, InputError, Range, check, read_text
from jaxroof.files.columns import column_names, legal_numbers, read_blocks
from jaxroof.parameters import Vector
from jaxroof.request.limits import SPREAD
from jaxroof.serving.token_counts import TokenCounts, fixed, lognormal, lognormal_sigma, normal, observed, uniform

NORMAL, LOGNORMAL = "normal:MEAN,STDEV[,MIN,MAX]", "lognormal:MEAN,CV[,MAX]"
FORMS = f"a count (1024), COUNT~PERCENT%, LOW..HIGH, {NORMAL}, {LOGNORMAL} or a .csv, .txt or .parquet file"
PERCENT = Range(high=100)
# Where a distribution without a MAX ends, in standard deviations: one draw in 1e9 would be beyond.
LAST_STDEV = 6


@dataclasses.dataclass(frozen=True)
class _Option:
    """An option that is read: who asks, its name, which counts are legal."""

    where: object
    name: str
    legal: Range

    def wrong(self, why: str) -> InputError:
        return InputError(self.where, self.name, why)

    def number(self, text: str, legal: Range, part: str = "") -> float:
        return check.parsed_number(self.where, f"{self.name}{part and f': {part}'}", text, legal)

    def count(self, text: str, part: str = "") -> int:
        return int(self.number(text, self.legal, part))


def parse_lengths(where: object, option: str, text: str, legal: Range = TOKENS) -> TokenCounts:
    """The distribution that ``text`` describes.

    Arguments: ``where`` and ``option``, what errors name; ``text``, one of

    - ``1024``: always that many
    - ``1024~20%``: uniform over the whole numbers within 20 % of 1024, and legal
    - ``819..1024``: uniform over the whole numbers from 819 to 1024
    - ``normal:MEAN,STDEV[,MIN,MAX]``: Gaussian, clamped to [MIN, MAX]: what is legal, 6 STDEV above MEAN
    - ``lognormal:MEAN,CV[,MAX]``: log-normal, clamped to MAX: 6 σ above the mean of the logarithm
    - a file, ``.csv``, ``.txt`` or ``.parquet``, of one column of counts, drawn with replacement

    ``legal``, the counts that there may be: TOKENS, or CACHED_TOKENS. Raises InputError.

    >>> parse_lengths("simulate", "--output", "1024~20%").most
    1228.0
    """
    asked = _Option(where, option, legal)
    family, _, numbers = text.partition(":")
    if family == "normal":
        return _normal(asked, numbers.split(","))
    if family == "lognormal":
        return _lognormal(asked, numbers.split(","))
    if Path(text).suffix in (".csv", ".txt", ".parquet"):
        return observed(_read(Path(text), legal))
    if "~" in text:
        return _spread(asked, *text.split("~", 1))
    if ".." in text:
        low, high = (asked.count(end, part) for end, part in zip(text.split("..", 1), ("LOW", "HIGH"), strict=True))
        return uniform(*_rising(asked, low, high))
    if not _is_number(text):
        raise asked.wrong(f"must be {FORMS}, got {text!r}")
    return fixed(asked.count(text))


def _normal(asked: _Option, cells: list[str]) -> TokenCounts:
    if len(cells) not in (2, 4):
        raise asked.wrong(f"must be {NORMAL}, got {len(cells)} numbers")
    mean = asked.number(cells[0], dataclasses.replace(asked.legal, whole=False), "MEAN")
    stdev = asked.number(cells[1], Range(high=asked.legal.high), "STDEV")
    low, high = asked.legal.low, min(math.ceil(mean + LAST_STDEV * stdev), asked.legal.high)
    if len(cells) == 4:
        low, high = asked.count(cells[2], "MIN"), asked.count(cells[3], "MAX")
    return normal(mean, stdev, *_rising(asked, low, high))


def _lognormal(asked: _Option, cells: list[str]) -> TokenCounts:
    if len(cells) not in (2, 3):
        raise asked.wrong(f"must be {LOGNORMAL}, got {len(cells)} numbers")
    legal = dataclasses.replace(asked.legal, whole=False, low_is_legal=asked.legal.low > 0)
    mean, cv = asked.number(cells[0], legal, "MEAN"), asked.number(cells[1], SPREAD, "CV")
    sigma = lognormal_sigma(cv)
    high = min(math.ceil(mean * math.exp(LAST_STDEV * sigma - sigma**2 / 2)), asked.legal.high)
    return lognormal(mean, cv, int(asked.legal.low), asked.count(cells[2], "MAX") if len(cells) == 3 else int(high))


def _spread(asked: _Option, middle: str, spread: str) -> TokenCounts:
    """Rounded inwards, in decimals: 42 % below 100 is 58."""
    if not spread.endswith("%"):
        raise asked.wrong(f"must be COUNT~PERCENT%, got {middle}~{spread}")
    count, share = asked.count(middle), Decimal(str(asked.number(spread[:-1], PERCENT, "PERCENT"))) / 100
    low, high = math.ceil(count * (1 - share)), math.floor(count * (1 + share))
    check.number(asked.where, asked.name, high, asked.legal)
    return uniform(max(low, int(asked.legal.low)), high)


def _rising(asked: _Option, low: float, high: float) -> tuple[int, int]:
    if low > high:
        raise asked.wrong(f"must rise, got {low:.0f} to {high:.0f}")
    return int(low), int(high)


def _read(path: Path, legal: Range) -> Vector:
    """The counts of a file of one column, with or without its name above. Raises InputError."""
    counts = _parquet(path, legal) if path.suffix == ".parquet" else _lines(path, legal)
    if not len(counts):
        raise InputError(path, "has no rows")
    return counts


def _parquet(path: Path, legal: Range) -> Vector:
    names, counts = column_names(path), np.zeros(0)
    if len(names) != 1:
        raise InputError(path, f"must have one column, got {', '.join(names) or 'none'}")
    for batch in read_blocks(path, {names[0]: legal}):
        counts = np.concatenate([counts, legal_numbers(path, batch, names[0], legal, len(counts))])
    return counts


def _lines(path: Path, legal: Range) -> Vector:
    lines = [(number, line.strip()) for number, line in enumerate(read_text(path).splitlines(), 1) if line.strip()]
    if lines and lines[0][1].lstrip('"')[:1].isalpha() and not _is_number(lines[0][1]):
        lines = lines[1:]
    return np.array([check.parsed_number(path, f"line {number}", cell, legal) for number, cell in lines])


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
