"""``jaxroof list``: what is there."""

import dataclasses
from typing import Any

import pandas as pd

from jaxroof.catalogue.load import catalogue, find, load_architecture
from jaxroof.experiments.load import load_ground_truth
from jaxroof.files import check, read_toml
from jaxroof.report import report
from jaxroof.step import work


def run(kind: str, json: bool) -> None:
    """Names of a catalogue, with what tells them apart."""
    listings = {"models": _models, "hardware": _titled, "overheads": _titled, "studies": _titled}
    check.one_of("list", "kind", kind, [*listings, "experiments"])
    rows = (
        [dataclasses.asdict(e) for e in load_ground_truth().experiments]
        if kind == "experiments"
        else listings[kind](kind)
    )
    report.show({kind: rows}, {kind: pd.DataFrame(rows)}, [], json)


def _models(kind: str) -> list[dict[str, Any]]:
    architectures = {name: load_architecture(name) for name in catalogue(kind)}
    return [
        {
            "name": name,
            "parameters_billion": float(work.parameter_count(arch)) / 1e9,
            "layers": int(arch.num_hidden_layers),
        }
        for name, arch in architectures.items()
    ]


def _titled(kind: str) -> list[dict[str, Any]]:
    return [{"name": name, "title": read_toml(find(kind, name))["title"]} for name in catalogue(kind)]
