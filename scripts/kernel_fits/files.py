"""Fitting a GPU's tables; reading a hardware file, writing the file and the comparison."""

import argparse
import json
import re
import tomllib
from functools import partial, reduce
from pathlib import Path
from typing import Any

import numpy as np

from kernel_fits.forms import decode_attention, gemm, moe, prefill_attention
from kernel_fits.least import LOG, Sheet, log_bias, log_error
from kernel_fits.links import link
from kernel_fits.package import described, find_package, find_table, used_table

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

Constants = dict[str, dict[str, dict[str, Any]]]  # table -> constant -> value and source
Regimes = dict[str, dict[str, np.ndarray]]  # table -> regime -> predicted over measured time


def fit_gpu(gpu: str, sheet: Sheet, args: argparse.Namespace) -> tuple[Constants, Regimes]:
    """Every table of a hardware file that can be refitted."""
    package, constants, regimes = find_package(args.tables), {}, {}
    for table, (op, name, fitter) in KERNELS.items():
        path = find_table(package, gpu, op, name, args)
        label = described(package, path, args)
        fits, regimes[table] = used_table(path, partial(fitter, sheet=sheet))
        for section, fit in fits:
            held = f"{LOG} {log_error(fit.ratio):.3f}, bias {log_bias(fit.ratio):+.1%}"
            source = f"{label}, {fit.rows}: least {LOG} over {len(fit.ratio)} kernels, {held}"
            entries = {key: {"value": value, "source": source} for key, value in fit.constants.items()}
            constants.setdefault(section, {}).update(entries)
    return constants, regimes


def hardware_file(gpu: str) -> Path:
    """A GPU of the catalogue, or a TOML file of one's own."""
    return Path(gpu) if gpu.endswith(".toml") else CONFIGS / f"hardware/{gpu}.toml"


def read_sheet(path: Path) -> tuple[str, Sheet]:
    """A hardware file: its text, the data sheet's rates, the custom all-reduce's limits."""
    try:
        text = path.read_text()
        content = tomllib.loads(text)
        sheet = {key: float(content[key]["value"]) for key in ("peak_tflops", "hbm_tb_per_s")}
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
        new = [_line(key, entry) for key, entry in entries.items()]
        kept = [line for line in lines if line.strip() and line.partition("=")[0].strip() not in entries]
        named[table] = "\n".join([header, *new, *kept]) + "\n\n"
    return (head + "".join(named.values())).rstrip() + "\n"


def _line(key: str, entry: dict[str, Any]) -> str:
    return f"{key} = {{ value = {entry['value']!r}, source = {json.dumps(entry['source'], ensure_ascii=False)} }}"


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
