"""A collection of studies, run together and ranked."""

import dataclasses
from collections.abc import Sequence

from jaxroof.inputs import files
from jaxroof.inputs.configs import catalogue, find
from jaxroof.inputs.errors import InputError

# What a ranking compares.
RANKED = {"h2b", "none", "optimum"}


@dataclasses.dataclass(frozen=True)
class Collection:
    """Studies by name, in an order of expectation that the evidence may overturn."""

    name: str
    title: str
    source: str
    members: Sequence[str]


def load_collection(name: str) -> Collection | None:
    """A TOML file with ``members``; None if the file is a single study. Raises InputError."""
    path = find("studies", name)
    table = files.read_toml(path)
    if "members" not in table:
        return None
    files.unknown_key(path, table, ["name", "title", "source", "members"])
    members = files.list_at(path, table, "members")
    files.no_repeats(path, "members", members)
    if not members:
        raise InputError(path, "members", "names no study")
    for member in members:
        files.one_of(path, "members", member, catalogue("studies"))
        if not set(_configurations(member)) >= RANKED:
            raise InputError(
                path, "members", f"{member} is no study with the configurations {', '.join(sorted(RANKED))}"
            )
    text = {key: files.text_at(path, table, key) for key in ("name", "title", "source")}
    return Collection(**text, members=members)


def _configurations(member: str) -> list[str]:
    """The configurations of a study's file, none if it is a collection itself."""
    table = files.read_toml(find("studies", member))
    searched = [table[key]["configuration"] for key in ("search", "grid") if key in table]
    return [c["name"] for c in table.get("configurations", [])] + searched
