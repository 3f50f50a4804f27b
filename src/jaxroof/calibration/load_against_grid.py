"""Files that pit gradient against grid on the searches of other studies."""

import dataclasses
from collections.abc import Sequence

from jaxroof.files import InputError, check
from jaxroof.studies.collection import read_listing
from jaxroof.studies.load import load_study
from jaxroof.studies.spec import Study

TEXTS = ("name", "title", "source", "hypothesis", "differences")


@dataclasses.dataclass(frozen=True)
class ComparisonSpec:
    """What is compared, and what is expected, fixed before it runs."""

    name: str
    title: str
    source: str
    hypothesis: str
    differences: str
    problems: Sequence[Study]


def load_comparison(name: str) -> ComparisonSpec | None:
    """A TOML file with ``problems``, studies with a search; None if the file is another kind. Raises InputError."""
    if (listing := read_listing(name, "problems", TEXTS)) is None:
        return None
    path, table, names = listing
    problems = [load_study(problem) for problem in names]
    check.no_repeats(path, "problems", [study.name for study in problems])
    for study in problems:
        if study.search is None and study.grid is None:
            raise InputError(path, "problems", f"{study.name} searches nothing")
        if study.grid and study.grid.metric != "tpot":
            raise InputError(path, "problems", f"{study.name} does not search the TPOT")
    return ComparisonSpec(**{key: check.text_at(path, table, key) for key in TEXTS}, problems=problems)
