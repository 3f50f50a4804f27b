"""Study files → :class:`Study`, and the constants of each of its configurations."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxroof import files
from jaxroof.configs import find, load_tier0, with_settings
from jaxroof.errors import InputError
from jaxroof.leaves import NON_NEGATIVE, POSITIVE, Range
from jaxroof.metrics import SCORINGS
from jaxroof.params import Runs, Tier0
from jaxroof.search import Grid
from jaxroof.step import STEP_MODELS
from jaxroof.study import (
    COMPARISONS,
    ERROR_COLUMNS,
    LABELS,
    STATISTICS,
    Configuration,
    Criterion,
    Search,
    Study,
    Waterfall,
)
from jaxroof.waterfall import Model, part_names

GRID_RANGES = {
    "start_us": NON_NEGATIVE,
    "stop_us": NON_NEGATIVE,
    "step_us": POSITIVE,
    "half_width_us": NON_NEGATIVE,
    "fine_step_us": POSITIVE,
}
MAX_GRID_STEPS = 1_000_000
ANY_NUMBER = Range(low=-float("inf"))
REQUIRED = ("name", "title", "source", "hypothesis", "differences", "step_model", "scoring", "hardware", "baseline")


def load_study(name: str) -> Study:
    """A study of the catalogue or a TOML file of that form. Raises InputError."""
    path = find("studies", name)
    table = files.read_toml(path)
    files.unknown_key(path, table, [*REQUIRED, "also_scoring", "configurations", "search", "criteria", "waterfall"])
    text = {key: _text(path, table, key) for key in REQUIRED}
    also = table.get("also_scoring", [])
    if not isinstance(also, list):
        raise InputError(path, "also_scoring", "must be a list")
    for scoring in [text["scoring"], *also]:
        files.one_of(path, "scoring", scoring, SCORINGS)
    files.one_of(path, "step_model", text["step_model"], STEP_MODELS)
    entries = _tables(path, table, "configurations")
    default = text["step_model"]
    configurations = [_configuration(path, entry, "configurations.", "name", default) for entry in entries]
    search = _search(path, _table(path, table, "search"), default) if "search" in table else None
    names = [c.name for c in configurations] + ([search.configuration.name] if search else [])
    if duplicate := next((name for name in names if names.count(name) > 1), None):
        raise InputError(path, "configurations.name", f"{duplicate} stands twice")
    if taken := next((name for name in names if name in LABELS), None):
        raise InputError(path, "configurations.name", f"{taken} is a label of an experiment")
    files.one_of(path, "baseline", text["baseline"], names)
    criteria = [_criterion(path, entry, names) for entry in _tables(path, table, "criteria")]
    waterfall = _waterfall(path, _table(path, table, "waterfall"), names) if "waterfall" in table else None
    study = Study(
        **text,
        also_scoring=also,
        configurations=configurations,
        search=search,
        criteria=criteria,
        waterfall=waterfall,
    )
    _check_constants(path, study)
    return study


def study_tier0s(study: Study) -> dict[str, Tier0]:
    """The constants of each configuration, in order, the search's start last. Raises InputError."""
    configurations = [*study.configurations, *([study.search.configuration] if study.search else [])]
    return {
        c.name: with_settings(load_tier0(study.hardware, c.overheads), c.settings.items(), f"{c.name}: set")
        for c in configurations
    }


def check_groups(file: object, study: Study, groups: Mapping[str, Any]) -> None:
    """Every group that the study names must have experiments. Raises InputError."""
    wanted = [group for c in study.criteria for group in (c.group, c.minus_group) if group is not None]
    for group in [*wanted, *([study.search.split] if study.search else [])]:
        files.one_of(file, "group", group, groups)


def check_terms(file: object, study: Study, tier0s: Mapping[str, Tier0], runs: Runs) -> None:
    """Every part that a waterfall names must be one of its step model. Raises InputError."""
    if study.waterfall is None:
        return
    name = study.waterfall.end
    known = part_names(Model(study.step_models()[name], tier0s[name]), runs)
    for term, parts in study.waterfall.terms.items():
        for part in parts:
            files.one_of(file, f"waterfall.terms.{term}", part, known)


