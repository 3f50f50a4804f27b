"""The record of ``jaxroof sensitivity`` as DataFrames: what the terminal shows, and what the CSVs hold."""

import math
from collections.abc import Mapping

import pandas as pd

from jaxroof.report.labels import LEAST
from jaxroof.report.tables import number
from jaxroof.sensitivity.record import Record

# Beyond this many groups a column is headed by its group's number.
NAMED_GROUPS = 5
SIDES = ("left_pp_per_unit", "right_pp_per_unit")


def tables(data: Record, metric: str) -> dict[str, pd.DataFrame]:
    """Every table of the terminal by title, cells as text."""
    name, heads = metric.upper(), _heads(data)
    errors = [
        {"group": g if heads[g] == g else f"{heads[g]} = {g}", "N": len(data["groups"][g]), "MAPE [%]": x["mape_pct"]}
        for g, x in data["metrics"][metric]["groups"].items()
    ]
    shown = {
        f"{name} error as it stands ({data['step_model']}, {data['scoring']} scoring)": errors,
        f"What moves {name} MAPE: dMAPE/dθ [pp per unit], d MAPE / d log θ [pp] of each group, MAPE [%] 10 % away":
            _moving(data, metric, heads),
        f"Terms at zero, their slopes of {name} MAPE above it [pp per unit, pp per 1 % of mean latency]":
            _asked(data, metric),
        "Which side of each max binds, experiments": _binding(data),
        "95 % half-interval of each constant by TTFT and TPOT [%], if it alone is free, and if all are":
            _intervals(data["identifiability"]),
    }  # fmt: skip
    return {title: pd.DataFrame(rows) for title, rows in shown.items() if rows}


def _heads(data: Record) -> dict[str, str]:
    """Group → heading of its column."""
    named = len(data["groups"]) <= NAMED_GROUPS + 1
    return {name: name if named or name == "all" else f"[{i}]" for i, name in enumerate(data["groups"], 1)}


def _moving(data: Record, metric: str, heads: Mapping[str, str]) -> list[Record]:
    """Constants above zero, the largest elasticity over all first: the larger of both sides, 0 at a jump."""
    found, values = data["metrics"][metric], data["constants"]
    overall, swings = found["groups"]["all"]["constants"], found["swings"]
    return [
        {
            "constant": key, "value": number(values[key]), "dMAPE/dθ": _cell(overall[key], 1.0),
            **{heads[g]: _cell(group["constants"][key], values[key]) for g, group in found["groups"].items()},
            "at −10 %": number(swings[key]["lower_mape_pct"]), "at +10 %": number(swings[key]["higher_mape_pct"]),
            "APE if raised": f"{len(overall[key]['up'])}↑ {len(overall[key]['down'])}↓",
            "note": found["notes"][key] or "",
        }
        for key in sorted(swings, key=lambda k: -max(abs((overall[k][side] or 0.0) * values[k]) for side in SIDES))
    ]  # fmt: skip


def _asked(data: Record, metric: str) -> list[Record]:
    """Terms at zero, the most asked for first: their slopes above zero, over all experiments."""
    per_pct, overall = "pp_per_pct_of_latency", data["metrics"][metric]["groups"]["all"]["constants"]
    asked = {key: row for key, row in overall.items() if row.get(per_pct) is not None}
    return [
        {"term": key, "dMAPE/dθ": number(row["right_pp_per_unit"]), "per 1 % of latency": number(row[per_pct]),
         "the data": _answer(row["right_pp_per_unit"])}
        for key, row in sorted(asked.items(), key=lambda item: item[1][per_pct])
    ]  # fmt: skip


def _answer(slope: float) -> str:
    return "asks for it" if slope < 0 else "against it" if slope > 0 else "does not say"


def _binding(data: Record) -> list[Record]:
    return [
        {"phase": row["phase"], "part": row["part"], "memory": row["memory"], "compute": row["compute"],
         "floor [%]": row["floor_pct"], "compute / memory closest to 1": number(row["closest_compute_per_memory"], 4)}
        for row in data["binding"]
    ]  # fmt: skip


def _intervals(told: Record) -> list[Record]:
    """If a constant alone is free, and if all are; "–" where the experiments do not tell."""
    alone, together = told["alone_half_interval_pct"], told["together_half_interval_pct"]
    keys = sorted(told["constants"], key=lambda key: math.inf if alone[key] is None else alone[key])
    return [{"constant": key, "alone": _share(alone[key]), "all at once": _share(together[key])} for key in keys]


def csvs(data: Record) -> dict[str, pd.DataFrame]:
    """Long tables by file name: one row per metric, group and constant; and per metric, experiment and constant."""
    values = data["constants"]
    gradients = [
        {"metric": metric, "group": group, "constant": key, "value": values[key]}
        | {name: " ".join(x) if isinstance(x, list) else x for name, x in row.items()}
        | {"note": record["notes"][key]}
        for metric, record in data["metrics"].items()
        for group, part in record["groups"].items()
        for key, row in part["constants"].items()
    ]
    log_slopes = [
        {"metric": metric, "experiment": name, "constant": key, "dlog_latency_per_dlog_constant": slope}
        for metric, record in data["metrics"].items()
        for key, row in record["log_slopes"].items()
        for name, slope in row.items()
    ]
    return {"sensitivity": pd.DataFrame(gradients), "log_slopes": pd.DataFrame(log_slopes)}


def swings(data: Record, metric: str) -> pd.DataFrame:
    """MAPE with each constant 10 % lower and higher."""
    rows = [{"constant": key, **row} for key, row in data["metrics"][metric]["swings"].items()]
    return pd.DataFrame(rows, columns=["constant", "lower_mape_pct", "higher_mape_pct"])


def slopes(data: Record, metric: str) -> pd.DataFrame:
    """d log(latency) / d log θ, experiments × constants above zero that matter anywhere."""
    names = [e["name"] for e in data["experiments"]]
    wide = pd.DataFrame(data["metrics"][metric]["log_slopes"], index=names, dtype=float)
    return wide.loc[:, ~(abs(wide) < LEAST).all()]


def _cell(row: Record, value: float) -> str:
    """A gradient times ``value``; at a kink both sides, at a jump neither."""
    sides = [number(row[side] * value) for side in SIDES if row[side] is not None]
    return " | ".join(dict.fromkeys(sides)) or "–"


def _share(pct: float | None) -> str:
    return "> 1000" if pct is not None and pct > 1000 else number(pct)
