"""``jaxroof sensitivity``: its sentences, FINDINGS.md, files and figures."""

from collections.abc import Iterator, Sequence
from functools import partial

from jaxroof.report.document import bullets, reproducing
from jaxroof.report.figures import Figure
from jaxroof.report.report import Block, File, Report, Sheet, sheets
from jaxroof.sensitivity.record import Record
from jaxroof.sensitivity.tables import csvs, slopes, swings, tables

# Half a 95 % interval [% of the constant] beyond which it is not known even if it alone is free.
UNKNOWN_PCT = 100
# A sentence names no more constants; results.json has all.
FIRST = 5
NAME = "sensitivity"
DEFINITIONS = """\
- A gradient is d MAPE / dθ in percentage points per unit of the constant's key; an elasticity is \
d MAPE / d log θ: a hundredth of it is what 1 % more of the constant adds.
- Derivatives are exact and taken on both sides. `kink`: they differ (left ∣ right), a prediction meets its \
measurement or a max switches sides. `jump`: the latency itself does. `end of range`: one side is illegal. \
`flat here`: no slope at its value, but 10 % more or less moves it.
- ↑ ↓ count the experiments whose error rises and falls when the constant is raised.
- A term at zero has only its derivative above. Per 1 % of mean latency added, terms of any unit compare.
- Intervals are Gauss-Newton ones of log TTFT and log TPOT; they take the present residuals for noise, and a \
log-interval for a relative one."""


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
        f"{_first(vague)}.",
        f"Not identified if all are free at once: {_first(x['not_identified_together'])}.",
    ]  # fmt: skip


def _first(names: Sequence[str]) -> str:
    """How many names, and the first ones."""
    some = [*names[:FIRST], *(["…"] if len(names) > FIRST else [])]
    return f"{len(names)} ({', '.join(some)})" if names else "none"


def sensitivity_report(data: Record, metric: str, again: str) -> Report:
    """What is shown of ``metric`` and written of all; ``again`` is the command that makes it."""
    shown = sheets(tables(data, metric), 3)
    document = partial(_document, data, metric, shown, again)
    return Report(NAME, data, shown, answers(data, metric), document=document)


def _document(data: Record, metric: str, shown: Sequence[Sheet], again: str) -> Iterator[Block]:
    """Definitions, answers, every table and figure, and the command."""
    yield f"# What moves {metric.upper()}"
    yield (
        f"**Step model:** `{data['step_model']}`, **scoring:** `{data['scoring']}`, "
        f"**experiments:** {len(data['experiments'])}"
    )
    yield from ("## Definitions", DEFINITIONS, "## Answers", bullets(answers(data, metric)))
    yield from shown
    yield from (File(f"{name}.csv", table) for name, table in csvs(data).items())
    yield from _figures(data, metric)
    yield from reproducing(again)


def _figures(data: Record, metric: str) -> Iterator[Figure]:
    from jaxroof.sensitivity import plots  # slow to load

    name, where = metric.upper(), f"({data['step_model']} step time, {data['scoring']} scoring)"
    mape_pct, wide = data["metrics"][metric]["groups"]["all"]["mape_pct"], slopes(data, metric)
    size = (max(9.0, 5 + 0.5 * wide.shape[1]), max(6.0, 3.5 + 0.3 * len(wide)))
    moved = (swings(data, metric), mape_pct, name)
    yield Figure("tornado", "tornado", f"What moves the error {where}", plots.plot_tornado, moved, (10, 6))
    yield Figure("heatmap", "heatmap", f"Slopes of {name} {where}", plots.plot_slopes, (wide, name), size)
    if told := data["identifiability"]["eigenvalues"]:
        heading = f"What the experiments can tell {where}"
        yield Figure("eigenvalues", "eigenvalues", heading, plots.plot_eigenvalues, (told,))
