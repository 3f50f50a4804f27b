"""Refit the kernel constants of a GPU from measured operators.

    python scripts/fit_kernels.py h100-sxm --out my_h100.toml
    python scripts/fit_kernels.py h100-sxm --check

The measurements are the operator tables in the PyPI package aiconfigurator-core (Apache-2.0; the data half of
aiconfigurator). None is copied into this repository. Constants that no table measures are carried over.
"""

import argparse
import json
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from functools import reduce
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import OptimizeResult, minimize

PACKAGE = "aiconfigurator-core"
CONFIGS = Path(__file__).parents[1] / "configs/hardware"
LOG, SQUARE = "mean |log error|", "mean squared relative error"
LOSSES = {LOG: lambda ratio: np.abs(np.log(ratio)).mean(), SQUARE: lambda ratio: ((ratio - 1) ** 2).mean()}
US_PER_MS = 1e3
PER_US = 1e6  # 1 TB/s = 1e6 bytes/us, 1 TFLOP/s = 1e6 FLOP/us
GB_PER_US = 1e3  # 1 GB/s = 1e3 bytes/us

Table = Any  # pandas.DataFrame; pandas is imported where a file is read
Sheet = dict[str, float]
Starts = dict[str, tuple[float, ...]]  # constant -> its value at each start of the search
Constants = dict[str, dict[str, dict[str, Any]]]  # table -> constant -> value and source


class Fit(NamedTuple):
    """Constants by name, the loss that they minimise, over how many kernels, and the mean |log error| there."""

    constants: dict[str, float]
    loss: str
    kernels: int
    error: float


def least(predict: Callable, rows: Table, starts: Starts, loss: str = LOG) -> Fit:
    """Minimise ``loss`` of predicted [us] / measured time over the logarithms of the constants of ``predict``."""
    if not len(rows):
        raise ValueError("no rows left after the filter")
    measured = rows.latency.to_numpy(float) * US_PER_MS

    def search(start: tuple[float, ...]) -> OptimizeResult:
        options = {"method": "Nelder-Mead", "options": {"xatol": 1e-6, "fatol": 1e-9, "maxiter": 4000}}
        return minimize(lambda logs: LOSSES[loss](predict(*np.exp(logs)) / measured), np.log(start), **options)

    found = np.exp(min(map(search, zip(*starts.values(), strict=True)), key=lambda run: run.fun).x)
    constants = {name: float(f"{value:.4g}") for name, value in zip(starts, found, strict=True)}
    return Fit(constants, loss, len(rows), float(LOSSES[LOG](predict(*found) / measured)))


def roofline(rows: Table, moved_bytes: np.ndarray, flops: np.ndarray, sheet: Sheet) -> Fit:
    """floor + max(bytes / (BW·η), FLOPs / (P·μ))."""
    memory, compute = moved_bytes / (sheet["hbm_tb_per_s"] * PER_US), flops / (sheet["peak_tflops"] * PER_US)
    starts = {"floor_us": (5.0, 30.0), "hbm_efficiency": (0.8, 0.6), "mfu": (0.6, 0.3)}
    return least(lambda floor, eta, mu: floor + np.maximum(memory / eta, compute / mu), rows, starts)


def gemm(table: Table, sheet: Sheet) -> Fit:
    """bytes 2·(mk + kn + mn), FLOPs 2mkn; sizes of LLM layers: n and k from 512, m up to 16384."""
    rows = table[(table.gemm_dtype == "bfloat16") & (table[["n", "k"]].min(axis=1) >= 512) & (table.m <= 16384)]
    m, n, k = rows[["m", "n", "k"]].to_numpy(float).T
    return roofline(rows, 2 * (m * k + k * n + m * n), 2 * m * n * k, sheet)


def full_attention(table: Table) -> Table:
    """Rows without a window (some tables have no such column), of head dimension 128, with a bf16 cache."""
    return table[(table.kv_cache_dtype == "bfloat16") & (table.head_dim == 128) & (table.get("window_size", 0) == 0)]


