"""Overheads → a formula file of the form that ``configs/overheads/`` has."""

import json
from collections.abc import Mapping

from jaxroof.parameters import Overheads, numbers


def formula_toml(title: str, overheads: Overheads, sources: Mapping[str, str], otherwise: str) -> str:
    """TOML of every term that is not at its default, with ``sources`` by dotted key or else ``otherwise``."""
    lines, defaults = [f"title = {_quoted(title)}"], numbers(Overheads())
    for phase in ("prefill", "decode"):
        lines += ["", f"[{phase}]"]
        for key, value in numbers(overheads).items():
            if key.startswith(f"{phase}.") and (value != defaults[key] or key in sources):
                term, source = key.removeprefix(f"{phase}."), sources.get(key, otherwise)
                lines.append(f"{term} = {{ value = {value:.15g}, source = {_quoted(source)} }}")
    return "\n".join([*lines, ""])


def _quoted(text: str) -> str:
    """A TOML basic string; JSON's escapes are TOML's."""
    return json.dumps(text, ensure_ascii=False)
