"""TOML and JSON tables → msgspec structs; what does not fit is one line that says file, key and why."""

import re
import reprlib
import types
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from sys import float_info
from typing import Annotated, Any, NoReturn, TypeVar, get_args, get_origin

import msgspec

from jaxroof.files import check
from jaxroof.files.errors import InputError
from jaxroof.files.ranges import Range

T = TypeVar("T")

# What a value must be, where its ``Meta`` has no description.
WORDS = {str: "text", bool: "true or false", float: "a number", Sequence: "a list of texts", Mapping: "a table"}


def choice(known: Iterable[str]) -> msgspec.Meta:
    """Of a text that must be one of ``known``: ``Annotated[str, choice(…)]``."""
    pattern = "|".join(re.escape(name) for name in known)
    return msgspec.Meta(pattern=rf"^(?:{pattern})\Z", extra={"check": check.one_of, "legal": known})


def within(legal: Range) -> msgspec.Meta:
    """Of a finite number within a range: ``Annotated[float, within(…)]``."""
    low = {"ge" if legal.low_is_legal else "gt": max(legal.low, -float_info.max)}
    constraints: Any = {**low, "le": min(legal.high, float_info.max), "multiple_of": 1 if legal.whole else None}
    return msgspec.Meta(**constraints, extra={"check": check.number, "legal": legal})


def to_struct(path: Path, table: Any, kind: type[T]) -> T:
    """The content of the file at ``path`` as a struct. Raises InputError."""
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        _refuse(path, "", table, kind, error)


def _refuse(path: Path, key: str, value: Any, kind: Any, error: Exception) -> NoReturn:
    """Raise at the first part of ``value`` that does not fit; msgspec tells neither it nor the key of a mapping."""
    says = msgspec.Meta()
    if get_origin(kind) is types.UnionType:  # with None
        kind = get_args(kind)[0]
    if get_origin(kind) is Annotated:
        kind, says = get_args(kind)
    where, parts = f"{key}." if key else "", []
    if isinstance(value, list) and get_origin(kind) is Sequence:
        parts = [(key, entry, get_args(kind)[0]) for entry in value]
    elif isinstance(value, dict) and get_origin(kind) is Mapping:
        parts = [(f"{where}{name}", entry, get_args(kind)[1]) for name, entry in value.items()]
    elif isinstance(value, dict) and isinstance(kind, type):
        fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
        check.unknown_key(path, value, fields, where)
        for name, field in fields.items():
            if field.required:
                check.required(path, value, name, where)
        parts = [(f"{where}{name}", value[name], field.type) for name, field in fields.items() if name in value]
    for part in parts:
        try:
            msgspec.convert(part[1], part[2])
        except msgspec.ValidationError as cause:
            _refuse(path, *part, cause)
    if says.extra:
        says.extra["check"](path, key, value, says.extra["legal"])
    word = says.description or WORDS.get(get_origin(kind) or kind, "a table")
    why = str(error) if kind is Any else f"must be {word}, got {reprlib.repr(value)}"
    raise InputError(path, *filter(None, [key]), why)
