"""Checks of what was read or given: every problem is an :class:`InputError` of one line, where, key and why."""

import difflib
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

from jaxroof.files.errors import InputError
from jaxroof.files.ranges import Range


def unknown_key(path: object, keys: Iterable[str], known: Iterable[str], where: str = "") -> None:
    """Raise if a key is not known."""
    known = list(known)
    for key in keys:
        if key not in known:
            raise InputError(path, f"{where}{key}", f"unknown key{suggestion(key, known)}")


def no_repeats(path: object, key: str, names: Sequence[str]) -> None:
    """Raise if a name stands twice."""
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InputError(path, key, f"{twice} stands twice")


def names(path: object, key: str, text: str) -> list[str]:
    """The names in ``a,b,c``, each of which must stand there once."""
    listed = [name.strip() for name in text.split(",")]
    if "" in listed:
        raise InputError(path, key, f"a name is empty, got {reprlib.repr(text)}")
    no_repeats(path, key, listed)
    return listed


def suggestion(name: str, known: Iterable[str]) -> str:
    """'; did you mean …?' for the nearest known name, whatever its case, or the empty string."""
    lower = {other.lower(): other for other in known}
    near = difflib.get_close_matches(name.lower(), lower, n=1)
    return f"; did you mean {lower[near[0]]}?" if near else ""


def one_of(path: object, key: str, value: Any, known: Iterable[str]) -> str:
    """``value``, which must be one of the known ones."""
    known = list(known)
    if value not in known:
        got = f"got {reprlib.repr(value)}{suggestion(str(value), known)}"
        raise InputError(path, key, f"must be one of {', '.join(known)}, {got}")
    return str(value)


def required(path: object, table: Mapping[str, Any], key: str, where: str = "") -> Any:
    """``table[key]``; missing is an error."""
    if key not in table:
        raise InputError(path, f"{where}{key}", "missing key")
    return table[key]


def number(path: object, key: str, value: Any, legal: Range) -> float:
    """``value`` as a float within its legal range; text is no number."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InputError(path, key, f"must be a number, got {reprlib.repr(value)}")
    try:
        result = float(value)
    except OverflowError:
        raise InputError(path, key, "is too large a number") from None
    if complaint := legal.complaint(result):
        raise InputError(path, key, complaint)
    return result


def parsed_number(path: object, key: str, text: str, legal: Range) -> float:
    """Text of a CSV cell or an option as a float within its legal range."""
    try:
        value = float(text)
    except ValueError:
        raise InputError(path, key, f"must be a number, got {reprlib.repr(text)}") from None
    return number(path, key, value, legal)


def key_and_value(where: str, text: str, form: str) -> tuple[str, str]:
    """The two sides of ``KEY=…``, which should have been of this ``form``."""
    key, found, value = text.partition("=")
    if not found:
        raise InputError(where, key, f"must be {form}")
    return key, value


def text_at(path: object, content: Mapping[str, Any], key: str, where: str = "") -> str:
    """``content[key]`` as text."""
    value = required(path, content, key, where)
    if not isinstance(value, str):
        raise InputError(path, f"{where}{key}", f"must be text, got {reprlib.repr(value)}")
    return value.strip()


def table_at(path: object, content: Mapping[str, Any], key: str, where: str = "") -> Mapping[str, Any]:
    """``content[key]`` as a table, empty where it is missing."""
    value = content.get(key, {})
    if not isinstance(value, dict):
        raise InputError(path, f"{where}{key}", "must be a table")
    return value
