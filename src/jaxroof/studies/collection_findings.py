"""What a collection of studies shows: a ranking by evidence, and each member's report in a folder of its own."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from jaxroof.report.document import bullets, one_line
from jaxroof.report.figures import Figure
from jaxroof.report.report import Block, File, Report, Sheet
from jaxroof.report.tables import columns
from jaxroof.studies.findings import again, named, study_report
from jaxroof.studies.ranking import MemberResults, evidence, ranking
from jaxroof.studies.spec import Collection


def collection_report(given: str, spec: Collection, found: MemberResults, each: Sequence[str]) -> Report:
    """Studies and how they rank; ``given``, and ``each`` of a member, is what to call to run them again."""
    sheets = [
        Sheet("Re-ranked by evidence: TPOT MAPE on test at the train optimum, ITL against ITL [%]",
              columns(evidence(found))),
        Sheet("All formulas, best on test first within a step model and scoring [%]", columns(ranking(found))),
    ]  # fmt: skip
    members = {
        name: study_report(member, results, truth)
        for member, (name, (results, truth)) in zip(each, found.items(), strict=True)
    }
    data: Mapping[str, Any] = {
        "study": spec.name, "ranking": ranking(found), "evidence": evidence(found),
        "members": {name: member.record for name, member in members.items()},
    }  # fmt: skip
    document = partial(_document, given, spec, found, sheets)
    return Report(named(spec), data, sheets, document=document, members=members)


def _document(given: str, spec: Collection, found: MemberResults, sheets: list[Sheet]) -> Iterator[Block]:
    """What was expected, what the evidence says, where each member's findings are."""
    lines = []
    for name, (results, _) in found.items():
        verdicts = ", ".join(f"{r.study.step_model}/{r.scoring}: {r.verdict}" for r in results)
        hypothesis = one_line(results[0].study.hypothesis)
        lines.append(f"[`{name}`]({name}/FINDINGS.md): **{results[0].verdict}**. {hypothesis} ({verdicts})")
    yield from (f"# {spec.title}", f"**Source of the hypotheses:** {spec.source}", "## Verdicts", bullets(lines))
    yield from (*sheets, *_files(spec, found), *again(given, spec.name))


def _files(spec: Collection, found: MemberResults) -> Iterator[Block]:
    import pandas as pd  # slow to load, as are figures

    from jaxroof.studies.plots import plot_ranking

    table = pd.DataFrame(ranking(found))
    yield File("ranking.csv", table)
    results, _ = next(iter(found.values()))
    for step_model, scoring in dict.fromkeys((r.study.step_model, r.scoring) for r in results):
        heading = f"{spec.title} ({step_model} step time, {scoring} scoring)"
        rows = table[(table["step_model"] == step_model) & (table["scoring"] == scoring)]
        yield Figure(f"ranking_{step_model}_{scoring}", "Ranking", heading, plot_ranking, (rows,))
