"""What a study shows, and the text of its FINDINGS.md."""

import shlex
from collections.abc import Sequence

from jaxroof.experiments.ground_truth import GroundTruth
from jaxroof.experiments.scores import splits
from jaxroof.report.document import bullets, differences, document, headed, one_line, reproducing
from jaxroof.report.tables import Table, columns
from jaxroof.studies import tables
from jaxroof.studies.ranking import MemberResults, evidence, ranking
from jaxroof.studies.run import Result
from jaxroof.studies.spec import Collection, Configuration, ProductGrid, Search
from jaxroof.units import PERCENT


def findings(given: str, results: Sequence[Result], truth: GroundTruth) -> str:
    """FINDINGS.md of the study ``given``: status, criteria, results, where ours and the published differ and why."""
    study, first = results[0].study, results[0]
    passed = sum(outcome.passed for outcome in first.outcomes)
    return document(
        f"# {study.title}",
        f"**Status:** {first.verdict.capitalize()}  \n"
        f"**Resolution:** {passed} of {len(first.outcomes)} accept criteria pass  \n"
        f"**Step model:** `{study.step_model}`, **hardware:** `{study.hardware}`, **scoring:** `{first.scoring}`  \n"
        f"**Evaluations:** {first.evaluations}, deterministic  \n"
        f"**Source of the hypothesis:** {study.source}",
        "## Hypothesis",
        f"> {one_line(study.hypothesis)}",
        "## Experiment design",
        bullets(_configuration(c) for c in study.all_configurations()),
        *(block for result in results for block in _result_blocks(result, truth)),
        *differences(study.differences),
        *again(given, study.name),
    )


def again(given: str, name: str) -> list[str]:
    """The command that runs again what is ``given``, a catalogue name or a path."""
    return reproducing(shlex.join(["jaxroof", "study", given, "--out", f"out/{name}"]))


def _configuration(c: Configuration) -> str:
    """A configuration in a line, and what is searched from there."""
    line = f"`{c.name}`: `{c.step_model}`, overheads `{c.overheads}`"
    if isinstance(c, ProductGrid):
        ranges = "; ".join(f"{free.name} {free.start:g} to {free.stop:g} µs in {free.step:g}" for free in c.free)
        return f"{line}, then the least {c.metric.upper()} MAPE on the {c.split} split over the product of {ranges}"
    line += ", " + (", ".join(f"`{key} = {value:g}`" for key, value in c.settings.items()) or "nothing else set")
    if isinstance(c, Search):
        keys = ", ".join(f"`{key}`" for key in c.keys)
        line += f", then the best common value of {keys} on the {c.split} split"
    return line


def _result_blocks(result: Result, truth: GroundTruth) -> list[str]:
    shown = {"search": result.curve, "grid": result.surface, "waterfall": result.waterfall}
    images = {"tpot_errors": "TPOT errors"} | {name: name.capitalize() for name, content in shown.items() if content}
    last = list(result.errors)[-1]
    errors = result.errors[last]["tpot_ape_pct"]
    return [
        f"## Results: `{result.study.step_model}` step time, `{result.scoring}` scoring",
        f"Verdict: **{result.verdict}**. {optimum(result)}",
        *headed(study_tables(result, truth), "###"),
        f"Worst experiment under `{last}`: {truth.experiments[errors.argmax()].name}, {errors.max():.1f} %.",
        *(f"![{title}]({name}_{result.label}.png)" for name, title in images.items()),
    ]


def collection_tables(found: MemberResults) -> dict[str, Table]:
    """The evidence and the full ranking of a collection."""
    return {
        "Re-ranked by evidence: TPOT MAPE on test at the train optimum, ITL against ITL [%]": columns(evidence(found)),
        "All formulas, best on test first within a step model and scoring [%]": columns(ranking(found)),
    }


def collection_findings(given: str, spec: Collection, members: MemberResults) -> str:
    """FINDINGS.md of the collection ``given``: what was expected, what the evidence says, where each member's are."""
    lines = []
    for name, (results, _) in members.items():
        verdicts = ", ".join(f"{r.study.step_model}/{r.scoring}: {r.verdict}" for r in results)
        hypothesis = one_line(results[0].study.hypothesis)
        lines.append(f"[`{name}`]({name}/FINDINGS.md): **{results[0].verdict}**. {hypothesis} ({verdicts})")
    results, _ = next(iter(members.values()))
    return document(
        f"# {spec.title}",
        f"**Source of the hypotheses:** {spec.source}",
        "## Verdicts",
        bullets(lines),
        *headed(collection_tables(members)),
        "\n".join(f"![Ranking](ranking_{r.study.step_model}_{r.scoring}.png)" for r in results),
        *again(given, spec.name),
    )


def optimum(result: Result) -> str:
    """Where a search ended, and its loss there; empty without one."""
    if curve := result.curve:
        return (
            f"Coarse optimum {curve.coarse_optimum:g} µs ({curve.coarse_loss.min() / PERCENT:.1f} % where searched), "
            f"fine optimum {curve.optimum:g} µs ({curve.fine_loss.min() / PERCENT:.1f} %)."
        )
    if surface := result.surface:
        return f"Optimum of {surface.points} points: {surface.text()} ({surface.loss / PERCENT:.1f} % where searched)."
    return ""


def study_tables(result: Result, truth: GroundTruth) -> dict[str, Table]:
    """Every table of a study by title, in order."""
    shown: dict[str, Table] = {"Accept criteria": tables.criteria(result)}
    if result.curve:
        shown["Search"] = tables.search_curve(result.curve, result, truth.published)
    shown |= {
        "TPOT error per experiment [%, change in pp]": tables.by_experiment(result, truth),
        "Signed TPOT error per experiment [%]": tables.signed(result, truth),
        "MAPE per split [%]": tables.by_group(result, truth, splits(result.groups)),
        "MAPE per family [%]": tables.by_group(result, truth, truth.by("family")),
        "MAPE per tensor-parallel degree [%]": tables.by_group(result, truth, truth.by("tp")),
    }
    if result.scoring != "published":
        title = f"Signed TTFT and E2E error under {[*result.predicted][-1]}, at realised and nominal tokens [%]"
        shown[title] = tables.requests(result, truth)
    if result.waterfall:
        shown["Waterfall of TPOT, terms switched on one at a time"] = tables.waterfall(result)
    return shown
