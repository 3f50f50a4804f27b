"""Input files are read and checked, output is written whole or not at all; every problem is one line."""

from jaxroof.files.errors import InputError, errors_at
from jaxroof.files.ranges import (
    AT_LEAST_ONE,
    CACHED_TOKENS,
    COUNT,
    COUNT_OR_NONE,
    FRACTION,
    GIGABYTES,
    NON_NEGATIVE,
    POSITIVE,
    SHARE,
    TOKENS,
    Range,
)
from jaxroof.files.read import data_dir, read_csv, read_json, read_text, read_toml
from jaxroof.files.structs import choice, to_struct, within
from jaxroof.files.write import DRAFT, check_writable, drafted, held, made, naming, publish, remove, write

__all__ = [
    "AT_LEAST_ONE", "CACHED_TOKENS", "COUNT", "COUNT_OR_NONE", "DRAFT", "FRACTION", "GIGABYTES", "NON_NEGATIVE",
    "POSITIVE", "SHARE", "TOKENS", "InputError", "Range", "check_writable", "choice", "data_dir", "drafted",
    "errors_at", "held", "made", "naming", "publish", "read_csv", "read_json", "read_text", "read_toml", "remove",
    "to_struct", "within", "write",
]  # fmt: skip
