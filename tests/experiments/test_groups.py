"""Groups of experiments, by kind and label."""

import dataclasses

import numpy as np
import pytest


@pytest.mark.parametrize(
    ("kind", "labels"),
    [
        ("split", ["train", "test"]),
        ("family", ["llama-2-7b", "codellama-34b", "llama-2-70b", "qwen3-14b", "qwen2.5-7b"]),
        ("tp", ["tp1", "tp2", "tp4"]),
        ("workload", ["chat", "code", "summarization"]),
    ],
)
def test_every_experiment_has_one_label_of_a_kind(truth, kind, labels):
    for each in (truth, dataclasses.replace(truth, experiments=truth.experiments[::-1])):
        groups = each.by(kind)
        assert sorted(groups) == sorted(labels)
        assert (np.sum(list(groups.values()), axis=0) == 1).all()
        if each is truth or kind in ("split", "tp"):
            assert list(groups) == labels
    assert truth.by("tp")["tp1"].sum() == sum(e.tp == 1 for e in truth.experiments)


def test_each_experiment_is_its_own_group(truth):
    groups = truth.by("experiment")
    assert list(groups) == [e.name for e in truth.experiments]
    np.testing.assert_array_equal(np.array(list(groups.values())), np.eye(13, dtype=bool))


def test_an_unknown_kind_is_an_error(truth):
    with pytest.raises(KeyError):
        truth.by("colour")
