"""Studies whose MFU is measured: only with tables, which only their ``roofline`` steps take."""

import numpy as np
import pytest
from command_line import CONFIGS, TABLES, refused, works

from jaxroof.catalogue.load import load_model
from jaxroof.experiments.evaluate import latencies
from jaxroof.experiments.load import load_ground_truth
from jaxroof.files import InputError
from jaxroof.studies.load import load_study, study_models

MEASURED = 'mfu = "measured"\n'


@pytest.fixture
def mine(tmp_path):
    """HG1's search under ``roofline`` with measured MFU, and a list of it beside HG1."""
    text = (CONFIGS / "studies/hg1.toml").read_text().replace('name = "hg1"', 'name = "mine"')
    text = text.replace('step_model = "memory"', 'step_model = "roofline"\nalso_step_model = ["memory"]')
    (tmp_path / "mine.toml").write_text(text.replace('baseline = "h2b"\n', f'baseline = "h2b"\n{MEASURED}', 1))
    head = "".join(f'{key} = "x"\n' for key in ("title", "source"))
    (tmp_path / "both.toml").write_text(f'name = "both"\n{head}members = ["mine.toml", "hg1"]\n')
    return tmp_path


def test_without_tables_it_is_refused_in_one_line(mine):
    says = "study mine: --mfu-tables: is missing: the MFU is measured; scripts/make_mfu_tables.py writes such a folder"
    for arguments in (["study", mine / "mine.toml", "--out", mine / "out"], ["study", mine / "both.toml"]):
        refused(mine, arguments, says)
    with pytest.raises(InputError, match=says):
        study_models(load_study(f"{mine}/mine.toml"))


def test_tables_are_for_studies_that_take_them(mine):
    refused(mine, ["study", "hg1", "--mfu-tables", TABLES], "--mfu-tables: hg1: has analytic MFU")
    refused(mine, ["study", mine / "mine.toml", "--mfu-tables", mine], f"{mine}/gemm: h100-sxm: no folder for this GPU")
    path = mine / "mine.toml"
    path.write_text(path.read_text().replace('step_model = "roofline"', 'step_model = "kernels"'))
    refused(mine, ["study", path, "--mfu-tables", TABLES], f"{path}: mfu: is measured for roofline, which is no")
    path.write_text(path.read_text().replace(MEASURED, 'mfu = "mesured"\n'))
    refused(mine, ["study", path], f"{path}: mfu: must be one of analytic, measured, got 'mesured'; did you mean")


def test_its_numbers_are_those_of_the_tables(mine):
    """In a list too: what ``evaluate`` says with the same tables, and ``memory`` what HG1 says."""
    out = mine / "out"
    both = works(["study", mine / "both.toml", "--mfu-tables", TABLES, "--out", out])["members"]
    data, hg1, findings = both["mine"], both["hg1"], (out / "mine/FINDINGS.md").read_text()
    evaluate = ["evaluate", "--step-model=roofline", "--mfu-tables", TABLES, "--scoring=published", "--formula=h2b"]
    alone, memory = works(evaluate)["aggregate"]["run"], data["also"]["memory_published"]
    for split, mapes in data["aggregate"]["h2b"].items():
        assert mapes == pytest.approx(alone[split], rel=1e-12)
        assert mapes != memory["aggregate"]["h2b"][split]
    assert memory["search"]["optimum_us"] == hg1["search"]["optimum_us"]
    for result in (data, *data["also"].values()):
        train, test = (result["aggregate"]["optimum"][split]["tpot_mape_pct"] for split in ("train", "test"))
        optimum = f"{result['search']['optimum_us']:g} µs | {train:.1f} | {test:.1f} | {test - train:.1f} | "
        assert f"| {result['step_model']} | {result['scoring']} | {result['verdict']} | {optimum}" in findings
    assert "**hardware:** `h100-sxm`, **scoring:** `published`, **MFU:** measured  \n" in findings
    assert f"\njaxroof study {mine}/mine.toml --mfu-tables {TABLES} --out {out}/mine\n" in findings
    assert f"\njaxroof study hg1 --out {out}/hg1\n" in (out / "hg1/FINDINGS.md").read_text()
    assert f"\njaxroof study {mine}/both.toml --mfu-tables {TABLES} --out {out}\n" in (out / "FINDINGS.md").read_text()


def test_steps_split_at_the_kinks_of_tables_whichever_model_has_them():
    """Nodes for ``kernels`` and ``roofline`` with tables are those that ``roofline`` alone would have."""
    kernels, measured = load_model(), load_model("roofline", mfu_tables=TABLES)
    both, alone = (load_ground_truth(models=models).runs for models in ([kernels, measured], [measured]))
    ours, wanted = (latencies(measured, runs).ttft_s for runs in (both, alone))
    np.testing.assert_allclose(ours, wanted, rtol=1e-9)
    analytic = load_ground_truth(models=[kernels]).runs
    ours, wanted = (latencies(kernels, runs).tpot_s for runs in (both, analytic))
    np.testing.assert_allclose(ours, wanted, rtol=1e-5)
