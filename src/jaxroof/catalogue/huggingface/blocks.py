"""``block_configs`` of ``nemotron-nas``: layers that a search has given heads and widths of their own, or none."""

from jaxroof.catalogue.huggingface.config import FACTOR, Config

MULTIPLE = 256
# What a block may also say; none is modelled.
ODD = ("replace_with_linear", "sparsify", "window_length", "num_sink_tokens", "unshifted_sink")


def block_layers(text: Config) -> list[dict[str, float]]:
    """Attention and FFN of each layer. Raises InputError."""
    blocks = text.per_layer("block_configs")
    return [_block(text, Config(text.path, {"block": block}, f"block_configs.{i}.")) for i, block in enumerate(blocks)]


def _block(text: Config, block: Config) -> dict[str, float]:
    parts = block.part("block")
    parts = Config(parts.path, parts.table, block.where)
    return _attention(text, parts.part("attention")) | _ffn(text, parts.part("ffn"))


def _attention(text: Config, part: Config) -> dict[str, float]:
    _refuse_odd(part)
    heads = text.count("num_attention_heads")
    width = {"head_dim": text.count("head_dim", text.count("hidden_size") / heads)}
    if part.flag("no_op"):
        return {"num_attention_heads": 0.0, "num_key_value_heads": 0.0} | width
    group = part.count("n_heads_in_group")
    if heads % group:
        raise part.error("n_heads_in_group", f"{heads:g} heads cannot be divided into groups of {group:g}")
    return {"num_attention_heads": heads, "num_key_value_heads": heads / group} | width


def _ffn(text: Config, part: Config) -> dict[str, float]:
    """⅔ · 2 · ffn_mult · hidden_size, rounded up to a multiple of 256."""
    _refuse_odd(part)
    if part.flag("no_op"):
        return {"intermediate_size": 0.0}
    if not (multiple := part.optional("ffn_mult", FACTOR)):
        raise part.error("ffn_mult", "missing key")
    width = int(2 * multiple * text.count("hidden_size") / 3)
    return {"intermediate_size": float(-(-width // MULTIPLE) * MULTIPLE)}


def _refuse_odd(part: Config) -> None:
    if not part.table:
        raise part.error("no_op", "missing key")
    if key := part.first(*ODD):
        raise part.error(key, "not modelled")
