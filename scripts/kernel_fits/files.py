"""Fitting a GPU's tables; reading a hardware file, writing the file and the comparison."""

import argparse
import json
import re
import tomllib
from functools import partial, reduce
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from kernel_fits.forms import decode_attention, gemm, moe, prefill_attention
from kernel_fits.least import DIGITS, LOG, NO_ROWS, SHARES, Fit, Fits, Sheet, log_bias, log_error
from kernel_fits.links import link
from kernel_fits.narrow import NARROW
from kernel_fits.package import described, find_package, find_tables, used_table

CONFIGS = Path(__file__).parents[2] / "configs"
L2_MIB = {"h100-sxm": 50, "h200-sxm": 50, "a100-sxm": 40, "l40s": 96, "b200": 126, "gb200": 126}
CUSTOM_LIMIT_MIB = 8.0  # vLLM's default
KERNELS = {
    "kernels.gemm": ("gemm", "gemm_perf", gemm),
    "kernels.decode_attention": ("attention", "generation_attention_perf", decode_attention),
    "kernels.prefill_attention": ("attention", "context_attention_perf", prefill_attention),
    "kernels.moe": ("moe", "moe_perf", moe),
    "link": ("comm", "custom_allreduce_perf", link),
}

# Instead of vLLM's: its rows of FP8 blocks are calls outside a CUDA graph, 58 to 304 us each at any size, of the same
# DeepGEMM kernel; its experts on Hopper are TensorRT-LLM's kernel without tuning, slower than its own 16-bit one.
INSTEAD = {("kernels.gemm_fp8_block", None): "sglang"}
INSTEAD |= {("kernels.moe_fp8", gpu): "trtllm" for gpu in ("h100-sxm", "h200-sxm")}
# Each of k constants would take a shape's whole error alone: independent, they make as much with 1/√k of it each.
RANGE = (
    "the same rows: with this constant alone moved each shape has least error, and of k constants each moves by 1/√k; "
    "5 % and 95 % of the shapes"
)

Constants = dict[str, dict[str, dict[str, Any]]]  # table -> constant -> value and source
Regimes = dict[str, dict[str, np.ndarray]]  # table -> regime -> predicted over measured time


def fit_gpu(gpu: str, sheet: Sheet, args: argparse.Namespace) -> tuple[Constants, Regimes]:
    """Every table of a hardware file that can be refitted, or those of ``args.only``."""
    package, constants, regimes = find_package(args.tables), {}, {}
    wanted = args.only or [*KERNELS, *NARROW]
    if unknown := [name for name in wanted if name not in (*KERNELS, *NARROW)]:
        raise ValueError(f"--only {unknown[0]}: must be of {', '.join([*KERNELS, *NARROW])}")
    for name in wanted:
        fitted = _fitted if name in KERNELS else _narrow
        measured = fitted(package, gpu, name, sheet, args)
        if measured is None:
            continue
        path, kind, (fits, regimes[name]) = measured
        label = described(package, path, kind)
        for section, fit in fits:
            constants.setdefault(section, {}).update(_entries(fit, label))
    return constants, regimes


def _fitted(
    package: metadata.Distribution, gpu: str, name: str, sheet: Sheet, args: argparse.Namespace
) -> tuple[Path, str, Fits]:
    op, table, fitter = KERNELS[name]
    path = find_tables(package, gpu, op, table, args)[0]
    return path, "bf16", used_table(path, partial(fitter, sheet=sheet))


def _narrow(
    package: metadata.Distribution, gpu: str, name: str, sheet: Sheet, args: argparse.Namespace
) -> tuple[Path, str, Fits] | None:
    """As :func:`_fitted`, of the newest table with such rows; None: the GPU has no such unit, or no table has any."""
    op, table, fitter, unit = NARROW[name]
    if unit is not None and sheet.get(unit.rate, 0.0) <= sheet["peak_tflops"]:
        return None
    instead = INSTEAD.get((name, None)) or INSTEAD.get((name, gpu))
    if instead and args.framework == "vllm" and not args.version:
        args = argparse.Namespace(**vars(args) | {"framework": instead})
    apart = unit.apart if unit and op == "gemm" else ()
    try:
        paths = find_tables(package, gpu, op, table, args)
        quantising = [find_tables(package, gpu, "quantize", each, args)[0] for each in apart]
    except ValueError:
        return None
    if apart:
        fitter = partial(fitter, apart=[used_table(each, lambda rows: rows) for each in quantising])
    kind = " less ".join([unit.dtype if unit else "fp8", *([" and ".join(apart)] if apart else [])])
    for path in paths:
        try:
            return path, kind, used_table(path, partial(fitter, sheet=sheet))
        except ValueError as error:
            if NO_ROWS not in str(error):
                raise
    return None


def _entries(fit: Fit, label: str) -> dict[str, dict[str, Any]]:
    held = f"{LOG} {log_error(fit.ratio):.3f}, bias {log_bias(fit.ratio):+.1%}"
    source = f"{label}, {fit.rows}: least {fit.least} over {len(fit.ratio)} kernels, {held}"
    entries: dict[str, dict[str, Any]] = {
        key: {"value": value, "source": source} for key, value in fit.constants.items()
    }
    for key, (low, high) in fit.ranges.items():
        share = len(fit.ranges) ** -0.5
        entries[key] |= _range(key, fit.constants[key], (low**share, high**share))
    return entries


