"""A study of mechanisms: its tables, FINDINGS.md and figures."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from jaxroof.intervals.words import interval_in_words
from jaxroof.mechanisms.record import Record
from jaxroof.mechanisms.spec import ALL, NONE, MechanismsStudy, without
from jaxroof.report.document import differences, one_line, reproducing
from jaxroof.report.figures import Figure
from jaxroof.report.report import Block, File, Report, Sheet
from jaxroof.report.tables import Columns, columns
from jaxroof.studies.findings import named
from jaxroof.studies.tables import judged
from jaxroof.units import PERCENT

HOW_RIGHT = "How right"
MECHANISMS = "ITL MAPE (mean signed error) [%]"


def mechanisms_report(again: str, study: MechanismsStudy, data: Record) -> Report:
    """What a study found, by its record; ``again`` is the command that makes it."""
    shown = [
        Sheet(HOW_RIGHT, how_right(study, data)),
        Sheet(f"All mechanisms, and all but one: {MECHANISMS}", mechanisms(study, data, _but_one(study))),
        Sheet(f"No mechanism, and each alone: {MECHANISMS}", mechanisms(study, data, _alone(study))),
        Sheet("Criteria", judged(data["criteria"])),
    ]
    said = [interval_in_words(data["interval"], "Intervals"), f"{study.name}: {data['verdict']}"]
    return Report(named(study), data, shown, said, document=partial(_document, again, study, data, shown))


def how_right(study: MechanismsStudy, data: Record) -> Columns:
    """How right predictions are: every source, and the groups of it that criteria name."""
    found = {(row["source"], row["group"]): row for row in data["groups"]}
    level = data["interval"]["level"]
    return columns([
        {"measured": _named(source.title, group), **_cells(found[key, group], level)}
        for key, source in study.sources.items()
        for group in study.shown(key)
    ])  # fmt: skip


def by_group(study: MechanismsStudy, data: Record, by: str) -> Columns:
    """How right predictions are in each group of a kind."""
    level = data["interval"]["level"]
    return columns([
        {"measured": study.sources[row["source"]].title, "group": row["group"], **_cells(row, level)}
        for row in data["groups"]
        if row["by"] == by
    ])  # fmt: skip


def mechanisms(study: MechanismsStudy, data: Record, rows: Sequence[str]) -> Columns:
    """Rows of the table of mechanisms: errors of what the tables of each source show."""
    found = {(row["mechanisms"], row["source"], row["group"]): row for row in data["mechanisms"]}
    head = {(key, group): _short(key, group) for key in study.sources for group in study.shown(key)}
    cells = {name: [_errors(found[row, *of]) for row in rows] for of, name in head.items()}
    return {"mechanisms": rows, **cells}


def _but_one(study: MechanismsStudy) -> list[str]:
    return [ALL, *map(without, study.mechanisms)]


def _alone(study: MechanismsStudy) -> list[str]:
    return [NONE, *(row for row in study.rows() if row not in (NONE, *_but_one(study)))]


def _document(again: str, study: MechanismsStudy, data: Record, shown: Sequence[Sheet]) -> Iterator[Block]:
    """Status, how right, by group, mechanisms, criteria, and where the numbers are from."""
    passed = sum(c["passed"] for c in data["criteria"])
    yield f"# {study.title}"
    yield (
        f"**Status:** {data['verdict'].capitalize()}  \n"
        f"**Resolution:** {passed} of {len(data['criteria'])} accept criteria pass  \n"
        f"**Source of the hypothesis:** {study.source}"
    )
    yield from ("## Hypothesis", f"> {one_line(study.hypothesis)}")
    right, *others, judgement = shown
    yield from (right, interval_in_words(data["interval"], "Intervals"))
    yield from _figures(study, data)
    for by in dict.fromkeys(row["by"] for row in data["groups"] if row["by"] != ALL):
        yield Sheet(f"By {by}", by_group(study, data, by))
    yield from (*others, judgement)
    yield from _files(data)
    yield from (*differences(study.differences), *reproducing(again))


def _figures(study: MechanismsStudy, data: Record) -> Iterator[Block]:
    import pandas as pd  # slow to load, as are figures

    from jaxroof.mechanisms.plots import plot_left_out, plot_predictions

    titles = {key: source.title for key, source in study.sources.items()}
    rows = pd.DataFrame(data["rows"])
    yield Figure("itl", "Predicted and measured ITL", study.title, plot_predictions, (rows, titles), (8, 8.4))
    change = left_out(study, data)
    yield Figure("mechanisms", "Mechanisms left out", study.title, plot_left_out, (pd.DataFrame(change),), (11, 8))


def left_out(study: MechanismsStudy, data: Record) -> Mapping[str, Mapping[str, float]]:
    """By how much leaving a mechanism out raises the MAPE [pp], by group, then by mechanism."""
    mape = {(row["mechanisms"], row["source"], row["group"]): row["itl_mape_pct"] for row in data["mechanisms"]}
    return {
        _short(key, group): {name: mape[without(name), key, group] - mape[ALL, key, group] for name in study.mechanisms}
        for key in study.sources
        for group in study.shown(key)
    }


def _files(data: Record) -> Iterator[Block]:
    for name in ("rows", "groups", "mechanisms"):
        yield File(f"{name}.csv", columns(data[name]))


def _cells(row: Mapping[str, Any], level: float) -> dict[str, Any]:
    """Points, batches, errors [%], and what intervals say of them."""
    ends = dict.fromkeys(f"{row[end]:.0f}" for end in ("batch_min", "batch_max"))
    return {
        "points": row["points"],
        "batch": " to ".join(ends),
        "ITL MAPE [%]": row["itl_mape_pct"],
        "mean signed error [%]": _signed(row["itl_signed_pct"]),
        "worst [%]": row["itl_worst_pct"],
        f"in the {level / PERCENT:.0f} % interval [%]": row["inside_pct"],
        "MAPE beyond it [%]": row["itl_beyond_interval_mape_pct"],
    }


def _named(title: str, group: str) -> str:
    return title if group == ALL else f"{title}: {group}"


def _short(source: str, group: str) -> str:
    return source if group == ALL else f"{source}: {group}"


def _errors(row: Mapping[str, Any]) -> str:
    return f"{row['itl_mape_pct']:.1f} ({_signed(row['itl_signed_pct'])})"


def _signed(value: float) -> str:
    return f"{value:+z.1f}".replace("-", "−")
