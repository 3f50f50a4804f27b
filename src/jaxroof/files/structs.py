"""TOML and JSON tables → msgspec structs; what does not fit is one line that says file, key and why."""

import re
import reprlib
import types
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from sys import float_info
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

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


def to_struct(path: Path, value: Any, kind: type[T] | Any, where: str = "") -> T:
    """What stands at ``where`` ("" or "key.") in the file at ``path``, all of it by default. Raises InputError.

    msgspec tells neither a wrong value nor the key of a mapping, so the parts of what does not fit are tried in turn.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        why = str(error)
    bare: Any = get_args(kind)[0] if get_origin(kind) in (types.UnionType, Union) else kind  # or None
    bare, says = get_args(bare) if get_origin(bare) is Annotated else (bare, msgspec.Meta())
    if isinstance(value, list) and get_origin(bare) is Sequence:
        for place, entry in enumerate(value, 1):
            try:
                to_struct(path, entry, get_args(bare)[0], where)
            except InputError as error:
                raise InputError(f"{error} ({where[:-1]} {place})") from None
    elif isinstance(value, dict) and get_origin(bare) is Mapping:
        for name, entry in value.items():
            to_struct(path, entry, get_args(bare)[1], f"{where}{name}.")
    elif isinstance(value, dict) and isinstance(bare, type) and issubclass(bare, msgspec.Struct):
        fields = {field.encode_name: field for field in msgspec.structs.fields(bare)}
        if bare.__struct_config__.forbid_unknown_fields:
            check.unknown_key(path, value, fields, where)
        for name, field in fields.items():
            if name in value or field.required:
                to_struct(path, check.required(path, value, name, where), field.type, f"{where}{name}.")
    elif says.extra:
        says.extra["check"](path, where[:-1], value, says.extra["legal"])
    if bare is not Any:
        word = says.description or WORDS.get(get_origin(bare) or bare, "a table")
        why = f"must be {word}, got {reprlib.repr(value)}"
    raise InputError(path, *filter(None, [where[:-1]]), why)
