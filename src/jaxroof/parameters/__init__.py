"""How a constant is declared; the trees of constants and shapes."""

from jaxroof.parameters.architecture import TP, Architecture, Deployment, heads_divide, kv_heads_divide
from jaxroof.parameters.arrays import Flag, Mask, Scalar, Values, Vector
from jaxroof.parameters.constants import Host, Overheads, OverheadTerms, Tier0, Traffic
from jaxroof.parameters.hardware import Hardware
from jaxroof.parameters.leaves import declared, get, inlined, leaf, numbers, put, replace, scalar, walk
from jaxroof.parameters.mfu import AnalyticMfu, Efficiency, MeasuredMfu

__all__ = [
    "TP", "AnalyticMfu", "Architecture", "Deployment", "Efficiency", "Flag", "Hardware", "Host", "Mask", "MeasuredMfu",
    "OverheadTerms", "Overheads", "Scalar", "Tier0", "Traffic", "Values", "Vector", "declared", "get",
    "heads_divide", "inlined", "kv_heads_divide", "leaf", "numbers", "put", "replace", "scalar", "walk",
]  # fmt: skip
