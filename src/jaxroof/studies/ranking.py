"""A collection's members ranked by what they achieve."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxroof.experiments.ground_truth import GroundTruth
from jaxroof.studies.run import Result

MemberResults = Mapping[str, tuple[Sequence[Result], GroundTruth]]


def ranking(members: MemberResults) -> list[dict[str, Any]]:
    """One row per member, step model, scoring and configuration, best on test first within a model and scoring."""
    rows = [
        {"idea": "–" if configuration in ("none", "h2b") else member, **_row(result, truth, configuration)}
        for member, (results, truth) in members.items()
        for result in results
        for configuration in result.errors
        if configuration not in ("none", "h2b") or member == next(iter(members))
    ]
    best = sorted(rows, key=lambda row: row["test"])
    return sorted(best, key=lambda row: (row["step_model"], row["scoring"]), reverse=True)


def side_by_side(results: Sequence[Result], truth: GroundTruth) -> list[dict[str, Any]]:
    """One row per step model and scoring of a study that searches: its verdict, and its optimum on train and test."""
    keys = ("step_model", "scoring", "verdict", "constants", "train", "test", "gap", "worst", "worst_experiment")
    searched = [(result, s.name) for result in results for s in (result.study.search, result.study.grid) if s]
    rows = (_row(result, truth, name) for result, name in searched)
    return [{key: row[key] for key in keys} for row in rows]


def evidence(members: MemberResults) -> list[dict[str, Any]]:
    """Members by test MAPE of their optimum under ITL on the study's own step model, beside the expected order."""
    own = (next(iter(members.values()))[0][0].study.step_model, "itl", "optimum")
    best = [row for row in ranking(members) if (row["step_model"], row["scoring"], row["configuration"]) == own]
    places = {idea: place for place, idea in enumerate(members, 1)}
    return [
        {"evidence": place, "expected": places[row["idea"]], "idea": row["idea"]}
        | {"verdict": members[row["idea"]][0][0].verdict}
        | {key: row[key] for key in ("constants", "train", "test", "gap", "worst")}
        for place, row in enumerate(best, 1)
    ]


def _row(result: Result, truth: GroundTruth, configuration: str) -> dict[str, Any]:
    errors = result.errors[configuration]["tpot_ape_pct"]
    train, test = (float(errors[result.groups[split]].mean()) for split in ("train", "test"))
    search, grid = result.study.search, result.study.grid
    curve = result.curve if search and search.name == configuration else None
    surface = result.surface if grid and grid.name == configuration else None
    return {
        "step_model": result.study.step_model,
        "scoring": result.scoring,
        "configuration": configuration,
        "free": len(surface.free) if surface else int(curve is not None),
        "constants": surface.text() if surface else f"{curve.optimum:g} µs" if curve else "–",
        "train": train,
        "test": test,
        "gap": test - train,
        "worst": float(errors.max()),
        "worst_experiment": truth.experiments[int(np.argmax(errors))].name,
        "verdict": result.verdict if surface or curve else "–",
    }
