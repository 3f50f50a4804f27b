"""Where results leave the program: terminal tables, FINDINGS.md, CSV, JSON and PNG files."""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jaxroof import tables
from jaxroof.errors import InputError
from jaxroof.findings import findings, formatted, optimum, study_tables
from jaxroof.ground_truth import GroundTruth
from jaxroof.study import Result


def print_table(table: pd.DataFrame, title: str, digits: int = 1) -> None:
    """A table on stdout: rich on a terminal, plain when piped."""
    text = formatted(table, digits)
    if not sys.stdout.isatty():
        sys.stdout.write(f"{title}\n{text.to_string(index=False)}\n\n")
        return
    rich = Table(title=title, title_justify="left")
    for column in text.columns:
        rich.add_column(escape(column), no_wrap=True)
    for row in text.itertuples(index=False):
        rich.add_row(*map(escape, row))
    console = Console()
    # Too narrow for the table: let the terminal wrap its lines rather than cut its cells.
    console.width = max(console.width, console.measure(rich).maximum)
    console.print(rich, soft_wrap=True)


def print_study(result: Result, truth: GroundTruth) -> None:
    """Every table of a study, and its verdict."""
    for title, table in study_tables(result, truth).items():
        print_table(table, f"{title} ({result.study.name}, {result.scoring} scoring)")
    if result.curve:
        sys.stdout.write(f"{optimum(result)}\n")
    sys.stdout.write(f"{result.study.name}, {result.scoring} scoring: {result.verdict}\n\n")


def dump(data: Any) -> str:
    """JSON text, the same bytes for the same data. Raises InputError where a result is no number."""
    try:
        return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    except ValueError:
        raise InputError("result", "a latency is not finite; a constant is too extreme") from None


def check_writable(folder: Path) -> None:
    """Make ``folder`` if need be; raise InputError where files cannot be put there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder):
            pass
    except OSError as error:
        raise InputError(folder, "--out", f"cannot be written: {error.strerror}") from None


def write_study(folder: Path, results: Sequence[Result], data: dict[str, Any], truth: GroundTruth) -> None:
    """FINDINGS.md, results.json, CSVs and PNGs into ``folder``, each in one move once all are complete."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        draft = Path(name)
        for result in results:
            _write_result(draft, result, truth)
        (draft / "results.json").write_text(dump(data), encoding="utf-8")
        (draft / "FINDINGS.md").write_text(findings(results, truth), encoding="utf-8")
        made = sorted(draft.iterdir())
        if taken := next((path.name for path in made if (folder / path.name).is_dir()), None):
            raise InputError(folder / taken, "is a folder, so no file of that name can be written")
        for path in made:
            os.replace(path, folder / path.name)


def _write_result(folder: Path, result: Result, truth: GroundTruth) -> None:
    from jaxroof import plots

    predictions = tables.predictions(result, truth)
    predictions.to_csv(folder / f"predictions_{result.scoring}.csv", index=False)
    tables.by_group(result, truth, list(result.groups)).to_csv(folder / f"groups_{result.scoring}.csv", index=False)
    figures: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
        "tpot_errors": (plots.plot_signed_errors, (predictions,))
    }
    if result.curve:
        curve = tables.search_curve(result, truth.published)
        curve.to_csv(folder / f"search_{result.scoring}.csv", index=False)
        figures["search"] = (plots.plot_search, (curve, result.curve.optimum))
    if result.waterfall:
        waterfall = tables.waterfall(result)
        waterfall.to_csv(folder / f"waterfall_{result.scoring}.csv", index=False)
        figures["waterfall"] = (plots.plot_waterfall, (waterfall,))
    for name, (plot, data) in figures.items():
        _save_figure(folder / f"{name}_{result.scoring}.png", _heading(result), plot, *data)


def write_breakdown(path: Path, heading: str, parts: dict[str, pd.DataFrame]) -> None:
    """The stacked bars of a prediction, a PNG that appears when it is complete. Raises InputError."""
    from jaxroof import plots

    check_writable(path.parent)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        _save_figure(Path(folder) / "figure.png", heading, plots.plot_breakdown, parts)
        try:
            os.replace(Path(folder) / "figure.png", path)
        except OSError as error:
            raise InputError(path, f"cannot be written: {error.strerror}") from None


def _save_figure(path: Path, heading: str, plot: Callable[..., Any], *data: Any) -> None:
    """One figure as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    plot(*data, ax=figure.subplots())
    figure.suptitle(heading)
    figure.savefig(path, dpi=120)


def _heading(result: Result) -> str:
    return f"{result.study.title} ({result.study.step_model} step time, {result.scoring} scoring)"
