"""The files of a study or a collection, and what it shows."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jaxroof.catalogue.names import beside
from jaxroof.experiments.ground_truth import GroundTruth
from jaxroof.files import check_writable
from jaxroof.report import report
from jaxroof.report.figures import figure
from jaxroof.report.folder import write_files
from jaxroof.report.tables import Columns
from jaxroof.studies import tables
from jaxroof.studies.findings import collection_findings, collection_tables, findings, optimum, study_tables
from jaxroof.studies.ranking import MemberResults, ranking
from jaxroof.studies.run import Result
from jaxroof.studies.spec import Collection


def show_study(
    out: Path | None, given: str, results: Sequence[Result], data: dict[str, Any], truth: GroundTruth, as_json: bool
) -> None:
    """A study's files into ``out``, then its tables, or its JSON, on stdout."""
    if out is not None:
        write_files(out, _study_files(given, results, data, truth))
    if as_json:
        return report.show(data, {}, [], as_json)
    for result in results:
        heading = f"{result.study.name}, {_conditions(result)}"
        titled = {f"{title} ({heading})": table for title, table in study_tables(result, truth).items()}
        report.show({}, titled, [*filter(None, [optimum(result)]), f"{heading}: {result.verdict}", ""], as_json)


def show_collection(
    out: Path | None, spec: Collection, members: MemberResults, data: dict[str, Any], as_json: bool, given: str
) -> None:
    """A collection's files into ``out`` (each member in a folder of its own), then its tables or JSON on stdout.

    ``given`` is what to call to run it again.
    """
    if out is not None:
        for name in members:
            check_writable(out / name)
        for listed, (name, (results, truth)) in zip(spec.members, members.items(), strict=True):
            write_files(out / name, _study_files(beside(Path(given), listed), results, data["members"][name], truth))
        write_files(out, _collection_files(given, spec, members, data))
    report.show(data, collection_tables(members), [], as_json)


def _study_files(given: str, results: Sequence[Result], data: dict[str, Any], truth: GroundTruth) -> dict[str, Any]:
    """The files of a study by name; ``given`` is what to call to run it again."""
    each = {name: file for result in results for name, file in _result_files(result, truth).items()}
    return {"results.json": data, "FINDINGS.md": findings(given, results, truth)} | each


def _result_files(result: Result, truth: GroundTruth) -> dict[str, Any]:
    import pandas as pd

    from jaxroof.studies.plots import plot_marginals, plot_search, plot_signed_errors, plot_waterfall

    heading, label = f"{result.study.title} ({_conditions(result)})", result.label
    groups = tables.by_group(result, truth, result.groups)  # errors in percent, as a table's title says and a CSV's not
    headed = {name if name in ("group", "N", "configuration") else f"{name} [%]": x for name, x in groups.items()}
    files: dict[str, Any] = {f"groups_{label}.csv": headed}

    def add(name: str, table: Columns, plot: Callable[..., Any], *marked: float, image: str = "") -> None:
        files[f"{name}_{label}.csv"] = frame = pd.DataFrame(table)
        files[f"{image or name}_{label}.png"] = figure(heading, plot, frame, *marked)

    add("predictions", tables.predictions(result, truth), plot_signed_errors, image="tpot_errors")
    if curve := result.curve:
        add("search", tables.search_curve(curve, result, truth.published), plot_search, curve.optimum)
    if result.surface:
        add("grid", tables.marginals(result.surface), plot_marginals)
    if result.waterfall:
        add("waterfall", tables.waterfall(result), plot_waterfall)
    return files


def _collection_files(given: str, spec: Collection, members: MemberResults, data: dict[str, Any]) -> dict[str, Any]:
    import pandas as pd

    from jaxroof.studies.plots import plot_ranking

    table = pd.DataFrame(ranking(members))
    files = {"results.json": data, "FINDINGS.md": collection_findings(given, spec, members), "ranking.csv": table}
    for (step_model, scoring), rows in table.groupby(["step_model", "scoring"]):
        heading = f"{spec.title} ({step_model} step time, {scoring} scoring)"
        files[f"ranking_{step_model}_{scoring}.png"] = figure(heading, plot_ranking, rows)
    return files


def _conditions(result: Result) -> str:
    return f"{result.study.step_model} step time, {result.scoring} scoring"
