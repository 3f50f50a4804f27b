"""What a study shows, and the text of its FINDINGS.md."""

from collections.abc import Mapping, Sequence

import pandas as pd

from jaxroof import tables
from jaxroof.ground_truth import GroundTruth
from jaxroof.study import Result
from jaxroof.units import PERCENT

SPLITS = ("train", "test", "all")


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
        *(
            f"- `{c.name}`: `{c.step_model}`, overheads `{c.overheads}`, {_settings(c.settings)}"
            for c in study.configurations
        ),
    ]
    if study.search:
        start = study.search.configuration
        keys = ", ".join(f"`{key}`" for key in study.search.keys)
        lines.append(
            f"- `{start.name}`: `{start.step_model}`, overheads `{start.overheads}`, {_settings(start.settings)}, "
            f"then the best common value of {keys} on the {study.search.split} split"
        )
    for result in results:
        lines += [
            "",
            f"## Results, `{result.scoring}` scoring",
            "",
            f"Verdict under this scoring: **{result.verdict}**.",
        ]
        if result.curve:
            lines += ["", optimum(result)]
        for title, table in study_tables(result, truth).items():
            lines += ["", f"### {title}", "", markdown(table)]
        lines += ["", _worst(result, truth)]
        lines += ["", f"![TPOT errors](tpot_errors_{result.scoring}.png)"]
        if result.curve:
            lines += ["", f"![Grid search](search_{result.scoring}.png)"]
        if result.waterfall:
            lines += ["", f"![Waterfall](waterfall_{result.scoring}.png)"]
    lines += ["", "## Where ours and the published differ, and why", "", " ".join(study.differences.split()), ""]
    lines += ["## Reproducing", "", "```bash", f"jaxroof study {study.name} --out out/{study.name}", "```", ""]
    return "\n".join(lines)


def markdown(table: pd.DataFrame) -> str:
    """A DataFrame as a Markdown table, numbers to one decimal."""
    text = formatted(table)
    rows = [list(text.columns), ["---"] * len(text.columns), *text.to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(str(cell).replace('|', '∣') for cell in row)} |" for row in rows)


def optimum(result: Result) -> str:
    """Where the search ended, and its loss there."""
    assert result.curve is not None
    curve = result.curve
    return (
        f"Coarse optimum {curve.coarse_optimum:g} µs ({curve.coarse_loss.min() / PERCENT:.1f} % where searched), "
        f"fine optimum {curve.optimum:g} µs ({curve.fine_loss.min() / PERCENT:.1f} %)."
    )


def study_tables(result: Result, truth: GroundTruth) -> dict[str, pd.DataFrame]:
    """Every table of a study by title, in order."""
    models = list(dict.fromkeys(e.model for e in truth.experiments))
    degrees = [f"tp{tp}" for tp in sorted({e.tp for e in truth.experiments})]
    shown = {"Accept criteria": tables.criteria(result)}
    if result.curve:
        shown["Search"] = tables.search_curve(result, truth.published)
    shown |= {
        "TPOT error per experiment [%, change in pp]": tables.by_experiment(result, truth),
        "Signed TPOT error per experiment [%]": tables.signed(result, truth),
        "MAPE per split [%]": tables.by_group(result, truth, [name for name in SPLITS if name in result.groups]),
        "MAPE per family [%]": tables.by_group(result, truth, models),
        "MAPE per tensor-parallel degree [%]": tables.by_group(result, truth, degrees),
    }
    if result.scoring != "published":
        last = list(result.predicted)[-1]
        shown[f"Signed TTFT and E2E error under {last}, at realised and nominal tokens [%]"] = tables.requests(
            result, truth
        )
    if result.waterfall:
        shown["Waterfall of TPOT, terms switched on one at a time"] = tables.waterfall(result)
    return shown


def formatted(table: pd.DataFrame, digits: int = 1) -> pd.DataFrame:
    """Every cell as text, numbers to ``digits`` decimals."""
    return table.map(lambda x: ("–" if pd.isna(x) else f"{x:.{digits}f}") if isinstance(x, float) else str(x))


def _worst(result: Result, truth: GroundTruth) -> str:
    name = list(result.errors)[-1]
    errors = result.errors[name]["tpot_ape_pct"]
    return f"Worst experiment under `{name}`: {truth.experiments[errors.argmax()].name}, {errors.max():.1f} %."


def _settings(settings: Mapping[str, float]) -> str:
    return ", ".join(f"`{key} = {value:g}`" for key, value in settings.items()) or "nothing else set"
