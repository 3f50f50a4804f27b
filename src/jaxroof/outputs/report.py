"""Where results leave the program: terminal tables, FINDINGS.md, CSV, JSON and PNG files."""

import functools
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jaxroof.inputs.collections import Collection
from jaxroof.inputs.errors import InputError
from jaxroof.inputs.ground_truth import GroundTruth
from jaxroof.outputs import tables
from jaxroof.outputs.findings import collection_findings, collection_tables, findings, formatted, optimum, study_tables
from jaxroof.outputs.ranking import Runs, ranking
from jaxroof.study import Result


def print_table(table: pd.DataFrame, title: str, digits: int = 1) -> None:
    """A table on stdout: plain when piped; on a terminal framed, cut by columns into tables that fit its width."""
    text = formatted(table, digits)
    if not sys.stdout.isatty():
        sys.stdout.write(f"{title}\n{text.to_string(index=False)}\n\n")
        return
    console, numbers = Console(), set(table.select_dtypes("number").columns)
    console.print(Text(title, style="table.title"))
    for part in _beside(text, console.width):
        rich = Table()
        for column in text.columns[part]:
            rich.add_column(Text(column), overflow="fold", justify="right" if column in numbers else "left")
        for row in text.iloc[:, part].itertuples(index=False):
            rich.add_row(*map(Text, row))
        console.print(rich)


def _beside(text: pd.DataFrame, width: int) -> Iterator[list[int]]:
    """Columns of each table that ``width`` holds: the first one, then the next ones that fit, at least one."""
    rooms = [3 + max(map(cell_len, [name, *cells])) for name, cells in text.items()]  # padding and a border
    part: list[int] = []
    for index, room in enumerate(rooms):
        if len(part) > 1 and 1 + room + sum(rooms[i] for i in part) > width:
            yield part
            part = [0]
        part.append(index)
    yield part


def show(
    data: Mapping[str, Any], tables: Mapping[str, pd.DataFrame], lines: Sequence[str], as_json: bool, digits: int = 1
) -> None:
    """Tables by title, then lines of text; or their JSON object, on stdout."""
    if as_json:
        sys.stdout.write(dump(data))
        return
    for title, table in tables.items():
        print_table(table, title, digits)
    sys.stdout.writelines(f"{line}\n" for line in lines)


def note(lines: Iterable[str]) -> None:
    """What a number does not say of itself, on stderr."""
    sys.stderr.writelines(f"jaxroof: note: {line}\n" for line in lines)


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


def dump(data: Any) -> str:
    """JSON text, the same bytes for the same data. Raises InputError where a result is no number."""
    try:
        return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    except ValueError:
        raise InputError("result", "a latency is not finite; a constant is too extreme") from None


def check_writable(folder: Path, option: str = "--out") -> None:
    """Make ``folder`` if need be; raise InputError where files cannot be put there, as ``option`` asks."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder):
            pass
    except OSError as error:
        raise InputError(folder, option, f"cannot be written: {error.strerror}") from None


def write_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """What ``fill`` puts into a draft folder, moved into ``folder`` file by file once all is complete."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        draft = Path(name)
        fill(draft)
        made = sorted(draft.iterdir())
        if taken := next((path.name for path in made if (folder / path.name).is_dir()), None):
            raise InputError(folder / taken, "is a folder, so no file of that name can be written")
        for path in made:
            os.replace(path, folder / path.name)


def fill_study(folder: Path, name: str, results: Sequence[Result], data: dict[str, Any], truth: GroundTruth) -> None:
    """FINDINGS.md, results.json, CSVs and PNGs of a study; ``name`` is what to call to run it again."""
    for result in results:
        _fill_result(folder, result, truth)
    (folder / "results.json").write_text(dump(data), encoding="utf-8")
    (folder / "FINDINGS.md").write_text(findings(name, results, truth), encoding="utf-8")


def _fill_result(folder: Path, result: Result, truth: GroundTruth) -> None:
    from jaxroof.outputs import plots

    frames = {
        "predictions": tables.predictions(result, truth),
        "groups": tables.by_group(result, truth, list(result.groups)),
    }
    figures: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
        "tpot_errors": (plots.plot_signed_errors, (frames["predictions"],))
    }
    if result.curve:
        frames["search"] = tables.search_curve(result, truth.published)
        figures["search"] = (plots.plot_search, (frames["search"], result.curve.optimum))
    if result.surface:
        frames["grid"] = tables.marginals(result)
        figures["grid"] = (plots.plot_marginals, (frames["grid"],))
    if result.waterfall:
        frames["waterfall"] = tables.waterfall(result)
        figures["waterfall"] = (plots.plot_waterfall, (frames["waterfall"],))
    for name, frame in frames.items():
        frame.to_csv(folder / f"{name}_{result.label}.csv", index=False)
    for name, (plot, data) in figures.items():
        save_figure(folder / f"{name}_{result.label}.png", f"{result.study.title} ({_conditions(result)})", plot, *data)


def _fill_collection(folder: Path, spec: Collection, runs: Runs, data: dict[str, Any]) -> None:
    from jaxroof.outputs import plots

    table = ranking(runs)
    table.to_csv(folder / "ranking.csv", index=False)
    (folder / "results.json").write_text(dump(data), encoding="utf-8")
    (folder / "FINDINGS.md").write_text(collection_findings(spec, runs), encoding="utf-8")
    for (step_model, scoring), rows in table.groupby(["step_model", "scoring"]):
        heading = f"{spec.title} ({step_model} step time, {scoring} scoring)"
        save_figure(folder / f"ranking_{step_model}_{scoring}.png", heading, plots.plot_ranking, rows)


def write_breakdown(path: Path, heading: str, parts: dict[str, pd.DataFrame]) -> None:
    """The stacked bars of a prediction, a PNG that appears when it is complete. Raises InputError."""
    from jaxroof.outputs import plots

    if path.suffix != ".png":
        raise InputError(path, "--plot", "must end in .png")
    check_writable(path.parent, "--plot")
    write_folder(path.parent, lambda draft: save_figure(draft / path.name, heading, plots.plot_breakdown, parts))


def save_figure(
    path: Path, heading: str, plot: Callable[..., Any], *data: Any, size: tuple[float, float] = (9, 6)
) -> None:
    """One figure of ``size`` [inches] as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    plot(*data, ax=figure.subplots())
    figure.suptitle(heading)
    figure.savefig(path, dpi=120)


def _conditions(result: Result) -> str:
    return f"{result.study.step_model} step time, {result.scoring} scoring"
