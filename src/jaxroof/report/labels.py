"""Names as a figure says them: short, in words, with units."""

import re
from collections.abc import Iterable

# Numbers in a figure have two decimals: less than this is as good as none.
LEAST = 0.005
UNITS = {
    "ms": "ms", "us": "µs", "pct": "%", "gb": "GB", "tflops": "TFLOP/s", "gb_per_s": "GB/s", "tb_per_s": "TB/s",
    "mib": "MiB", "tokens": "tokens",
}  # fmt: skip
SAID = (
    "TTFT", "ITL", "E2E", "TPOT", "MAPE", "HBM", "MFU", "KV", "NCCL", "MoE", "LM", "QKV", "GPUs",
    "TP", "TP1", "TP2", "TP4", "TP8",
)  # fmt: skip
ACRONYMS = {acronym.lower(): acronym for acronym in SAID}
# What a key begins with that its other words say, and what it is in their order.
OBVIOUS = re.compile(r"^hardware\.(kernels\.)?|^overheads\.(?P<phase>\w+)\.")
# The unit of a key, which the parallel degree may follow.
UNIT = re.compile(rf"[._](?P<unit>{'|'.join(sorted(UNITS, key=len, reverse=True))})(?P<degree>_tp\d)?$")
# What begins the name of an experiment: ``20260210-`` or ``jan30-``.
DAY = re.compile(r"^([a-z]{3})?\d+-")


def words(key: str) -> str:
    """``ttft_ms`` → ``TTFT [ms]``, ``hardware.kernels.gemm.floor_us`` → ``gemm floor [µs]``."""
    unit = UNIT.search(key)
    bare = UNIT.sub(r"\g<degree>", key) if unit else key
    bare = OBVIOUS.sub(lambda at: f"{at['phase']}_overhead_" if at["phase"] else "", bare)
    said = " ".join(ACRONYMS.get(w, w) for w in re.split(r"[._]", bare))
    return f"{said} [{UNITS[unit['unit']]}]" if unit else said


def experiments(names: Iterable[str]) -> list[str]:
    """Names without their days, and ``chatsweep`` as ``chat``; as they are where that would make two alike."""
    full = list(names)
    short = [DAY.sub("", name).removesuffix("sweep") for name in full]
    return short if len(set(short)) == len(set(full)) else full
