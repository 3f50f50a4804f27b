"""What the command line settles for all of JAX: precision, and where compiled programs are kept: native code."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

import jax

from jaxroof.files import check
from jaxroof.report.report import note

# Keep every program, however quick to compile and however small.
KEEP_ALL = {"jax_persistent_cache_min_compile_time_secs": 0.0, "jax_persistent_cache_min_entry_size_bytes": -1}


def cache_folder(environment: Mapping[str, str]) -> Path | None:
    """``JAXROOF_CACHE``, else ``jaxroof`` in ``XDG_CACHE_HOME`` or ``~/.cache``; None where nothing can be written.

    None also, with a note, for a folder that others may put programs into.
    """
    try:
        base = Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = Path(environment.get("JAXROOF_CACHE") or base / "jaxroof").expanduser()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except (OSError, RuntimeError):  # a file in the way, a read-only disk, no home
        return None
    if status.st_uid != os.getuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        note([f"{folder}: others may write there, so it is no cache of programs; chmod go-w, or JAXROOF_CACHE"])
        return None
    return folder if os.access(folder, os.W_OK | os.X_OK) else None


def use_precision(precision: str, cached: bool) -> None:
    """``f32`` or ``f64`` for all of JAX, and the cache where it may be used. Raises InputError."""
    check.one_of("--precision", "value", precision, ["f32", "f64"])
    jax.config.update("jax_enable_x64", precision == "f64")
    if cached and (folder := cache_folder(os.environ)):
        for name, value in {"jax_compilation_cache_dir": str(folder), **KEEP_ALL}.items():
            jax.config.update(name, value)
