"""What a sweep kept, as JSON, tables, CSVs and PNGs."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from jaxroof.report.figures import Figure
from jaxroof.report.folder import SWEEP
from jaxroof.report.report import Block, File, Report, Sheet, sheets
from jaxroof.report.tables import records
from jaxroof.sweeps.plan import Plan
from jaxroof.sweeps.reductions import Pareto
from jaxroof.sweeps.space import Grid, rows
from jaxroof.sweeps.stream import States, infeasible

# A terminal shows no more rows of a front.
SHOWN = 40
# States that are points.
POINTS = ("best", "pareto")


def sweep_report(plan: Plan, states: States, manifest: Mapping[str, Any]) -> Report:
    """What is shown and written of what was kept; results.json says by its ``manifest`` of which sweep."""
    by, tables = plan.objective.metrics[plan.by], {}
    if "best" in states:
        tables[f"least {by}"] = points(plan, states["best"])
    if "pareto" in states:
        front = points(plan, states["pareto"])
        tables[f"Pareto front, {len(front)} points"] = front.head(SHOWN)
    tables |= {f"least {by} at each {keys}": table for keys, table in marginals(plan, states).items()}
    shown = sheets({title: _readable(plan, table) for title, table in tables.items()})
    document = partial(_document, plan, states, shown)
    return Report(SWEEP, record(plan, states), shown, document=document, beside={"sweep": manifest}, digits=4)


def _document(plan: Plan, states: States, shown: Sequence[Sheet]) -> Iterator[Block]:
    """What was swept, and what was kept of it."""
    from jaxroof.sweeps.plots import plot_marginal, plot_pareto  # slow to load

    said = {key.replace("_", " "): f"{x:g}" if isinstance(x, float) else x for key, x in plan.settled.items()}
    heading = f"{plan.space.size} points: " + ", ".join(f"{k} {x}" for k, x in said.items())
    names = plan.objective.metrics
    yield from (f"# A sweep of {plan.space.size} points", "; ".join(f"**{k}:** `{x}`" for k, x in said.items()))
    yield from shown
    kept = {name: points(plan, states[name]) for name in POINTS if name in states}
    yield from (File(f"{name}.csv", table) for name, table in kept.items())
    for keys, table in marginals(plan, states).items():
        name = f"marginal_{keys.replace(',', '+')}"
        yield File(f"{name}.csv", table)
        yield Figure(name, name, heading, plot_marginal, (table, names[plan.by]))
    front = plan.reductions.get("pareto")
    if isinstance(front, Pareto):
        wanted = [names[i] for i in front.objectives]
        yield Figure("pareto", "Pareto front", heading, plot_pareto, (kept["pareto"], wanted))


def points(plan: Plan, state: Mapping[str, Any]) -> pd.DataFrame:
    """Points with their numbers, the values of what varies, and their metrics."""
    values = _named(plan, rows(plan.space, state["numbers"]))
    metrics = dict(zip(plan.objective.metrics, state["metrics"], strict=True))
    return pd.DataFrame({"point": state["numbers"]} | values | metrics)


def marginals(plan: Plan, states: States) -> dict[str, pd.DataFrame]:
    """Per axis, by its keys: the least metric at each value, the others at their best."""
    tables = {}
    for name, least in states.get("marginals", {}).items():
        assert isinstance(plan.space, Grid)
        columns = dict(plan.space.axes[int(name.removeprefix("axis"))].columns)
        metric = {plan.objective.metrics[plan.by]: np.where(np.isinf(least), np.nan, least)}
        tables[",".join(columns)] = pd.DataFrame(_named(plan, columns) | metric)
    return tables


def record(plan: Plan, states: States) -> dict[str, Any]:
    """The JSON object of a sweep; what is no number is null."""
    data: dict[str, Any] = {
        "points": plan.space.size,
        "infeasible": infeasible(states),
        "by": plan.objective.metrics[plan.by],
    }
    data |= {name: records(points(plan, states[name])) for name in POINTS if name in states}
    if axes := marginals(plan, states):
        data["marginals"] = {keys: records(table) for keys, table in axes.items()}
    return data


def _readable(plan: Plan, table: pd.DataFrame) -> pd.DataFrame:
    """Counts, and values of what varies, as one writes them."""
    written = [c for c in table.columns if c not in plan.objective.metrics or c == "gpus"]
    numbers = [c for c in written if c != "point" and pd.api.types.is_numeric_dtype(table[c])]
    return table.assign(**{c: table[c].map("{:.10g}".format) for c in numbers})


def _named(plan: Plan, values: Mapping[str, Any]) -> dict[str, Any]:
    """Names for codes."""
    labels = plan.space.labels
    return {key: np.array(labels[key], dtype=object)[v] if key in labels else v for key, v in values.items()}