def _range(key: str, value: float, factors: tuple[float, float]) -> dict[str, Any]:
    """low, high and range_source; none where the shapes agree."""
    low, high = (float(f"{value * factor:.{DIGITS}g}") for factor in factors)
    high = max(min(high, 1.0), value) if key.endswith(SHARES) else high
    return {"low": min(low, value), "high": max(high, value), "range_source": RANGE} if low < high else {}


def kept(text: str, tables: Constants) -> Constants:
    """Those constants with the values and sources that the file ``text`` has already; ranges move with the value."""
    content, result = tomllib.loads(text), {}
    for table, entries in tables.items():
        section = reduce(lambda node, key: node.get(key, {}), table.split("."), content)
        result[table] = {
            key: _kept(key, entry, section[key]) if key in section else entry for key, entry in entries.items()
        }
    return result


def _kept(key: str, entry: dict[str, Any], old: dict[str, Any]) -> dict[str, Any]:
    ends = [entry[end] / entry["value"] for end in ("low", "high") if end in entry and entry["value"]]
    return {"value": old["value"], "source": old["source"]} | (_range(key, old["value"], tuple(ends)) if ends else {})


def hardware_file(gpu: str) -> Path:
    """A GPU of the catalogue, or a TOML file of one's own."""
    return Path(gpu) if gpu.endswith(".toml") else CONFIGS / f"hardware/{gpu}.toml"


def read_sheet(path: Path) -> tuple[str, Sheet]:
    """A hardware file: its text, the data sheet's rates, the custom all-reduce's limits."""
    try:
        text = path.read_text()
        content = tomllib.loads(text)
        sheet = {key: float(content[key]["value"]) for key in ("peak_tflops", "hbm_tb_per_s")}
        sheet |= {key: float(content[key]["value"]) for key in ("fp8_tflops", "fp4_tflops") if key in content}
        for key in (f"custom_limit_mib_tp{gpus}" for gpus in (2, 4, 8)):
            sheet[key] = float(content.get("link", {}).get(key, {"value": CUSTOM_LIMIT_MIB})["value"])
    except (KeyError, OSError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: {type(error).__name__}: {error}") from error
    if min(sheet["peak_tflops"], sheet["hbm_tb_per_s"]) <= 0:
        raise ValueError(f"{path}: peak_tflops and hbm_tb_per_s must be positive")
    return text, sheet


def l2_mib(path: Path, given: float | None) -> float:
    """The size of a GPU's L2 cache, which no hardware file has."""
    if given is None and path.stem not in L2_MIB:
        raise ValueError(f"{path}: the L2's size is not known: --l2-mib")
    return float(given or L2_MIB[path.stem])


def merge(text: str, tables: Constants) -> str:
    """The hardware file ``text`` with those constants; every other line stays as it is."""
    head, *blocks = re.split(r"(?m)^(?=\[)", text.rstrip() + "\n\n")
    named = {block[1 : block.index("]")]: block for block in blocks}
    for table, entries in tables.items():
        header, *lines = named.get(table, f"[{table}]").splitlines()
        new = {key: _line(key, entry) for key, entry in entries.items()}
        kept = [new.pop(line.partition("=")[0].strip(), line) for line in lines if line.strip()]
        named[table] = "\n".join([header, *kept, *new.values()]) + "\n\n"
    return (head + "".join(named.values())).rstrip() + "\n"


def _line(key: str, entry: dict[str, Any]) -> str:
    values = (
        f"{name} = {json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)}"
        for name, value in entry.items()
    )
    return f"{key} = {{ {', '.join(values)} }}"


def compare(text: str, tables: Constants, regimes: Regimes) -> str:
    """Per constant the refit, the file's value, their relative difference; per regime how well the refit holds."""
    lines = [f"{'constant':42}{'refit':>10}{'file':>10}{'refit/file - 1':>16}"]
    for table, entries in tables.items():
        section = reduce(lambda node, key: node.get(key, {}), table.split("."), tomllib.loads(text))
        for key, entry in entries.items():
            new, old = entry["value"], section.get(key, {}).get("value")
            beside = f"{old:>10g}{new / old - 1:>16.1%}" if old else f"{'-':>10}{'-':>16}"
            lines.append(f"{table + '.' + key:42}{new:>10g}{beside}")
    lines += ["", f"{'regime':62}{'kernels':>8}{'|log error|':>12}{'bias':>8}{'median':>8}"]
    for table, ratios in regimes.items():
        lines += [f"{table + ', ' + name:62}{_held(ratio)}" for name, ratio in ratios.items() if len(ratio)]
    return "\n".join(lines) + "\n"


def _held(ratio: np.ndarray) -> str:
    return f"{len(ratio):>8}{log_error(ratio):>12.3f}{log_bias(ratio):>8.1%}{np.median(np.log(ratio)):>8.1%}"
