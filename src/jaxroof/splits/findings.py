"""``jaxroof splits``: its tables, its answers in words, FINDINGS.md, files and figures."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import pandas as pd

from jaxroof import defaults
from jaxroof.report.document import bullets, reproducing
from jaxroof.report.figures import Figure
from jaxroof.report.labels import words
from jaxroof.report.report import Block, File, Report, Sheet
from jaxroof.splits import sampling, search
from jaxroof.splits.analysis import KINDS, SplitsResult
from jaxroof.splits.record import QUANTITIES, Record, split_rows
from jaxroof.units import PERCENT

NAME = "splits"


def tables(data: Record) -> dict[str, tuple[str, pd.DataFrame]]:
    """Title → (name of its CSV, table)."""
    shown: dict[str, tuple[str, pd.DataFrame]] = {}
    for scoring, record in data["scorings"].items():
        for title, (name, table) in _scoring_tables(record, len(data["splits"])).items():
            shown[f"{title} ({scoring} scoring)"] = (f"{name}_{scoring}", table)
    drawn = data["sampling"]
    seeds = f"{drawn['seeds']} seeds of {drawn['requests']} requests (published scoring)"
    shown[f"Deviation from the exact value, {seeds}"] = ("sampling", pd.DataFrame(drawn["experiments"]))
    shown[f"Search on the published split, {seeds}"] = ("sampling_quantiles", _quantile_table(drawn["quantiles"]))
    return shown


def _quantile_table(quantiles: Record) -> pd.DataFrame:
    rows = [{"quantity": name, **{f"{q} %": x for q, x in quantiles[name].items()}} for name in QUANTITIES]
    return pd.DataFrame(rows)


def _scoring_tables(record: Record, count: int) -> dict[str, tuple[str, pd.DataFrame]]:
    published, resampled = record["published_split"], record["bootstrap"]
    criteria = [
        {"criterion": name, "splits_pct": rate, "bootstrap_pct": resampled["criteria_pass_pct"][name],
         "published_split": "pass" if published["passed"][name] else "fail"}
        for name, rate in record["criteria_pass_pct"].items()
    ]  # fmt: skip
    constants = [{"kind": kind, **record["global_constant"][kind]} for kind in (*KINDS, "all")]
    return {
        f"Quantiles over all {count} splits": ("quantiles", _quantile_table(record["quantiles"])),
        f"Quantiles over {resampled['resamples']} bootstrap resamples": ("bootstrap", _quantile_table(resampled)),
        "How often HG1's criteria pass": ("criteria", pd.DataFrame(criteria)),
        "Gap by what is tested": ("test_set_makeup", pd.DataFrame(record["test_set_makeup"])),
        "One group left out": ("leave_out", pd.DataFrame(record["leave_out"])),
        "Each group alone": ("groups", pd.DataFrame(record["groups"]).drop(columns="curve_pct")),
        "One constant for all groups": ("global_constant", pd.DataFrame(constants)),
        "MAPE of the published split, and what rounding leaves open": ("rounding", pd.DataFrame(record["rounding"])),
    }


def answers(data: Record) -> list[str]:
    """The questions that HG1 left open, each answered in a sentence with its numbers."""
    lines = []
    for scoring, record in data["scorings"].items():
        lines.append(f"{scoring} scoring: {_split_answer(record, len(data['splits']))}")
        lines.append(f"{scoring} scoring: {_constant_answer(record['global_constant'])}")
        lines.append(f"{scoring} scoring: {_rounding_answer(record['rounding'])}")
    drawn = data["sampling"]
    optimum, rows = drawn["quantiles"]["optimum_us"], pd.DataFrame(drawn["experiments"])
    tpot, e2e = rows["tpot_std_pct"], rows["e2e_std_pct"]
    lines.append(
        f"Sampling: over {drawn['seeds']} seeds of {drawn['requests']} requests the standard deviation of an "
        f"experiment's mean TPOT is {tpot.min():.2f} to {tpot.max():.2f} %, of its mean E2E {e2e.min():.1f} to "
        f"{e2e.max():.1f} %; the optimum on the published split lies at {optimum['0']:g} to {optimum['100']:g} µs "
        f"(5 to 95 %: {optimum['5']:g} to {optimum['95']:g} µs)."
    )
    return lines


def _split_answer(record: Record, count: int) -> str:
    one, mean = record["published_split"], record["mean_gap_pp"]
    gap, optimum = record["quantiles"]["gap_pp"], record["quantiles"]["optimum_us"]
    family = record["test_set_makeup"][0]["family"]
    makeup = "; ".join(
        f"{row['tested']}{' (as published)' if row['as_published'] else ''}: {row['mean_gap_pp']:.1f} pp"
        for row in record["test_set_makeup"]
    )
    return (
        f"the published split has its optimum at {one['optimum_us']:g} µs and a gap of {one['gap_pp']:.1f} pp, which "
        f"{one['gap_percentile']:.0f} % of all {count} splits do not exceed (median {gap['50']:.1f}, 5 to 95 %: "
        f"{gap['5']:.1f} to {gap['95']:.1f} pp). At a fixed constant the gap averages 0 over all splits, so the mean "
        f"with a search, {mean:.1f} pp, is what searching costs, and the other {one['gap_pp'] - mean:.1f} pp this "
        f"split's draw. Mean gap by the number of {family} experiments tested: {makeup}. "
        f"The optimum lies at {optimum['0']:g} to {optimum['100']:g} µs; "
        f"{record['criteria_pass_pct']['all three']:.0f} % of the splits pass all three criteria."
    )


def _constant_answer(verdicts: Record) -> str:
    parts = [
        f"{kind}: {'yes' if v['exists'] else 'no'}, at best ({v['value_us']:g} µs) {v['worst_group']} is "
        f"{v['least_worst_excess_pp']:.1f} pp above its own"
        for kind, v in verdicts.items()
        if kind != "tolerance_pp"
    ]
    return f"is one constant within {verdicts['tolerance_pp']:g} pp of every group's own best MAPE? {'; '.join(parts)}."


def _rounding_answer(rows: Sequence[Record]) -> str:
    parts = [
        f"{row['group']} {row['mape_pct']:.2f} % [{row['low_pct']:.2f}, {row['high_pct']:.2f}]"
        f", with the recovered digits [{row['digits_low_pct']:.2f}, {row['digits_high_pct']:.2f}]"
        for row in rows
        if row["metric"] == "tpot" and row["at_optimum"]
    ]
    return f"what rounding leaves open of the TPOT MAPE at the optimum: {'; '.join(parts)}."


def splits_report(result: SplitsResult, data: Record, again: str) -> Report:
    """What is shown and written of all splits; ``again`` is the command that makes it."""
    shown = tables(data)
    sheets = [Sheet(title, table, 3) for title, (_, table) in shown.items()]
    csvs = [File(f"{name}.csv", table) for name, table in shown.values()]
    return Report(NAME, data, sheets, answers(data), document=partial(_document, result, data, sheets, csvs, again))


def _document(
    result: SplitsResult, data: Record, sheets: Sequence[Sheet], csvs: Sequence[File], again: str
) -> Iterator[Block]:
    """The questions, the definitions fixed beforehand, the answers, every table and figure."""
    yield "# HG1's search on every split, group and sample"
    yield (
        f"**Step model:** `{data['step_model']}`, **hardware:** `{defaults.HARDWARE}`, **scorings:** `published`, `itl`"
        '  \n**Source of the questions:** HG1 findings of the BLIS inference simulator, "Devil\'s Advocate" and '
        '"What was NOT tested"'
    )
    yield "## Questions"
    yield (
        "Is HG1's gap between test and train an artefact of its split? Can one constant serve every family, "
        "tensor-parallel degree and workload? What do drawn requests and rounded measurements move?"
    )
    yield from ("## Design", _design(result, data), "## Answers", bullets(answers(data)))
    yield from sheets
    yield from (*csvs, *_rows(result, data))
    yield from _figures(result, data)
    yield from reproducing(again)


def _design(result: SplitsResult, data: Record) -> str:
    grid = data["grid_us"]
    criteria = "; ".join(f"{c.name} {c.comparison} {c.threshold:g} {c.unit}" for c in result.study.criteria)
    return bullets([
        f"The overhead per layer, in both phases, is searched on {grid[0]:g} to {grid[-1]:g} µs "
        f"({len(grid)} values) for the least train TPOT MAPE; ties go to the smaller value.",
        f"Splits: all {len(data['splits'])} of {result.train[0].sum()} train experiments and the rest; each group "
        f"left out; {search.RESAMPLES} bootstrap resamples (seed {search.SEED}), tested on the experiments not drawn.",
        f"HG1's criteria: {criteria}.",
        f"One constant exists if some value is within {search.TOLERANCE / PERCENT:g} pp of every group's own best "
        "MAPE.",
        "Rounding: a record is known to ± 0.05 ms; an APE's interval is its range over the corners, at a fixed "
        "prediction; a MAPE's ends are the means of the APEs'. The recovered TPOT digits of `tpot_digits.csv` narrow "
        "it, and since the record stays the rounded value, its MAPE may lie outside the narrowed interval.",
    ])  # fmt: skip


def _rows(result: SplitsResult, data: Record) -> Iterator[File]:
    """All splits, and the loss curves of the groups."""
    for scoring, record in data["scorings"].items():
        rows = [row | {"train": " ".join(row["train"])} for row in split_rows(result, scoring)]
        curves = {f"{g['label']}_tpot_mape_pct": g["curve_pct"] for g in record["groups"]}
        yield File(f"splits_{scoring}.csv", pd.DataFrame(rows))
        yield File(f"curves_{scoring}.csv", pd.DataFrame({"overhead_us": data["grid_us"], **curves}))


def _figures(result: SplitsResult, data: Record) -> Iterator[Figure]:
    from jaxroof.splits import plots  # slow to load

    def drawn(name: str, heading: str, plot: Any, *shown: Any) -> Figure:
        return Figure(name, name, heading, plot, shown)

    step_us = float(result.values_us[1] - result.values_us[0])
    for scoring, found in result.searches.items():
        where = f"({result.model.step} step time, {scoring} scoring)"
        heading = f"HG1's search on all {len(result.train)} splits into train and test {where}"
        both, threshold_pp = (found.every, found.published), result.study.criteria[0].threshold
        yield drawn(f"optimum_{scoring}", heading, plots.plot_optima, *both, step_us)
        yield drawn(f"mape_{scoring}", heading, plots.plot_mapes, *both)
        yield drawn(f"gap_{scoring}", heading, plots.plot_gaps, *both, threshold_pp)
        for kind in KINDS:
            groups = [g for g in data["scorings"][scoring]["groups"] if g["kind"] == kind]
            heading = f"HG1's search on each {words(kind)} alone {where}"
            yield drawn(f"{kind}_{scoring}", heading, plots.plot_curves, data["grid_us"], groups)
    heading = f"HG1's search on {sampling.SEEDS} sampled workloads ({result.model.step} step time, published scoring)"
    seeds, published = result.sampled.searched, result.searches["published"].published
    yield drawn("sampling", heading, plots.plot_optima, seeds, published, step_us, "seeds")
