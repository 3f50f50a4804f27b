"""Markdown documents such as FINDINGS.md: blocks with an empty line between them."""

from collections.abc import Iterable, Mapping
from typing import Any

from jaxroof.report.tables import markdown


def document(*blocks: str) -> str:
    """The text of a document."""
    return "\n\n".join(blocks) + "\n"


def bullets(lines: Iterable[str]) -> str:
    """A list, a line each."""
    return "\n".join(f"- {line}" for line in lines)


def one_line(text: str) -> str:
    """A text of a TOML file without its line breaks."""
    return " ".join(text.split())


def headed(tables: Mapping[str, Any], level: str = "##", digits: int = 1) -> list[str]:
    """Tables, each below its title."""
    return [block for title, table in tables.items() for block in (f"{level} {title}", markdown(table, digits))]


def differences(text: str) -> list[str]:
    """Why ours is not what was published."""
    return ["## Where ours and the published differ, and why", one_line(text)]


def reproducing(command: str, title: str = "Reproducing") -> list[str]:
    """The command that does it again."""
    return [f"## {title}", f"```bash\n{command}\n```"]
