"""How precise a checkpoint is, part by part: bytes of a weight and of its inputs, and of the KV cache."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from jaxroof import weights
from jaxroof.catalogue.huggingface import load_shape, shape_from_config
from jaxroof.catalogue.huggingface.modules import modules
from jaxroof.catalogue.huggingface.patterns import Patterns
from jaxroof.catalogue.huggingface.types import Names
from jaxroof.files import InputError

LAYERS = 4
DENSE = {
    "model_type": "llama", "num_hidden_layers": LAYERS, "hidden_size": 1024, "intermediate_size": 4096,
    "num_attention_heads": 16, "num_key_value_heads": 4, "vocab_size": 32000, "torch_dtype": "bfloat16",
}  # fmt: skip
MIXTURE = DENSE | {
    "model_type": "deepseek_v3", "n_routed_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 512,
    "n_shared_experts": 1, "first_k_dense_replace": 1, "kv_lora_rank": 256, "q_lora_rank": 512,
    "qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "v_head_dim": 128,
}  # fmt: skip
PARTS = ("attention", "ffn", "expert")
NVFP4 = {"num_bits": 4, "type": "float", "group_size": 16}
FP8 = {"num_bits": 8, "type": "float"}


def shape(settings, config=DENSE, path=Path("config.json")):
    return shape_from_config(path, config | {"quantization_config": settings})


def parts(settings, config=DENSE):
    """(weight, input) bytes of attention, FFN and experts, and in how many layers."""
    groups = shape(settings, config)["layers"]
    keys = [f"{part}_{of}_bytes" for part in PARTS for of in ("weight", "input")]
    found = {}
    for count, *values in zip(groups["num_hidden_layers"], *(groups[key] for key in keys), strict=True):
        rounded = tuple(round(value, 4) for value in values)
        key = (rounded[:2], rounded[2:4], rounded[4:])
        found[key] = found.get(key, 0) + count
    return found


def everywhere(weight, inputs):
    """Dense layers whose attention and FFN are alike."""
    return {((weight, inputs), (weight, inputs), (2, 2)): LAYERS}


def compressed(weights, inputs=None, **settings):
    group = {"weights": weights, "input_activations": inputs, "targets": ["Linear"]}
    return {"quant_method": "compressed-tensors", "config_groups": {"group_0": group}, "ignore": ["lm_head"]} | settings


@pytest.mark.parametrize(
    ("settings", "weight", "inputs"),
    [
        ({"quant_method": "fp8"}, 1, 1),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, round(1 + 4 / 128**2, 4), 1),
        (compressed(FP8, FP8), 1, 1),
        (compressed(FP8), 1, 2),
        (compressed(FP8 | {"strategy": "block", "block_structure": [128, 128]}, FP8), round(1 + 4 / 128**2, 4), 1),
        (compressed({"num_bits": 8, "type": "int"}, {"num_bits": 8, "type": "int"}), 1, 1),
        (compressed({"num_bits": 8, "type": "int"}), 1, 2),
        (compressed({"num_bits": 4, "type": "int", "group_size": 32}), 0.5625, 2),
        (
            compressed({"num_bits": 4, "type": "int", "group_size": 128, "symmetric": False}),
            round(0.5 + 2.5 / 128, 4), 2,
        ),
        (compressed(NVFP4, NVFP4), 0.5625, 0.5625),
        (compressed(NVFP4), 0.5625, 2),
        (compressed(NVFP4 | {"group_size": 32}), 0.5312, 2),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, 0.5625, 0.5625),
        ({"quant_method": "modelopt", "quant_algo": "W4A16_NVFP4"}, 0.5625, 2),
        ({"quant_method": "modelopt", "quant_algo": "W4A16_AWQ", "group_size": 128}, round(0.5 + 2 / 128, 4), 2),
        ({"quant_algo": "FP8"}, 1, 1),
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, round(0.5 + 2.5 / 128, 4), 2),
        ({"quant_method": "gptq", "bits": 8, "group_size": 128}, round(1 + 3 / 128, 4), 2),
        ({"quant_method": "gptq", "bits": 4, "group_size": -1}, 0.5, 2),
        ({"quant_method": "gptq", "bits": 4, "group_size": 0}, 0.5, 2),
        (compressed(FP8 | {"group_size": -1}, FP8), 1, 1),
        ({"quant_method": "modelopt", "quant_algo": "W4A16_AWQ"}, round(0.5 + 2 / 128, 4), 2),
    ],
)  # fmt: skip
def test_bytes_of_a_weight_with_its_scales(settings, weight, inputs):
    assert parts(settings) == everywhere(weight, inputs)


def test_without_quantisation_all_is_16_bit():
    groups = shape_from_config(Path("config.json"), DENSE)["layers"]
    assert {groups[f"{part}_{of}_bytes"][0] for part in PARTS for of in ("weight", "input")} == {2}


@pytest.mark.parametrize(
    ("ignored", "attention", "ffn"),
    [
        (["re:.*self_attn.*"], (2, 2), (1, 1)),
        (["model.layers.*.self_attn"], (2, 2), (1, 1)),
        (["self_attn"], (2, 2), (1, 1)),
        ([f"model.layers.{i}.mlp" for i in range(LAYERS)], (1, 1), (2, 2)),
        (["re:.*mlp\\.(gate|up|gate_up|down)_proj.*"], (1, 1), (2, 2)),
        (["language_model.model.layers.*.mlp*"], (1, 1), (2, 2)),
        (["gate", "mlp.gate", "proj", "lm_head"], (1, 1), (1, 1)),
    ],
)
def test_modules_that_are_left_out(ignored, attention, ffn):
    assert parts(compressed(FP8, FP8, ignore=ignored)) == {(attention, ffn, (2, 2)): LAYERS}
    settings = {"quant_method": "fp8", "modules_to_not_convert": ignored}
    assert parts(settings) == {(attention, ffn, (2, 2)): LAYERS}


def test_layers_that_are_left_out_are_a_group_of_their_own():
    settings = {"quant_method": "fp8", "modules_to_not_convert": ["model.layers.0", "model.layers.3.mlp*"]}
    eight, sixteen = (1, 1), (2, 2)
    expected = {(sixteen, sixteen, (2, 2)): 1, (eight, eight, (2, 2)): 2, (eight, sixteen, (2, 2)): 1}
    assert parts(settings) == expected


def test_a_part_has_the_mean_of_its_weights():
    settings = {"quant_method": "fp8", "modules_to_not_convert": ["o_proj"]}
    hidden, of_output = 1024, 1024 * 1024
    others = hidden * (1024 + 2 * 256)
    mean = round((2 * of_output + others) / (of_output + others), 4)
    assert parts(settings) == {((mean, mean), (1, 1), (2, 2)): LAYERS}


UNGATED = DENSE | {"model_type": "phi"}
GEMMA4 = DENSE | {"model_type": "gemma4_text", "attention_k_eq_v": True, "num_global_key_value_heads": 2}


@pytest.mark.parametrize("config", [DENSE, UNGATED, MIXTURE, MIXTURE | {"q_lora_rank": None}, GEMMA4])
def test_the_modules_have_the_weights_of_the_layer(config):
    groups = shape_from_config(Path("config.json"), config)["layers"]
    for values in zip(*groups.values(), strict=True):
        layer = dict(zip(groups, values, strict=True))
        found = {}
        for part, _, count in modules(layer, 1024, Names()):
            found[part] = found.get(part, 0) + count
        names = SimpleNamespace(**layer)
        assert found["attention"] == weights.attention(1024, names)
        assert found["ffn"] == weights.ffn(1024, names)
        assert found.get("expert", 0) == weights.expert(1024, names)


def test_experts_shared_experts_and_dense_layers_apart():
    int4 = {"num_bits": 4, "type": "int", "group_size": 32}
    left_out = ["lm_head", "re:.*self_attn.*", "re:.*shared_experts.*", "re:.*mlp\\.(gate|up|down)_proj.*"]
    sixteen, four = (2, 2), (0.5625, 2)
    found = parts(compressed(int4, ignore=left_out), MIXTURE)
    assert found == {(sixteen, sixteen, sixteen): 1, (sixteen, sixteen, four): LAYERS - 1}
    router_only = parts(compressed(int4, ignore=["re:.*mlp.gate$"]), MIXTURE)
    assert router_only == {(four, four, sixteen): 1, (four, four, four): LAYERS - 1}


def test_mxfp4_is_that_of_the_experts():
    config = DENSE | {"model_type": "gpt_oss", "num_local_experts": 8, "num_experts_per_tok": 2, "sliding_window": 128}
    left_out = ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"]
    found = parts({"quant_method": "mxfp4", "modules_to_not_convert": left_out}, config)
    assert found == {((2, 2), (2, 2), (0.5312, 2)): LAYERS}


def test_groups_with_targets_and_layers_with_algorithms_of_their_own():
    group = {"weights": FP8, "input_activations": FP8, "targets": ["re:.*self_attn.*"]}
    rest = {"weights": NVFP4, "input_activations": NVFP4, "targets": ["Linear"]}
    expected = {((1, 1), (0.5625, 0.5625), (2, 2)): LAYERS}
    assert parts({"quant_method": "compressed-tensors", "config_groups": {"a": rest, "b": group}}) == expected
    layers = {f"model.layers.{i}.self_attn": {"quant_algo": "FP8"} for i in range(LAYERS)}
    layers |= {
        f"model.layers.{i}.mlp.{name}_proj": {"quant_algo": "NVFP4", "group_size": 16}
        for i in range(LAYERS) for name in ("gate", "up", "down")
    }  # fmt: skip
    mixed = {"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION", "quantized_layers": layers}
    assert parts(mixed) == expected


def test_gptq_of_some_modules():
    inside = {"quant_method": "gptq", "bits": 8, "group_size": -1, "modules_in_block_to_quantize": [["mlp.up_proj"]]}
    (((attention, _), (ffn, _), _),) = parts(inside)
    assert (attention, ffn) == (2, round(5 / 3, 4))
    dynamic = {"quant_method": "gptq", "bits": 8, "group_size": -1, "dynamic": {"-:.*self_attn.*": {}}}
    assert parts(dynamic) == {((2, 2), (1, 2), (2, 2)): LAYERS}


@pytest.mark.parametrize(
    ("settings", "tied", "head"),
    [
        ({"quant_method": "fp8"}, False, 2),
        (compressed(FP8, FP8), False, 2),
        (compressed(FP8, FP8, ignore=[]), False, 1),
        (compressed(FP8, FP8, ignore=["language_model.lm_head"]), False, 2),
        (compressed(FP8, FP8, ignore=[]), True, 2),
        ({"quant_method": "gptq", "bits": 4, "group_size": -1, "lm_head": True}, False, 0.5),
    ],
)
def test_the_embedding_stays_and_the_head_mostly(settings, tied, head):
    found = shape(settings, DENSE | {"tie_word_embeddings": tied})
    assert (found["embedding_bytes"], found["head_bytes"]) == (2, head)


@pytest.mark.parametrize(
    ("settings", "cache"),
    [
        (compressed(FP8, FP8), 2),
        (compressed(FP8, FP8, kv_cache_scheme=FP8), 1),
        ({"quant_algo": "FP8", "kv_cache_scheme": "FP8"}, 1),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4", "kv_cache_quant_algo": "FP8"}, 1),
        ({"quant_method": "modelopt", "quant_algo": None, "kv_cache_quant_algo": "FP8"}, 1),
    ],
)
def test_the_cache_is_that_of_the_checkpoint(settings, cache):
    assert shape(settings)["kv_cache_bytes"] == cache


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (
            {"quant_method": "bitsandbytes"},
            "quantization_config: understood are fp8, compressed-tensors, modelopt, modelopt_fp4, modelopt_mixed, "
            "mxfp4, awq, gptq with weights of 4 or 8 bits; got bitsandbytes",
        ),
        (compressed({"num_bits": 2, "type": "int"}), "quantization_config: understood are fp8, compressed-tensors, "),
        ({"quant_method": ["fp8"]}, "quantization_config: understood are"),
        (
            {"bits": 4},
            "quantization_config: understood are fp8, compressed-tensors, modelopt, modelopt_fp4, modelopt_mixed, "
            "mxfp4, awq, gptq with weights of 4 or 8 bits; got no quant_method",
        ),
        ({"quant_method": "compressed-tensors"}, "quantization_config: understood are"),
        (compressed(FP8, {"num_bits": 4, "type": "int"}), "quantization_config: understood are"),
        (
            {"quant_method": "awq", "bits": 4, "group_size": 0.001},
            "quantization_config.group_size: must be a whole number, got 0.001",
        ),
        ({"quant_method": "gptq", "bits": 4, "group_size": -2}, "quantization_config.group_size: must be ≥ 0, got -2"),
        (
            compressed({"num_bits": 4, "type": "int", "group_size": 1.5}),
            "quantization_config.config_groups.group_0.weights.group_size: must be a whole number, got 1.5",
        ),
        (
            compressed(NVFP4, NVFP4 | {"group_size": 0.5}),
            "quantization_config.config_groups.group_0.input_activations.group_size: must be a whole number, got 0.5",
        ),
        (
            {"quant_method": "modelopt", "quant_algo": "W4A16_AWQ", "group_size": 0},
            "quantization_config.group_size: must be ≥ 1, got 0",
        ),
        ({"quant_method": "awq", "bits": 3}, "quantization_config.bits: must be 4 or 8, got 3"),
        ({"quant_algo": "INT9"}, "quantization_config.quant_algo: INT9 is not modelled; modelled are FP8, "),
        ({"quant_method": "fp8", "quant_algo": "MIXED_PRECISION"}, "quantization_config.quant_algo: MIXED_PRECISION"),
        ({"quant_algo": "FP8", "kv_cache_quant_algo": "NVFP4"}, "quantization_config.kv_cache_quant_algo: NVFP4 is"),
        (compressed(FP8, kv_cache_scheme={"num_bits": 4}), "quantization_config.kv_cache_scheme: {'num_bits': 4} is"),
        (
            compressed(FP8, sparsity_config={"format": "sparse-24-bitmask"}),
            "quantization_config.sparsity_config: sparse-24-bitmask is not modelled",
        ),
        (compressed(FP8, ignore=["re:("]), "quantization_config.ignore: no regular expression: "),
        (
            {"quant_method": "gptq", "bits": 4, "modules_in_block_to_quantize": [["re:("]]},
            "quantization_config.modules_in_block_to_quantize: no regular expression: ",
        ),
        (
            {"quant_method": "fp8", "weight_block_size": [True, True]},
            "quantization_config.weight_block_size: must be two sizes",
        ),
        (
            {"quant_method": "fp8", "weight_block_size": [128, 10**400]},
            "quantization_config.weight_block_size: must be two sizes",
        ),
        (compressed(FP8, ignore=[3]), "quantization_config.modules: must be lists of names"),
        ({"quant_method": "fp8", "weight_block_size": [128]}, "quantization_config.weight_block_size: must be two"),
        (
            {"quant_method": "gptq", "bits": 4, "dynamic": {"+:.*mlp.*": {"bits": 8}}},
            "quantization_config.dynamic.+:.*mlp.*: not modelled; only modules left out are",
        ),
    ],
)
def test_other_quantisation_is_refused_with_what_is_understood(settings, says):
    with pytest.raises(InputError) as error:
        shape(settings)
    assert str(error.value).startswith(f"config.json: {says}")


def beside(folder, content, config=DENSE):
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "hf_quant_config.json").write_text(json.dumps(content))
    return load_shape(str(folder))


def test_what_stands_beside_the_file(tmp_path):
    plain = {"quant_algo": None, "kv_cache_quant_algo": None}
    assert beside(tmp_path, {"quantization": plain})["layers"]["ffn_weight_bytes"] == [2]
    settings = plain | {"quant_algo": "NVFP4", "kv_cache_quant_algo": "FP8", "exclude_modules": ["*self_attn*"]}
    found = beside(tmp_path, {"quantization": settings})
    assert found["layers"]["ffn_weight_bytes"] == [0.5625]
    assert found["layers"]["attention_weight_bytes"] == [2]
    assert found["kv_cache_bytes"] == 1
    own = DENSE | {"quantization_config": {"quant_method": "fp8"}}
    assert beside(tmp_path, {"quantization": settings}, own)["layers"]["ffn_weight_bytes"] == [1]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({}, "quantization: missing key"),
        ({"quantization": {"quant_algo": "INT9", "kv_cache_quant_algo": None}}, "quantization.quant_algo: INT9 is not"),
        ({"quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "INT8"}}, "quantization.kv_cache_quant_algo: "),
        ({"quantization": {"quant_algo": None}}, "quantization.kv_cache_quant_algo: missing key"),
    ],
)
def test_what_is_not_understood_beside_the_file_is_refused(tmp_path, content, says):
    with pytest.raises(InputError) as error:
        beside(tmp_path, content)
    assert str(error.value).startswith(f"{tmp_path / 'hf_quant_config.json'}: {says}")


@pytest.mark.parametrize(
    ("pattern", "module", "named"),
    [
        ("lm_head", "lm_head", True),
        ("model.layers.1", "model.layers.1.mlp.up_proj", True),
        ("model.layers.1", "model.layers.11.mlp.up_proj", False),
        ("model.layers.1*", "model.layers.11.mlp.up_proj", True),
        ("gate", "model.layers.1.mlp.gate_proj", False),
        ("mlp.gate", "model.layers.1.mlp.gate", True),
        ("re:.*gate$", "model.layers.1.mlp.gate", True),
        ("re:gate", "model.layers.1.mlp.gate", False),
        ("*experts", "model.layers.1.mlp.experts.0.w1", True),
        ("", "model.layers.1.mlp", False),
    ],
)
def test_patterns_of_names(pattern, module, named):
    assert Patterns([pattern]).match(module) is named
    assert not Patterns([]).match(module)


@pytest.mark.parametrize(
    ("settings", "block"),
    [
        ({"quant_method": "fp8"}, 0),
        ({"quant_method": "fp8", "weight_block_size": [128, 64]}, 64),
        ({"quant_algo": "FP8"}, 0),
        ({"quant_algo": "FP8_PB_WO"}, 128),
        (compressed(FP8, FP8), 0),
        (compressed(FP8 | {"strategy": "block", "block_structure": [128, 128]}, FP8), 128),
        (compressed(FP8, FP8 | {"strategy": "group", "group_size": 128}), 128),
        ({"quant_algo": "MXFP8"}, 32),
        (compressed(NVFP4, NVFP4), 0),
        (compressed(FP8), 0),
    ],
)
def test_how_many_fp8_inputs_share_a_scale(settings, block):
    assert shape(settings)["layers"]["input_block"] == [block]
