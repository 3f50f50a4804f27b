"""A study of gradient against grid: its JSON object, tables, FINDINGS.md and figures."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from jaxroof.calibration.against_grid import Comparison, GradientAgainstGrid
from jaxroof.report.document import differences, one_line, reproducing
from jaxroof.report.figures import Figure
from jaxroof.report.report import Block, Report, Sheet, sheets
from jaxroof.report.tables import Table
from jaxroof.studies.findings import named
from jaxroof.studies.spec import ComparisonSpec
from jaxroof.studies.tables import judged
from jaxroof.units import PERCENT

Record = dict[str, Any]


def comparison_report(again: str, spec: ComparisonSpec, result: GradientAgainstGrid) -> Report:
    """What grid and descent found; ``again`` is the command that makes it."""
    data = record(spec.name, result)
    shown = sheets(tables(data))
    sentences = [f"{spec.name}: {data['verdict']}"]
    document = partial(_document, again, spec, result, shown)
    return Report(named(spec), data, shown, sentences, document=document, digits=3)


def record(name: str, result: GradientAgainstGrid) -> Record:
    """The JSON object; seconds are this machine's, all else is the same on every run."""
    return {
        "study": name,
        "verdict": result.verdict,
        "criteria": [{"name": criterion, "passed": passed} for criterion, passed in result.criteria.items()],
        "problems": {problem: _problem(c) for problem, c in result.comparisons.items()},
    }


def _problem(c: Comparison) -> Record:
    evaluations = c.evaluations()
    reached = np.isfinite(evaluations)
    return {
        "step_model": c.model.step, "scoring": c.study.scoring,
        "constants": [f.name for f in c.free],
        "grid_us": c.grid_values.tolist(), "descent_us": c.descent.values.tolist(),
        "steps_apart": c.steps_apart().tolist(),
        "grid_mape_pct": c.grid_loss / PERCENT, "descent_mape_pct": c.descent_loss / PERCENT,
        "grid_points": c.grid_points, "starts": len(evaluations),
        "starts_as_good_as_grid": int(reached.sum()),
        "evaluations_median": float(np.median(evaluations[reached])) if reached.any() else None,
        "evaluations_all_starts": int(c.descent.path.evaluations.sum()),
        "grid_seconds": c.grid_seconds, "descent_seconds": c.descent_seconds,
    }  # fmt: skip


def tables(data: Record) -> dict[str, Table]:
    """Title → table."""
    problems = pd.DataFrame(data["problems"].values()).assign(problem=[*data["problems"]])
    names = {"constants": "constant", "steps_apart": "grid_steps_apart"}
    lists = ["constants", "grid_us", "descent_us", "steps_apart"]
    optima = problems[["problem", *lists]].explode(lists, ignore_index=True).infer_objects()
    costs = problems[[
        "problem", "grid_mape_pct", "descent_mape_pct", "grid_points", "evaluations_median", "starts_as_good_as_grid",
        "starts", "evaluations_all_starts", "grid_seconds", "descent_seconds",
    ]]  # fmt: skip
    return {
        "Optima of grid and descent": optima.rename(columns=names),
        "Train MAPE and cost; evaluations of one start until it is as good as the grid's best": costs,
        "Criteria": judged(data["criteria"]),
    }


def _document(again: str, spec: ComparisonSpec, result: GradientAgainstGrid, shown: list[Sheet]) -> Iterator[Block]:
    from jaxroof.calibration.against_grid_plots import plot_curve, plot_landscape  # slow to load

    yield f"# {spec.title}"
    yield f"**Status:** {result.verdict.capitalize()}  \n**Source of the problems:** {spec.source}"
    yield from ("## Hypothesis", f"> {one_line(spec.hypothesis)}")
    yield from shown
    for name, c in result.comparisons.items():
        heading = f"{spec.title} ({c.model.step} step time, {c.study.scoring} scoring)"
        yield Figure(f"landscape_{name}", name, heading, plot_curve if len(c.free) == 1 else plot_landscape, (c,))
    yield from (*differences(spec.differences), *reproducing(again))
