"""How a model is found: by catalogue name, path, or repository in the cache of Hugging Face's client; near misses."""

from pathlib import Path

import pytest
from command_line import CONFIGS, predict, refused

from jaxroof.catalogue.huggingface import load_shape
from jaxroof.catalogue.names import catalogue, find

NAME, REVISION = "meta-llama/Llama-2-7b-hf", "01c7f73d771dfac7d292323805ebc428287df4f9"
KINDS = {
    "hardware": ("L40S", "l40s"), "models": ("Qwen3-8B", "qwen3-8b"), "overheads": ("H2b", "h2b"),
    "servers": ("vLLM-0.15", "vllm-0.15"), "studies": ("HG1", "hg1"),
}  # fmt: skip


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty cache, and no other one."""
    for name in ("HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def download(hub, revision=REVISION, ref="main"):
    """What the client leaves of a repository's ``config.json``."""
    folder = hub / "models--meta-llama--Llama-2-7b-hf"
    for path, text in (
        (f"refs/{ref}", revision),
        (f"snapshots/{revision}/config.json", (CONFIGS / "models/llama-2-7b.json").read_text()),
    ):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder / f"snapshots/{revision}/config.json"


@pytest.mark.parametrize(
    ("variable", "value", "hub"),
    [
        ("HF_HUB_CACHE", "{}/a", "a"),
        ("HF_HOME", "{}/b", "b/hub"),
        ("XDG_CACHE_HOME", "{}/c", "c/huggingface/hub"),
        ("HOME", "{}", ".cache/huggingface/hub"),
    ],
)
def test_the_cache_is_where_the_client_has_it(tmp_path, monkeypatch, variable, value, hub):
    for name in ("HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, value.format(tmp_path))
    path = download(tmp_path / hub)
    assert find("models", NAME) == path


def test_a_repository_is_read_like_its_folder(hub):
    folder = download(hub).parent
    assert load_shape(NAME) == load_shape(str(folder)) == load_shape("llama-2-7b")
    (folder / "hf_quant_config.json").write_text('{"quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": null}}')
    assert load_shape(NAME)["layers"]["attention_weight_bytes"] == [1]


def test_a_path_that_exists_comes_first(hub, tmp_path, monkeypatch):
    download(hub)
    monkeypatch.chdir(tmp_path)
    (tmp_path / NAME).mkdir(parents=True)
    refused(tmp_path, predict(model=NAME), f"{NAME}/config.json: No such file")


@pytest.mark.parametrize("there", ["nothing", "another revision", "no text", "no config.json"])
def test_what_is_not_in_the_cache_can_be_got(hub, tmp_path, there):
    if there == "another revision":
        download(hub, ref="v2")
    if there == "no text":
        path = download(hub)
        (path.parents[2] / "refs/main").write_bytes(b"\xff")
    if there == "no config.json":
        download(hub).unlink()
    says = (
        f"{NAME}: No such file or directory, nor is it in {hub}; "
        f"`hf download {NAME} --include '*config.json'` gets it, or give its folder; did you mean llama-2-7b?"
    )
    refused(tmp_path, predict(model=NAME), says)


@pytest.mark.parametrize("name", ["a/b.json", "a/b/c", "./a", "/a", "../a/b", "~/a"])
def test_other_paths_are_paths(hub, tmp_path, name):
    refused(tmp_path, predict(model=name), f"{Path(name)}: No such file or directory\n")


@pytest.mark.parametrize("kind", KINDS)
def test_a_near_miss_names_the_nearest_and_all(tmp_path, kind):
    name, near = KINDS[kind]
    option = {"overheads": "formula", "servers": "server", "models": "model"}.get(kind, kind)
    command = ["study", name] if kind == "studies" else predict(**{option: name})
    known = ", ".join(catalogue(kind))
    refused(tmp_path, command, f"{kind}: {name}: not in the catalogue; did you mean {near}? it has {known}\n")


def test_what_is_like_nothing_gets_all_names(tmp_path):
    known = ", ".join(catalogue("hardware"))
    refused(tmp_path, predict(hardware="zzz"), f"hardware: zzz: not in the catalogue; it has {known}\n")
