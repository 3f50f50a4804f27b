"""What a collection of studies shows: a ranking by evidence, and each member's report in a folder of its own."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from jaxroof.report.document import bullets, link, one_line, reproducing
from jaxroof.report.figures import Figure
from jaxroof.report.folder import FINDINGS
from jaxroof.report.report import Block, File, Report, Sheet, sheets
from jaxroof.report.tables import columns
from jaxroof.studies.findings import named, study_report
from jaxroof.studies.ranking import MemberResults, evidence, ranking
from jaxroof.studies.spec import Collection


def collection_report(again: str, spec: Collection, found: MemberResults, each: Sequence[str]) -> Report:
    """Studies and how they rank; ``again``, and ``each`` of a member, is the command that makes them."""
    ranked, proof = ranking(found), evidence(found)
    shown = sheets({
        "Re-ranked by evidence: TPOT MAPE on test at the train optimum, ITL against ITL [%]": columns(proof),
        "All formulas, best on test first within a step model and scoring [%]": columns(ranked),
    })  # fmt: skip
    members = {
        name: study_report(member, results, truth)
        for member, (name, (results, truth)) in zip(each, found.items(), strict=True)
    }
    data: Mapping[str, Any] = {
        "study": spec.name, "ranking": ranked, "evidence": proof,
        "members": {name: member.record for name, member in members.items()},
    }  # fmt: skip
    document = partial(_document, again, spec, found, shown, ranked)
    return Report(named(spec), data, shown, document=document, members=members)


def _document(
    again: str, spec: Collection, found: MemberResults, shown: Sequence[Sheet], ranked: Sequence[Mapping[str, Any]]
) -> Iterator[Block]:
    """What was expected, what the evidence says, where each member's findings are."""
    lines = []
    for name, (results, _) in found.items():
        verdicts = ", ".join(f"{r.study.step_model}/{r.scoring}: {r.verdict}" for r in results)
        hypothesis = one_line(results[0].study.hypothesis)
        lines.append(f"[`{name}`]({link(f'{name}/{FINDINGS}')}): **{results[0].verdict}**. {hypothesis} ({verdicts})")
    yield from (f"# {spec.title}", f"**Source of the hypotheses:** {spec.source}", "## Verdicts", bullets(lines))
    yield from shown
    yield from _files(spec, ranked)
    yield from reproducing(again)


def _files(spec: Collection, ranked: Sequence[Mapping[str, Any]]) -> Iterator[Block]:
    import pandas as pd  # slow to load, as are figures

    from jaxroof.studies.plots import plot_ranking

    table = pd.DataFrame(ranked)
    yield File("ranking.csv", table)
    for (step_model, scoring), rows in table.groupby(["step_model", "scoring"], sort=False):
        heading = f"{spec.title} ({step_model} step time, {scoring} scoring)"
        yield Figure(f"ranking_{step_model}_{scoring}", "Ranking", heading, plot_ranking, (rows,))
