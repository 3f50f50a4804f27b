"""Time the kernels that no public table settles, on the GPU of this machine, inside CUDA graphs.

    python scripts/measure_kernels.py --out measured.csv [--only sort,draw,penalties,gemm,attention] [--repeats 50]

Needs torch, and a GPU; ``--device cpu`` tries the script on tiny sizes. vLLM or FlashAttention are used if installed.
``sort``: top-p, top-k and the sort below them; ``draw``: tokens without them, min-p; ``penalties``: on GPU and host;
``gemm``: 1 to 512 rows, BF16 and FP8; ``attention``: decoding, equal and spread contexts. A row has its device and
versions, so that it can be the source of a constant: docs/kernels.md says of which. Up to 20 calls in a graph take
turns at copies of their inputs, and the L2 is flushed before each replay, so inputs are cold. What a device or a
version cannot run is said on stderr and has no row.
"""

import argparse
import contextlib
import csv
import importlib
import os
import sys
from pathlib import Path
from typing import Any

COLUMNS = (
    "device", "driver", "cuda", "torch", "implementation", "operation", "rows", "vocabulary", "past_tokens",
    "m", "n", "k", "dtype", "batch", "heads", "kv_heads", "head_dim", "mean_context", "cv", "drawn_cv", "seed",
    "in_graph", "calls", "repeats", "median_us", "p5_us", "p95_us", "bytes", "flops", "datasheet_share", "note",
)  # fmt: skip
GROUPS = {
    "sort": "sampling.sort_cases", "draw": "sampling.draw_cases", "penalties": "sampling.penalty_cases",
    "gemm": "products.gemm_cases", "attention": "attention.attention_cases",
}  # fmt: skip
SMOKE = "smoke test: tiny sizes on a CPU, tells nothing of a GPU"


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Time kernels on the GPU of this machine, inside CUDA graphs.")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="CSV file to write")
    parser.add_argument("--only", default=",".join(GROUPS), help=f"what to time, of {','.join(GROUPS)} (default: all)")
    parser.add_argument("--repeats", type=int, default=50, help="replays that are timed (default: 50)")
    parser.add_argument("--device", default="cuda", help="cuda (default), cuda:N, or cpu: tiny sizes, no graph")
    parser.add_argument("--hardware", metavar="NAME|FILE", help="the data sheet (default: by the device's name)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Time, then write; 2 for wrong input, without torch or without a GPU."""
    args = parse(argv)
    try:
        check(args)
        rows = measured(args)
        write(args.out, rows)
    except (OSError, ValueError) as problem:
        print(f"measure_kernels: {problem}", file=sys.stderr)
        return 2
    print(f"{args.out}: {len(rows)} rows")
    return 0


def check(args: argparse.Namespace) -> None:
    """What can be wrong before anything is timed."""
    args.only = args.only.split(",")
    if unknown := [group for group in args.only if group not in GROUPS]:
        raise ValueError(f"--only {unknown[0]}: must be of {', '.join(GROUPS)}")
    if args.repeats < 1:
        raise ValueError(f"--repeats {args.repeats}: must be at least 1")
    if not args.out.absolute().parent.is_dir() or args.out.is_dir():
        raise ValueError(f"--out {args.out}: must be a file in a folder that is there")
    try:
        import torch
    except ImportError as problem:
        raise ValueError(f"torch cannot be imported ({problem}): pip install torch") from problem
    try:
        args.device = torch.device(args.device)
    except RuntimeError as problem:
        raise ValueError(f"--device {args.device}: must be cuda, cuda:N or cpu") from problem
    if args.device.type not in ("cpu", "cuda"):
        raise ValueError(f"--device {args.device}: must be cuda, cuda:N or cpu")
    if args.device.type == "cpu":
        return
    seen, index = torch.cuda.device_count(), args.device.index or 0
    if index >= seen:
        sees = f"torch {torch.__version__} sees {seen or 'no'} CUDA GPU{'s' if seen > 1 else ''}"
        raise ValueError(f"--device {args.device}: {sees}; --device cpu tries the script")
    args.device = torch.device("cuda", index)


def measured(args: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each case that runs."""
    import torch
    from kernel_timings import machine
    from kernel_timings.timing import in_a_line, timed

    if args.device.type == "cuda":
        torch.cuda.set_device(args.device)
    about = machine.described(args.device)
    rates, rows = machine.sheet(about["device"], args.hardware), []
    for group in args.only:
        module, function = GROUPS[group].split(".")
        cases = getattr(importlib.import_module(f"kernel_timings.{module}"), function)
        for case in cases(args.device, args.device.type == "cpu"):
            try:
                rows.append(row(about, case, timed(case, args.device, args.repeats), rates))
                print(f"{case.name()}: {rows[-1]['median_us']} µs", file=sys.stderr)
            except RuntimeError as problem:  # too little memory, or no such unit
                print(f"{case.name()}: left out: {in_a_line(problem)}", file=sys.stderr)
            with contextlib.suppress(RuntimeError):  # after a fault of the GPU, whose rows so far are kept
                torch.cuda.empty_cache()  # what a graph held
    if not rows:
        raise ValueError(f"--only {','.join(args.only)}: nothing of it runs here")
    return rows


def row(about: dict[str, str], case: Any, times: Any, rates: dict[str, float]) -> dict[str, Any]:
    """The columns of a case and its times."""
    from kernel_timings.machine import sheet_us

    low, median, high = times.quantiles_us()
    note = SMOKE if about["device"] == "cpu" else "time of the host" if case.host else times.note
    shares = rates and not case.host and about["device"] != "cpu"
    result = dict.fromkeys(COLUMNS, "") | about | {"implementation": case.implementation, "operation": case.operation}
    result |= case.sizes | {"in_graph": "yes" if times.in_graph else "no", "calls": times.calls}
    result |= {"repeats": len(times.seconds), "bytes": f"{case.bytes:.0f}", "flops": f"{case.flops:.0f}", "note": note}
    result |= {"median_us": f"{median:.6g}", "p5_us": f"{low:.6g}", "p95_us": f"{high:.6g}"}
    share = sheet_us(rates, case.sizes, case.bytes, case.flops) / median if shares else None
    return result | {"datasheet_share": "" if share is None else f"{share:.4g}"}


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """All of the file, or nothing."""
    part = path.with_name(f"{path.name}.part")
    with part.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    os.replace(part, path)


if __name__ == "__main__":
    sys.exit(main())
