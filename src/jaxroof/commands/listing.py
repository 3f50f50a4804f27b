"""``jaxroof list``: what is there; loads no JAX."""

import dataclasses
from typing import Any

from jaxroof.catalogue.names import KINDS, catalogue, find
from jaxroof.catalogue.summary import summary
from jaxroof.experiments.recorded import load_recorded
from jaxroof.files import check, data_dir, read_toml
from jaxroof.report.report import Report, sheets
from jaxroof.report.tables import columns


def run(kind: str, json: bool) -> None:
    """Names of a catalogue, with what tells them apart."""
    check.one_of("list", "kind", kind, [*KINDS, "experiments"])
    rows = _experiments() if kind == "experiments" else [_row(kind, name) for name in catalogue(kind)]
    Report("list", {kind: rows}, sheets({kind: columns(rows)})).show(json)


def _experiments() -> list[dict[str, Any]]:
    return [dataclasses.asdict(e) for e in load_recorded(data_dir() / "ground_truth/experiments.csv")]


def _row(kind: str, name: str) -> dict[str, Any]:
    return summary(name) if kind == "models" else {"name": name, "title": read_toml(find(kind, name))["title"]}
