"""A file's shape, and what must be said of it."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from jaxroof.catalogue.huggingface.attention import attention, layer_kinds
from jaxroof.catalogue.huggingface.blocks import block_layers
from jaxroof.catalogue.huggingface.config import FACTOR, Config
from jaxroof.catalogue.huggingface.ffn import ffn
from jaxroof.catalogue.huggingface.modules import head_bytes, precision
from jaxroof.catalogue.huggingface.quantisation import Quantisation, read_quantisation
from jaxroof.catalogue.huggingface.refused import kind_of
from jaxroof.catalogue.huggingface.types import Kind
from jaxroof.catalogue.names import find
from jaxroof.files import COUNT, read_json
from jaxroof.files.check import one_of, required, table_at, text_at

Shape = dict[str, Any]
# A field that a layer has not is 0, but for these.
LAYER = {
    "num_attention_heads": 0.0, "num_key_value_heads": 0.0, "head_dim": 0.0, "v_head_dim": 0.0, "kv_projections": 2.0,
    "sliding_window": 0.0, "attention_chunk_size": 0.0, "q_lora_rank": 0.0, "kv_lora_rank": 0.0,
    "qk_rope_head_dim": 0.0, "intermediate_size": 0.0, "ffn_matrices": 3.0, "num_experts": 0.0,
    "num_experts_per_tok": 0.0, "moe_intermediate_size": 0.0, "qk_norm": 0.0, "router_bias": 0.0, "router_groups": 0.0,
    "router_late_sigmoid": 0.0,
}  # fmt: skip
BYTES = 2.0
DTYPES = ("bfloat16", "float16", "float32")
# Rope types whose max_position_embeddings already counts their factor.
SCALED_ROPE = ("llama3", "longrope", "su")
MTP_KEYS = ("num_nextn_predict_layers", "num_mtp_modules", "mtp_num_hidden_layers", "num_mtp_layers")


def config_path(name: str) -> Path:
    """The file of a catalogue model, a ``config.json``, or the one in a folder."""
    path = find("models", name)
    return path / "config.json" if os.path.isdir(path) else path


def load_shape(name: str) -> Shape:
    """The fields of ``Architecture`` for a catalogue model, or any ``config.json`` or its folder.

    ``layers`` has those of ``Layers``, as lists with an item for each group of equal layers. Raises InputError.
    """
    path = config_path(name)
    return shape_from_config(path, read_json(path), _beside(path.with_name("hf_quant_config.json")))


def load_notes(name: str) -> list[str]:
    """What must be said of a model's file: what is left out, what is served otherwise than it says."""
    path = config_path(name)
    config = read_json(path)
    text, every = _parts(path, config)
    notes = []
    if config.get("text_config") or config.get("vision_config"):
        notes.append(f"the text part of {config.get('model_type') or 'a model'}; its vision tower is left out")
    if key := text.first(*MTP_KEYS):
        notes.append(f"{key}: layers that predict further tokens (MTP) are left out")
    if (key := _dtype_key(text, every)) and every.get(key) == "float32":
        notes.append(f"{key}: float32 in the file, served in bfloat16")
    return notes


def shape_from_config(path: Path, config: Mapping[str, Any], beside: Config | None = None) -> Shape:
    """Read a config whose ``model_type`` is in ``KINDS``; keys that are not needed are ignored.

    Multimodal configs nest the decoder under ``text_config``. ``beside`` is what stands in an
    ``hf_quant_config.json``. Raises InputError.
    """
    text, every = _parts(path, config)
    kind = kind_of(_model_type(path, config), text)
    text = text.between(kind.defaults, {})
    quantisation = read_quantisation(every, beside)
    tied = _tied([text, Config(path, config)], kind)
    _check_dtype(text, every)
    return {
        "hidden_size": text.count("hidden_size"),
        "vocab_size": text.count("vocab_size"),
        "embedding_bytes": BYTES,
        "head_bytes": head_bytes(quantisation, tied),
        "activation_bytes": BYTES,
        "kv_cache_bytes": quantisation.kv_cache_bytes,
        "tie_word_embeddings": float(tied),
        "max_position_embeddings": _positions(text, kind),
        "layers": _groups(_layers(text, kind, quantisation)),
    }


def _parts(path: Path, config: Mapping[str, Any]) -> tuple[Config, Config]:
    """The decoder's settings, and those of the whole where it has none."""
    whole = Config(path, config)
    text = whole.part("text_config")
    if not text.table:
        return whole, whole
    return Config(path, config["text_config"]), whole.between({}, text.table)


def _model_type(path: Path, config: Mapping[str, Any]) -> str:
    """The decoder's, or the whole's where it has none."""
    text = config.get("text_config") or config
    return text_at(path, text if text.get("model_type") or not config.get("model_type") else config, "model_type")


def _layers(text: Config, kind: Kind, quantisation: Quantisation) -> list[Shape]:
    """The fields of each layer."""
    if "block_configs" in kind.reads:
        shapes = block_layers(text)
    else:
        kinds = enumerate(layer_kinds(text, kind))
        shapes = [attention(text, kind, layer, i) | ffn(text, kind, i) for i, layer in kinds]
    hidden = text.count("hidden_size")
    return [LAYER | s | precision(s, hidden, kind.names, i, quantisation) for i, s in enumerate(shapes)]


def _tied(configs: Iterable[Config], kind: Kind) -> bool:
    """Where the decoder and the whole disagree, one of them has a default; whoever says no means it."""
    key = "tie_word_embeddings"
    stated = [config.flag(key) for config in configs if key in config.table]
    return all(stated) if stated else kind.tied


def _groups(layers: Iterable[Shape]) -> dict[str, list[float]]:
    """Equal layers as one: each field's values, and how many layers have them."""
    counts: dict[tuple[tuple[str, float], ...], int] = {}
    for layer in layers:
        key = tuple(layer.items())
        counts[key] = counts.get(key, 0) + 1
    fields = {name: [dict(key)[name] for key in counts] for name in dict(next(iter(counts)))}
    return {"num_hidden_layers": [float(count) for count in counts.values()], **fields}


def _positions(text: Config, kind: Kind) -> float:
    """The longest context that vLLM serves [tokens], 0 where none is stated."""
    stated = text.optional("max_position_embeddings")
    rope = text.part("rope_scaling")
    rope = rope if rope.table else text.part("rope_parameters")
    if kind.scaled_positions or not rope.get("factor") or (rope.get("rope_type") or rope.get("type")) in SCALED_ROPE:
        return stated
    scaled = rope.optional("factor", FACTOR) * (rope.optional("original_max_position_embeddings") or stated)
    if scaled > COUNT.high:
        raise rope.error("factor", f"makes more than {COUNT.high:g} positions: {scaled:g}")
    return float(int(scaled))  # as vLLM does


def _dtype_key(text: Config, every: Config) -> str | None:
    return text.first("torch_dtype", "dtype") or every.first("torch_dtype", "dtype")


def _check_dtype(text: Config, every: Config) -> None:
    """The 16 bits that vLLM serves: those stated, or bfloat16 for a file that states none or float32."""
    if key := _dtype_key(text, every):
        one_of(every.path, key, every.get(key), DTYPES)


def _beside(path: Path) -> Config | None:
    """What ``hf_quant_config.json`` says, where there is one."""
    if not path.exists():
        return None
    content = read_json(path)
    required(path, content, "quantization")
    table = table_at(path, content, "quantization")
    for key in ("quant_algo", "kv_cache_quant_algo"):
        required(path, table, key, "quantization.")
    return Config(path, table, "quantization.")
