"""Catalogue files → parameter pytrees, checked here and nowhere else."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar, cast

import jax
import numpy as np

from jaxroof import defaults
from jaxroof.catalogue.gpu import read_gpu
from jaxroof.catalogue.huggingface import load_shape
from jaxroof.catalogue.kv_cache import kv_cache_bytes
from jaxroof.catalogue.mfu_tables import load_mfu_tables
from jaxroof.catalogue.names import find, is_original
from jaxroof.catalogue.sampling import load_generation
from jaxroof.catalogue.servers import load_server
from jaxroof.catalogue.sourced_tree import read_tree, titled_table
from jaxroof.files import NON_NEGATIVE, POSITIVE, InputError, Range, check, data_dir, read_json
from jaxroof.parameters import Line, Overheads, Tier0, layers_of, put, replace, scalar, walk
from jaxroof.parameters.architecture import Architecture, Deployment, check_deployment
from jaxroof.parameters.constants import Traffic
from jaxroof.parameters.hardware import Hardware
from jaxroof.step import STEP_MODELS, Model
from jaxroof.step.model import with_server

AnyPath = str | Path
Tree = TypeVar("Tree", Model, Tier0)
File = TypeVar("File")


def load_architecture(name: str, kv_cache_dtype: str | None = None) -> Architecture:
    """A catalogue model (``jaxroof list models``), or any Hugging Face ``config.json`` or its folder.

    ``kv_cache_dtype`` is what the KV cache is kept in, in vLLM's words; by default as the file says.
    ``organisation/name`` is what Hugging Face's client has downloaded of that repository; nothing is downloaded here.
    Raises InputError for an unknown name, a malformed file, and for what is not modelled.

    >>> float(jaxroof.load_architecture("llama-3.1-8b").hidden_size)
    4096.0
    """
    shape = load_shape(name)
    shape["kv_cache_bytes"] = kv_cache_bytes(kv_cache_dtype, shape["kv_cache_bytes"])
    layers = layers_of({key: np.array(values, dtype=float) for key, values in shape.pop("layers").items()})
    return cast(Architecture, jax.device_put(Architecture(**shape, layers=layers, sampling=load_generation(name))))


def load_deployment(file: object, arch: Architecture, tp: float, ep: float = 1) -> Deployment:
    """A deployment whose heads and experts can be divided; ``file`` is what named it. Raises InputError."""
    check_deployment(file, arch, tp, ep)
    return Deployment(tp, ep)


def load_hardware(
    name: str = defaults.HARDWARE, mfu_tables: AnyPath | None = None, server: str | None = None
) -> Hardware:
    """A catalogue GPU, a TOML file, or the original simulator's ``hardware_config.json``.

    ``mfu_tables`` is a folder of measured tables that replaces the analytic MFU; ``server`` may have constants of its
    engine on that GPU, which replace the GPU's. Raises InputError.
    The file has the source of each number; a data sheet's rates are dense, without sparsity. SI units.

    >>> float(jaxroof.load_hardware("h200-sxm").hbm_bytes_per_s) / 1e12
    4.8
    """
    path = find("hardware", name)
    hardware = replace(load_hardware(), _original(path)[0]) if is_original(path) else read_gpu(path, server)
    if mfu_tables is None:
        return hardware
    return put(
        hardware, {"mfu": load_mfu_tables(Path(mfu_tables), defaults.HARDWARE if is_original(path) else path.stem)}
    )


def load_overheads(name: str) -> Overheads:
    """A formula of ``configs/overheads/`` (``jaxroof list overheads``) or a TOML file of that form. Raises InputError.

    >>> round(1e6 * float(jaxroof.load_overheads("h2b").decode.per_layer_s))  # µs
    100
    """
    return _load(find("overheads", name), "overheads", Overheads)


def load_tier0(
    hardware: str = defaults.HARDWARE, overheads: str | None = None, mfu_tables: AnyPath | None = None,
    server: str = defaults.SERVER,
) -> Tier0:  # fmt: skip
    """Every constant of a prediction, from files with sources; nothing is fitted. Raises InputError.

    ``overheads`` defaults to none, or to the rate that an original ``hardware_config.json`` names.
    Other arguments as for :func:`load_hardware`.

    >>> float(jaxroof.load_tier0("h100-sxm").hardware.hbm_bytes) / 2**30
    80.0
    """
    traffic = _load(data_dir() / "configs/traffic.toml", "traffic", Traffic)
    gpu, engine = load_hardware(hardware, mfu_tables, server), load_server(server, hardware)
    tier0 = Tier0(gpu, traffic, engine, load_overheads(overheads or defaults.OVERHEADS))
    if overheads is None and is_original(hardware):
        tier0 = replace(tier0, _original(Path(hardware))[1])
    return tier0


def load_model(
    step: str = defaults.STEP_MODEL,
    hardware: str = defaults.HARDWARE,
    overheads: str | None = None,
    mfu_tables: AnyPath | None = None,
    server: str | None = None,
) -> Model:
    """A step-time model, ``kernels``, ``memory``, ``roofline`` or ``linear``, with its constants.

    Constants are those that :func:`load_tier0` finds. For a TOML file with the line of a server that somebody measured,
    ``step`` is its path; the line is all that a request costs there, unless ``server.admission_ms`` is set.
    ``mfu_tables`` are for ``roofline``; an original ``hardware_config.json`` has no kernels. Without ``server`` it is
    vLLM 0.15, for the published ``memory`` and ``roofline`` theirs, and measured runs keep the one that they were
    measured on. Raises InputError.

    >>> jaxroof.load_model("memory", "a100-sxm", overheads="h2b").step
    'memory'
    """
    line, step = (Path(step), "linear") if step.endswith(".toml") else (None, step)
    check.one_of("--step-model", "value", step, STEP_MODELS)
    if mfu_tables is not None and step != "roofline":
        raise InputError("--mfu-tables", step, "uses no MFU tables; only roofline does")
    constants = load_tier0(hardware, overheads, mfu_tables, server or defaults.server(step))
    if is_original(hardware) and step == "kernels":
        raise InputError(hardware, "--hardware", "has no kernels; give --step-model memory or roofline")
    if step == "linear":
        constants = put(constants, {"server.admission_s": scalar(0.0)})
    if line is not None:
        constants = put(constants, {"linear": _load(line, "linear", Line)})
    model = with_server(step, constants, named=server is not None)
    return cast(Model, jax.device_put(model))  # once, not at every call


def with_settings(tree: Tree, settings: Iterable[str | tuple[str, Any]], where: str = "--set") -> Tree:
    """A model (or its constants) with constants replaced: "key=value" or (key, number), units of the files.

    Raises InputError for an unknown key or an illegal value; :func:`jaxroof.replace` takes arrays and checks none.

    >>> model = jaxroof.with_settings(jaxroof.load_model(), ["hardware.hbm_efficiency=0.9"])
    >>> round(float(model.constants.hardware.hbm_efficiency), 3)
    0.9
    """
    ranges = {key: leaf.range for key, _, leaf in walk(tree)}
    values = {}
    for setting in settings:
        key, value = check.key_and_value(where, setting, "KEY=VALUE") if isinstance(setting, str) else setting
        check.unknown_key(where, [key], ranges)
        read = check.parsed_number if isinstance(setting, str) else check.number
        values[key] = read(where, key, value, ranges[key])
    return replace(tree, values)


def _load(path: Path, kind: str, cls: type[File]) -> File:
    """A file of ``configs/<kind>/`` with a title and the tree of ``cls``. Raises InputError."""
    return read_tree(path, cls, titled_table(path, kind))


def _original(path: Path) -> tuple[dict[str, float], dict[str, float]]:
    """Hardware and overhead settings of the original simulator's ``hardware_config.json``.

    One GPU, flat or under its name; as there, no bwEfficiencyFactor (or 0) is raw bandwidth and no
    perLayerOverhead is none. What it does not name (MFU, capacity, kernels, link) stays the H100's.
    """
    data = read_json(path)
    if "TFlopsPeak" not in data:
        if len(data) != 1 or not isinstance(next(iter(data.values())), dict):
            raise InputError(path, "TFlopsPeak", "missing key (the file must describe one GPU)")
        data = next(iter(data.values()))
    data = {"bwEfficiencyFactor": 0, "perLayerOverhead": 0} | data

    def value(key: str, legal: Range) -> float:
        return check.number(path, key, check.required(path, data, key), legal)

    hardware = {
        "hbm_efficiency": value("bwEfficiencyFactor", Range(high=1)) or 1.0,
        "peak_tflops": value("TFlopsPeak", POSITIVE),
        "hbm_tb_per_s": value("BwPeakTBs", POSITIVE),
    }
    per_layer = value("perLayerOverhead", NON_NEGATIVE)
    return hardware, {f"overheads.{phase}.per_layer_us": per_layer for phase in ("prefill", "decode")}
