"""The wheel carries its configs and ground truth: it works from any folder."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_wheel_reruns_hg1_elsewhere(tmp_path):
    """Dependencies are borrowed from this environment; the package itself only from the wheel."""
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, ROOT]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv/bin/python"
    site = next((tmp_path / "venv/lib").glob("python*/site-packages"))
    target = ["--target", site, "--no-deps", "--quiet", wheel]
    subprocess.run([sys.executable, "-m", "pip", "install", *target], check=True, capture_output=True)
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib"))
    code = "import jaxroof, sys; from jaxroof.cli import main; sys.stderr.write(jaxroof.__file__); main(sys.argv[1:])"
    command = [python, "-c", code, "study", "hg1", "--out", "out"]
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    assert str(site) in done.stderr
    assert "refuted" in done.stdout
    assert (tmp_path / "out/FINDINGS.md").exists()
