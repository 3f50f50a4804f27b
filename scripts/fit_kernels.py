"""Refit the kernel constants of a GPU from measured operators.

    python scripts/fit_kernels.py h100-sxm --out my_h100.toml
    python scripts/fit_kernels.py h100-sxm --check
    python scripts/fit_kernels.py h100-sxm --framework trtllm --only kernels.gemm_fp8 --server S.toml --out S.toml

The measurements are the operator tables in the PyPI package aiconfigurator-core (Apache-2.0; the data half of
aiconfigurator). None is copied into this repository. Constants that no table measures are carried over.
"""

import argparse
import sys
from pathlib import Path

from kernel_fits.files import compare, fit_gpu, hardware_file, kept, l2_mib, merge, read_sheet
from kernel_fits.package import add_table_options


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Refit the kernel constants of a GPU from measured operators.")
    parser.add_argument("gpu", help="name in configs/hardware, or a TOML file called like a system of the package")
    parser.add_argument("--out", type=Path, help="hardware file to write (default: stdout)")
    parser.add_argument("--check", action="store_true", help="print the refit beside the file's values, and its errors")
    add_table_options(parser)
    parser.add_argument(
        "--keep", action="store_true", help="keep the values that the file has: add ranges, and what it lacks"
    )
    parser.add_argument(
        "--only", nargs="+", metavar="TABLE", help="tables to refit, such as kernels.gemm_fp8 (default: all)"
    )
    parser.add_argument(
        "--server", type=Path, metavar="FILE", help="a server file to add them to, as that engine's on the GPU"
    )
    parser.add_argument("--l2-mib", type=float, help="size of the L2 cache, for a GPU that is not in the catalogue")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Fit, then write the file, the comparison or both; 2 for wrong input."""
    args = parse(argv)
    path = hardware_file(args.gpu)
    try:
        text, sheet = read_sheet(path)
        tables, regimes = fit_gpu(path.stem, sheet | {"l2_mib": l2_mib(path, args.l2_mib)}, args)
        if args.server:
            text, tables = args.server.read_text(), {f"gpu.{path.stem}.{name}": table for name, table in tables.items()}
        tables = kept(text, tables) if args.keep else tables
        if args.out:
            args.out.write_text(merge(text, tables))
    except (OSError, ValueError) as error:
        print(f"fit_kernels: {error}", file=sys.stderr)
        return 2
    if args.check or not args.out:
        print(compare(text, tables, regimes) if args.check else merge(text, tables), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
