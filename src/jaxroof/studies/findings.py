"""What a study shows: its tables, its figures, and FINDINGS.md."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from jaxroof.experiments.ground_truth import GroundTruth
from jaxroof.experiments.scores import splits
from jaxroof.report.document import bullets, differences, one_line, reproducing
from jaxroof.report.figures import Figure
from jaxroof.report.report import Block, File, Report, Sheet
from jaxroof.report.tables import Columns, Table, columns
from jaxroof.studies import record, tables
from jaxroof.studies.ranking import side_by_side
from jaxroof.studies.run import Result
from jaxroof.studies.spec import Configuration, ProductGrid, Search
from jaxroof.units import PERCENT


def study_report(again: str, results: Sequence[Result], truth: GroundTruth) -> Report:
    """A study on each of its step models, under each scoring; ``again`` is the command that makes it."""
    parts = [_result_report(result, truth) for result in results]
    found = side_by_side(results, truth) if len(results) > 1 else []
    shown = [Sheet("Side by side: TPOT MAPE at each optimum [%, gap in pp]", columns(found))] if found else []
    document = partial(_document, again, results, shown, parts)
    return Report(named(results[0].study), record.study(results, truth), shown, parts=parts, document=document)


def named(spec: Any) -> str:
    """What a result of a study file is called."""
    return f"study {spec.name}"


def _document(
    again: str, results: Sequence[Result], shown: Sequence[Sheet], parts: Sequence[Report]
) -> Iterator[Block]:
    """Status, criteria, results, where ours and the published differ and why."""
    study, first = results[0].study, results[0]
    passed = sum(outcome.passed for outcome in first.outcomes)
    yield f"# {study.title}"
    yield (
        f"**Status:** {first.verdict.capitalize()}  \n"
        f"**Resolution:** {passed} of {len(first.outcomes)} accept criteria pass  \n"
        f"**Step model:** `{study.step_model}`, **hardware:** `{study.hardware}`, **scoring:** `{first.scoring}`"
        f"{f', **MFU:** {study.mfu}' if study.step_model == 'roofline' else ''}  \n"
        f"**Evaluations:** {first.evaluations}, deterministic  \n"
        f"**Source of the hypothesis:** {study.source}"
    )
    yield from ("## Hypothesis", f"> {one_line(study.hypothesis)}")
    yield from ("## Experiment design", bullets(_configuration(c) for c in study.all_configurations()))
    yield from shown
    for part in parts:
        yield from part.document()
    yield from (*differences(study.differences), *reproducing(again))


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


def _result_report(result: Result, truth: GroundTruth) -> Report:
    """One result of a study: a part of its report."""
    heading = f"{result.study.step_model} step time, {result.scoring} scoring"
    shown = _tables(result, truth).items()
    sheets = [Sheet(title, table, 3, f"{title} ({result.study.name}, {heading})") for title, table in shown]
    verdict = f"{result.study.name}, {heading}: {result.verdict}"
    sentences = [*filter(None, [optimum(result)]), verdict, ""]
    document = partial(_result_document, result, truth, sheets, f"{result.study.title} ({heading})")
    return Report(verdict, {}, sheets, sentences, document=document)


def _result_document(result: Result, truth: GroundTruth, sheets: Sequence[Sheet], heading: str) -> Iterator[Block]:
    last = list(result.errors)[-1]
    errors = result.errors[last]["tpot_ape_pct"]
    yield f"## Results: `{result.study.step_model}` step time, `{result.scoring}` scoring"
    yield f"Verdict: **{result.verdict}**. {optimum(result)}"
    yield from sheets
    yield f"Worst experiment under `{last}`: {truth.experiments[errors.argmax()].name}, {errors.max():.1f} %."
    yield from _files(result, truth, heading)


def _files(result: Result, truth: GroundTruth, heading: str) -> Iterator[Block]:
    import pandas as pd  # slow to load, as are figures

    from jaxroof.studies.plots import plot_marginals, plot_search, plot_signed_errors, plot_waterfall

    def both(name: str, table: Columns, plot: Callable[..., Any], *marked: float, image: str, alt: str) -> list[Block]:
        frame = pd.DataFrame(table)
        figure = Figure(f"{image}_{result.label}", alt, heading, plot, (frame, *marked))
        return [File(f"{name}_{result.label}.csv", frame), figure]

    groups = tables.by_group(result, truth, result.groups)  # errors in percent, as a table's title says and a CSV's not
    headed = {name if name in ("group", "N", "configuration") else f"{name} [%]": x for name, x in groups.items()}
    yield File(f"groups_{result.label}.csv", headed)
    predicted = tables.predictions(result, truth)
    yield from both("predictions", predicted, plot_signed_errors, image="tpot_errors", alt="TPOT errors")
    if curve := result.curve:
        found = tables.search_curve(curve, result, truth.published)
        yield from both("search", found, plot_search, curve.optimum, image="search", alt="Search")
    if result.surface:
        yield from both("grid", tables.marginals(result.surface), plot_marginals, image="grid", alt="Grid")
    if result.waterfall:
        yield from both("waterfall", tables.waterfall(result), plot_waterfall, image="waterfall", alt="Waterfall")


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


def _tables(result: Result, truth: GroundTruth) -> dict[str, Table]:
    """Every table of a study by title, in order."""
    shown: dict[str, Table] = {"Accept criteria": tables.criteria(result.outcomes)}
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
