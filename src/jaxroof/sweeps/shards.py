"""``--shard I/N``: a share of a sweep, computed anywhere; ``--join``: all of them as one sweep."""

import functools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxroof.files import InputError
from jaxroof.sweeps import store, stream
from jaxroof.sweeps.plan import Plan
from jaxroof.sweeps.stream import States

# Which of how many.
Shard = tuple[int, int]
# What a shard's manifest has beside the sweep's: which it is, and the options that the sweep is made from.
SHARD, ASKED = "shard", "asked"


def parse_shard(text: str) -> Shard:
    """``2/8`` → the third of eight. Raises InputError."""
    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text, re.ASCII)
    if not match or int(match[1]) >= int(match[2]):
        raise InputError("--shard", text, "must be I/N with I from 0 to N − 1")
    return int(match[1]), int(match[2])


def name_of(shard: Shard, kept: bool) -> str:
    """The file of a shard: rows, or the states of what is kept."""
    return f"shard-{shard[0]:05}-of-{shard[1]:05}.{'npz' if kept else 'parquet'}"


def finished(folder: Path) -> tuple[list[Path], dict[str, Any], str]:
    """All shards in order, the manifest that they share, and the options. Raises InputError where one is missing."""
    shards = sorted(path for path in folder.glob("shard-*-of-*") if path.suffix in (".parquet", ".npz"))
    manifests = [store.finished_manifest(path) or {} for path in shards]
    if not shards:
        raise InputError("--join", str(folder), "no finished shard is there")
    for path, manifest in zip(shards, manifests, strict=True):
        if SHARD not in manifest or path.name != name_of(tuple(manifest[SHARD]), path.suffix == ".npz"):
            raise InputError("--join", str(path), "is damaged, or not under its name")
        if differing := store.difference(_common(manifests[0]), _common(manifest)):
            raise InputError("--join", str(path), f"is no shard of the sweep of {shards[0].name}: {differing} differs")
    there, count = {manifest[SHARD][0] for manifest in manifests}, manifests[0][SHARD][1]
    if missing := ", ".join(str(index) for index in range(count) if index not in there):
        raise InputError("--join", str(folder), f"of {count} shards some are not there or not finished: {missing}")
    whole = {key: value for key, value in manifests[0].items() if key not in (SHARD, ASKED)}
    return shards, whole, manifests[0][ASKED]


def joined(shards: Sequence[Path], plan: Plan) -> States:
    """The states of all shards as one."""
    each = (store.unpack(path.read_bytes())[1] for path in shards)
    return functools.reduce(functools.partial(stream.join, plan.reductions), each)


def _common(manifest: dict[str, Any]) -> dict[str, Any]:
    """What all shards of a sweep say."""
    return manifest | {SHARD: manifest[SHARD][1], ASKED: ""}
