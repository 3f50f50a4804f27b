"""What a quantiser's settings make of a weight and of a product's inputs [B]."""

import reprlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

from jaxroof.catalogue.huggingface.config import Config
from jaxroof.files import COUNT


class Scheme(NamedTuple):
    """Bytes of a weight, its scales and zero points included, and of a number that it is multiplied with.

    ``block`` such numbers share a scale; 0: those of a token, or all.
    """

    weight: float
    input: float
    block: float = 0.0


PLAIN = Scheme(2.0, 2.0)
# A block's scale: 1 byte for 16 numbers of NVFP4, 1 for 32 of the MX formats.
_NVFP4, _MXFP4, _MXFP8 = 0.5 + 1 / 16, 0.5 + 1 / 32, 1 + 1 / 32
_INT_SCALE, _BLOCK_SCALE = 2.0, 4.0
# quant_algo of modelopt; AWQ's come with a group_size.
ALGORITHMS = {
    "FP8": Scheme(1.0, 1.0),
    "FP8_PER_CHANNEL_PER_TOKEN": Scheme(1.0, 1.0),
    "FP8_PB_WO": Scheme(1.0 + _BLOCK_SCALE / 128**2, 1.0, 128.0),
    "MXFP8": Scheme(_MXFP8, _MXFP8, 32.0),
    "NVFP4": Scheme(_NVFP4, _NVFP4),
    "NVFP4_AWQ": Scheme(_NVFP4, _NVFP4),
    "W4A16_NVFP4": Scheme(_NVFP4, 2.0),
    "W4A16_MXFP4": Scheme(_MXFP4, 2.0),
}
GROUPED_ALGORITHMS = ("W4A16_AWQ", "INT4_AWQ")
MXFP4 = Scheme(_MXFP4, 2.0)


def int_scheme(bits: float, group: float, zero_points: bool) -> Scheme:
    """Whole numbers of 4 or 8 bits with a 16-bit scale for ``group`` of them (0: for a whole channel), dequantised."""
    overhead = (_INT_SCALE + zero_points * bits / 8) / group if group else 0.0
    return Scheme(bits / 8 + overhead, 2.0)


def group_size(config: Config) -> float:
    """Weights that share a scale; 0, as −1 or none says, is a whole channel or tensor. Raises InputError."""
    key = config.first("group_size", "q_group_size") or "group_size"
    return 0.0 if config.get(key) == -1 else config.optional(key)


def block_scheme(config: Config) -> Scheme:
    """FP8 with a 4-byte scale per ``weight_block_size``, or per tensor or channel. Raises InputError."""
    block = _block(config, "weight_block_size")
    return Scheme(1.0 + _overhead(block), 1.0, float(block[1]) if block else 0.0)


def algorithm_scheme(config: Config, key: str = "quant_algo") -> Scheme | None:
    """That of modelopt's name for it; None: not quantised. Raises InputError."""
    name = config.get(key)
    if not isinstance(name, str | None):
        raise config.error(key, f"must be text, got {name!r}")
    if name in GROUPED_ALGORITHMS:
        return int_scheme(4, config.count("group_size", 128), zero_points=False)
    if name is not None and name not in ALGORITHMS:
        known = ", ".join([*ALGORITHMS, *GROUPED_ALGORITHMS])
        raise config.error(key, f"{name} is not modelled; modelled are {known}")
    return ALGORITHMS[name] if name else None


def group_scheme(group: Config) -> Scheme | None:
    """That of a group of ``compressed-tensors``, None where it is none that is modelled. Raises InputError."""
    weights, inputs = group.part("weights"), group.part("input_activations")
    of_weight, of_input = WEIGHTS.get(_format(weights)), INPUTS.get(_format(inputs))
    if not of_weight or not of_input:
        return None
    block = [*_block(weights, "block_structure")[1:], inputs.optional("group_size")]
    return Scheme(of_weight(weights), of_input(inputs), float(block[0]) if inputs.table else 0.0)


def formats(group: Config) -> str:
    """What a group's weights are, in words."""
    return _format(group.part("weights")) or "no"


def _format(numbers: Config) -> str:
    return f"{numbers.get('num_bits')}-bit {numbers.get('type')}" if numbers.table else ""


def _group_float(weights: Config) -> float:
    group = group_size(weights)
    return weights.optional("num_bits") / 8 + (1 / group if group else 0.0)


def _group_int(weights: Config) -> float:
    zero_points = not weights.flag("symmetric", True)
    return int_scheme(weights.optional("num_bits"), group_size(weights), zero_points).weight


def _float8(weights: Config) -> float:
    return _group_float(weights) + _overhead(_block(weights, "block_structure"))


def _block(config: Config, key: str) -> list[int]:
    """Rows and columns that share a scale, none where none are stated. Raises InputError."""
    block = config.items(key)
    if block and (len(block) != 2 or not all(type(side) is int and 0 < side <= COUNT.high for side in block)):
        raise config.error(key, f"must be two sizes, got {reprlib.repr(block)}")
    return list(block)


def _overhead(block: Sequence[int]) -> float:
    return _BLOCK_SCALE / float(block[0] * block[1]) if block else 0.0


# Bytes of a weight and of an input, by format.
WEIGHTS: dict[str, Callable[[Config], float]] = {
    "8-bit float": _float8,
    "8-bit int": _group_int,
    "4-bit int": _group_int,
    "4-bit float": _group_float,
}
INPUTS: dict[str, Callable[[Config], float]] = {
    "": lambda inputs: PLAIN.input,
    "8-bit float": _group_float,
    "8-bit int": lambda inputs: 1.0,
    "4-bit float": _group_float,
}
