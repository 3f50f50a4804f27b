"""A collection of studies, run together and ranked."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxroof.catalogue.names import catalogue, find
from jaxroof.files import InputError, check, read_toml

TEXTS = ("name", "title", "source")
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
    if (listing := read_listing(name, "members", TEXTS)) is None:
        return None
    path, table, members = listing
    for member in members:
        check.one_of(path, "members", member, catalogue("studies"))
        if not set(_configurations(member)) >= RANKED:
            raise InputError(
                path, "members", f"{member} is no study with the configurations {', '.join(sorted(RANKED))}"
            )
    return Collection(**{key: check.text_at(path, table, key) for key in TEXTS}, members=members)


def read_listing(name: str, key: str, texts: Sequence[str]) -> tuple[Path, dict[str, Any], list[str]] | None:
    """The path and table of a file of ``texts`` and studies under ``key``, and those; None if it has no ``key``."""
    path = find("studies", name)
    table = read_toml(path)
    if key not in table:
        return None
    check.unknown_key(path, table, [*texts, key])
    studies = check.list_at(path, table, key)
    check.no_repeats(path, key, studies)
    if not studies:
        raise InputError(path, key, "names no study")
    return path, table, studies


def _configurations(member: str) -> list[str]:
    """The configurations of a study's file, none if it is a collection itself."""
    table = read_toml(find("studies", member))
    searched = [table[key]["configuration"] for key in ("search", "grid") if key in table]
    return [c["name"] for c in table.get("configurations", [])] + searched
