"""Count the parameters and the KV cache of models from their implementations, beside what is read of their files.

    python scripts/count_parameters.py --out tests/catalogue/data/counted_parameters.csv

Needs torch and transformers. Each model is built on the meta device, where weights have shapes and no values: the
default configuration of every causal language model of transformers, and the published configurations in the PyPI
package aiconfigurator-core (Apache-2.0), none of which is copied. Vision towers and layers that predict further
tokens are not counted. KV bytes are those of a token at 2 bytes a number. For latent attention that is the
compressed latent that vLLM caches, where transformers' own cache has the expanded heads.
"""

import argparse
import csv
import importlib.util
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxroof.catalogue.counts import counts
from jaxroof.catalogue.huggingface import load_shape
from jaxroof.files import InputError

PACKAGE = "aiconfigurator_core"
COLUMNS = (
    "source", "name", "model_type", "status", "reason", "counted_by", "parameters_counted", "parameters_read",
    "kv_bytes_counted", "kv_bytes_read",
)  # fmt: skip
# Types without a class of their own, whose published code inherits from that of another.
STANDS_FOR = {"kimi_k2": "deepseek_v3", "mimo": "qwen2"}
# Published totals of models whose code is in none of these packages, and what else is known of them.
PUBLISHED = {"nvidia--Llama-3_3-Nemotron-Super-49B-v1": 49.9e9}
# Flat files of a decoder whose class is that of a part.
WRAPPED = {"step3p7": "step3p5"}
# Types that are the decoder of another model, and what it takes to build one whose defaults cannot be built or read.
WHOLE = ("glm4v", "glm4v_moe", "mistral4", "qwen2_5_vl", "qwen2_vl", "qwen3_vl", "qwen3_vl_moe", "step3p7")
SETTINGS: dict[str, dict[str, Any]] = {
    "deepseek_v2": {"num_experts_per_tok": 6},
    "dots1": {"n_routed_experts": 128, "num_experts_per_tok": 6, "n_shared_experts": 2, "first_k_dense_replace": 1},
    "gemma4_text": {"hidden_size_per_layer_input": 0},
    "glm4_moe": {"head_dim": 128},
    "glm4v_moe": {"text_config": {"head_dim": 128}},
    "hunyuan_v1_dense": {"head_dim": 128},
    "mimo_v2_flash": {"swa_num_key_value_heads": 8},
    "ministral": {"head_dim": 128},
    "nemotron": {"num_key_value_heads": 8},
}
NOT_TEXT = ("visual", "vision", "audio", "projector", "embed_vision", "multi_modal")


def main(argv: list[str] | None = None) -> int:
    """Write the table; 1 if something is read with an error above 1 %."""
    parser = argparse.ArgumentParser(description="Count parameters from implementations, beside what is read.")
    parser.add_argument("--out", type=Path, help="CSV file to write (default: stdout)")
    parser.add_argument("--configs", type=Path, metavar="DIR", help=f"model_configs of {PACKAGE} (default: installed)")
    args = parser.parse_args(argv)
    rows = [*defaults(), *published(args.configs or package_configs())]
    with args.out.open("w", newline="") if args.out else sys.stdout as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    wrong = [row for row in rows if row["status"] == "read" and error(row) > 0.01]
    for row in wrong:
        print(f"{row['source']} {row['name']}: {100 * error(row):.1f} %", file=sys.stderr)
    return bool(wrong)


def package_configs() -> Path | None:
    """Where the package keeps its configurations, None without it."""
    spec = importlib.util.find_spec(PACKAGE)
    return Path(str(spec.origin)).parent / "model_configs" if spec else None


def error(row: dict[str, Any]) -> float:
    """The larger relative error of parameters and KV bytes, of what was counted."""
    pairs = [(row[f"{what}_counted"], row[f"{what}_read"]) for what in ("parameters", "kv_bytes")]
    return max((abs(read / counted - 1) for counted, read in pairs if counted), default=0.0)


def defaults() -> Iterator[dict[str, Any]]:
    """A row for each causal language model of transformers."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as NAMES

    for model_type in sorted([*NAMES, *WHOLE]):
        yield default_row(model_type, {})
        if model_type in SETTINGS:
            yield default_row(model_type, SETTINGS[model_type])


def default_row(model_type: str, settings: dict[str, Any]) -> dict[str, Any]:
    """The row of a type's default configuration, with some settings."""
    from transformers import AutoConfig

    name = model_type + "".join(f" {key}={value}" for key, value in settings.items())
    try:
        config = AutoConfig.for_model(model_type, **settings)
        content = config.to_dict()
    except Exception as problem:
        return row("transformers", name, model_type, status="not built", reason=in_words(problem))
    return compare("transformers", name, content, None)


