"""Sampling parameters from what a client sends, or from a model's ``generation_config.json``."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from jaxroof.catalogue.huggingface import config_path
from jaxroof.files import InputError, check, read_json
from jaxroof.parameters import Architecture, Sampling, declared, put, scalar

GREEDY = "greedy"
LEAVES = {key: leaf.range for key, (_, leaf) in declared(Sampling).items()}
# What vLLM takes from the file for requests that say nothing.
FROM_MODEL = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")


def load_sampling(where: object, text: str | None, model: Sampling) -> Sampling:
    """``key=value,…`` or ``greedy``; what it does not name is as the model's files say. Raises InputError.

    Greedy is the likeliest token of the logits as they are, without penalties.
    """
    if not text:
        return model
    if text == GREEDY:
        return Sampling(temperature=0.0)
    given: dict[str, float] = {}
    for part in text.split(","):
        key, value = check.key_and_value(str(where), part.strip(), f"{GREEDY} or KEY=VALUE,…")
        check.unknown_key(where, [key], LEAVES)
        if key in given:
            raise InputError(where, key, "stands twice")
        given[key] = check.parsed_number(where, key, _without_top_k(key, value), LEAVES[key])
    return put(model, {key: scalar(value) for key, value in given.items()})


def sampled_by(where: object, text: str | None, arch: Architecture) -> Architecture:
    """``arch`` whose requests are sampled as ``text`` says, see :func:`load_sampling`. Raises InputError."""
    return dataclasses.replace(arch, sampling=load_sampling(where, text, arch.sampling))


def load_generation(name: str) -> Sampling:
    """What a catalogue model's file, or the ``generation_config.json`` beside a ``config.json``, says.

    No such file: a temperature of 1 and nothing else. ``do_sample`` is not looked at, as by vLLM. Raises InputError.
    """
    path = config_path(name)
    beside, config = path.with_name("generation_config.json"), read_json(path)
    config = config if "generation_config" in config else config.get("text_config") or {}
    if "generation_config" in config:
        return _sampling(path, check.table_at(path, config, "generation_config"), "generation_config.")
    return _sampling(beside, read_json(beside), "") if beside.exists() else Sampling()


def _sampling(path: object, table: Mapping[str, Any], where: str) -> Sampling:
    given = {key: _without_top_k(key, table[key]) for key in FROM_MODEL if table.get(key) is not None}
    return Sampling(**{key: check.number(path, f"{where}{key}", value, LEAVES[key]) for key, value in given.items()})


def _without_top_k(key: str, value: Any) -> Any:
    """``value``, but 0 for a ``top_k`` of −1, which says the same."""
    return type(value)(0) if key == "top_k" and str(value) == "-1" else value
