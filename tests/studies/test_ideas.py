"""Product grids, the ideas' studies and their ranked collection."""

import itertools
import json

import numpy as np
import pandas as pd
import pytest

from jaxroof.catalogue.load import load_model
from jaxroof.catalogue.names import find
from jaxroof.cli import main
from jaxroof.experiments.affine import affine_tpot
from jaxroof.experiments.evaluate import latencies
from jaxroof.files import InputError, data_dir
from jaxroof.parameters import replace
from jaxroof.studies.grid_search import best_of_product
from jaxroof.studies.load import check_groups, load_studies, load_study, study_models
from jaxroof.studies.ranking import evidence, ranking
from jaxroof.studies.run import run
from jaxroof.studies.spec import GridAxis

H2B = load_model("memory", overheads="h2b")

LAYER = ("overheads.prefill.per_layer_us", "overheads.decode.per_layer_us")
BASE = ("overheads.prefill.base_us", "overheads.decode.base_us")
VOCAB = ("overheads.prefill.per_vocab_us", "overheads.decode.per_vocab_us")


def test_product_search_finds_what_trying_every_point_finds(truth):
    free = [
        GridAxis("base", BASE, 0, 3000, 500),
        GridAxis("layer", LAYER, 0, 120, 30),
        GridAxis("vocab", VOCAB, 0, 600, 200),
    ]
    none, measured = load_model("memory"), np.asarray(truth.runs.measured["itl"].tpot_s)
    affine = affine_tpot(none, truth.runs, [f.keys for f in free], scoring="itl")
    surface = best_of_product(affine, measured, free)
    points = np.array(list(itertools.product(*(f.values() for f in free)))).T
    values = {key: row for f, row in zip(free, points, strict=True) for key in f.keys}
    tried = latencies(replace(none, values), truth.runs).tpot_s
    loss = np.abs(np.asarray(tried) / measured[:, None] - 1).mean(axis=0)
    assert surface.points == loss.size == 7 * 5 * 4
    assert surface.loss == pytest.approx(loss.min(), rel=1e-12)
    np.testing.assert_array_equal(surface.optimum, points[:, loss.argmin()])
    np.testing.assert_allclose(surface.marginals[1], loss.reshape(7, 5, 4).min(axis=(0, 2)), rtol=1e-12)


def test_ties_go_to_the_smaller_values(truth):
    """Prefill constants do not move an ITL."""
    free = [GridAxis("prefill", ("overheads.prefill.base_us",), 100, 500, 100)]
    affine = affine_tpot(H2B, truth.runs, [free[0].keys], scoring="itl")
    assert best_of_product(affine, np.asarray(truth.runs.measured["itl"].tpot_s), free).optimum == [100]


def test_a_formula_with_a_term_at_zero_is_bitwise_the_formula_without_it(truth):
    plain = latencies(H2B, truth.runs)
    zero = latencies(replace(H2B, dict.fromkeys(VOCAB + BASE, 0.0)), truth.runs)
    assert np.array_equal(plain.tpot_s, zero.tpot_s)
    assert np.array_equal(plain.e2e_s, zero.e2e_s)


@pytest.fixture(scope="module")
def members(truth):
    """Every member of ``ideas``, on its own step model only."""
    runs = {}
    for name, spec in load_studies("ideas")[1].items():
        models, groups = study_models(spec), truth.groups()
        runs[name] = ([run(spec, s, truth.runs, groups, models) for s in ("published", "itl")], truth)
    return runs


def test_verdicts(members):
    verdicts = {name: results[0].verdict for name, (results, _) in members.items()}
    assert verdicts == {
        "idea_c": "refuted",
        "idea_ac": "partial",
        "idea_e": "confirmed",
        "idea_a": "confirmed",
        "idea_b": "confirmed",
        "idea_d": "confirmed",
        "idea_replicated": "confirmed",
        "idea_constant": "confirmed",
        "idea_per_request": "confirmed",
    }


