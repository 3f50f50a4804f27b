"""Study files → :class:`Study`, and the constants of each of its configurations."""

import math
import re
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from jaxroof.catalogue.load import load_model, with_settings
from jaxroof.catalogue.names import beside, find
from jaxroof.experiments.runs import Runs
from jaxroof.files import InputError, check, errors_at, read_toml, to_struct
from jaxroof.request.limits import check_takes_time
from jaxroof.step import Model
from jaxroof.studies.run import LABELS
from jaxroof.studies.spec import ANALYTIC, MEASURED, Collection, ComparisonSpec, Study
from jaxroof.studies.waterfall import FLOORS, HOST, WORK, part_names

# A file with one of these keys lists studies.
LISTS: dict[str, type[Collection] | type[ComparisonSpec]] = {"members": Collection, "problems": ComparisonSpec}
# A file with this key is a study of mechanisms.
MECHANISMS = "mechanisms"
# What a ranking compares.
RANKED = {"h2b", "none", "optimum"}
# Beside the folders of a collection's members are its files.
FOLDER = re.compile(r"\w[\w .+-]{0,99}(?<!\.md)(?<!\.json)(?<!\.csv)(?<!\.png)", re.IGNORECASE)
MOST_BYTES = 255
MAX_GRID_STEPS, MAX_GRID_POINTS = 1_000_000, 10_000_000


def load_study(name: str) -> Study:
    """A study of the catalogue or a TOML file of that form. Raises InputError."""
    path = find("studies", name)
    table = read_toml(path)
    if key := next((key for key in LISTS if key in table), None):
        raise InputError(path, key, "lists studies, and one study is wanted")
    if MECHANISMS in table:
        raise InputError(path, MECHANISMS, "is a study of mechanisms, and one of configurations is wanted")
    return _checked(path, to_struct(path, table, Study))


def load_studies(name: str) -> tuple[Study | Collection | ComparisonSpec, dict[str, Study]]:
    """A file of ``studies/`` and the studies that it lists by name, itself if it is one. Raises InputError."""
    path = find("studies", name)
    table = read_toml(path)
    key = next((key for key in LISTS if key in table), None)
    if key is None:
        study = _checked(path, to_struct(path, table, Study))
        return study, {name: study}
    spec: Any = to_struct(path, table, LISTS[key])
    check_name(path, spec.name)
    check.no_repeats(path, key, table[key])
    with errors_at(path, key):
        studies = [load_study(beside(path, listed)) for listed in table[key]]
    check.no_repeats(path, key, [study.name for study in studies])
    for study in studies:
        if key == "members" and not {c.name for c in study.all_configurations()} >= RANKED:
            raise InputError(path, key, f"{study.name} is no study with the configurations {', '.join(sorted(RANKED))}")
        if key == "problems" and not (study.search or study.grid):
            raise InputError(path, key, f"{study.name} searches nothing")
        if key == "problems" and study.grid and study.grid.metric != "tpot":
            raise InputError(path, key, f"{study.name} does not search the TPOT")
    return spec, {study.name: study for study in studies}


def check_name(path: Path, name: str) -> None:
    """What a study is called its folder is, in a collection's."""
    if not FOLDER.fullmatch(name) or len(name.encode()) > MOST_BYTES:
        raise InputError(path, "name", f"must be a name that a folder can have, got {reprlib.repr(name)}")


