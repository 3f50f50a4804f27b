"""Write a GPU's measured MFU in the layout that ``--mfu-tables`` reads.

    python scripts/make_mfu_tables.py h100-sxm --out mfu
    jaxroof study hg1_mfu --mfu-tables mfu

The measurements are the operator tables in the PyPI package aiconfigurator-core (Apache-2.0), in bf16. None is copied
into this repository. Of attention without a window, all shapes that were measured at prefill and at decode.
"""

import argparse
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from kernel_fits.files import CONFIGS, hardware_file, read_sheet
from kernel_fits.mfu import decode_csvs, gemm_csv, prefill_csvs
from kernel_fits.package import add_table_options, described, find_package, find_tables, used_table


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Write a GPU's measured MFU in the layout that --mfu-tables reads.")
    parser.add_argument("gpu", help="name in configs/hardware, or a TOML file called like a system of the package")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write, which is not there")
    add_table_options(parser)
    return parser.parse_args(argv)


def make(args: argparse.Namespace) -> dict[str, str]:
    """Every file by its path: the tables, and where they are from."""
    path = hardware_file(args.gpu)
    peak, gpu = read_sheet(path)[1]["peak_tflops"], path.stem
    causal = float(tomllib.loads((CONFIGS / "traffic.toml").read_text())["causal_divisor"]["value"])
    package = find_package(args.tables)
    tables = {
        "gemm": find_tables(package, gpu, "gemm", "gemm_perf", args)[0],
        "prefill": find_tables(package, gpu, "attention", "context_attention_perf", args)[0],
        "decode": find_tables(package, gpu, "attention", "generation_attention_perf", args)[0],
    }
    gemm = used_table(tables["gemm"], partial(gemm_csv, peak_tflops=peak))
    prefill = used_table(tables["prefill"], partial(prefill_csvs, peak_tflops=peak, causal_divisor=causal))
    decode = used_table(tables["decode"], partial(decode_csvs, peak_tflops=peak, shapes=[*prefill]))
    sources = "".join(f"{name}: {described(package, path)}\n" for name, path in tables.items())
    files = {"SOURCES.txt": f"MFU of {peak:g} TFLOP/s, prefill FLOPs / {causal:g}\n{sources}"}
    files[f"gemm/{gpu}/data.csv"] = gemm
    for (shape, tp), text in decode.items():
        name = "-".join(map(str, shape))
        files[f"mha/prefill/{gpu}/{name}.csv"] = prefill[shape]
        files[f"mha/decode/{gpu}/{name}-tp{tp}.csv"] = text
    if not decode:
        raise ValueError(f"{tables['decode']}: no shape of {tables['prefill']}")
    return files


def write(folder: Path, files: Mapping[str, str]) -> None:
    """All of ``folder``, or nothing."""
    if folder.exists():
        raise ValueError(f"{folder}: is there")
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".make_mfu_tables-") as draft:
        for name, text in files.items():
            path = Path(draft, "tables", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        Path(draft, "tables").rename(folder)


def main(argv: list[str] | None = None) -> int:
    """Make the tables and write them; 2 for wrong input."""
    args = parse(argv)
    try:
        files = make(args)
        write(args.out, files)
    except (OSError, ValueError) as error:
        print(f"make_mfu_tables: {error}", file=sys.stderr)
        return 2
    print(f"{args.out}: {len(files) - 1} tables\n{files['SOURCES.txt']}", end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
