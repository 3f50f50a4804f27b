"""Study files → :class:`Study`, and the constants of each of its configurations."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxroof import files
from jaxroof.configs import find, load_tier0, with_settings
from jaxroof.errors import InputError
from jaxroof.leaves import NON_NEGATIVE, POSITIVE, Range
from jaxroof.metrics import SCORINGS
from jaxroof.params import Tier0
from jaxroof.search import Grid
from jaxroof.step import STEP_MODELS
from jaxroof.study import COMPARISONS, ERROR_COLUMNS, STATISTICS, Configuration, Criterion, Search, Study

ANY_NUMBER = Range(low=-float("inf"))
REQUIRED = ("name", "title", "source", "hypothesis", "differences", "step_model", "scoring", "hardware", "baseline")


def load_study(name: str) -> Study:
    """A study of the catalogue or a TOML file of that form. Raises InputError."""
    path = find("studies", name)
    table = files.read_toml(path)
    files.unknown_key(path, table, [*REQUIRED, "also_scoring", "configurations", "search", "criteria"])
    text = {key: _text(path, table, key) for key in REQUIRED}
    also = table.get("also_scoring", [])
    for scoring in [text["scoring"], *also]:
        files.one_of(path, "scoring", scoring, SCORINGS)
    files.one_of(path, "step_model", text["step_model"], STEP_MODELS)
    configurations = [_configuration(path, entry) for entry in _tables(path, table, "configurations")]
    search = _search(path, table["search"]) if "search" in table else None
    names = [c.name for c in configurations] + ([search.configuration.name] if search else [])
    files.one_of(path, "baseline", text["baseline"], names)
    criteria = [_criterion(path, entry, names) for entry in _tables(path, table, "criteria")]
    return Study(**text, also_scoring=also, configurations=configurations, search=search, criteria=criteria)


def study_tier0s(study: Study) -> dict[str, Tier0]:
    """The constants of each configuration, in order, the search's start last. Raises InputError."""
    configurations = [*study.configurations, *([study.search.configuration] if study.search else [])]
    return {c.name: with_settings(load_tier0(study.hardware, c.overheads), c.settings.items()) for c in configurations}


def check_groups(study: Study, groups: Mapping[str, Any]) -> None:
    """Every group that the study names must have experiments. Raises InputError."""
    wanted = [group for c in study.criteria for group in (c.group, c.minus_group) if group]
    for group in [*wanted, *([study.search.split] if study.search else [])]:
        files.one_of(f"study {study.name}", "group", group, groups)


def _configuration(path: Path, table: Mapping[str, Any]) -> Configuration:
    files.unknown_key(path, table, ["name", "overheads", "set"], "configurations.")
    settings = table.get("set", {})
    if not isinstance(settings, dict):
        raise InputError(path, "configurations.set", "must be a table")
    name, overheads = (_text(path, table, key, "configurations.") for key in ("name", "overheads"))
    return Configuration(name, overheads, settings)


def _search(path: Path, table: Mapping[str, Any]) -> Search:
    keys = ("start_us", "stop_us", "step_us", "half_width_us", "fine_step_us")
    files.unknown_key(path, table, ["configuration", "overheads", "set", "keys", "split", *keys], "search.")
    ranges = (NON_NEGATIVE, NON_NEGATIVE, POSITIVE, NON_NEGATIVE, POSITIVE)
    grid = Grid(
        *(
            files.number(path, f"search.{key}", files.required(path, table, key, "search."), legal)
            for key, legal in zip(keys, ranges, strict=True)
        )
    )
    if grid.stop < grid.start:
        raise InputError(path, "search.stop_us", f"must be ≥ start_us, got {grid.stop:g} < {grid.start:g}")
    name, overheads, split = (_text(path, table, key, "search.") for key in ("configuration", "overheads", "split"))
    configuration = Configuration(name, overheads, table.get("set", {}))
    searched = files.required(path, table, "keys", "search.")
    if not isinstance(searched, list) or not all(isinstance(key, str) and key.endswith("_us") for key in searched):
        raise InputError(path, "search.keys", "must be a list of keys in µs")
    with_settings(load_tier0(), [(key, grid.start) for key in searched])
    return Search(configuration, searched, split, grid)


def _criterion(path: Path, table: Mapping[str, Any], configurations: list[str]) -> Criterion:
    optional = {
        "statistic": "mean",
        "minus_configuration": None,
        "group": "all",
        "minus_group": None,
        "absolute": False,
    }
    needed = ("name", "metric", "configuration", "comparison", "threshold", "unit")
    files.unknown_key(path, table, [*needed, *optional], "criteria.")
    values = {key: files.required(path, table, key, "criteria.") for key in needed}
    values |= {key: table.get(key, default) for key, default in optional.items()}
    files.one_of(path, "criteria.metric", values["metric"], ERROR_COLUMNS)
    files.one_of(path, "criteria.statistic", values["statistic"], STATISTICS)
    files.one_of(path, "criteria.comparison", values["comparison"], COMPARISONS)
    for key in ("configuration", "minus_configuration"):
        files.one_of(path, f"criteria.{key}", values[key] or configurations[0], configurations)
    values["threshold"] = files.number(path, "criteria.threshold", values["threshold"], ANY_NUMBER)
    return Criterion(**values)


def _tables(path: Path, table: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    entries = files.required(path, table, key)
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(path, key, "must be one or more [[tables]]")
    return entries


def _text(path: Path, table: Mapping[str, Any], key: str, where: str = "") -> str:
    value = files.required(path, table, key, where)
    if not isinstance(value, str):
        raise InputError(path, f"{where}{key}", f"must be text, got {value!r}")
    return value.strip()
