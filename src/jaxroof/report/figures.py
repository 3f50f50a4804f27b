"""Figures as PNG files, in one style."""

import dataclasses
import io
from collections.abc import Callable
from textwrap import fill
from typing import Any

# Characters of a heading in the style's size that an inch holds; matplotlib's own wrapping reads "$" as a formula.
PER_INCH = 10


@dataclasses.dataclass(frozen=True)
class Figure:
    """``plot(*data, ax=axes)`` under a ``heading``, of ``size`` [inches], drawn when it is written.

    ``name`` is its file's, ``alt`` says what it shows.
    """

    name: str
    alt: str
    heading: str
    plot: Callable[..., Any]
    data: tuple[Any, ...] = ()
    size: tuple[float, float] = (9, 6)

    def png(self) -> bytes:
        """The figure's file."""
        from matplotlib import style  # slow to load
        from matplotlib.figure import Figure as Canvas

        file = io.BytesIO()
        with style.context("jaxroof.report.jaxroof", after_reset=True):  # alike whatever the user's own settings
            drawn = Canvas(figsize=self.size, layout="constrained")
            self.plot(*self.data, ax=drawn.subplots())
            drawn.suptitle("\n".join(fill(line, int(PER_INCH * self.size[0])) for line in self.heading.splitlines()))
            drawn.savefig(file)
        return file.getvalue()
