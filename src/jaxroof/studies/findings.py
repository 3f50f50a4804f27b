"""What a study shows, and the text of its FINDINGS.md."""

from collections.abc import Mapping, Sequence

from jaxroof.experiments.ground_truth import GroundTruth
from jaxroof.experiments.scores import SPLITS
from jaxroof.report.document import bullets, differences, document, headed, one_line, reproducing
from jaxroof.report.tables import Table, columns
from jaxroof.studies import tables
from jaxroof.studies.ranking import Runs, evidence, ranking
from jaxroof.studies.run import Result
from jaxroof.studies.spec import Collection
from jaxroof.units import PERCENT


def findings(name: str, results: Sequence[Result], truth: GroundTruth) -> str:
    """FINDINGS.md: status, hypothesis, criteria, results, where ours and the published differ and why."""
    study, first = results[0].study, results[0]
    passed = sum(outcome.passed for outcome in first.outcomes)
    lines = [
        f"- `{c.name}`: `{c.step_model}`, overheads `{c.overheads}`, {_settings(c.settings)}"
        for c in study.configurations
    ]
    if start := study.search:
        keys = ", ".join(f"`{key}`" for key in start.keys)
        lines.append(
            f"- `{start.name}`: `{start.step_model}`, overheads `{start.overheads}`, {_settings(start.settings)}, "
            f"then the best common value of {keys} on the {start.split} split"
        )
    if grid := study.grid:
        ranges = "; ".join(f"{free.name} {free.start:g} to {free.stop:g} µs in {free.step:g}" for free in grid.free)
        lines.append(
            f"- `{grid.name}`: `{grid.step_model}`, overheads `{grid.overheads}`, then the least "
            f"{grid.metric.upper()} MAPE on the {grid.split} split over the product of {ranges}"
        )
    return document(
        f"# {study.title}",
        f"**Status:** {first.verdict.capitalize()}  \n"
        f"**Resolution:** {passed} of {len(first.outcomes)} accept criteria pass  \n"
        f"**Step model:** `{study.step_model}`, **hardware:** `{study.hardware}`, **scoring:** `{first.scoring}`  \n"
        f"**Evaluations:** {first.runs}, deterministic  \n"
        f"**Source of the hypothesis:** {study.source}",
        "## Hypothesis",
        f"> {one_line(study.hypothesis)}",
        "## Experiment design",
        "\n".join(lines),
        *(block for result in results for block in _result_blocks(result, truth)),
        *differences(study.differences),
        *reproducing(f"jaxroof study {name} --out out/{name}"),
    )


def _result_blocks(result: Result, truth: GroundTruth) -> list[str]:
    shown = {"search": result.curve, "grid": result.surface, "waterfall": result.waterfall}
    images = {"tpot_errors": "TPOT errors"} | {name: name.capitalize() for name, content in shown.items() if content}
    return [
        f"## Results: `{result.study.step_model}` step time, `{result.scoring}` scoring",
        f"Verdict: **{result.verdict}**. {optimum(result)}",
        *headed(study_tables(result, truth), "###"),
        _worst(result, truth),
        *(f"![{title}]({name}_{result.label}.png)" for name, title in images.items()),
    ]


def collection_tables(runs: Runs) -> dict[str, Table]:
    """The evidence and the full ranking of a collection."""
    return {
        "Re-ranked by evidence: TPOT MAPE on test at the train optimum, ITL against ITL [%]": columns(evidence(runs)),
        "All formulas, best on test first within a step model and scoring [%]": columns(ranking(runs)),
    }


def collection_findings(spec: Collection, runs: Runs) -> str:
    """FINDINGS.md of a collection: what was expected, what the evidence says, and where each member's findings are."""
    lines = []
    for name, (results, _) in runs.items():
        verdicts = ", ".join(f"{r.study.step_model}/{r.scoring}: {r.verdict}" for r in results)
        hypothesis = one_line(results[0].study.hypothesis)
        lines.append(f"[`{name}`]({name}/FINDINGS.md): **{results[0].verdict}**. {hypothesis} ({verdicts})")
    pairs = [(r.study.step_model, r.scoring) for r in next(iter(runs.values()))[0]]
    return document(
        f"# {spec.title}",
        f"**Source of the hypotheses:** {spec.source}",
        "## Verdicts",
        bullets(lines),
        *headed(collection_tables(runs)),
        "\n".join(f"![Ranking](ranking_{step_model}_{scoring}.png)" for step_model, scoring in pairs),
        *reproducing(f"jaxroof study {spec.name} --out out/{spec.name}"),
    )


def optimum(result: Result) -> str:
    """Where a search ended, and its loss there; empty without one."""
    if result.curve:
        curve = result.curve
        return (
            f"Coarse optimum {curve.coarse_optimum:g} µs ({curve.coarse_loss.min() / PERCENT:.1f} % where searched), "
            f"fine optimum {curve.optimum:g} µs ({curve.fine_loss.min() / PERCENT:.1f} %)."
        )
    if result.surface:
        surface = result.surface
        return f"Optimum of {surface.points} points: {surface.text()} ({surface.loss / PERCENT:.1f} % where searched)."
    return ""


def study_tables(result: Result, truth: GroundTruth) -> dict[str, Table]:
    """Every table of a study by title, in order."""
    models = list(dict.fromkeys(e.model for e in truth.experiments))
    degrees = [f"tp{tp}" for tp in sorted({e.tp for e in truth.experiments})]
    shown: dict[str, Table] = {"Accept criteria": tables.criteria(result)}
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


def _worst(result: Result, truth: GroundTruth) -> str:
    name = list(result.errors)[-1]
    errors = result.errors[name]["tpot_ape_pct"]
    return f"Worst experiment under `{name}`: {truth.experiments[errors.argmax()].name}, {errors.max():.1f} %."


def _settings(settings: Mapping[str, float]) -> str:
    return ", ".join(f"`{key} = {value:g}`" for key, value in settings.items()) or "nothing else set"