def test_every_axis_has_fifty_points_and_every_study_one_verdict_per_condition(members):
    for results, _ in members.values():
        assert all(len(free.values()) >= 50 for free in results[0].surface.free)
        assert results[0].study.also_step_model == ["kernels"]
        assert results[0].study.also_scoring == ["itl"]


def test_ranking_is_sorted_and_evidence_is_a_permutation(members):
    table = pd.DataFrame(ranking(members))
    for _, rows in table.groupby(["step_model", "scoring"]):
        assert rows["test"].is_monotonic_increasing
    order = pd.DataFrame(evidence(members))
    assert sorted(order["expected"]) == sorted(order["evidence"]) == list(range(1, 10))


def run_cli(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return end.value.code, *capsys.readouterr()


def test_study_of_an_idea_has_its_grid_in_the_json(capsys):
    code, out, _ = run_cli(capsys, "study", "idea_b", "--json")
    data = json.loads(out)
    assert code == 0
    assert list(data["grid"]["optimum_us"]) == ["per_sqrt_layer"]
    assert set(data["also"]) == {"memory_itl", "kernels_published", "kernels_itl"}


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("overheads.decode.per_sqrt_layer_us", "overheads.decode.per_cubic_layer_us", "unknown key"),
        ("step_us = 25", "step_us = 0", "step_us: must be > 0"),
        ("stop_us = 1500", "stop_us = 0", "grid.free.step_us: must divide"),
        ("start_us = 0", "start_us = 1600", "stop_us: must be ≥ start_us"),
        ('split = "train"', 'split = "trian"', "group: must be one of"),
        ('tension = ["llama-2-7b-tp1"', 'tension = ["llama-2-7b-tp9"', "groups.tension: must be one of"),
        ("[grid]", '[grid]\nmetric = "itl"', "grid.metric: must be one of ttft, tpot, e2e"),
        (
            '"overheads.prefill.per_sqrt_layer_us"',
            '"overheads.decode.per_sqrt_layer_us"',
            "keys: overheads.decode.per_sqrt",
        ),
        ('"overheads.prefill.per_sqrt_layer_us"', '"server.per_step_us"', "grid.free.keys: must be an overhead in µs"),
        ("tension = [", "train = [", "groups.train: must be a new name"),
        ('["llama-2-7b-tp1", "llama-2-70b-tp4"]', "[]", "groups.tension: must be a new name"),
        ('["llama-2-7b-tp1", "llama-2-70b-tp4"]', '["tension"]', "groups.tension: must be one of"),
        ('group = "tension"', 'group = ["tension"]', "criteria.group: must be text"),
        ('also_scoring = ["itl"]', 'also_scoring = ["published"]', "also_scoring: published stands twice"),
    ],
)
def test_bad_grids_are_refused_in_one_line(capsys, tmp_path, old, new, why):
    text = find("studies", "idea_b").read_text()
    assert old in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new).replace("start_us = 0\nstop_us = 0", "start_us = 0\nstop_us = 10"))
    code, out, err = run_cli(capsys, "study", path, "--out", tmp_path / "out")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert why in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ("[]", "members: must be one or more studies, got []"),
        ('["idea_c", "idea_c"]', "members: idea_c stands twice"),
        ('["h1"]', "members: h1 is no study with the configurations"),
        ('["ideas"]', "configs/studies/ideas.toml: members: lists studies, and one study is wanted"),
        ('["idea_z"]', "members: studies: idea_z: not in the catalogue; did you mean idea_"),
        ("3", "members: must be one or more studies, got 3"),
    ],
)
def test_bad_collections_are_refused_in_one_line(capsys, tmp_path, members, why):
    path = tmp_path / "mine.toml"
    path.write_text(f'name = "mine"\ntitle = "t"\nsource = "s"\nmembers = {members}\n')
    code, out, err = run_cli(capsys, "study", path, "--out", tmp_path / "out")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert why in err
    assert not (tmp_path / "out").exists()