def _check_constants(path: Path, study: Study) -> None:
    """Names of files and keys of settings, found and legal before anything runs."""
    try:
        start = list(study_tier0s(study).values())[-1]
        if study.search:
            values = [(key, study.search.grid.start) for key in study.search.keys]
            with_settings(start, values, "search.keys")
    except InputError as error:
        raise InputError(path, str(error)) from None


def _configuration(
    path: Path, table: Mapping[str, Any], where: str, name_key: str, default: str, others: Sequence[str] = ()
) -> Configuration:
    files.unknown_key(path, table, [name_key, "step_model", "overheads", "set", *others], where)
    step_model = table.get("step_model", default)
    files.one_of(path, f"{where}step_model", step_model, STEP_MODELS)
    settings = _table(path, table, "set", where) if "set" in table else {}
    name, overheads = (_text(path, table, key, where) for key in (name_key, "overheads"))
    return Configuration(name, step_model, overheads, settings)


def _search(path: Path, table: Mapping[str, Any], default: str) -> Search:
    others = ["keys", "split", *GRID_RANGES]
    configuration = _configuration(path, table, "search.", "configuration", default, others)
    searched = files.required(path, table, "keys", "search.")
    if not isinstance(searched, list) or not searched or not all(str(key).endswith("_us") for key in searched):
        raise InputError(path, "search.keys", "must be a list of keys in µs")
    return Search(configuration, searched, _text(path, table, "split", "search."), _grid(path, table))


def _grid(path: Path, table: Mapping[str, Any]) -> Grid:
    grid = Grid(
        *(
            files.number(path, f"search.{key}", files.required(path, table, key, "search."), legal)
            for key, legal in GRID_RANGES.items()
        )
    )
    if grid.stop < grid.start:
        raise InputError(path, "search.stop_us", f"must be ≥ start_us, got {grid.stop:g} < {grid.start:g}")
    spans = {"step_us": (grid.stop - grid.start, grid.step), "fine_step_us": (grid.half_width, grid.fine_step)}
    for key, (span, step) in spans.items():
        if abs(span / step - round(span / step)) > 1e-9:
            raise InputError(path, f"search.{key}", f"must divide its range of {span:g}, got {step:g}")
        if span > step * MAX_GRID_STEPS:
            raise InputError(path, f"search.{key}", f"makes more than {MAX_GRID_STEPS} steps, got {step:g}")
    return grid


def _waterfall(path: Path, table: Mapping[str, Any], configurations: list[str]) -> Waterfall:
    files.unknown_key(path, table, ["start", "end", "terms"], "waterfall.")
    ends = {key: _text(path, table, key, "waterfall.") for key in ("start", "end")}
    for key, name in ends.items():
        files.one_of(path, f"waterfall.{key}", name, configurations)
    terms = _table(path, table, "terms", "waterfall.")
    for term, parts in terms.items():
        if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
            raise InputError(path, f"waterfall.terms.{term}", "must be a list of parts")
    return Waterfall(**ends, terms=terms)


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
    values |= {key: _text(path, table, key, "criteria.") for key in ("name", "unit")}
    values |= {key: table.get(key, default) for key, default in optional.items()}
    files.one_of(path, "criteria.metric", values["metric"], ERROR_COLUMNS)
    files.one_of(path, "criteria.statistic", values["statistic"], STATISTICS)
    files.one_of(path, "criteria.comparison", values["comparison"], COMPARISONS)
    for key in ("configuration", "minus_configuration"):
        if values[key] is not None:
            files.one_of(path, f"criteria.{key}", values[key], configurations)
    if not isinstance(values["absolute"], bool):
        raise InputError(path, "criteria.absolute", f"must be true or false, got {values['absolute']!r}")
    values["threshold"] = files.number(path, "criteria.threshold", values["threshold"], ANY_NUMBER)
    return Criterion(**values)


def _tables(path: Path, table: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    entries = files.required(path, table, key)
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(path, key, "must be one or more [[tables]]")
    return entries


def _table(path: Path, table: Mapping[str, Any], key: str, where: str = "") -> Mapping[str, Any]:
    if not isinstance(table[key], dict):
        raise InputError(path, f"{where}{key}", "must be a table")
    return table[key]


def _text(path: Path, table: Mapping[str, Any], key: str, where: str = "") -> str:
    value = files.required(path, table, key, where)
    if not isinstance(value, str):
        raise InputError(path, f"{where}{key}", f"must be text, got {value!r}")
    return value.strip()
