"""What a study of mechanisms says before it runs: its file, key by key."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

from msgspec import Meta, Struct

from jaxroof.files import POSITIVE, choice, within
from jaxroof.studies.criteria import Bar
from jaxroof.studies.spec import TABLES, Registered

# Observed of a group: with all mechanisms, with all but the one whose absence lowers the error most, with none.
METRICS = ("mape_pct", "inside_pct", "harm_pp", "mape_without_all_pct")
NAMED = Meta(min_length=1, description="one or more [tables]")
ALL, NONE = "all", "none"


class Switch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one mechanism, or several at once, are without: constants, sampling, fields of a measured point.

    A constant is a number, in the unit of its file, or the key of the constant that it is a copy of.
    """

    constants: Mapping[str, float | str] = {}
    sampling: Mapping[str, float] = {}
    point: Mapping[str, float] = {}

    def settings(self, defaults: Mapping[str, float]) -> list[str]:
        """The constants as the command line takes them; a copy is of what is set, else of what ``defaults`` say."""
        values = {**defaults, **self.constants}
        found = {key: values[value] if isinstance(value, str) else value for key, value in self.constants.items()}
        return [f"{key}={value!r}" for key, value in found.items()]


class Source(Struct, frozen=True, forbid_unknown_fields=True):
    """A file of measurements: idle runs, or points of loaded servers."""

    title: str
    file: str


class GroupCriterion(Bar, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is observed of a group of a source, and what it is held to."""

    metric: Annotated[str, choice(METRICS)]
    source: str
    group: str = ALL


class MechanismsStudy(Registered, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Measurements, mechanisms, and what would count as success; ``batch_bins`` are upper ends."""

    batch_bins: Annotated[
        Sequence[Annotated[float, within(POSITIVE)]], Meta(min_length=1, description="a list of numbers")
    ]
    sources: Annotated[Mapping[str, Source], NAMED]
    criteria: Annotated[Sequence[GroupCriterion], TABLES]
    mechanisms: Annotated[Mapping[str, Switch], NAMED]

    def shown(self, source: str) -> list[str]:
        """The groups of a source that its tables show: all, and those that a criterion names."""
        return [*dict.fromkeys([ALL, *(c.group for c in self.criteria if c.source == source)])]

    def rows(self) -> dict[str, Switch]:
        """Row of the table of mechanisms → what is off in it."""
        switches = self.mechanisms
        but_one = {without(name): switch for name, switch in switches.items()}
        alone = {f"only {one}": joined(s for name, s in switches.items() if name != one) for one in switches}
        return {ALL: Switch(), **but_one, **alone, NONE: joined(switches.values())}


def without(mechanism: str) -> str:
    """The row that leaves one mechanism out."""
    return f"without {mechanism}"


def joined(switches: Iterable[Switch]) -> Switch:
    """All of ``switches`` at once."""
    parts = list(switches)
    return Switch(
        constants={key: value for switch in parts for key, value in switch.constants.items()},
        sampling={key: value for switch in parts for key, value in switch.sampling.items()},
        point={key: value for switch in parts for key, value in switch.point.items()},
    )
