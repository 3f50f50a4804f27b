"""``jaxroof calibrate``: its tables, what it says in words, FINDINGS.md, the formula file and the figure."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from jaxroof.calibration.fit import Calibration
from jaxroof.calibration.formula_file import formula_toml
from jaxroof.calibration.record import Record
from jaxroof.parameters import replace
from jaxroof.report import report
from jaxroof.report.figures import save_figure
from jaxroof.report.tables import markdown
from jaxroof.step import Model

FORMULA = "overheads.toml"


def tables(data: Record) -> dict[str, pd.DataFrame]:
    """Title → table, in order."""
    metric = data["metric"].upper()
    return {
        "Calibrated constants, 95 % Laplace interval": constants_table(data),
        f"{metric} MAPE, fitted on train": folds_table(data),
        "HG1's guard": pd.DataFrame(data["criteria"]).replace({True: "pass", False: "fail"}),
    }


def constants_table(data: Record) -> pd.DataFrame:
    """One row per free constant, values in the unit of its key."""

    def note(constant: Record) -> str:
        return "at its bound" if constant["at_bound"] else "" if constant["identified"] else "not identified"

    return pd.DataFrame(
        [
            {"constant": c["name"], "start": _number(c["start"]), "value": _number(c["value"]),
             "low": _number(c["interval_low"]), "high": _number(c["interval_high"]), "note": note(c)}
            for c in data["free"]
        ]
    )  # fmt: skip


def folds_table(data: Record) -> pd.DataFrame:
    """MAPE before, after, and with each family left out, the constants found beside it."""
    start, found = ({c["name"]: c[key] for c in data["free"]} for key in ("start", "value"))
    rows = [
        {"fold": "train, before", "constants": start, **data["before"]},
        {"fold": "train", "constants": found, **data["after"]},
        *data["left_out"],
    ]
    return pd.DataFrame([row | {name: _number(x) for name, x in row["constants"].items()} for row in rows]).drop(
        columns="constants"
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.5g}"


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
    if known["not_identified"]:
        lines.append(
            "Not identified, the experiments see a combination or nothing of: "
            + ", ".join(known["not_identified"])
            + "."
        )
    for pair in known["trade_offs"]:
        a, b = pair["constants"]
        lines.append(f"{a} and {b} trade off at {pair['correlation']:.2f}.")
    return lines


def formula(data: Record, fit: Calibration, model: Model) -> str | None:
    """The calibrated overheads as a formula file with their provenance; None where no overhead was free."""
    keys = [key for free in fit.free for key in free.keys if key.startswith("overheads.")]
    if not keys:
        return None
    source = provenance(data)
    sources = {key.removeprefix("overheads."): "set on the command line" for key in data["set"]}
    sources |= {key.removeprefix("overheads."): source for key in keys}
    overheads = replace(model, fit.settings()).constants.overheads
    return formula_toml(
        f"{called(data).capitalize()} on {data['train_experiments']} experiments",
        overheads,
        sources,
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
    if data["calibrated"]:
        return "calibrated"
    return f"fitted by force, not calibrated ({len(data['free'])} free constants)"


def fill(folder: Path, data: Record, formula_text: str | None, again: str) -> None:
    """FINDINGS.md, results.json, CSVs, the formula file and the correlation matrix."""
    from jaxroof.calibration import plots

    names: Mapping[str, Callable[[Record], pd.DataFrame]] = {"constants": constants_table, "folds": folds_table}
    for name, table in names.items():
        table(data).to_csv(folder / f"{name}.csv", index=False)
    (folder / "results.json").write_text(report.dump(data), encoding="utf-8")
    if formula_text is not None:
        (folder / FORMULA).write_text(formula_text, encoding="utf-8")
    image = len(data["identifiability"]["constants"]) > 1
    if image:
        heading = f"What {data['train_experiments']} experiments tell about the constants"
        known: Any = data["identifiability"]
        save_figure(folder / "correlation.png", heading, plots.plot_correlation, known)
    (folder / "FINDINGS.md").write_text(_findings(data, again, image), encoding="utf-8")


def _findings(data: Record, again: str, image: bool) -> str:
    lines = [
        "# Calibration", "", f"{provenance(data)}.", "",
        *(f"- {line}" for line in sentences(data)),
    ]  # fmt: skip
    for title, table in tables(data).items():
        lines += ["", f"## {title}", "", markdown(table)]
    if image:
        lines += ["", "![Correlation](correlation.png)"]
    return "\n".join([*lines, "", "## Evaluating with these constants", "", "```bash", again, "```", ""])
