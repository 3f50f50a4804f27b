"""The command line: the JSON contract, tables, files, help."""

import importlib.metadata
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from jaxroof.app import app
from jaxroof.cli import main

ROOT = Path(__file__).parents[1]
ERRORS = {"ttft_ms", "tpot_ms", "e2e_ms", "ttft_ape_pct", "tpot_ape_pct", "tpot_signed_pct", "e2e_ape_pct"}
MAPES = {"ttft_mape_pct", "tpot_mape_pct", "e2e_mape_pct"}
PREDICT = "predict --model llama-2-7b --hardware h100-sxm --tp 1 --prompt 512 --output 64"
CONFIGURATIONS = {
    "h1": ["raw", "bw082"],
    "h2": ["none", "fixed5ms"],
    "h2b": ["none", "fixed5ms", "scaled100us"],
    "hg1": ["none", "h2b", "optimum"],
    "kernels": ["memory_h2b", "roofline_h2b", "kernels"],
}


@pytest.fixture
def jaxroof(capsys):
    """Run a command line in this process; returns its stdout."""

    def run(line: str) -> str:
        with pytest.raises(SystemExit) as exit_:
            main(line.split())
        out, err = capsys.readouterr()
        assert exit_.value.code == 0, err
        return out

    return run


@pytest.mark.parametrize("kind", ["models", "hardware", "overheads", "studies", "experiments"])
def test_list_loads_no_jax(kind):
    heavy = {"jax", "equinox", "pandas", "rich", "matplotlib"}
    child = (
        f"import sys; from jaxroof.commands.listing import run; run({kind!r}, False); print({heavy} & {{*sys.modules}})"
    )
    out = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=True).stdout
    assert out.endswith("set()\n")


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_study_json(jaxroof, name):
    data = json.loads(jaxroof(f"study {name} --json"))
    assert data["study"] == name
    assert data["configurations"] == CONFIGURATIONS[name]
    assert len(data["experiments"]) == 13
    for experiment in data["experiments"]:
        assert {"name", "split", "family"} < set(experiment)
        assert all(set(experiment[configuration]) == ERRORS for configuration in CONFIGURATIONS[name])
    for splits in data["aggregate"].values():
        assert {split: set(table) for split, table in splits.items()} == dict.fromkeys(("train", "test", "all"), MAPES)
    assert all({"name", "threshold", "observed", "unit", "passed"} <= set(c) for c in data["criteria"])
    assert ("search" in data) == (name == "hg1")


def test_study_files(jaxroof, tmp_path):
    text = jaxroof(f"study hg1 --out {tmp_path}/out")
    assert "refuted" in text
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {
        "FINDINGS.md",
        "results.json",
        "predictions_published.csv",
        "search_itl.png",
        "tpot_errors_itl.png",
    } <= names
    assert json.loads((tmp_path / "out/results.json").read_text()) == json.loads(jaxroof("study hg1 --json"))
    groups = (tmp_path / "out/groups_itl.csv").read_text().splitlines()[0]
    assert groups.startswith("group,N,configuration,TPOT [%],TPOT low [%],TPOT high [%],E2E [%]")
    findings = (tmp_path / "out/FINDINGS.md").read_text()
    for word in ("**Status:** Refuted", "## Hypothesis", "Accept criteria", "published", "`itl` scoring", "and why"):
        assert word in findings
    assert all((tmp_path / "out" / image).exists() for image in re.findall(r"\]\((.*?\.png)\)", findings))


def test_a_study_of_ones_own_is_a_file(jaxroof, tmp_path):
    text = (ROOT / "configs/studies/h1.toml").read_text().replace('name = "h1"', 'name = "mine"')
    (tmp_path / "mine.toml").write_text(text)
    assert json.loads(jaxroof(f"study {tmp_path}/mine.toml --json"))["study"] == "mine"


def test_evaluate_json(jaxroof):
    settings = "--set overheads.decode.per_layer_us=80 --set overheads.prefill.per_layer_us=80"
    data = json.loads(jaxroof(f"evaluate --step-model memory --formula h2b --scoring published {settings} --json"))
    assert data["configurations"] == ["run"]
    assert set(data["experiments"][0]["run"]) == ERRORS
    assert data["aggregate"]["run"]["train"]["tpot_mape_pct"] == pytest.approx(13.9, abs=1)
    assert data["aggregate"]["run"]["test"]["tpot_mape_pct"] == pytest.approx(23.0, abs=1)


@pytest.mark.parametrize("scoring", ["published", "itl", "e2e_per_token"])
def test_evaluate_scorings_and_ground_truth_paths(jaxroof, scoring):
    folder = jaxroof(f"evaluate --scoring {scoring} --ground-truth {ROOT}/ground_truth --json")
    assert folder == jaxroof(f"evaluate --scoring {scoring} --ground-truth {ROOT}/ground_truth/experiments.csv --json")
    assert json.loads(folder)["scoring"] == scoring


def test_evaluate_sampled_is_reproducible_and_near_the_exact(jaxroof):
    exact, drawn, again = (json.loads(jaxroof(f"evaluate --json {o}")) for o in ("", "--sampled 42", "--sampled 42"))
    assert drawn == again
    means = [data["aggregate"]["run"]["all"]["tpot_mape_pct"] for data in (exact, drawn)]
    assert means[0] != means[1]
    assert means[0] == pytest.approx(means[1], abs=3)


def test_predict_json(jaxroof):
    data = json.loads(jaxroof(f"{PREDICT} --json"))
    assert list(data) == [
        "ttft_ms", "itl_ms", "e2e_ms", "tpot_e2e_per_token_ms", "tokens_per_s", "breakdown", "inputs", "notes",
    ]  # fmt: skip
    assert data["e2e_ms"] == pytest.approx(data["ttft_ms"] + 63 * data["itl_ms"], rel=1e-12)
    assert data["tpot_e2e_per_token_ms"] == pytest.approx(data["e2e_ms"] / 64, rel=1e-12)
    assert all(key.endswith("_ms") for key in data["breakdown"])


