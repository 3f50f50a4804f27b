"""Where results leave the program: terminal tables, FINDINGS.md, CSV, JSON and PNG files."""

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from jaxroof import tables
from jaxroof.errors import InputError
from jaxroof.ground_truth import GroundTruth
from jaxroof.study import Result

SPLITS = ("train", "test", "all")


def print_table(table: pd.DataFrame, title: str) -> None:
    """A table on stdout: rich on a terminal, plain when piped."""
    text = _formatted(table)
    if not sys.stdout.isatty():
        sys.stdout.write(f"{title}\n{text.to_string(index=False)}\n\n")
        return
    rich = Table(*text.columns, title=title, title_justify="left")
    for row in text.itertuples(index=False):
        rich.add_row(*row)
    Console().print(rich)


def print_study(result: Result, truth: GroundTruth) -> None:
    """Every table of a study, and its verdict."""
    for title, table in _study_tables(result, truth).items():
        print_table(table, f"{title} ({result.study.name}, {result.scoring} scoring)")
    sys.stdout.write(f"{result.study.name}, {result.scoring} scoring: {result.verdict}\n\n")


def dump(data: Any) -> str:
    """JSON text, the same bytes for the same data; NaN is not JSON and raises."""
    return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


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
    check_writable(folder)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        draft = Path(name)
        for result in results:
            _write_result(draft, result, truth)
        (draft / "results.json").write_text(dump(data), encoding="utf-8")
        (draft / "FINDINGS.md").write_text(findings(results, truth), encoding="utf-8")
        for path in sorted(draft.iterdir()):
            os.replace(path, folder / path.name)


def _write_result(folder: Path, result: Result, truth: GroundTruth) -> None:
    from matplotlib.figure import Figure

    from jaxroof import plots

    predictions = tables.predictions(result, truth)
    predictions.to_csv(folder / f"predictions_{result.scoring}.csv", index=False)
    tables.by_group(result, truth, list(result.groups)).to_csv(folder / f"groups_{result.scoring}.csv", index=False)
    figure = Figure(figsize=(9, 6), layout="constrained")
    plots.plot_signed_errors(predictions, ax=figure.subplots())
    figure.suptitle(_heading(result))
    figure.savefig(folder / f"tpot_errors_{result.scoring}.png", dpi=120)
    if result.curve:
        curve = tables.search_curve(result, truth.published)
        curve.to_csv(folder / f"search_{result.scoring}.csv", index=False)
        figure = Figure(figsize=(7, 4.5), layout="constrained")
        plots.plot_search(curve, result.curve.optimum, ax=figure.subplots())
        figure.suptitle(_heading(result))
        figure.savefig(folder / f"search_{result.scoring}.png", dpi=120)


def findings(results: Sequence[Result], truth: GroundTruth) -> str:
    """FINDINGS.md: status, hypothesis, criteria, results, where ours and the published differ and why."""
    study, first = results[0].study, results[0]
    passed = sum(outcome.passed for outcome in first.outcomes)
    lines = [
        f"# {study.title}",
        "",
        f"**Status:** {first.verdict.capitalize()}  ",
        f"**Resolution:** {passed} of {len(first.outcomes)} accept criteria pass  ",
        f"**Step model:** `{study.step_model}`, **hardware:** `{study.hardware}`, **scoring:** `{first.scoring}`  ",
        f"**Evaluations:** {first.runs}, deterministic  ",
        f"**Source of the hypothesis:** {study.source}",
        "",
        "## Hypothesis",
        "",
        f"> {' '.join(study.hypothesis.split())}",
        "",
        "## Experiment design",
        "",
        *(f"- `{c.name}`: overheads `{c.overheads}`, {_settings(c.settings)}" for c in study.configurations),
    ]
    if study.search:
        keys = ", ".join(f"`{key}`" for key in study.search.keys)
        lines.append(
            f"- `{study.search.configuration.name}`: the best common value of {keys} on the {study.search.split} split"
        )
    for result in results:
        lines += [
            "",
            f"## Results, `{result.scoring}` scoring",
            "",
            f"Verdict under this scoring: **{result.verdict}**.",
        ]
        for title, table in _study_tables(result, truth).items():
            lines += ["", f"### {title}", "", markdown(table)]
        lines += ["", _worst(result, truth)]
        lines += ["", f"![TPOT errors](tpot_errors_{result.scoring}.png)"]
        if result.curve:
            lines += ["", f"![Grid search](search_{result.scoring}.png)"]
    lines += ["", "## Where ours and the published differ, and why", "", " ".join(study.differences.split()), ""]
    lines += ["## Reproducing", "", "```bash", f"jaxroof study {study.name} --out out/{study.name}", "```", ""]
    return "\n".join(lines)


def markdown(table: pd.DataFrame) -> str:
    """A DataFrame as a Markdown table, numbers to one decimal."""
    text = _formatted(table)
    rows = [list(text.columns), ["---"] * len(text.columns), *text.to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(str(cell).replace('|', '∣') for cell in row)} |" for row in rows)


def _study_tables(result: Result, truth: GroundTruth) -> dict[str, pd.DataFrame]:
    """What a study shows, in order."""
    models = list(dict.fromkeys(e.model for e in truth.experiments))
    shown = {"Accept criteria": tables.criteria(result)}
    if result.curve:
        shown["Search"] = tables.search_curve(result, truth.published)
    return shown | {
        "TPOT error per experiment [%, change in pp]": tables.by_experiment(result, truth),
        "MAPE per split [%]": tables.by_group(result, truth, [name for name in SPLITS if name in result.groups]),
        "MAPE per family [%]": tables.by_group(result, truth, models),
    }


def _worst(result: Result, truth: GroundTruth) -> str:
    name = list(result.errors)[-1]
    errors = result.errors[name]["tpot_ape_pct"]
    return f"Worst experiment under `{name}`: {truth.experiments[errors.argmax()].name}, {errors.max():.1f} %."


def _heading(result: Result) -> str:
    return f"{result.study.title} ({result.study.step_model} step time, {result.scoring} scoring)"


def _settings(settings: Any) -> str:
    return ", ".join(f"`{key} = {value:g}`" for key, value in settings.items()) or "nothing else set"


def _formatted(table: pd.DataFrame) -> pd.DataFrame:
    return table.map(lambda x: ("–" if pd.isna(x) else f"{x:.1f}") if isinstance(x, float) else str(x))
