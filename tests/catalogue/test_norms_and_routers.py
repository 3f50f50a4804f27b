"""Which models of the catalogue norm queries and keys, and what their routers do, against the engine's model files."""

import numpy as np
import pytest

from jaxroof.catalogue.load import load_architecture

# Layers with such norms.
NORMED = {
    "llama-3.1-8b": 0, "mixtral-8x7b": 0, "qwen2.5-7b": 0, "gpt-oss-120b": 0, "gemma-2-27b": 0, "glm-4.5-air": 0,
    "qwen3-14b": 40, "qwen3-30b-a3b": 48, "gemma-3-27b": 62, "glm-4.5": 92, "minimax-m2": 62, "deepseek-v3": 61,
    "llama-4-scout": 36, "llama-4-maverick": 0,
}  # fmt: skip
# Layers whose router has a bias, has groups, makes weights after the choice.
ROUTED = {
    "deepseek-v3": (58, 58, 0), "kimi-k2": (60, 60, 0), "glm-4.5": (89, 89, 0), "minimax-m2": (62, 0, 0),
    "llama-4-scout": (0, 0, 48), "llama-4-maverick": (0, 0, 24),
}  # fmt: skip


@pytest.mark.parametrize("model", NORMED)
def test_layers_with_norms_of_queries_and_keys(model):
    layers = load_architecture(model).layers
    assert float(np.sum(layers.num_hidden_layers * layers.qk_norm)) == NORMED[model]


@pytest.mark.parametrize("model", ROUTED)
def test_what_routers_do(model):
    layers = load_architecture(model).layers
    does = (layers.routing.router_bias, layers.routing.router_groups, layers.routing.router_late_sigmoid)
    assert tuple(float(np.sum(layers.num_hidden_layers * flag)) for flag in does) == ROUTED[model]


@pytest.mark.parametrize("model", ["llama-3.1-8b", "mixtral-8x7b", "qwen3-30b-a3b", "gpt-oss-120b"])
def test_a_plain_router_is_not_in_the_model(model):
    assert load_architecture(model).layers.routing is None
