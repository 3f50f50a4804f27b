"""Study files → :class:`Study`, and the constants of each of its configurations."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxroof.catalogue.load import load_model, with_settings
from jaxroof.catalogue.names import find
from jaxroof.experiments.metrics import SCORINGS
from jaxroof.experiments.runs import Runs
from jaxroof.files import InputError, check, read_toml
from jaxroof.step import STEP_MODELS, Model
from jaxroof.studies import load_parts as parts
from jaxroof.studies.run import LABELS
from jaxroof.studies.spec import Study
from jaxroof.studies.waterfall import part_names

REQUIRED = ("name", "title", "source", "hypothesis", "differences", "step_model", "scoring", "hardware", "baseline")
OPTIONAL = ("also_scoring", "also_step_model", "configurations", "search", "grid", "groups", "criteria", "waterfall")


def load_study(name: str) -> Study:
    """A study of the catalogue or a TOML file of that form. Raises InputError."""
    path = find("studies", name)
    table = read_toml(path)
    check.unknown_key(path, table, [*REQUIRED, *OPTIONAL])
    text: dict[str, Any] = {key: check.text_at(path, table, key) for key in REQUIRED}
    also: dict[str, Any] = {key: check.list_at(path, table, key) for key in ("also_scoring", "also_step_model")}
    for key, known in (("scoring", SCORINGS), ("step_model", STEP_MODELS)):
        values = [text[key], *also[f"also_{key}"]]
        for value in values:
            check.one_of(path, key, value, known)
        check.no_repeats(path, f"also_{key}", values)
    default = text["step_model"]
    configurations = [
        parts.configuration(path, entry, "configurations.", "name", default)
        for entry in check.tables_at(path, table, "configurations")
    ]
    search = parts.search(path, check.table_at(path, table, "search"), default) if "search" in table else None
    grid = parts.product_grid(path, check.table_at(path, table, "grid"), default) if "grid" in table else None
    names = [c.name for c in [*configurations, *(s.configuration for s in (search, grid) if s)]]
    _check_names(path, names, text["baseline"])
    criteria = [parts.criterion(path, entry, names) for entry in check.tables_at(path, table, "criteria")]
    waterfall = parts.waterfall(path, check.table_at(path, table, "waterfall"), names) if "waterfall" in table else None
    unions = check.table_at(path, table, "groups")
    groups = {union: check.list_at(path, unions, union, "groups.") for union in unions}
    study = Study(
        **text, **also, configurations=configurations, search=search, grid=grid,
        groups=groups, criteria=criteria, waterfall=waterfall,
    )  # fmt: skip
    if waterfall and "itl" not in [study.scoring, *study.also_scoring]:
        raise InputError(path, "waterfall", "is of the ITL, so the study must be scored by itl too")
    _check_constants(path, study)
    return study


def _check_names(path: Path, names: list[str], baseline: str) -> None:
    check.no_repeats(path, "configurations.name", names)
    if taken := next((name for name in names if name in LABELS), None):
        raise InputError(path, "configurations.name", f"{taken} is a label of an experiment")
    check.one_of(path, "baseline", baseline, names)


def study_models(study: Study) -> dict[str, Model]:
    """The model of each configuration, in order, the search's start last. Raises InputError."""
    return {
        c.name: with_settings(
            load_model(c.step_model, study.hardware, c.overheads), c.settings.items(), f"{c.name}: set"
        )
        for c in study.all_configurations()
    }


def check_groups(file: object, study: Study, groups: Mapping[str, Any]) -> None:
    """Every group that the study names must have experiments. Raises InputError."""
    for union, members in study.groups.items():
        if union in groups or not members:
            raise InputError(file, f"groups.{union}", "must be a new name for one or more groups")
        for part in members:
            check.one_of(file, f"groups.{union}", part, groups)
    searches = [search for search in (study.search, study.grid) if search]
    for split in ("train", "test") if searches else ():
        if split not in groups:
            raise InputError(file, "split", f"no experiment is in {split}, so a search cannot be judged")
    wanted = [group for c in study.criteria for group in (c.group, c.minus_group) if group is not None]
    for group in [*wanted, *(search.split for search in searches)]:
        check.one_of(file, "group", group, [*groups, *study.groups])


def check_terms(file: object, study: Study, models: Mapping[str, Model], runs: Runs) -> None:
    """Every part that a waterfall names must be one of its step model. Raises InputError."""
    if study.waterfall is None:
        return
    known = part_names(models[study.waterfall.end], runs)
    for term, named in study.waterfall.terms.items():
        for part in named:
            check.one_of(file, f"waterfall.terms.{term}", part, known)


def _check_constants(path: Path, study: Study) -> None:
    """Names of files and keys of settings, found and legal before anything runs."""
    try:
        models = study_models(study)
        if study.search:
            values = [(key, study.search.grid.start) for key in study.search.keys]
            with_settings(models[study.search.configuration.name], values, "search.keys")
        if study.grid:
            values = [(key, free.start) for free in study.grid.free for key in free.keys]
            with_settings(models[study.grid.configuration.name], values, "grid.free.keys")
    except InputError as error:
        raise InputError(path, str(error)) from None
