"""Which modules a quantiser's list names: exact names, parts of names, globs, or regular expressions after ``re:``."""

import fnmatch
import re
from collections.abc import Iterable

_GLOB = re.compile(r"[*?\[]")
NEVER = re.compile(r"(?!)")


class Patterns:
    """A list of names of modules; one that stands for a part of the model names all within.

    >>> Patterns(["lm_head", "model.layers.0.mlp*", "re:.*self_attn.*"]).match("model.layers.0.mlp.up_proj")
    True
    """

    def __init__(self, patterns: Iterable[str]):
        patterns = list(patterns)
        expressions = [pattern[3:] for pattern in patterns if pattern.startswith("re:")]
        plain = [pattern for pattern in patterns if not pattern.startswith("re:")]
        globs = [pattern for pattern in plain if _GLOB.search(pattern)]
        inner = [rf"(?:{fnmatch.translate(glob).removesuffix(chr(92) + 'Z').removesuffix(chr(92) + 'z')})(?:\..*)?\Z"
                 for glob in globs]  # fmt: skip
        self._names = {tuple(pattern.strip(".").split(".")) for pattern in plain} - {("",)}
        self._expression = re.compile("|".join(f"(?:{e})" for e in [*expressions, *inner])) if patterns else NEVER
        self._any_expression = bool(expressions or inner)

    def match(self, module: str) -> bool:
        """Whether a module is named, itself or what it is in, or by consecutive parts of its name."""
        if self._any_expression and self._expression.match(module):
            return True
        parts = tuple(module.split("."))
        starts = range(len(parts)) if self._names else ()
        return any(parts[i:j] in self._names for i in starts for j in range(i + 1, len(parts) + 1))