def test_paths_in_a_study_or_a_list_of_them_are_relative_to_the_file(tmp_path):
    configs, study = data_dir() / "configs", find("studies", "idea_c").read_text()
    (tmp_path / "parts").mkdir()
    for kind, name in (("hardware", "h100-sxm"), ("overheads", "h2b")):
        text = (configs / kind / f"{name}.toml").read_text()
        (tmp_path / f"parts/{name}.toml").write_text(text.replace("value = 100,", "value = 90,"))
    study = study.replace('hardware = "h100-sxm"', 'hardware = "parts/h100-sxm.toml"')
    study = study.replace('overheads = "h2b"', 'overheads = "parts/h2b.toml"').replace(
        'name = "idea_c"', 'name = "mine"'
    )
    (tmp_path / "mine.toml").write_text(study)
    spec = load_study(f"{tmp_path}/mine.toml")
    assert spec.hardware == f"{tmp_path}/parts/h100-sxm.toml"
    assert [c.overheads for c in spec.all_configurations()][:2] == ["none", f"{tmp_path}/parts/h2b.toml"]
    assert float(study_models(spec)["h2b"].constants.overheads.decode.per_layer_s) == pytest.approx(90e-6)
    head = "".join(f'{key} = "x"\n' for key in ("name", "title", "source"))
    (tmp_path / "list.toml").write_text(f'{head}members = ["mine.toml", "idea_c"]\n')
    listed, studies = load_studies(f"{tmp_path}/list.toml")
    assert (listed.members, list(studies)) == (["mine.toml", "idea_c"], ["mine", "idea_c"])
    assert studies["mine"] == spec
    (tmp_path / "list.toml").write_text(f'{head}members = ["mine.toml", "{tmp_path}/mine.toml"]\n')
    with pytest.raises(InputError, match="members: mine stands twice"):
        load_studies(f"{tmp_path}/list.toml")


def test_a_collection_of_searches_and_of_other_configurations(tmp_path, capsys):
    """Its ranking shows where a curve is least, any name has a bar, and every FINDINGS.md says how to make it again."""
    study = find("studies", "hg1").read_text().replace('"hg1"', '"my own"')
    (tmp_path / "own name.toml").write_text(
        study.replace("[search]", '[[configurations]]\nname = "half"\noverheads = "h2b"\n\n[search]')
    )
    head = "".join(f'{key} = "x"\n' for key in ("title", "source"))
    path = tmp_path / "the list.toml"
    path.write_text(f'name = "all"\n{head}members = ["own name.toml"]\n')
    code, out, err = run_cli(capsys, "study", path, "--out", tmp_path / "out", "--json")
    assert (code, err) == (0, "")
    data = json.loads(out)
    rows = {row["configuration"]: row for row in data["ranking"] if row["scoring"] == "published"}
    optimum = data["members"]["my own"]["search"]["optimum_us"]
    said = {name: (row["free"], row["constants"], row["verdict"]) for name, row in rows.items()}
    assert said["optimum"] == (1, f"{optimum:g} µs", data["members"]["my own"]["verdict"])
    assert said["half"] == (0, "–", "–")
    assert f"own name.toml' --out '{tmp_path}/out/my own'\n" in (tmp_path / "out/my own/FINDINGS.md").read_text()
    assert "[`my own`](<my own/FINDINGS.md>): " in (tmp_path / "out/FINDINGS.md").read_text()
    assert f"\njaxroof study '{path}' --out {tmp_path}/out\n" in (tmp_path / "out/FINDINGS.md").read_text()
    assert (tmp_path / "out/ranking_memory_published.png").exists()


def test_findings_of_a_path_say_the_path(tmp_path, capsys):
    path = tmp_path / "own name.toml"
    path.write_text(find("studies", "h2b").read_text())
    assert run_cli(capsys, "study", path, "--out", tmp_path / "out")[0] == 0
    assert f"\njaxroof study '{path}' --out {tmp_path}/out\n" in (tmp_path / "out/FINDINGS.md").read_text()


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_search_needs_both_splits(truth, split):
    groups = {name: mask for name, mask in truth.groups().items() if name != split}
    with pytest.raises(InputError, match=f"no experiment is in {split}"):
        check_groups("mine.toml", load_study("idea_c"), groups)
