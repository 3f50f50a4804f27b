"""``quantization_config`` or ``hf_quant_config.json``: which modules are quantised how, and the KV cache."""

import dataclasses
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from jaxroof.catalogue.huggingface.config import Config
from jaxroof.catalogue.huggingface.patterns import Patterns
from jaxroof.catalogue.huggingface.schemes import (
    MXFP4,
    PLAIN,
    Scheme,
    algorithm_scheme,
    block_scheme,
    formats,
    group_scheme,
    group_size,
    int_scheme,
)

MIXED = "MIXED_PRECISION"


class Rule(NamedTuple):
    """A scheme and the modules that have it; None: all."""

    targets: Patterns | None
    scheme: Scheme


@dataclasses.dataclass(frozen=True)
class Quantisation:
    """``rules``, the first that names a module counts; ``ignored`` modules stay as they are.

    ``head``: whether the head is a module like others.
    """

    rules: Sequence[Rule] = ()
    ignored: Patterns = dataclasses.field(default_factory=lambda: Patterns([]))
    head: bool = False
    kv_cache_bytes: float = 2.0

    def scheme(self, names: Iterable[str]) -> Scheme:
        """That of a module that goes by any of these names."""
        names = list(names)
        if not self.rules or any(map(self.ignored.match, names)):
            return PLAIN
        named = (rule for rule in self.rules if rule.targets is None or any(map(rule.targets.match, names)))
        return next((rule.scheme for rule in named), PLAIN)


def read_quantisation(config: Config, beside: Config | None) -> Quantisation:
    """What ``quantization_config`` says, else the ``hf_quant_config.json`` beside the file. Raises InputError."""
    settings = config.part("quantization_config")
    if not settings.table:
        return _modelopt(beside) if beside else Quantisation()
    method = settings.get("quant_method") or ("modelopt" if settings.get("quant_algo") else None)
    if not isinstance(method, str) or method not in METHODS:
        raise _not_understood(config, f"{method or 'no quant_method'}")
    return METHODS[method](settings)


def _not_understood(config: Config, found: str) -> Exception:
    known = f"{', '.join(METHODS)} with weights of 4 or 8 bits"
    return config.error("quantization_config", f"understood are {known}; got {found}")


def _fp8(settings: Config) -> Quantisation:
    if settings.get("quant_algo") not in (None, "FP8"):
        raise settings.error("quant_algo", f"{settings.get('quant_algo')} is not modelled for fp8")
    return Quantisation([Rule(None, block_scheme(settings))], _ignored(settings), kv_cache_bytes=_kv_bytes(settings))


def _compressed_tensors(settings: Config) -> Quantisation:
    groups = settings.part("config_groups")
    parts = [groups.part(name) for name in groups.table]
    schemes = [group_scheme(part) for part in parts]
    if (sparse := settings.part("sparsity_config").get("format")) not in (None, "dense"):
        raise settings.error("sparsity_config", f"{sparse} is not modelled")
    if not parts or None in schemes:
        found = " and ".join(sorted({formats(part) for part in parts})) or "no"
        raise _not_understood(Config(settings.path, {}), f"compressed-tensors with {found} weights")
    rules = [Rule(_targets(part), scheme) for part, scheme in zip(parts, schemes, strict=True) if scheme]
    by_name_first = sorted(rules, key=lambda rule: rule.targets is None)
    return Quantisation(by_name_first, _ignored(settings), head=True, kv_cache_bytes=_kv_bytes(settings))


def _modelopt(settings: Config) -> Quantisation:
    kv_bytes, ignored = _kv_bytes(settings), _ignored(settings)
    if settings.get("quant_algo") != MIXED:
        scheme = algorithm_scheme(settings)
        return Quantisation([Rule(None, scheme)] if scheme else [], ignored, head=True, kv_cache_bytes=kv_bytes)
    layers = settings.part("quantized_layers")
    if not layers.table:
        return _compressed_tensors(settings)
    found: dict[Scheme, list[str]] = {}
    for name in layers.table:
        if scheme := algorithm_scheme(layers.part(name)):
            found.setdefault(scheme, []).append(name)
    rules = [Rule(_patterns(layers, names[0], names), scheme) for scheme, names in found.items()]
    return Quantisation(rules, ignored, head=True, kv_cache_bytes=kv_bytes)


def _mxfp4(settings: Config) -> Quantisation:
    """Of the experts alone."""
    return Quantisation([Rule(Patterns(["experts"]), MXFP4)], _ignored(settings))


def _awq(settings: Config) -> Quantisation:
    scheme = int_scheme(_bits(settings), group_size(settings), settings.flag("zero_point", True))
    return Quantisation([Rule(None, scheme)], _ignored(settings))


def _gptq(settings: Config) -> Quantisation:
    """Zero points are stored, symmetric or not; ``dynamic`` may leave modules out."""
    scheme = int_scheme(_bits(settings), group_size(settings), zero_points=True)
    inside = [name for names in settings.items("modules_in_block_to_quantize") for name in _names(settings, names)]
    dynamic = settings.part("dynamic")
    if other := [key for key in dynamic.table if not key.startswith("-:")]:
        raise dynamic.error(other[0], "not modelled; only modules left out are")
    ignored = _ignored(settings, [f"re:{key[2:]}" for key in dynamic.table])
    targets = _patterns(settings, "modules_in_block_to_quantize", [*inside, "lm_head"]) if inside else None
    return Quantisation([Rule(targets, scheme)], ignored, head=settings.flag("lm_head"))


METHODS: dict[str, Callable[[Config], Quantisation]] = {
    "fp8": _fp8,
    "compressed-tensors": _compressed_tensors,
    "modelopt": _modelopt,
    "modelopt_fp4": _modelopt,
    "modelopt_mixed": _modelopt,
    "mxfp4": _mxfp4,
    "awq": _awq,
    "gptq": _gptq,
}
IGNORE_KEYS = ("ignore", "modules_to_not_convert", "exclude_modules", "ignored_layers")


def _ignored(settings: Config, more: Iterable[str] = ()) -> Patterns:
    key = settings.first(*IGNORE_KEYS)
    names = [*(_names(settings, settings.items(key)) if key else ()), *more]
    return _patterns(settings, key or "dynamic", names)


def _patterns(settings: Config, key: str, names: Iterable[str]) -> Patterns:
    try:
        return Patterns(names)
    except re.error as error:
        raise settings.error(key, f"no regular expression: {error}") from None


def _targets(group: Config) -> Patterns | None:
    """The modules that a group names; the class of all linear layers is all."""
    targets = _names(group, group.items("targets"))
    return None if not targets or "Linear" in targets else _patterns(group, "targets", targets)


def _names(settings: Config, values: Any) -> list[str]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise settings.error("modules", f"must be lists of names, got {values!r}")
    return list(values)


def _bits(settings: Config) -> float:
    if (bits := settings.get("bits") or settings.get("w_bit")) not in (4, 8):
        raise settings.error("bits", f"must be 4 or 8, got {bits!r}")
    return float(bits)


def _kv_bytes(settings: Config) -> float:
    """1 with an FP8 KV cache, that of the checkpoint being what the engine takes, else 2. Raises InputError."""
    for key in ("kv_cache_quant_algo", "kv_cache_scheme"):
        value = settings.get(key)
        if isinstance(value, dict):
            value = "FP8" if (value.get("num_bits"), value.get("type")) == (8, "float") else value
        if value == "FP8":
            return 1.0
        if value is not None:
            raise settings.error(key, f"{value} is not modelled; FP8 is")
    return 2.0
