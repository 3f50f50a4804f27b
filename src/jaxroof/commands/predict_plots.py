"""The figure of ``predict``."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from jaxroof.report.labels import words
from jaxroof.report.plots import name_rows

# What a part is bound by → its colour, in words.
BOUNDS = {
    "memory": ("C0", "memory"), "compute": ("C1", "compute"), "floor": ("C2", "launch floor"), "host": ("0.4", "host"),
    "": ("0.75", None),
}  # fmt: skip
# Parts of less than this share [%] are shown as one.
SMALL_PCT = 1.5


def plot_breakdown(breakdowns: Mapping[str, Sequence[Mapping[str, Any]]], *, ax: Axes) -> list[Axes]:
    """A panel per latency, in place of ``ax``: a bar per part, slowest first, in the colour of what binds it."""
    shown, whole, figure = {name: rows for name, rows in breakdowns.items() if rows}, ax.get_subplotspec(), ax.figure
    assert whole is not None
    assert figure is not None
    ax.remove()
    places = whole.subgridspec(1, len(shown))
    return [_panel(name, rows, figure.add_subplot(places[0, i])) for i, (name, rows) in enumerate(shown.items())]


def _panel(name: str, rows: Sequence[Mapping[str, Any]], ax: Axes) -> Axes:
    large = [row for row in rows if row["share_pct"] >= SMALL_PCT]
    small = rows[len(large) :]
    if small:
        sums = {key: sum(row[key] for row in small) for key in ("ms", "share_pct")}
        large.append({"part": f"{len(small)} others", "bound": "", **sums})
    for bound, (colour, label) in BOUNDS.items():
        bars = {place: row for place, row in enumerate(large) if row["bound"] == bound}
        if bars:
            ax.barh(list(bars), [row["ms"] for row in bars.values()], color=colour, label=label)
    said = [f"{row['ms']:.3g} ms, {row['share_pct']:.0f} %" for row in large]
    name_rows([words(row["part"]) for row in large], [row["ms"] for row in large], said, ax=ax)
    ax.set(xlabel="time [ms]", title=f"{name}: {sum(row['ms'] for row in rows):.4g} ms")
    ax.margins(x=0.35)
    ax.legend(title="bound by", loc="lower right")
    return ax
