"""A study of gradient against grid: its JSON object, tables, FINDINGS.md and figures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from jaxroof.calibration.against_grid import Comparison
from jaxroof.calibration.load_against_grid import ComparisonSpec
from jaxroof.files import write_folder
from jaxroof.report import report
from jaxroof.report.figures import save_figure
from jaxroof.report.tables import markdown
from jaxroof.studies.criteria import verdict
from jaxroof.units import PERCENT

Record = dict[str, Any]
Comparisons = Mapping[str, Comparison]


def show_comparison(out: Path | None, spec: ComparisonSpec, compared: Comparisons, json: bool) -> None:
    """Its files into ``out``, then its tables, or its JSON, on stdout."""
    data = record(spec, compared)
    if out is not None:
        write_folder(out, lambda draft: _fill(draft, spec, compared, data))
    report.show(data, tables(data), [f"{spec.name}: {data['verdict']}"], json, digits=3)


def record(spec: ComparisonSpec, compared: Comparisons) -> Record:
    """The JSON object; seconds are this machine's, all else is the same on every run."""
    problems = {name: _problem(c) for name, c in compared.items()}
    criteria = [c for name, p in problems.items() for c in _criteria(name, p)]
    return {
        "study": spec.name,
        "verdict": verdict([c["passed"] for c in criteria]),
        "criteria": criteria,
        "problems": problems,
    }


def _criteria(name: str, p: Record) -> list[Record]:
    """Descent finds a loss no higher; on one constant, whose optimum a grid shows to its step, the same optimum."""
    no_higher = p["descent_mape_pct"] <= p["grid_mape_pct"]
    criteria: list[Record] = [
        {"name": f"{name}: train MAPE of descent is no higher than the grid's", "passed": no_higher}
    ]
    if len(p["constants"]) == 1:
        criteria.append({"name": f"{name}: optima within a grid step", "passed": p["steps_apart"][0] <= 1})
    return criteria


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


def tables(data: Record) -> dict[str, pd.DataFrame]:
    """Title → table."""
    optima = [
        {"problem": name, "constant": constant, "grid_us": grid, "descent_us": descent, "grid_steps_apart": apart}
        for name, p in data["problems"].items()
        for constant, grid, descent, apart in zip(
            p["constants"], p["grid_us"], p["descent_us"], p["steps_apart"], strict=True
        )
    ]
    shown = (
        "grid_mape_pct",
        "descent_mape_pct",
        "grid_points",
        "evaluations_median",
        "starts_as_good_as_grid",
        "starts",
    )
    seconds = ("evaluations_all_starts", "grid_seconds", "descent_seconds")
    costs = [{"problem": name} | {key: p[key] for key in (*shown, *seconds)} for name, p in data["problems"].items()]
    return {
        "Optima of grid and descent": pd.DataFrame(optima),
        "Train MAPE and cost; evaluations of one start until it is as good as the grid's best": pd.DataFrame(costs),
        "Criteria": pd.DataFrame(data["criteria"]).replace({True: "pass", False: "fail"}),
    }


def _fill(folder: Path, spec: ComparisonSpec, compared: Comparisons, data: Record) -> None:
    from jaxroof.calibration import against_grid_plots

    (folder / "results.json").write_text(report.dump(data), encoding="utf-8")
    for name, c in compared.items():
        heading = f"{spec.title} ({c.model.step} step time, {c.study.scoring} scoring)"
        plot = against_grid_plots.plot_curve if len(c.free) == 1 else against_grid_plots.plot_landscape
        save_figure(folder / f"landscape_{name}.png", heading, plot, c)
    (folder / "FINDINGS.md").write_text(_findings(spec, data), encoding="utf-8")


def _findings(spec: ComparisonSpec, data: Record) -> str:
    lines = [
        f"# {spec.title}", "", f"**Status:** {data['verdict'].capitalize()}  ",
        f"**Source of the problems:** {spec.source}", "",
        "## Hypothesis", "", f"> {' '.join(spec.hypothesis.split())}",
    ]  # fmt: skip
    for title, table in tables(data).items():
        lines += ["", f"## {title}", "", markdown(table, digits=3)]
    lines += [line for name in data["problems"] for line in ("", f"![{name}](landscape_{name}.png)")]
    lines += ["", "## Where ours and the published differ, and why", "", " ".join(spec.differences.split())]
    return "\n".join(
        [*lines, "", "## Reproducing", "", "```bash", f"jaxroof study {spec.name} --out out/{spec.name}", "```", ""]
    )
