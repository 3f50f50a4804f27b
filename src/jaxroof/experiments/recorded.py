"""Measured experiments and published figures, as their CSV files hold them; loads no JAX."""

import csv
import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path

from jaxroof.files import COUNT, NON_NEGATIVE, POSITIVE, TOKENS, InputError, Range, check, read_csv, read_text

COLUMNS = ("name", "model", "tp", "workload", "split", "ttft_ms", "tpot_ms", "e2e_ms", "source")
# A row's sampling is one text, as the command line takes it, or a column for each parameter.
SAMPLING = (
    "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty",
)  # fmt: skip
OPTIONAL = ("server", "sampling", *SAMPLING)


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One measured run and its labels; means in ms, TPOT = E2E per token as recorded.

    ``server`` and ``sampling`` are as ``--server`` and ``--sampling`` take them, "" where the row says nothing.
    """

    name: str
    model: str
    tp: int
    workload: str
    split: str
    ttft_ms: float
    tpot_ms: float
    e2e_ms: float
    server: str = ""
    sampling: str = ""


@dataclasses.dataclass(frozen=True)
class Published:
    """A published figure: of an experiment or a group, under a study's configuration."""

    study: str
    configuration: str
    subject: str
    metric: str
    value: float
    source: str


def load_recorded(path: Path) -> list[Experiment]:
    """The experiments of a CSV file, in its order. Raises InputError."""
    try:
        rows = read_csv(path, COLUMNS, OPTIONAL)
    except InputError:
        if is_loaded(path):
            raise InputError(path, "has points of loaded servers, which only evaluate scores") from None
        raise
    experiments = [_experiment(path, row) for row in rows]
    names = [e.name for e in experiments]
    if duplicate := next((n for n in names if names.count(n) > 1), None):
        raise InputError(path, duplicate, "stands twice")
    return experiments


def is_loaded(path: Path) -> bool:
    """Whether a file is a CSV of loaded points, by the columns that experiments lack. Raises InputError."""
    if not path.is_file():
        return False
    header = next(csv.reader(read_text(path).splitlines()[:1]), [])
    return bool({"batch", "output_cv", "itl_ms"} & {name.strip() for name in header})


def load_published(path: Path) -> list[Published]:
    """Published figures beside the experiments; none where there is no such file."""
    if not path.exists():
        return []
    rows = read_csv(path, [field.name for field in dataclasses.fields(Published)])
    values = [check.parsed_number(path, "value", row.pop("value"), NON_NEGATIVE) for row in rows]
    return [Published(value=value, **row) for value, row in zip(values, rows, strict=True)]


def check_labels(path: Path, experiments: Sequence[Experiment]) -> None:
    """A group is named by one label: a workload may not be called as a split or a model is."""
    kinds = [{"all"}, {"train", "test"}, *({getattr(e, kind) for e in experiments} for kind in ("workload", "model"))]
    kinds.append({f"tp{e.tp}" for e in experiments})
    labels = sorted(label for kind in kinds for label in kind)
    if twice := next((label for label, other in itertools.pairwise(labels) if label == other), None):
        raise InputError(path, twice, "names two groups of experiments")


def _experiment(path: Path, row: dict[str, str]) -> Experiment:
    where = row["name"]
    if row["split"] not in ("train", "test"):
        raise InputError(path, f"{where}.split", f"must be train or test, got {row['split']!r}")
    measured = {
        key: check.parsed_number(path, f"{where}.{key}", row[key], POSITIVE) for key in ("ttft_ms", "tpot_ms", "e2e_ms")
    }
    if measured["e2e_ms"] <= max(measured["ttft_ms"], measured["tpot_ms"]):
        raise InputError(path, f"{where}.e2e_ms", "must exceed ttft_ms and tpot_ms")
    check.number(path, f"{where}: e2e_ms / tpot_ms", measured["e2e_ms"] / measured["tpot_ms"], Range(high=TOKENS.high))
    tp = int(check.parsed_number(path, f"{where}.tp", row["tp"], COUNT))
    server, text = (row.get(key) or "" for key in ("server", "sampling"))
    columns = [f"{key}={row[key]}" for key in SAMPLING if row.get(key)]
    sampling = ",".join([text, *columns] if text else columns)
    labels = {"model": row["model"], "workload": row["workload"], "split": row["split"]}
    return Experiment(name=where, tp=tp, server=server, sampling=sampling, **labels, **measured)  # type: ignore[arg-type]
