"""A CSV or Parquet file of requests → the load that it recorded."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jaxroof.files import CACHED_TOKENS, NON_NEGATIVE, TOKENS, InputError, Range, check
from jaxroof.files.columns import column_names, legal_numbers, read_blocks
from jaxroof.serving.load import Load

COLUMNS: dict[str, Range] = {
    "arrival_s": NON_NEGATIVE, "prompt_tokens": TOKENS, "cached_tokens": CACHED_TOKENS, "output_tokens": TOKENS,
}  # fmt: skip
OPTIONAL = ("cached_tokens",)
Column = NDArray[np.float64]


def load_trace(path: Path) -> Load:
    """The requests of a ``.csv`` or ``.parquet`` file with one row per request, in the order of arrival.

    Columns: ``arrival_s`` [s] from any zero, never falling; ``prompt_tokens``, the whole prompt; ``cached_tokens``, how
    many of them the prefix cache holds (none, where the column is missing); ``output_tokens``.
    Raises InputError, which says file, row (the first below the header is 1), column and why, for what is no number,
    not finite, not whole or out of range; arrivals out of order; more cached than the prompt; unknown columns; no rows.

    >>> _ = Path("trace.csv").write_text("arrival_s,prompt_tokens,output_tokens\\n0,100,10\\n0.5,200,30\\n")
    >>> load_trace(Path("trace.csv")).output_tokens
    array([10., 30.])
    """
    names = column_names(path)
    check.unknown_key(path, names, COLUMNS)
    if missing := [name for name in COLUMNS if name not in names and name not in OPTIONAL]:
        raise InputError(path, ", ".join(missing), "missing column" + "s" * (len(missing) > 1))
    columns = _columns(path, names)
    if "cached_tokens" not in columns:
        columns["cached_tokens"] = np.zeros_like(columns["arrival_s"])
    _check_rows(path, columns["arrival_s"], columns["prompt_tokens"], columns["cached_tokens"])
    return Load(**columns)


def _columns(path: Path, names: list[str]) -> dict[str, Column]:
    blocks, rows = [], 0
    for batch in read_blocks(path, COLUMNS):
        blocks.append([legal_numbers(path, batch, name, COLUMNS[name], rows) for name in names])
        rows += len(batch)
    if not rows:
        raise InputError(path, "has no rows")
    return dict(zip(names, map(np.concatenate, zip(*blocks, strict=True)), strict=True))


def _check_rows(path: Path, arrival_s: Column, prompt: Column, cached: Column) -> None:
    """Raise for the first row that is out of order, or has more cached than there is."""
    for row in np.flatnonzero(np.diff(arrival_s) < 0)[:1]:
        why = f"must be ≥ that of the row before, {arrival_s[row]}, got {arrival_s[row + 1]}"
        raise InputError(path, f"row {row + 2}", "arrival_s", why)
    for row in np.flatnonzero(cached > prompt)[:1]:
        why = f"must be ≤ prompt_tokens {prompt[row]:.0f}, got {cached[row]:.0f}"
        raise InputError(path, f"row {row + 1}", "cached_tokens", why)
