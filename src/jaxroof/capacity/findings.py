"""``jaxroof capacity``: its tables, what they stand for in words, FINDINGS.md and a CSV."""

from collections.abc import Iterator, Sequence
from functools import partial
from math import nan
from typing import Any

from jaxroof.capacity.record import Record
from jaxroof.intervals.words import end_name, interval_in_words
from jaxroof.report.document import bullets, reproducing
from jaxroof.report.report import Block, File, Report, Sheet, sheets
from jaxroof.report.tables import Table, columns

NAME = "capacity"
# What a row of a table shows: by the name of its column.
SHOWN = {
    "tp": "tp", "weights_gb": "weights_gb", "activations_gb": "activations_gb", "kv_gb": "kv_cache_gb",
    "kv_tokens": "kv_tokens", "requests": "requests", "binds": "binds", "fits": "fits", "missing_gb": "missing_gb",
}  # fmt: skip


# What the second table shows: both ends of each.
WITHIN = {"kv_gb": "kv_cache_gb", "kv_tokens": "kv_tokens", "requests": "requests"}


def tables(data: Record) -> dict[str, Table]:
    """Title → table, two for each GPU."""
    shown: dict[str, Table] = {}
    for gpu in dict.fromkeys(row["hardware"] for row in data["capacity"]):
        rows = [row for row in data["capacity"] if row["hardware"] == gpu]
        usable = next((f", {row['usable_gb']:.1f} GB of each" for row in rows if row["usable_gb"]), "")
        title = f"{data['inputs']['model']} on {gpu}"
        shown[f"{title}{usable}"] = columns(list(map(_shown, rows)))
        shown[f"{title}, at least and at most"] = columns(list(map(_within, rows)))
    return shown


def _shown(row: Record) -> dict[str, Any]:
    cells = {name: nan if row[key] is None else row[key] for name, key in SHOWN.items()}
    return cells | {"fits": "yes" if row["fits"] else "no"}


def _within(row: Record) -> dict[str, Any]:
    ends = {end_name(name, end): row[end_name(key, end)] for name, key in WITHIN.items() for end in ("low", "high")}
    return {"tp": row["tp"]} | {name: nan if value is None else value for name, value in ends.items()}


def sentences(data: Record) -> list[str]:
    """What the numbers stand for."""
    inputs, rows = data["inputs"], data["capacity"]
    active = (
        "" if data["active_billion"] == data["parameters_billion"] else f", {data['active_billion']:.1f} of a token"
    )
    reserved = max((row["reserved_gb"] or 0.0 for row in rows), default=0.0)
    less = f", less {reserved:.1f} GB that are reserved" if reserved else ""
    reasons = dict.fromkeys(f"TP {row['tp']}: {row['reason']}." for row in rows if row["reason"])
    return [
        f"{data['parameters_billion']:.1f} billion parameters{active}; {data['kv_bytes_per_token']:.0f} bytes of KV "
        "cache per token, over all layers and GPUs.",
        f"requests: in flight at once, each with all of its {inputs['tokens']} tokens, {inputs['tokens_are']}.",
        f"weights, activations and KV cache are those of one GPU{less}; server: {inputs['server']}.",
        interval_in_words(data["interval"]),
        *reasons,
    ]


def capacity_report(data: Record, command: str) -> Report:
    """What is shown and written."""
    shown, lines = sheets(tables(data)), sentences(data)
    return Report(NAME, data, shown, lines, document=partial(_document, data, shown, lines, command))


def _document(data: Record, shown: Sequence[Sheet], lines: Sequence[str], command: str) -> Iterator[Block]:
    yield from (f"# What {data['inputs']['model']} takes, and what fits", *lines)
    yield from shown
    yield File("capacity.csv", columns(data["capacity"]))
    if data["notes"]:
        yield from ("## Notes", bullets(data["notes"]))
    yield from reproducing(command)
