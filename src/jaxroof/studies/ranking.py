"""A collection's members ranked by what they achieve."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from jaxroof.experiments.ground_truth import GroundTruth
from jaxroof.experiments.scores import aggregate
from jaxroof.studies.run import Result

Runs = Mapping[str, tuple[Sequence[Result], GroundTruth]]


def ranking(runs: Runs) -> pd.DataFrame:
    """One row per member, step model, scoring and configuration, best on test first within a model and scoring."""
    rows = [
        {"idea": member, **_row(result, truth, configuration)}
        for member, (results, truth) in runs.items()
        for result in results
        for configuration in result.errors
        if configuration not in ("none", "h2b") or member == next(iter(runs))
    ]
    table = pd.DataFrame(rows)
    baseline = table["configuration"].isin(("none", "h2b"))
    table.loc[baseline, "idea"] = "–"
    return table.sort_values(["step_model", "scoring", "test"], ascending=[False, False, True], ignore_index=True)


def evidence(runs: Runs) -> pd.DataFrame:
    """Members by test MAPE of their optimum under ITL on the study's own step model, beside the expected order."""
    table = ranking(runs)
    first = next(iter(runs.values()))[0][0].study.step_model
    best = table[(table["step_model"] == first) & (table["scoring"] == "itl") & (table["configuration"] == "optimum")]
    best = best.assign(expected=[list(runs).index(idea) + 1 for idea in best["idea"]], evidence=range(1, len(best) + 1))
    best = best.assign(verdict=[runs[idea][0][0].verdict for idea in best["idea"]])
    return best[["evidence", "expected", "idea", "verdict", "constants", "train", "test", "gap", "worst"]]


def _row(result: Result, truth: GroundTruth, configuration: str) -> dict[str, object]:
    splits = {
        split: aggregate({configuration: result.errors[configuration]}, result.groups[split])[configuration]
        for split in ("train", "test")
    }
    train, test = (splits[split]["tpot_mape_pct"] for split in ("train", "test"))
    errors = result.errors[configuration]["tpot_ape_pct"]
    optimum = result.surface if configuration == "optimum" else None
    return {
        "step_model": result.study.step_model,
        "scoring": result.scoring,
        "configuration": configuration,
        "free": len(optimum.free) if optimum else 0,
        "constants": optimum.text() if optimum else "–",
        "train": train,
        "test": test,
        "gap": test - train,
        "worst": float(errors.max()),
        "worst_experiment": truth.experiments[int(np.argmax(errors))].name,
        "verdict": result.verdict if optimum else "–",
    }
