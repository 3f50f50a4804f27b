"""How a constant is declared; the trees of constants and shapes."""

from jaxroof.parameters.along import Predicted, slopes_along, values_along
from jaxroof.parameters.architecture import (
    EP,
    TP,
    Architecture,
    Deployment,
    alike,
    experts_divide,
    heads_divide,
    kv_heads_divide,
)
from jaxroof.parameters.arrays import Flag, Mask, Scalar, Values, Vector
from jaxroof.parameters.constants import Line, Overheads, OverheadTerms, Tier0, Traffic
from jaxroof.parameters.hardware import Hardware
from jaxroof.parameters.layers import Groups, Layers, layer_leaves, layers_of, with_branches
from jaxroof.parameters.leaves import declared, get, inlined, leaf, numbers, put, replace, scalar, setting_axes, walk
from jaxroof.parameters.mfu import AnalyticMfu, Efficiency, MeasuredMfu
from jaxroof.parameters.sampling import Sampling
from jaxroof.parameters.server import Server

__all__ = [
    "EP", "TP", "AnalyticMfu", "Architecture", "Deployment", "Efficiency", "Flag", "Groups", "Hardware",
    "Layers", "Line", "Mask", "MeasuredMfu", "OverheadTerms", "Overheads", "Predicted", "Sampling", "Scalar", "Server",
    "Tier0", "Traffic", "Values", "Vector", "alike", "declared", "experts_divide", "get", "heads_divide", "inlined",
    "kv_heads_divide", "layer_leaves", "layers_of", "leaf", "numbers", "put", "replace", "scalar", "setting_axes",
    "slopes_along", "values_along", "walk", "with_branches",
]  # fmt: skip
