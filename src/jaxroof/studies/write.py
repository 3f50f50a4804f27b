"""The files of a study or a collection, and what it shows."""

import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jaxroof.experiments.ground_truth import GroundTruth
from jaxroof.files import check_writable, write_folder
from jaxroof.report.figures import save_figure
from jaxroof.report.report import dump
from jaxroof.report.tables import print_table
from jaxroof.studies import tables
from jaxroof.studies.collection import Collection
from jaxroof.studies.findings import collection_findings, collection_tables, findings, optimum, study_tables
from jaxroof.studies.ranking import Runs, ranking
from jaxroof.studies.run import Result


def show_study(
    out: Path | None, name: str, results: Sequence[Result], data: dict[str, Any], truth: GroundTruth, as_json: bool
) -> None:
    """A study's files into ``out``, then its tables, or its JSON, on stdout."""
    if out is not None:
        write_folder(out, lambda draft: fill_study(draft, name, results, data, truth))
    if as_json:
        sys.stdout.write(dump(data))
        return
    for result in results:
        heading = f"{result.study.name}, {_conditions(result)}"
        for title, table in study_tables(result, truth).items():
            print_table(table, f"{title} ({heading})")
        if text := optimum(result):
            sys.stdout.write(f"{text}\n")
        sys.stdout.write(f"{heading}: {result.verdict}\n\n")


def show_collection(out: Path | None, spec: Collection, runs: Runs, data: dict[str, Any], as_json: bool) -> None:
    """A collection's files into ``out`` (each member in a folder of its own), then its tables or JSON on stdout."""
    if out is not None:
        for name in runs:
            check_writable(out / name)
        for name, (results, truth) in runs.items():
            member = data["members"][name]
            write_folder(
                out / name, functools.partial(fill_study, name=name, results=results, data=member, truth=truth)
            )
        write_folder(out, lambda draft: _fill_collection(draft, spec, runs, data))
    if as_json:
        sys.stdout.write(dump(data))
        return
    for title, table in collection_tables(runs).items():
        print_table(table, title)


def fill_study(folder: Path, name: str, results: Sequence[Result], data: dict[str, Any], truth: GroundTruth) -> None:
    """FINDINGS.md, results.json, CSVs and PNGs of a study; ``name`` is what to call to run it again."""
    for result in results:
        _fill_result(folder, result, truth)
    (folder / "results.json").write_text(dump(data), encoding="utf-8")
    (folder / "FINDINGS.md").write_text(findings(name, results, truth), encoding="utf-8")


def _fill_result(folder: Path, result: Result, truth: GroundTruth) -> None:
    import pandas as pd

    from jaxroof.studies.plots import plot_marginals, plot_search, plot_signed_errors, plot_waterfall

    frames = {
        "predictions": pd.DataFrame(tables.predictions(result, truth)),
        "groups": pd.DataFrame(tables.by_group(result, truth, list(result.groups))),
    }
    figures: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
        "tpot_errors": (plot_signed_errors, (frames["predictions"],))
    }
    if result.curve:
        frames["search"] = pd.DataFrame(tables.search_curve(result, truth.published))
        figures["search"] = (plot_search, (frames["search"], result.curve.optimum))
    if result.surface:
        frames["grid"] = pd.DataFrame(tables.marginals(result))
        figures["grid"] = (plot_marginals, (frames["grid"],))
    if result.waterfall:
        frames["waterfall"] = pd.DataFrame(tables.waterfall(result))
        figures["waterfall"] = (plot_waterfall, (frames["waterfall"],))
    for name, frame in frames.items():
        frame.to_csv(folder / f"{name}_{result.label}.csv", index=False)
    for name, (plot, data) in figures.items():
        save_figure(folder / f"{name}_{result.label}.png", f"{result.study.title} ({_conditions(result)})", plot, *data)


def _fill_collection(folder: Path, spec: Collection, runs: Runs, data: dict[str, Any]) -> None:
    import pandas as pd

    from jaxroof.studies.plots import plot_ranking

    table = pd.DataFrame(ranking(runs))
    table.to_csv(folder / "ranking.csv", index=False)
    (folder / "results.json").write_text(dump(data), encoding="utf-8")
    (folder / "FINDINGS.md").write_text(collection_findings(spec, runs), encoding="utf-8")
    for (step_model, scoring), rows in table.groupby(["step_model", "scoring"]):
        heading = f"{spec.title} ({step_model} step time, {scoring} scoring)"
        save_figure(folder / f"ranking_{step_model}_{scoring}.png", heading, plot_ranking, rows)


def _conditions(result: Result) -> str:
    return f"{result.study.step_model} step time, {result.scoring} scoring"