def _checked(path: Path, study: Study) -> Study:
    """A study as read, complete: with what configurations leave to it, and paths from its folder. Raises InputError."""

    def own(c: Any) -> Any:
        return replace(c, step_model=c.step_model or study.step_model, overheads=beside(path, c.overheads))

    check_name(path, study.name)
    study = replace(study.each(own), hardware=beside(path, study.hardware))
    names = [c.name for c in study.all_configurations()]
    free = study.grid.free if study.grid else []
    terms = study.waterfall.terms if study.waterfall else {}
    for key, listed in {
        "also_scoring": [study.scoring, *study.also_scoring],
        "also_step_model": [study.step_model, *study.also_step_model],
        "configurations.name": names,
        "grid.free.name": [axis.name for axis in free],
        "grid.free.keys": [key for axis in free for key in axis.keys],
        "waterfall.terms": [part for parts in terms.values() for part in parts],
    }.items():
        check.no_repeats(path, key, listed)
    if taken := next((name for name in names if name in LABELS), None):
        raise InputError(path, "configurations.name", f"{taken} is a label of an experiment")
    if taken := next((term for term in terms if term in (WORK, FLOORS, HOST)), None):
        raise InputError(path, f"waterfall.terms.{taken}", "is a term of every waterfall")
    if study.waterfall and "itl" not in [study.scoring, *study.also_scoring]:
        raise InputError(path, "waterfall", "is of the ITL, so the study must be scored by itl too")
    check.one_of(path, "baseline", study.baseline, names)
    for c in study.criteria:
        check.one_of(path, "criteria.configuration", c.configuration, names)
        if c.minus_configuration is not None:
            check.one_of(path, "criteria.minus_configuration", c.minus_configuration, names)
    for key in ("start", "end") if study.waterfall else ():
        check.one_of(path, f"waterfall.{key}", getattr(study.waterfall, key), names)
    _check_grids(path, study)
    _check_constants(path, study)
    return study


def _check_grids(path: Path, study: Study) -> None:
    """Each grid goes up, in steps that divide it, and not too many."""
    grids = [("grid.free.", axis.start, axis.stop, axis.step) for axis in (study.grid.free if study.grid else ())]
    if search := study.search:
        grids.append(("search.", search.start_us, search.stop_us, search.step_us))
        grids.append(("search.fine_", 0.0, search.half_width_us, search.fine_step_us))
    for where, start, stop, step in grids:
        if stop < start:
            raise InputError(path, f"{where}stop_us", f"must be ≥ start_us, got {stop:g} < {start:g}")
        if stop - start > step * MAX_GRID_STEPS:
            raise InputError(path, f"{where}step_us", f"makes more than {MAX_GRID_STEPS} steps, got {step:g}")
        if abs((stop - start) / step - round((stop - start) / step)) > 1e-9:
            raise InputError(path, f"{where}step_us", f"must divide its range of {stop - start:g}, got {step:g}")
    points = math.prod(len(axis.values()) for axis in (study.grid.free if study.grid else ()))
    if points > MAX_GRID_POINTS:
        raise InputError(path, "grid.free", f"makes {points} points, more than {MAX_GRID_POINTS}")


def study_models(study: Study, mfu_tables: Path | None = None) -> dict[str, Model]:
    """The model of each configuration, in order, the search's start last; ``mfu_tables`` if its MFU is measured.

    Raises InputError.
    """
    if study.mfu == MEASURED and mfu_tables is None:
        why = "is missing: the MFU is measured; scripts/make_mfu_tables.py writes such a folder"
        raise InputError(f"study {study.name}", "--mfu-tables", why)
    measured = mfu_tables if study.mfu == MEASURED else None
    models = {}
    for c in study.all_configurations():
        where, tables = f"{c.name}: set", measured if c.step_model == "roofline" else None
        model = load_model(c.step_model, study.hardware, c.overheads, tables)
        models[c.name] = with_settings(model, c.settings.items(), where)
        check_takes_time(where, models[c.name], advice="set")
    return models


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
    if study.mfu == MEASURED and "roofline" not in {c.step_model for c in study.all_configurations()}:
        raise InputError(path, "mfu", "is measured for roofline, which is no configuration's step_model")
    study = replace(study, mfu=ANALYTIC)  # its tables are given when it runs
    with errors_at(path):
        models = study_models(study)
        for step in study.also_step_model:
            study_models(study.on(step))
        for search, where in ((study.search, "search.keys"), (study.grid, "grid.free.keys")):
            if search is not None:
                values = [(key, free.start) for free in search.free for key in free.keys]
                with_settings(models[search.name], values, where)
