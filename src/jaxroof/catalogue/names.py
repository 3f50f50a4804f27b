"""What the catalogue holds, by kind; loads no JAX."""

from pathlib import Path

from jaxroof.catalogue.hub import cached_config, is_repository
from jaxroof.files import InputError, check, data_dir

KINDS = {"models": ".json", "hardware": ".toml", "servers": ".toml", "overheads": ".toml", "studies": ".toml"}


def catalogue(kind: str) -> list[str]:
    """Names in ``configs/<kind>/``."""
    return sorted(path.stem for path in (data_dir() / "configs" / kind).glob(f"*{KINDS[kind]}"))


def find(kind: str, name: str) -> Path:
    """The file of a catalogue name, or the path itself; of ``organisation/name`` what the hub's client has cached.

    Raises InputError for an unknown name.
    """
    if kind == "models" and is_repository(name):
        return cached_config(name, catalogue(kind))
    if _is_path(name):
        return Path(name)
    names = catalogue(kind)
    if name not in names:
        near = check.suggestion(name, names) or ";"
        raise InputError(kind, name, f"not in the catalogue{near} it has {', '.join(names)}")
    return data_dir() / "configs" / kind / f"{name}{KINDS[kind]}"


def is_original(hardware: str | Path) -> bool:
    """Whether a GPU's name is the original simulator's ``hardware_config.json``."""
    return Path(hardware).suffix == ".json"


def beside(file: Path, name: str) -> str:
    """What a file calls ``name``: a path is relative to the file's folder, a catalogue name one everywhere."""
    return str(file.parent / name) if _is_path(name) else name


def _is_path(name: str) -> bool:
    return Path(name).suffix in (".json", ".toml") or "/" in name
