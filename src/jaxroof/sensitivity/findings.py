"""``jaxroof sensitivity``: its sentences, FINDINGS.md, files and figures."""

from collections.abc import Iterable
from typing import Any

from jaxroof.report.document import bullets, document, headed, reproducing
from jaxroof.report.figures import FigureFile, figure
from jaxroof.sensitivity.record import Record
from jaxroof.sensitivity.tables import csvs, slopes, swings, tables

# Half a 95 % interval [% of the constant] beyond which it is not known even if it alone is free.
UNKNOWN_PCT = 100


def answers(data: Record, metric: str) -> list[str]:
    """What the tables do not say: what has no effect, and what the experiments can tell about the constants."""
    idle = data["metrics"][metric]["no_effect"]
    lines = [
        f"{len(idle)} of {len(data['constants'])} constants have no effect on {metric.upper()} under the "
        f"{data['step_model']} step time."
    ]
    if not data["binding"]:
        lines.append("The memory step time is a sum: it has no max, so nothing switches sides.")
    return lines + (_told(data["identifiability"]) if data["identifiability"]["constants"] else [])


def _told(x: Record) -> list[str]:
    """The identifiability analysis in sentences."""
    count, within = len(x["constants"]), x["directions_within"]
    spread = ", ".join(f"{n} have at least {share} of its stiffness" for share, n in within.items())
    vague = [key for key, pct in x["alone_half_interval_pct"].items() if pct is None or pct > UNKNOWN_PCT]
    pairs = [f"{' and '.join(pair['constants'])} ({pair['cosine']:+.4f})" for pair in x["indistinguishable"]]
    return [
        f"The {x['residuals']} measured TTFT and TPOT (residuals of {x['residual_rms_pct']:.1f} % RMS) see "
        f"{x['directions_seen']} of the {count} directions of the {count} constants that move them; "
        f"beside the stiffest, {spread}.",
        f"Stiffest: {'; '.join(x['stiffest'])}. Sloppiest that is seen: {'; '.join(x['sloppiest_seen'])}.",
        "No experiment tells apart (cosine of their effects): " + ("; ".join(pairs) or "no pair") + ".",
        f"Not identified even if alone free (95 % interval wider than ± {UNKNOWN_PCT} %): "
        + (", ".join(vague) or "none") + ".",
        "Not identified if all are free at once: " + (", ".join(x["not_identified_together"]) or "none") + ".",
    ]  # fmt: skip


def findings(data: Record, metric: str, images: Iterable[str], reproduce: str) -> str:
    """FINDINGS.md: definitions, answers, every table and figure, and the command."""
    return document(
        f"# What moves {metric.upper()}",
        f"**Step model:** `{data['step_model']}`, **scoring:** `{data['scoring']}`, "
        f"**experiments:** {len(data['experiments'])}",
        "## Definitions",
        "- A gradient is d MAPE / dθ in percentage points per unit of the constant's key; an elasticity is "
        "d MAPE / d log θ: a hundredth of it is what 1 % more of the constant adds.\n"
        "- Derivatives are exact and taken on both sides. `kink`: they differ (left ∣ right), a prediction meets its "
        "measurement or a max switches sides. `jump`: the latency itself does. `end of range`: one side is illegal. "
        "`flat here`: no slope at its value, but 10 % more or less moves it.\n"
        "- ↑ ↓ count the experiments whose error rises and falls when the constant is raised.\n"
        "- A term at zero has only its derivative above. Per 1 % of mean latency added, terms of any unit compare.\n"
        "- Intervals are Gauss-Newton ones of log TTFT and log TPOT; they take the present residuals for noise, and a "
        "log-interval for a relative one.",
        "## Answers", bullets(answers(data, metric)),
        *headed(tables(data, metric), "###"),
        *(f"![{name}]({name}.png)" for name in images),
        *reproducing(reproduce),
    )  # fmt: skip


def files(data: Record, metric: str, reproduce: str) -> dict[str, Any]:
    """By name: FINDINGS.md, results.json, CSVs and figures; ``reproduce`` is the command that makes them."""
    figures = _figures(data, metric)
    return {
        **{f"{name}.csv": table for name, table in csvs(data).items()},
        **{f"{name}.png": drawn for name, drawn in figures.items()},
        "results.json": data, "FINDINGS.md": findings(data, metric, figures, reproduce),
    }  # fmt: skip


def _figures(data: Record, metric: str) -> dict[str, FigureFile]:
    from jaxroof.sensitivity import plots

    name, where = metric.upper(), f"({data['step_model']} step time, {data['scoring']} scoring)"
    mape_pct, wide = data["metrics"][metric]["groups"]["all"]["mape_pct"], slopes(data, metric)
    told = data["identifiability"]["eigenvalues"]
    size = (max(9.0, 5 + 0.5 * wide.shape[1]), max(6.0, 3.5 + 0.3 * len(wide)))
    tornado = (f"What moves the error {where}", plots.plot_tornado, swings(data, metric), mape_pct, name)
    heatmap = (f"Slopes of {name} {where}", plots.plot_slopes, wide, name)
    stiffness = (f"What the experiments can tell {where}", plots.plot_eigenvalues, told)
    figures = {"tornado": figure(*tornado, size=(10, 6)), "heatmap": figure(*heatmap, size=size)}
    return figures | ({"eigenvalues": figure(*stiffness)} if told else {})
