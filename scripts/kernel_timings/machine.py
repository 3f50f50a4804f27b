"""What was measured on: names, versions, and the data sheet's rates of a GPU in configs/hardware."""

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import torch

HARDWARE = Path(__file__).parents[2] / "configs/hardware"
# What a driver calls the GPUs of the catalogue; a PCIe, NVL or 40 GB variant has other rates and is none of them.
DRIVER_NAMES = {
    "a100-sxm": "NVIDIA A100-SXM4-80GB", "h100-sxm": "NVIDIA H100 80GB HBM3", "h200-sxm": "NVIDIA H200",
    "l40s": "NVIDIA L40S", "b200": "NVIDIA B200", "gb200": "NVIDIA GB200", "mi300x": "AMD Instinct MI300X",
}  # fmt: skip


def described(device: torch.device) -> dict[str, str]:
    """The columns that say where a row is from."""
    if device.type == "cpu":
        return {"device": "cpu", "driver": "", "cuda": "", "torch": torch.__version__}
    toolkit = torch.version.cuda or f"HIP {torch.version.hip}"
    name = torch.cuda.get_device_name(device)
    return {"device": name, "driver": driver(), "cuda": toolkit, "torch": torch.__version__}


def driver() -> str:
    """The driver's version, "" where nvidia-smi does not say."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.split()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        return ""


def sheet(name: str, given: str | None) -> dict[str, float]:
    """Rates per second of the file ``given``, else of the GPU of that name; none of an unknown one."""
    known = [key for key, called in DRIVER_NAMES.items() if re.fullmatch(rf"{called}( OAM)?", name)]
    if given is None and not known:
        return {}
    stem = given or known[0]
    path = Path(stem) if stem.endswith(".toml") else HARDWARE / f"{stem}.toml"
    try:
        content = tomllib.loads(path.read_text())
        rates = {"bytes": 1e12 * content["hbm_tb_per_s"]["value"], "bfloat16": 1e12 * content["peak_tflops"]["value"]}
        rates["fp8"] = 1e12 * content["fp8_tflops"]["value"]
    except (KeyError, OSError, TypeError, ValueError) as problem:
        raise ValueError(f"{path}: {type(problem).__name__}: {problem}") from problem
    if min(rates.values()) <= 0:
        raise ValueError(f"{path}: hbm_tb_per_s, peak_tflops and fp8_tflops must be positive")
    return rates


def sheet_us(rates: dict[str, float], sizes: Any, moved: float, flops: float) -> float:
    """max(bytes / bandwidth, FLOPs / peak) [µs]."""
    compute = flops / rates[sizes["dtype"]] if flops else 0.0
    return 1e6 * max(moved / rates["bytes"], compute)
