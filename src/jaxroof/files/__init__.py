"""Input files are read and checked, output is written whole or not at all; every problem is one line."""

from jaxroof.files.errors import InputError, errors_at
from jaxroof.files.ranges import (
    AT_LEAST_ONE,
    CACHED_TOKENS,
    COUNT,
    FRACTION,
    NON_NEGATIVE,
    POSITIVE,
    SHARE,
    TOKENS,
    Range,
)
from jaxroof.files.read import data_dir, read_csv, read_json, read_text, read_toml
from jaxroof.files.structs import choice, to_struct, within
from jaxroof.files.write import check_writable, held, publish, write, write_folder

__all__ = [
    "AT_LEAST_ONE", "CACHED_TOKENS", "COUNT", "FRACTION", "NON_NEGATIVE", "POSITIVE", "SHARE", "TOKENS", "InputError",
    "Range", "check_writable", "choice", "data_dir", "errors_at", "held", "publish", "read_csv", "read_json",
    "read_text", "read_toml", "to_struct", "within", "write", "write_folder",
]  # fmt: skip
