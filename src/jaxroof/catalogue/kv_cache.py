"""What the KV cache is kept in, where a server is told so; loads no JAX."""

from typing import TypeVar

from jaxroof.files import check

Given = TypeVar("Given", float, None)
# Bytes of a number, by vLLM's words for --kv-cache-dtype; auto: as the model's file says.
KV_CACHE_BYTES = {
    "auto": None, "bfloat16": 2.0, "float16": 2.0, "fp8": 1.0, "fp8_e4m3": 1.0, "fp8_e5m2": 1.0,
}  # fmt: skip


def kv_cache_bytes(dtype: str | None, of_file: Given) -> float | Given:
    """Bytes of a number of the cache: of ``dtype``, or what the model's file says. Raises InputError."""
    word = check.one_of("--kv-cache-dtype", "value", dtype or "auto", KV_CACHE_BYTES)
    stated = KV_CACHE_BYTES[word]
    return of_file if stated is None else stated
