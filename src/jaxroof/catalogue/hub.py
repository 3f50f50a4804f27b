"""Where the Hugging Face hub's client keeps what it has downloaded; nothing is downloaded here."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from jaxroof.files import InputError, check

_REPOSITORY = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)


def is_repository(name: str) -> bool:
    """Whether ``name`` is of the form ``organisation/name`` and no path that exists."""
    no_file = Path(name).suffix not in (".json", ".toml")
    return no_file and _REPOSITORY.fullmatch(name) is not None and not os.path.exists(name)


def cached_config(name: str, catalogue: Iterable[str]) -> Path:
    """The ``config.json`` of a repository's ``main`` in the local cache.

    A miss says how to get it, and which of the ``catalogue`` has the nearest name. Raises InputError.
    """
    hub = _cache()
    repository = hub / f"models--{name.replace('/', '--')}"
    try:
        revision = (repository / "refs/main").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        revision = ""
    path = repository / "snapshots" / revision / "config.json"
    if revision and path.is_file():
        return path
    # All of them: sampling, and often the precision, stand in files of their own.
    way = f"`hf download {name} --include '*config.json'` gets it, or give its folder"
    near = check.suggestion(name.split("/")[1], catalogue)
    raise InputError(name, f"No such file or directory, nor is it in {hub}; {way}{near}")


def _cache() -> Path:
    """HF_HUB_CACHE, HF_HOME/hub, or ~/.cache/huggingface/hub, as the client finds it."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    return Path(os.path.expanduser(os.environ.get("HF_HUB_CACHE") or Path(home, "hub")))
