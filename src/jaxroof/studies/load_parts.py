"""Tables of a study file → the parts of a :class:`Study`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxroof.experiments.metrics import METRICS
from jaxroof.experiments.scores import ERROR_COLUMNS
from jaxroof.files import NON_NEGATIVE, POSITIVE, InputError, Range, check
from jaxroof.step import STEP_MODELS
from jaxroof.studies.criteria import COMPARISONS, STATISTICS
from jaxroof.studies.grid_search import Free, Grid
from jaxroof.studies.spec import Configuration, Criterion, ProductGrid, Search, Waterfall
from jaxroof.studies.waterfall import FLOORS, HOST, WORK

AXIS_RANGES = {"start_us": NON_NEGATIVE, "stop_us": NON_NEGATIVE, "step_us": POSITIVE}
GRID_RANGES = {**AXIS_RANGES, "half_width_us": NON_NEGATIVE, "fine_step_us": POSITIVE}
MAX_GRID_STEPS = 1_000_000
MAX_FREE = 3
ANY_NUMBER = Range(low=-float("inf"))


def configuration(
    path: Path, table: Mapping[str, Any], where: str, name_key: str, default: str, others: Sequence[str] = ()
) -> Configuration:
    """A configuration; ``default`` is the step model of one that names none, ``others`` its table's other keys."""
    check.unknown_key(path, table, [name_key, "step_model", "overheads", "set", *others], where)
    step_model = table.get("step_model", default)
    check.one_of(path, f"{where}step_model", step_model, STEP_MODELS)
    name, overheads = (check.text_at(path, table, key, where) for key in (name_key, "overheads"))
    return Configuration(name, step_model, overheads, check.table_at(path, table, "set", where))


def search(path: Path, table: Mapping[str, Any], default: str) -> Search:
    """A coarse and fine search of one value."""
    start = configuration(path, table, "search.", "configuration", default, ["keys", "split", *GRID_RANGES])
    split = check.text_at(path, table, "split", "search.")
    values = _numbers(path, table, GRID_RANGES, "search.")
    _check_span(path, "search.fine_step_us", values["half_width_us"], values["fine_step_us"])
    return Search(start, _keys(path, table, "search."), split, Grid(*values.values()))


def product_grid(path: Path, table: Mapping[str, Any], default: str) -> ProductGrid:
    """A search over the product of up to three free constants."""
    start = configuration(path, table, "grid.", "configuration", default, ["free", "split", "metric"])
    axes = [_free(path, axis) for axis in check.tables_at(path, table, "free", "grid.")]
    if len(axes) > MAX_FREE:
        raise InputError(path, "grid.free", f"at most {MAX_FREE} free constants, got {len(axes)}")
    check.no_repeats(path, "grid.free.name", [axis.name for axis in axes])
    check.no_repeats(path, "grid.free.keys", [key for axis in axes for key in axis.keys])
    if other := next((key for axis in axes for key in axis.keys if not key.startswith("overheads.")), None):
        raise InputError(path, "grid.free.keys", f"{other} is no overhead; only in those are latencies affine")
    metric = table.get("metric", "tpot")
    check.one_of(path, "grid.metric", metric, METRICS)
    return ProductGrid(start, axes, check.text_at(path, table, "split", "grid."), metric)


def waterfall(path: Path, table: Mapping[str, Any], configurations: list[str]) -> Waterfall:
    """From which configuration to which, and the parts of each term."""
    check.unknown_key(path, table, ["start", "end", "terms"], "waterfall.")
    ends = {key: check.text_at(path, table, key, "waterfall.") for key in ("start", "end")}
    for key, name in ends.items():
        check.one_of(path, f"waterfall.{key}", name, configurations)
    table_of_terms = check.table_at(path, table, "terms", "waterfall.")
    terms = {term: check.list_at(path, table_of_terms, term, "waterfall.terms.") for term in table_of_terms}
    if taken := next((term for term in terms if term in (WORK, FLOORS, HOST)), None):
        raise InputError(path, f"waterfall.terms.{taken}", "is a term of every waterfall")
    check.no_repeats(path, "waterfall.terms", [part for parts in terms.values() for part in parts])
    return Waterfall(**ends, terms=terms)


def criterion(path: Path, table: Mapping[str, Any], configurations: list[str]) -> Criterion:
    """An accept criterion."""
    optional = {
        "statistic": "mean",
        "minus_configuration": None,
        "group": "all",
        "minus_group": None,
        "absolute": False,
    }
    needed = ("name", "metric", "configuration", "comparison", "threshold", "unit")
    check.unknown_key(path, table, [*needed, *optional], "criteria.")
    values = {key: check.required(path, table, key, "criteria.") for key in needed}
    values |= {key: check.text_at(path, table, key, "criteria.") for key in ("name", "unit")}
    values |= {key: table.get(key, default) for key, default in optional.items()}
    for key in ("group", "minus_group"):
        if not isinstance(values[key], (str, type(None))):
            raise InputError(path, f"criteria.{key}", f"must be text, got {values[key]!r}")
    check.one_of(path, "criteria.metric", values["metric"], ERROR_COLUMNS)
    check.one_of(path, "criteria.statistic", values["statistic"], STATISTICS)
    check.one_of(path, "criteria.comparison", values["comparison"], COMPARISONS)
    for key in ("configuration", "minus_configuration"):
        if values[key] is not None:
            check.one_of(path, f"criteria.{key}", values[key], configurations)
    if not isinstance(values["absolute"], bool):
        raise InputError(path, "criteria.absolute", f"must be true or false, got {values['absolute']!r}")
    values["threshold"] = check.number(path, "criteria.threshold", values["threshold"], ANY_NUMBER)
    return Criterion(**values)


def _free(path: Path, table: Mapping[str, Any]) -> Free:
    check.unknown_key(path, table, ["name", "keys", *AXIS_RANGES], "grid.free.")
    name = check.text_at(path, table, "name", "grid.free.")
    return Free(name, _keys(path, table, "grid.free."), *_numbers(path, table, AXIS_RANGES, "grid.free.").values())


def _keys(path: Path, table: Mapping[str, Any], where: str) -> list[str]:
    check.required(path, table, "keys", where)
    keys = check.list_at(path, table, "keys", where)
    if not keys or not all(key.endswith("_us") for key in keys):
        raise InputError(path, f"{where}keys", "must be a list of keys in µs")
    return keys


def _numbers(path: Path, table: Mapping[str, Any], ranges: Mapping[str, Range], where: str) -> dict[str, float]:
    """Start, stop and step of a grid, and what else ``ranges`` names."""
    values = {
        key: check.number(path, f"{where}{key}", check.required(path, table, key, where), legal)
        for key, legal in ranges.items()
    }
    start, stop = values["start_us"], values["stop_us"]
    if stop < start:
        raise InputError(path, f"{where}stop_us", f"must be ≥ start_us, got {stop:g} < {start:g}")
    _check_span(path, f"{where}step_us", stop - start, values["step_us"])
    return values


def _check_span(path: Path, key: str, span: float, step: float) -> None:
    if span > step * MAX_GRID_STEPS:
        raise InputError(path, key, f"makes more than {MAX_GRID_STEPS} steps, got {step:g}")
    if abs(span / step - round(span / step)) > 1e-9:
        raise InputError(path, key, f"must divide its range of {span:g}, got {step:g}")
