"""The files of a report: texts, JSON objects, tables and figures, written together."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxroof.files import write_folder
from jaxroof.report.progress import progress
from jaxroof.report.report import dump


def write_files(folder: Path, files: Mapping[str, Any]) -> None:
    """``files`` by name, all of them or none: a text, a table (``.csv``), data (JSON), or a ``figure`` (PNG)."""

    def fill(draft: Path) -> None:
        for name, content in progress(files.items(), "files", len(files)):
            _write(draft / name, content)

    write_folder(folder, fill)


def _write(path: Path, content: Any) -> None:
    if callable(content):
        content(path)
    elif path.suffix == ".csv":
        import pandas as pd  # slow to load

        pd.DataFrame(content).to_csv(path, index=False)
    else:
        path.write_text(content if isinstance(content, str) else dump(content), encoding="utf-8")