def decode_attention(table: Table, sheet: Sheet) -> Fit:
    """floor + KV bytes / (BW·η); contexts from 64 tokens: below, queries and outputs outweigh the cache."""
    rows = full_attention(table)
    rows = rows[rows.step + 1 >= 64]
    batch, heads, dim, step = rows[["batch_size", "num_key_value_heads", "head_dim", "step"]].to_numpy(float).T
    memory = 2 * 2 * batch * heads * dim * (step + 1) / (sheet["hbm_tb_per_s"] * PER_US)
    starts = {"floor_us": (10.0, 30.0), "hbm_efficiency": (0.8, 0.4)}
    return least(lambda floor, eta: floor + memory / eta, rows, starts)


def prefill_attention(table: Table, sheet: Sheet) -> Fit:
    """floor + 2·batch·h·s²·d / (P·μ) · (1 + half_length / s)."""
    rows = full_attention(table)
    batch, heads, dim, s = rows[["batch_size", "num_heads", "head_dim", "isl"]].to_numpy(float).T
    compute = 2 * batch * heads * dim * s**2 / (sheet["peak_tflops"] * PER_US)
    starts = {"floor_us": (10.0, 20.0), "mfu": (0.6, 0.4), "half_length_tokens": (1000.0, 300.0)}
    return least(lambda floor, mu, half: floor + compute / mu * (1 + half / s), rows, starts)


def moe(table: Table, sheet: Sheet) -> Fit:
    """bytes 2·(E·(1 − (1 − k/E)^B)·3HI + B·k·(2H + 3I)), FLOPs 6·B·k·HI; no expert parallelism, the mildest skew."""
    rows = table[(table.moe_dtype == "bfloat16") & (table.moe_ep_size == 1)]
    rows = rows[rows.distribution == min(rows.distribution, default="")]  # "balanced" < "power_law_1.01" < "..._1.2"
    names = ["num_tokens", "hidden_size", "inter_size", "moe_tp_size", "topk", "num_experts"]
    batch, hidden, whole, tp, k, experts = rows[names].to_numpy(float).T
    inter, touched = whole / tp, experts * (1 - (1 - k / experts) ** batch)
    moved_bytes = 2 * (touched * 3 * hidden * inter + batch * k * (2 * hidden + 3 * inter))
    return roofline(rows, moved_bytes, 6 * batch * k * hidden * inter, sheet)


def link(table: Table, sheet: Sheet) -> Iterator[Fit]:
    """latency + bytes / bandwidth of the all-reduce in a CUDA graph per number of GPUs; sizes are bf16 elements."""
    graph = table[(table.allreduce_dtype == "bfloat16") & table.kernel_source.str.endswith("_graph")]
    if graph.empty:
        raise ValueError("no rows of a CUDA graph")
    for gpus, rows in graph[graph.num_gpus.isin((2, 4, 8))].groupby("num_gpus"):
        size = 2 * rows.message_size.to_numpy(float) / GB_PER_US
        starts = {f"latency_tp{gpus}_us": (5.0, 15.0), f"gb_per_s_tp{gpus}": (200.0, 5.0)}
        yield least(lambda latency, rate, size=size: latency + size / rate, rows, starts, SQUARE)


KERNELS = {
    "kernels.gemm": ("gemm", "gemm_perf", gemm),
    "kernels.decode_attention": ("attention", "generation_attention_perf", decode_attention),
    "kernels.prefill_attention": ("attention", "context_attention_perf", prefill_attention),
    "kernels.moe": ("moe", "moe_perf", moe),
    "link": ("comm", "custom_allreduce_perf", link),
}


def find_table(data: Path, gpu: str, op: str, name: str, args: argparse.Namespace) -> Path:
    """The table of ``args.version``, else of the newest version that has it; h100-sxm's folder is h100_sxm."""
    folders = (data / system / op / args.framework for system in (gpu.replace("-", "_"), f"{gpu}_sxm"))
    found = [path for folder in folders for path in folder.glob(f"{args.version or '*'}/{name}.parquet")]
    if not found:
        raise ValueError(f"no {name} of {gpu}, {args.framework} {args.version or '(any version)'} in {data}")
    return max(found, key=lambda path: [int(part) for part in re.findall(r"\d+", path.parent.name)])


def fit_table(path: Path, fit: Callable) -> list[Fit]:
    """Read one table and fit it."""
    try:
        import pandas as pd

        fits = fit(pd.read_parquet(path))
        return [fits] if isinstance(fits, Fit) else list(fits)
    except (AttributeError, ImportError, KeyError, OSError, ValueError) as error:
        raise ValueError(f"{path}: {type(error).__name__}: {str(error).splitlines()[0]}") from error


