"""Blocks of a Markdown document such as FINDINGS.md."""

from collections.abc import Iterable


def bullets(lines: Iterable[str]) -> str:
    """A list, a line each."""
    return "\n".join(f"- {line}" for line in lines)


def link(path: str) -> str:
    """A path as a link's target."""
    return f"<{path}>" if " " in path else path


def one_line(text: str) -> str:
    """A text of a TOML file without its line breaks."""
    return " ".join(text.split())


def differences(text: str) -> list[str]:
    """Why ours is not what was published."""
    return ["## Where ours and the published differ, and why", one_line(text)]


def reproducing(command: str, title: str = "Reproducing") -> list[str]:
    """The command that does it again."""
    return [f"## {title}", f"```bash\n{command}\n```"]
