"""``jaxroof calibrate``: its tables, what it says in words, FINDINGS.md, the formula file and the figure."""

from collections.abc import Iterator, Sequence
from functools import partial

import pandas as pd

from jaxroof.calibration.analysis import CalibrationResult
from jaxroof.calibration.formula_file import formula_toml
from jaxroof.calibration.record import Record
from jaxroof.parameters import replace
from jaxroof.report.document import bullets, reproducing
from jaxroof.report.figures import Figure
from jaxroof.report.report import Block, File, Report, Sheet, sheets
from jaxroof.report.tables import Table, number
from jaxroof.studies.tables import judged

NAME, FORMULA = "calibration", "overheads.toml"
NUMBERS = ("start", "value", "interval_low", "interval_high")


def tables(data: Record) -> dict[str, Table]:
    """Title → table, in order."""
    return {
        "Calibrated constants, 95 % Laplace interval": constants_table(data),
        f"{data['metric'].upper()} MAPE, fitted on train": folds_table(data),
        "HG1's guard": judged(data["criteria"]),
    }


def constants_table(data: Record) -> pd.DataFrame:
    """One row per free constant, values in the unit of its key."""
    rows = [
        {"constant": c["name"]}
        | {key.removeprefix("interval_"): number(c[key], 5) for key in NUMBERS}
        | {"note": "at its bound" if c["at_bound"] else "" if c["identified"] else "not identified"}
        for c in data["free"]
    ]
    return pd.DataFrame(rows)


def folds_table(data: Record) -> pd.DataFrame:
    """MAPE before, after, and with each family left out, the constants found beside it."""
    start, found = ({c["name"]: c[key] for c in data["free"]} for key in ("start", "value"))
    before = {"fold": "train, before", "constants": start, **data["before"]}
    rows = [before, {"fold": "train", "constants": found, **data["after"]}, *data["left_out"]]
    table = pd.DataFrame([row | {name: number(x, 5) for name, x in row["constants"].items()} for row in rows])
    return table.drop(columns="constants")


def sentences(data: Record) -> list[str]:
    """The verdict, what the experiments do not tell apart, and how the starts fared."""
    known, metric = data["identifiability"], data["metric"].upper()
    lines = [
        f"Verdict: {data['verdict']} ({called(data)}). {metric} MAPE {data['after']['train_mape_pct']:.1f} % on train, "
        f"{data['after']['test_mape_pct']:.1f} % on test, gap {data['after']['gap_pp']:.1f} pp.",
        f"{data['starts']['reached_best']} of {data['starts']['count']} starts ended at the best MAPE.",
    ]
    if known["constants"]:
        stiffest, sloppiest = known["directions"][0], known["directions"][-1]
        share = known["eigenvalues"][-1] / known["eigenvalues"][0] if known["eigenvalues"][0] else 0.0
        lines.append(f"Stiffest direction (log θ): {stiffest}; sloppiest: {sloppiest}, {share:.1e} as stiff.")
    if names := known["not_identified"]:
        lines.append(f"Not identified, the experiments see a combination or nothing of: {', '.join(names)}.")
    pairs = [(*pair["constants"], pair["correlation"]) for pair in known["trade_offs"]]
    return lines + [f"{a} and {b} trade off at {rho:.2f}." for a, b, rho in pairs]


def formula(result: CalibrationResult, data: Record) -> str | None:
    """The calibrated overheads as a formula file with their provenance; None where no overhead was free."""
    fitted, prefix = result.fit.settings(), "overheads."
    if not any(key.startswith(prefix) for key in fitted):
        return None
    sources = dict.fromkeys(data["set"], "set on the command line") | dict.fromkeys(fitted, provenance(data))
    return formula_toml(
        f"{called(data).capitalize()} on {data['train_experiments']} experiments",
        replace(result.model, fitted).constants.overheads,
        {key.removeprefix(prefix): source for key, source in sources.items() if key.startswith(prefix)},
        f"as in {data['formula']}",
    )


def provenance(data: Record) -> str:
    """Where a calibrated value comes from, in a line."""
    after, metric = data["after"], data["metric"].upper()
    return (
        f"{called(data)} on {data['train_experiments']} train experiments of {data['ground_truth']} "
        f"({data['step_model']} step time, {data['scoring']} scoring, {metric}, {data['loss']} loss): "
        f"train {after['train_mape_pct']:.1f} %, test {after['test_mape_pct']:.1f} %, verdict {data['verdict']}"
    )


def called(data: Record) -> str:
    """What the fit may call itself."""
    forced = f"fitted by force, not calibrated ({len(data['free'])} free constants)"
    return "calibrated" if data["calibrated"] else forced


def calibration_report(data: Record, formula_text: str | None, using: str, again: str) -> Report:
    """What is shown and written of a calibration; ``using`` evaluates with its constants, ``again`` finds them."""
    shown = sheets(tables(data))
    document = partial(_document, data, shown, formula_text, using, again)
    return Report(NAME, data, shown, sentences(data), document=document)


def _document(
    data: Record, shown: Sequence[Sheet], formula_text: str | None, using: str, again: str
) -> Iterator[Block]:
    from jaxroof.calibration.plots import plot_correlation  # slow to load

    yield from ("# Calibration", f"{provenance(data)}.", bullets(sentences(data)))
    yield from shown
    yield from (File("constants.csv", constants_table(data)), File("folds.csv", folds_table(data)))
    if formula_text is not None:
        yield File(FORMULA, formula_text)
    if len(data["identifiability"]["constants"]) > 1:
        heading = f"What {data['train_experiments']} experiments tell about the constants"
        yield Figure("correlation", "Correlation", heading, plot_correlation, (data["identifiability"],))
    yield from (*reproducing(using, "Evaluating with these constants"), *reproducing(again))
