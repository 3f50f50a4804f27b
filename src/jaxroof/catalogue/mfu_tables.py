"""A folder of measured MFU tables → :class:`MeasuredMfu`.

Layout: ``gemm/<gpu>/data.csv`` (m,k,n,latency_us,mfu), ``mha/prefill/<gpu>/<h>-<g>-<d>.csv``
(dtype,seq_len,latency_us,mfu), ``mha/decode/<gpu>/<h>-<g>-<d>-tp<T>.csv``
(dtype,kv_dtype,batch_size,kv_len,latency_us,mfu).
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jaxroof.files import NON_NEGATIVE, InputError, read_csv
from jaxroof.files.check import parsed_number
from jaxroof.parameters import MeasuredMfu
from jaxroof.parameters.mfu import MIN_MFU

Rows = NDArray[np.float64]


def load_mfu_tables(folder: Path, gpu: str) -> MeasuredMfu:
    """The tables of ``gpu`` (``h100-sxm`` also finds ``h100``), padded and stacked. Raises InputError."""
    gemm_path = _gpu_folder(folder / "gemm", gpu) / "data.csv"
    gemm = _read(gemm_path, ["m", "k", "n", "latency_us", "mfu"], ["k", "n", "m"])
    shapes = np.unique(gemm[:, :2], axis=0)
    curves = [gemm[(gemm[:, :2] == shape).all(axis=1)][:, 2:] for shape in shapes]
    for curve in curves:
        _check_reached(gemm_path, curve[:, 1])
    prefill = _shaped_files(_gpu_folder(folder / "mha/prefill", gpu), r"(\d+)-(\d+)-(\d+)")
    decode = _shaped_files(_gpu_folder(folder / "mha/decode", gpu), r"(\d+)-(\d+)-(\d+)-tp(\d+)")
    columns = ["dtype", "seq_len", "latency_us", "mfu"]
    lengths = [_read(path, columns, ["seq_len"]) for path in prefill.values()]
    tps, grids = zip(*(_decode_tables(folder, shape, decode) for shape in prefill), strict=True)
    flat = [[_pad([g[axis] for g in shape]) for shape in grids] for axis in (0, 1, 2)]
    return MeasuredMfu(
        gemm_kn=shapes,
        gemm_m=_pad([c[:, 0] for c in curves]),
        gemm_mfu=_pad([c[:, 1] for c in curves]),
        heads=np.array(list(prefill)),
        prefill_length=_pad([c[:, 0] for c in lengths]),
        prefill_mfu=_pad([c[:, 1] for c in lengths]),
        decode_tp=_pad([np.array(t, dtype=float) for t in tps]),
        decode_batch=_pad(flat[0]),
        decode_length=_pad(flat[1]),
        decode_mfu=_pad(flat[2]),
    )


def _gpu_folder(folder: Path, gpu: str) -> Path:
    for name in (gpu, gpu.split("-")[0]):
        if (folder / name).is_dir():
            return folder / name
    raise InputError(folder, gpu, "no folder for this GPU")


def _shaped_files(folder: Path, pattern: str) -> dict[tuple[int, ...], Path]:
    found = {}
    for path in sorted(folder.glob("*.csv")):
        if not (match := re.fullmatch(pattern, path.stem)):
            raise InputError(path, f"the name must match {pattern}.csv")
        found[tuple(map(int, match.groups()))] = path
    if not found:
        raise InputError(folder, "no tables")
    return found


def _decode_tables(
    folder: Path, shape: tuple[int, ...], decode: dict[tuple[int, ...], Path]
) -> tuple[list[int], list[tuple[Rows, Rows, Rows]]]:
    """Degrees T of a shape, and per T its (batches, lengths, mfu grid)."""
    tps = [key[3] for key in decode if key[:3] == shape]
    if not tps:
        raise InputError(folder / "mha/decode", "-".join(map(str, shape)), "no decode table for this prefill shape")
    columns = ["dtype", "kv_dtype", "batch_size", "kv_len", "latency_us", "mfu"]
    paths = [decode[*shape, t] for t in tps]
    return tps, [_grid(path, _read(path, columns, ["batch_size", "kv_len"])) for path in paths]


def _read(path: Path, columns: Sequence[str], keys: Sequence[str]) -> Rows:
    """Columns ``keys`` and mfu, sorted by key."""
    wanted = [*keys, "mfu"]
    rows = read_csv(path, columns)
    table = np.array([[parsed_number(path, name, row[name], NON_NEGATIVE) for name in wanted] for row in rows])
    table = table[np.lexsort(table[:, len(keys) - 1 :: -1].T)]
    if len(np.unique(table[:, : len(keys)], axis=0)) < len(table):
        raise InputError(path, ",".join(keys), "a row stands twice")
    _check_reached(path, table[:, -1])
    return table


def _check_reached(path: Path, mfu: Rows) -> None:
    if not (mfu >= MIN_MFU).any():
        raise InputError(path, "mfu", f"no row of a table reaches {MIN_MFU:g}")


def _grid(path: Path, table: Rows) -> tuple[Rows, Rows, Rows]:
    batches, lengths = np.unique(table[:, 0]), np.unique(table[:, 1])
    if len(table) != len(batches) * len(lengths):
        raise InputError(path, "batch_size,kv_len", "the rows must form a full grid")
    return batches, lengths, table[:, 2].reshape(len(batches), len(lengths))


def _pad(arrays: Sequence[Rows]) -> Rows:
    """Stack arrays of unequal shape, each padded by repeating its last entries."""
    shape = np.max([a.shape for a in arrays], axis=0)
    widths = ([(0, full - have) for full, have in zip(shape, a.shape, strict=True)] for a in arrays)
    return np.stack([np.pad(a, width, mode="edge") for a, width in zip(arrays, widths, strict=True)])
