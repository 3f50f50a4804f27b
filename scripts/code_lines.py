"""Lines of code, neither blank nor comment nor docstring, in all and per folder.

Usage: python scripts/code_lines.py [FOLDER]   (src/jaxroof)
"""

import ast
import io
import sys
import tokenize
from collections import Counter
from pathlib import Path

NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def code_lines(source: str) -> int:
    """Lines with a token that is neither comment nor docstring."""
    docstrings = {
        (node.body[0].lineno, node.body[0].col_offset)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None
    }
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NO_CODE and token.start not in docstrings:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines)


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[1] / "src/jaxroof")
    counts = Counter[str]()
    for path in folder.rglob("*.py"):
        counts[path.parent.relative_to(folder).as_posix()] += code_lines(path.read_text(encoding="utf-8"))
    for name, lines in sorted(counts.items()):
        print(f"{lines:6} {name}")
    print(f"{counts.total():6} in all")