def published(folder: Path | None) -> Iterator[dict[str, Any]]:
    """A row for each configuration of the package."""
    for path in sorted(folder.glob("*_config.json")) if folder else ():
        if not path.name.endswith("_hf_quant_config.json"):
            beside = path.with_name(path.name.replace("_config.json", "_hf_quant_config.json"))
            name = path.name.removesuffix("_config.json")
            yield compare("aiconfigurator-core 0.12.0", name, json.loads(path.read_text()), beside)


def compare(source: str, name: str, content: dict[str, Any], beside: Path | None) -> dict[str, Any]:
    """The row of a configuration: what is read of it, and what its implementation has."""
    start = time.time()
    text = content.get("text_config") or content
    model_type = text.get("model_type") or content["model_type"]
    result = row(source, name, model_type, **read(content, beside))
    by, parameters, cache = count(name, content, result["status"] == "read")
    result |= {"counted_by": by, "parameters_counted": parameters, "kv_bytes_counted": cache}
    if result["status"] == "read" and not parameters:
        unknown = dict.fromkeys(("counted_by", "parameters_read", "kv_bytes_read"), "")
        result |= {"status": "not built", "reason": by} | unknown
    print(f"{name}: {result['status']}, {time.time() - start:.1f} s", file=sys.stderr)
    return result


def row(source: str, name: str, model_type: str, **values: Any) -> dict[str, Any]:
    """A row whose other columns are empty."""
    return dict.fromkeys(COLUMNS, "") | {"source": source, "name": name, "model_type": model_type} | values


def read(content: dict[str, Any], beside: Path | None) -> dict[str, Any]:
    """What the reader makes of a configuration."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(content, default=str))
        if beside and beside.exists():
            (Path(folder) / beside.name[beside.name.index("hf_quant") :]).write_text(beside.read_text())
        try:
            shape = load_shape(folder)
        except InputError as problem:
            reason = str(problem).partition("config.json: ")[2].partition("; modelled are")[0]
            return {"status": "refused", "reason": reason}
    found = counts(shape | {"kv_cache_bytes": 2.0})
    return {"status": "read", "parameters_read": int(found.parameters), "kv_bytes_read": int(found.kv_bytes_per_token)}


def count(name: str, content: dict[str, Any], with_cache: bool) -> tuple[str, int | str, int | str]:
    """By whom a model was counted, its parameters and its KV bytes; "" for what is not known."""
    total = next((total for model, total in PUBLISHED.items() if name.startswith(model)), None)
    if total:
        return "published", int(total), ""
    try:
        model = build(content)
    except Exception as problem:
        return in_words(problem), "", ""
    parts = {name: p.numel() for name, p in model.named_parameters() if not any(part in name for part in NOT_TEXT)}
    return type(model).__name__, sum(parts.values()), kv_bytes(model) if with_cache else ""


def build(content: dict[str, Any]) -> Any:
    """The model on the meta device; of a multimodal one the decoder, where it has a class."""
    import torch
    import transformers
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as NAMES

    if content["model_type"] in WRAPPED and "text_config" not in content:
        content = {**content, "text_config": content | {"model_type": WRAPPED[content["model_type"]]}}
    text = dict(content.get("text_config") or content)
    text.setdefault("tie_word_embeddings", content.get("tie_word_embeddings"))
    text = {key: value for key, value in text.items() if value is not None and key != "quantization_config"}
    model_type = STANDS_FOR.get(text.get("model_type", ""), text.get("model_type"))
    cls = transformers.AutoModelForCausalLM
    if model_type not in NAMES:
        text = {key: value for key, value in content.items() if key != "quantization_config" and value is not None}
        model_type, cls = text["model_type"], transformers.AutoModelForImageTextToText
    config = CONFIG_MAPPING[model_type].from_dict(text | {"model_type": model_type})
    with torch.device("meta"):
        return cls.from_config(config)


def kv_bytes(model: Any) -> int | str:
    """2 bytes for each number that the attention modules give to the cache; "" where none is known."""
    found = [cached(module) for name, module in model.named_modules() if not any(part in name for part in NOT_TEXT)]
    return 2 * sum(found) or ""


def cached(module: Any) -> int:
    """Numbers that a module gives to the cache, by the widths of its projections."""
    width = {name: child.weight.shape[0] for name, child in module.named_children() if hasattr(child, "weight")}
    if "kv_a_proj_with_mqa" in width:
        return width["kv_a_proj_with_mqa"]
    if "k_proj" in width:
        return width["k_proj"] + width.get("v_proj", width["k_proj"])
    for fused, output in (("qkv_proj", "o_proj"), ("query_key_value", "dense")):
        if fused in width:
            return width[fused] - getattr(module, output).weight.shape[1]
    return 0


def in_words(problem: Exception) -> str:
    """The first line of a problem."""
    return f"{type(problem).__name__}: {str(problem).strip().splitlines()[0] if str(problem).strip() else ''}"[:120]


if __name__ == "__main__":
    sys.exit(main())
