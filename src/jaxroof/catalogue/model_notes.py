"""What must be said of a model that its numbers do not show: of its file, its KV cache, its inputs on a GPU."""

import jax
import numpy as np

from jaxroof.catalogue.huggingface import load_notes
from jaxroof.parameters import Architecture, Hardware
from jaxroof.step.precision import has_unit

CACHE_OF_8_BITS = "the KV cache is FP8: attention has the efficiency that it has with 16 bits"
LATENT = "attention to latents (MLA) has the floors and efficiencies of kernels that read keys and values"


def model_notes(name: str, arch: Architecture, gpus: dict[str, Hardware]) -> list[str]:
    """Of the file, and where ``gpus`` have no unit for inputs as narrow as its own. Raises InputError."""
    layers, notes = arch.layers, load_notes(name)
    own = all(map(_knows_small_caches, gpus.values()))
    notes += [CACHE_OF_8_BITS] * (float(arch.kv_cache_bytes) < 2 and not own) + [LATENT] * bool(np.any(layers.latent))
    widths = _widths(arch)
    for gpu, hardware in gpus.items():
        bits = {8 if width >= 1 else 4 for width in widths if not bool(has_unit(np.float64(width), hardware))}
        notes += [f"{gpu} has no FP{n} unit: weights are dequantised (W{n}A16)" for n in sorted(bits)]
    return notes


def _knows_small_caches(hardware: Hardware) -> bool:
    """Whether the GPU has constants of its own for attention with an FP8 cache."""
    of_8, of_16 = hardware.kernels.decode_attention_fp8, hardware.kernels.decode_attention
    return not jax.tree.all(jax.tree.map(np.array_equal, of_8, of_16))


def _widths(arch: Architecture) -> set[float]:
    """Bytes of the inputs of the products that there are, where not all have 16 bits."""
    layers, inputs = arch.layers, arch.layers.inputs
    if inputs is None:
        return set()
    parts = (
        (inputs.attention_input_bytes, layers.num_attention_heads),
        (inputs.ffn_input_bytes, layers.intermediate_size),
        (inputs.expert_input_bytes, layers.num_experts),
    )
    pairs = [np.broadcast_arrays(*part) for part in parts]
    return {float(width) for widths, there in pairs for width in widths[there > 0]}