def fit_gpu(gpu: str, sheet: Sheet, args: argparse.Namespace) -> Constants:
    """Every table of a hardware file that can be refitted."""
    package = next(metadata.distributions(name=PACKAGE, path=[str(args.tables)] if args.tables else sys.path), None)
    if package is None:
        raise ValueError(f"no {PACKAGE} {f'unpacked in {args.tables}' if args.tables else 'installed'}: pip install it")
    data, result = Path(str(package.locate_file("aiconfigurator_core/systems/data"))), {}
    for table, (op, name, fitter) in KERNELS.items():
        path = find_table(data, gpu, op, name, args)
        label = f"{PACKAGE} {package.version} (PyPI), {args.framework} {path.parent.name}, bf16 rows of {name}"
        for fit in fit_table(path, lambda rows, fitter=fitter: fitter(rows, sheet)):
            source = f"{label}: least {fit.loss} over {fit.kernels} kernels, {LOG} {fit.error:.3f}"
            entries = {key: {"value": value, "source": source} for key, value in fit.constants.items()}
            result.setdefault(table, {}).update(entries)
    return result


def read_sheet(path: Path) -> tuple[str, Sheet]:
    """A hardware file: its text and the data sheet's rates."""
    try:
        text = path.read_text()
        sheet = {key: float(tomllib.loads(text)[key]["value"]) for key in ("peak_tflops", "hbm_tb_per_s")}
    except (KeyError, OSError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: {type(error).__name__}: {error}") from error
    if min(sheet.values()) <= 0:
        raise ValueError(f"{path}: peak_tflops and hbm_tb_per_s must be positive")
    return text, sheet


def merge(text: str, tables: Constants) -> str:
    """The hardware file ``text`` with those constants; every other line stays as it is."""
    head, *blocks = re.split(r"(?m)^(?=\[)", text.rstrip() + "\n\n")
    named = {block[1 : block.index("]")]: block for block in blocks}
    for table, entries in tables.items():
        header, *lines = named.get(table, f"[{table}]").splitlines()
        new = [f"{k} = {{ value = {e['value']!r}, source = {json.dumps(e['source'])} }}" for k, e in entries.items()]
        kept = [line for line in lines if line.strip() and line.partition("=")[0].strip() not in entries]
        named[table] = "\n".join([header, *new, *kept]) + "\n\n"
    return (head + "".join(named.values())).rstrip() + "\n"


def compare(text: str, tables: Constants) -> str:
    """One line per constant: the refit, the value in the hardware file, their relative difference."""
    lines = [f"{'constant':42}{'refit':>10}{'file':>10}{'refit/file - 1':>16}"]
    for table, entries in tables.items():
        section = reduce(lambda node, key: node.get(key, {}), table.split("."), tomllib.loads(text))
        for key, entry in entries.items():
            new, old = entry["value"], section.get(key, {}).get("value")
            beside = f"{old:>10g}{new / old - 1:>16.1%}" if old else f"{'-':>10}{'-':>16}"
            lines.append(f"{table + '.' + key:42}{new:>10g}{beside}")
    return "\n".join(lines) + "\n"


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Refit the kernel constants of a GPU from measured operators.")
    parser.add_argument("gpu", help="name in configs/hardware, or a TOML file called like a system of the package")
    parser.add_argument("--out", type=Path, help="hardware file to write (default: stdout)")
    parser.add_argument("--check", action="store_true", help="print the refit beside the values in the GPU's file")
    parser.add_argument("--framework", default="vllm", help="vllm (default) or sglang")
    parser.add_argument("--version", help="version of the framework (default: the newest of each table)")
    parser.add_argument("--tables", type=Path, metavar="DIR", help=f"where a wheel of {PACKAGE} is unpacked")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Fit, then write the file, the comparison or both; 2 for wrong input."""
    args = parse(argv)
    path = Path(args.gpu) if args.gpu.endswith(".toml") else CONFIGS / f"{args.gpu}.toml"
    try:
        text, sheet = read_sheet(path)
        tables = fit_gpu(path.stem, sheet, args)
        if args.out:
            args.out.write_text(merge(text, tables))
    except (OSError, ValueError) as error:
        print(f"fit_kernels: {error}", file=sys.stderr)
        return 2
    if args.check or not args.out:
        print(compare(text, tables) if args.check else merge(text, tables), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