@pytest.mark.parametrize("step_model", ["kernels", "memory", "roofline"])
def test_predict_options(jaxroof, step_model):
    one, many, cached, faster = (
        json.loads(jaxroof(f"{PREDICT} --step-model {step_model} --json {options}"))
        for options in ("", "--batch 16", "--cached 511", "--set hardware.hbm_tb_per_s=4")
    )
    assert many["itl_ms"] > one["itl_ms"]
    assert many["ttft_ms"] >= one["ttft_ms"]
    assert cached["itl_ms"] == one["itl_ms"]
    assert cached["ttft_ms"] < one["ttft_ms"]
    assert faster["itl_ms"] < one["itl_ms"]


def test_predict_of_one_token_has_no_itl(jaxroof):
    data = json.loads(jaxroof(f"{PREDICT.replace('--output 64', '--output 1')} --json"))
    assert data["itl_ms"] is None
    assert data["e2e_ms"] == data["ttft_ms"]


@pytest.mark.parametrize("kind", ["models", "hardware", "overheads", "studies", "experiments"])
def test_list(jaxroof, kind):
    rows = json.loads(jaxroof(f"list {kind} --json"))[kind]
    text = jaxroof(f"list {kind}")
    assert all(row["name"] in text for row in rows)


@pytest.mark.parametrize("hardware", ["h100-sxm", "h200-sxm", "a100-sxm", "l40s", "b200", "gb200", "mi300x"])
def test_every_gpu_predicts(jaxroof, hardware):
    assert json.loads(jaxroof(f"{PREDICT.replace('h100-sxm', hardware)} --json"))["itl_ms"] > 0


def test_tables_need_no_pandas():
    lines = [line.split() for line in (PREDICT, "study hg1", "evaluate")]
    child = f"import sys; from jaxroof.app import app; [app(line, standalone_mode=False) for line in {lines}]"
    child += "; print({'pandas', 'matplotlib', 'scipy', 'optax', 'pyarrow'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=True).stdout
    assert out.endswith("set()\n")


def test_module_and_version():
    said = [sys.executable, "-m", "jaxroof", "--version"]
    out = subprocess.run(said, capture_output=True, text=True, check=True).stdout
    assert out == f"jaxroof {importlib.metadata.version('jaxroof')}\n"


def test_a_shell_completes_commands():
    child = "import sys; sys.argv = ['jaxroof']; from jaxroof.cli import main; main()"
    asked = {"_JAXROOF_COMPLETE": "complete_bash", "COMP_WORDS": "jaxroof sens", "COMP_CWORD": "1"}
    out = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, env=os.environ | asked).stdout
    assert out.split() == ["sensitivity"]


def test_help_does_not_import_jax():
    code = (
        "import sys\nfrom jaxroof.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\nassert 'jax' not in sys.modules"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "study" in shown


def test_every_command_has_help_and_a_line_in_the_readme():
    readme = (ROOT / "README.md").read_text()
    for command in app.registered_commands:
        name = command.name or command.callback.__name__
        assert command.callback.__doc__
        assert f"`jaxroof {name}" in readme


def test_every_option_has_help():
    for command in typer.main.get_command(app).commands.values():
        assert [parameter.name for parameter in command.params if not parameter.help] == []


def test_a_model_may_be_a_repository_wherever_it_is_an_option(jaxroof):
    for command in ("predict", "simulate", "capacity"):
        assert "organisation/name" in jaxroof(f"{command} --help")


@pytest.mark.parametrize("line", ["study hg1", "sweep --vary overheads.decode.base_us=0:5000:0.001 --best 1"])
def test_an_interruption_ends_the_process_wherever_it_comes(line):
    """In a callback of the garbage collector, as JAX has one, Python would ignore an exception."""
    child = (
        "import gc, os, signal, sys; from jaxroof import cli; run = 'jaxroof.commands.' + sys.argv[1]\n"
        "def collecting(*_):\n"
        "    if hasattr(sys.modules.get(run), 'run'):\n"
        "        gc.callbacks.clear(); os.kill(os.getpid(), signal.SIGINT)\n"
        "gc.callbacks.append(collecting)\ncli.run_process()"
    )
    done = subprocess.run([sys.executable, "-c", child, *line.split()], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (130, "")


@pytest.mark.parametrize("stderr", ["2>&-", "2>/dev/full", "<&- 2>&-"])
def test_what_cannot_be_said_on_stderr_changes_no_exit_code(tmp_path, stderr):
    """A file that is opened later is not written into in its place."""
    child = (
        "import sys; from jaxroof import app, cli\n"
        "@app.app.command()\ndef says():\n"
        "    with open('result', 'w') as file: sys.stderr.write('a note\\n'), file.write('1'), print('2')\n"
        "cli.run_process()"
    )
    for arguments, expected in (["says"], (0, "2\n")), (["list", "nothing"], (2, "")):
        line = shlex.join([sys.executable, "-c", child, *arguments])
        done = subprocess.run(f"{line} {stderr}", shell=True, stdout=subprocess.PIPE, text=True, cwd=tmp_path)
        assert (done.returncode, done.stdout) == expected
    assert (tmp_path / "result").read_text() == "1"


def test_a_platform_that_is_not_there_is_one_line():
    command = [sys.executable, "-c", "from jaxroof.cli import main; main(['evaluate'])"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"JAX_PLATFORMS": "foo"}
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("jaxroof: JAX_PLATFORMS: foo: no such device here.")
