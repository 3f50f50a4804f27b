"""Figures as PNG files."""

import dataclasses
import io
from collections.abc import Callable
from typing import Any


@dataclasses.dataclass(frozen=True)
class Figure:
    """``plot(*data, ax=axes)`` under a ``heading``, of ``size`` [inches], drawn when it is written.

    ``name`` is its file's, ``alt`` says what it shows.
    """

    name: str
    alt: str
    heading: str
    plot: Callable[..., Any]
    data: tuple[Any, ...]
    size: tuple[float, float] = (9, 6)

    def png(self) -> bytes:
        """The figure's file."""
        from matplotlib.figure import Figure as Canvas  # slow to load

        drawn = Canvas(figsize=self.size, layout="constrained")
        self.plot(*self.data, ax=drawn.subplots())
        drawn.suptitle(self.heading)
        file = io.BytesIO()
        drawn.savefig(file, dpi=120)
        return file.getvalue()
