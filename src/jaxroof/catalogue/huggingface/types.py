"""How a ``model_type`` can say its shape."""

import dataclasses
from collections.abc import Mapping
from typing import Any

EXPERT_KEYS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
CHOSEN_KEYS = ("num_experts_per_tok", "top_k_experts", "moe_k", "moe_top_k")
FULL, SLIDING, CHUNKED = "full_attention", "sliding_attention", "chunked_attention"


@dataclasses.dataclass(frozen=True)
class Mixture:
    """The keys of a mixture of experts: ``dense`` [width of a layer without experts], shared experts and their width.

    ``shared_count`` "" is one shared expert, ``shared_width`` "" none.
    """

    dense: str = "intermediate_size"
    shared_count: str = ""
    shared_width: str = ""


@dataclasses.dataclass(frozen=True)
class Names:
    """What the modules of a layer are called in a checkpoint; these are the names that a quantiser leaves out."""

    dense: str = "mlp"
    shared: str = "mlp.shared_experts"
    expert: str = "mlp.experts.0"
    matrices: tuple[str, str, str] = ("gate_proj", "up_proj", "down_proj")


@dataclasses.dataclass(frozen=True)
class Kind:
    """How a ``model_type`` says its shape.

    ``window``: which layers attend to a window, a name in ``attention.WINDOWS``. ``reads``: the keys of patterns over
    layers that it has; others are refused. ``keys``: by kind of layer, the keys that stand for an attention field
    there. ``required``: those of them that files must have. ``defaults``: what its files leave out.
    ``qk_norm``: which layers norm queries and keys, or latents, a name in ``attention.NORMED``. ``router``: what a
    router does beyond a softmax or sigmoid and a top-k, fields of ``Routing``.
    """

    window: str = "none"
    reads: tuple[str, ...] = ()
    keys: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    required: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    latent: bool = False
    mixture: Mixture | None = None
    ffn_matrices: int = 3
    tied: bool = False
    scaled_positions: bool = False
    names: Names = Names()
    qk_norm: str = "none"
    router: tuple[str, ...] = ()
