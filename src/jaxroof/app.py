"""The command line: load, one core call, write. JAX loads inside a command, so ``--help`` is quick."""

import contextvars
import dataclasses
import importlib
import inspect
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from jaxroof import defaults

app = typer.Typer(help="A differentiable roofline model of LLM serving.", pretty_exceptions_enable=False)

# Commands that load no JAX, and options that may stand several times.
LIGHT, LISTS = {"listing"}, ("settings", "free", "vary", "zipped")
# Whether this command line may use the compilation cache; its option is read before JAX is there.
CACHED = contextvars.ContextVar("CACHED", default=True)

OTHERS = "Replace another result in --out; one of this command (or study) is replaced anyway, whatever its options."
FORCED = f"Fit more constants than half the train experiments. {OTHERS}"


def _named(text: str) -> Path:
    """A path to write to: an empty one, as of an unset variable, would be the current folder."""
    if not text:
        raise typer.BadParameter("is empty")
    return Path(text)


Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
StepModelName = Annotated[str, typer.Option(help="kernels, memory or roofline.")]
Formula = Annotated[str | None, typer.Option(help="Overhead formula: a name or a TOML file. [default: none]")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="KEY=VALUE of a Tier-0 constant, in its file's unit; repeatable.")
]
MODEL = "A model's name, a Hugging Face config.json or its folder, or a downloaded organisation/name."
HARDWARE = "A GPU's name, TOML file or hardware_config.json."
HardwareName = Annotated[str, typer.Option(help=HARDWARE)]
ServerName = Annotated[
    str | None,
    typer.Option(
        help="A server's name or TOML file. [default: a run's own, else vllm-0.15; vllm-sync with memory and roofline]"
    ),
]
SamplingText = Annotated[str | None, typer.Option(help="temperature=…,top_p=…,… or greedy. [default: the model's own]")]
KvCacheDtype = Annotated[
    str | None,
    typer.Option(
        help="Of the KV cache: auto, bfloat16, float16, fp8, fp8_e4m3 or fp8_e5m2. [default: as the model's file]"
    ),
]
SCORING = "published, itl or e2e_per_token."
ScoringName = Annotated[str, typer.Option(help=SCORING)]
GroundTruthPath = Annotated[Path | None, typer.Option(help="Folder or CSV of experiments. [default: the 13]")]
Force = Annotated[bool, typer.Option("--force", help=OTHERS)]
Out = Annotated[Path | None, typer.Option(parser=_named, help="Folder for FINDINGS.md, results.json, CSVs and PNGs.")]
MfuTables = Annotated[Path | None, typer.Option(help="Folder of measured MFU tables for roofline. [default: analytic]")]


def _print_version(wanted: bool) -> None:
    if wanted:
        import importlib.metadata

        sys.stdout.write(f"jaxroof {importlib.metadata.version('jaxroof')}\n")
        raise typer.Exit


@app.callback()
def options(
    no_cache: Annotated[
        bool,
        typer.Option(
            "--no-cache",
            help="Compile anew. Else compiled programs are kept in JAXROOF_CACHE, by default the user's cache folder. "
            "Also after the command.",
        ),
    ] = False,
    version: Annotated[
        bool | None, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """What holds for every command."""
    CACHED.set(not no_cache)


@app.command()
def study(
    name: Annotated[str, typer.Argument(help="A name of `list studies`, or a TOML file.")],
    out: Out = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Run a pre-registered study: tables and a verdict. Exit 0 whatever the verdict."""
    _run("study", locals())


@app.command()
def evaluate(
    step_model: StepModelName = defaults.STEP_MODEL,
    formula: Formula = None,
    settings: Settings = None,
    scoring: ScoringName = defaults.SCORING,
    hardware: HardwareName = defaults.HARDWARE,
    server: ServerName = None,
    mfu_tables: MfuTables = None,
    ground_truth: GroundTruthPath = None,
    sampled: Annotated[int | None, typer.Option(help="Draw 50 requests per experiment with this seed.")] = None,
    json: Json = False,
) -> None:
    """Score predictions against measurements, per experiment and on average."""
    _run("evaluate", locals())


@app.command()
def predict(
    model: Annotated[str, typer.Option(help=MODEL)],
    hardware: HardwareName,
    tp: Annotated[int, typer.Option(help="Tensor-parallel degree: GPUs.")],
    prompt: Annotated[int, typer.Option(help="Prompt tokens.")],
    output: Annotated[int, typer.Option(help="Output tokens.")],
    cached: Annotated[int, typer.Option(help="Prompt tokens that the prefix cache holds.")] = 0,
    batch: Annotated[int, typer.Option(help="Requests in flight.")] = 1,
    output_cv: Annotated[float, typer.Option(help="Spread of the batch's outputs: stdev / mean.")] = 0.0,
    ep: Annotated[int, typer.Option(help="Expert-parallel degree: 1, or as --tp.")] = 1,
    server: ServerName = None,
    sampling: SamplingText = None,
    kv_cache_dtype: KvCacheDtype = None,
    step_model: StepModelName = defaults.STEP_MODEL,
    formula: Formula = None,
    settings: Settings = None,
    mfu_tables: MfuTables = None,
    breakdown: Annotated[bool, typer.Option(help="Show what the latency is made of, and plot it.")] = False,
    plot: Annotated[Path | None, typer.Option(help="The PNG of --breakdown. [default: breakdown.png]")] = None,
    json: Json = False,
) -> None:
    """Predict the latency of one request, and what it is made of."""
    _run("predict", locals())


@app.command()
def simulate(
    model: Annotated[str | None, typer.Option(help=MODEL)] = None,
    hardware: Annotated[str | None, typer.Option(help=HARDWARE)] = None,
    tp: Annotated[int | None, typer.Option(help="Tensor-parallel degree: GPUs.")] = None,
    ep: Annotated[int | None, typer.Option(help="Expert-parallel degree: 1, or as --tp. [default: 1]")] = None,
    rate: Annotated[float | None, typer.Option(help="Requests per second, whatever the server does.")] = None,
    concurrency: Annotated[int | None, typer.Option(help="Clients that each wait for their answer.")] = None,
    trace: Annotated[
        Path | None, typer.Option(help="CSV or Parquet: arrival_s, prompt_tokens, cached_tokens, output_tokens.")
    ] = None,
    arrivals: Annotated[
        str | None, typer.Option(help="Of --rate: poisson, poisson-count, gamma or constant. [default: poisson]")
    ] = None,
    burstiness: Annotated[float | None, typer.Option(help="Of gamma arrivals: their shape. [default: 1]")] = None,
    stagger: Annotated[
        float | None, typer.Option(help="Of --concurrency: seconds between the clients' first requests. [default: 0]")
    ] = None,
    think: Annotated[
        float | None, typer.Option(help="Of --concurrency: seconds from an answer to the next request. [default: 0]")
    ] = None,
    prompt: Annotated[
        str | None, typer.Option(help="Prompt tokens: 1024, 1024~20%, 819..1024, normal:…, lognormal:… or a file.")
    ] = None,
    cached: Annotated[
        str | None, typer.Option(help="Prompt tokens that the prefix cache holds, as --prompt. [default: 0]")
    ] = None,
    output: Annotated[str | None, typer.Option(help="Output tokens, as --prompt.")] = None,
    kv_blocks: Annotated[
        int | None, typer.Option(help="Usable blocks of the KV cache. [default: what fits beside the weights]")
    ] = None,
    requests: Annotated[int | None, typer.Option(help="How many requests. [default: 1000]")] = None,
    seed: Annotated[int | None, typer.Option(help="Of arrivals and lengths. [default: 0]")] = None,
    server: ServerName = None,
    sampling: SamplingText = None,
    kv_cache_dtype: KvCacheDtype = None,
    step_model: Annotated[
        str, typer.Option(help="kernels, memory, linear or a TOML file of a measured line.")
    ] = defaults.STEP_MODEL,
    formula: Formula = None,
    settings: Settings = None,
    steady: Annotated[bool, typer.Option("--steady", help="Means of the steady state, not a simulation.")] = False,
    out: Out = None,
    force: Force = False,
    json: Json = False,
    requests_json: Annotated[bool, typer.Option("--requests-json", help="As --json, with every request.")] = False,
) -> None:
    """Simulate a server under load: percentiles of latencies, throughput, queue, preemptions."""
    _run("simulate", locals())


@app.command()
def capacity(
    model: Annotated[str, typer.Option(help=MODEL)],
    hardware: Annotated[str, typer.Option(help="GPUs, by name or TOML file: a,b,c.")],
    tp: Annotated[str, typer.Option(help="Tensor-parallel degrees: GPUs that share the model.")] = "1,2,4,8,16",
    prompt: Annotated[
        int | None, typer.Option(help="Prompt tokens of a request. [default: the model's longest context in all]")
    ] = None,
    output: Annotated[int | None, typer.Option(help="Output tokens of a request.")] = None,
    server: Annotated[str | None, typer.Option(help="A server's name or TOML file. [default: vllm-0.15]")] = None,
    settings: Settings = None,
    kv_cache_dtype: KvCacheDtype = None,
    out: Out = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """What a model takes of GPUs' memory, and how many requests fit beside it. Never refuses for size."""
    _run("capacity", locals())


@app.command()
def splits(
    step_model: Annotated[str, typer.Option(help="kernels, memory or roofline.")] = "memory",
    server: ServerName = None,
    out: Out = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Search HG1's overhead on every train/test split, group and sampled workload."""
    _run("splits", locals())


@app.command()
def sensitivity(
    step_model: StepModelName = defaults.STEP_MODEL,
    formula: Formula = None,
    settings: Settings = None,
    scoring: ScoringName = defaults.SCORING,
    hardware: HardwareName = defaults.HARDWARE,
    server: ServerName = None,
    mfu_tables: MfuTables = None,
    ground_truth: GroundTruthPath = None,
    metric: Annotated[str, typer.Option(help="What the tables show: tpot, itl, ttft or e2e.")] = "tpot",
    per: Annotated[str, typer.Option(help="Groups: split, experiment, family or tp.")] = "split",
    out: Out = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Differentiate every error with respect to every constant: what matters, and what the data asks for."""
    _run("sensitivity", locals())


@app.command()
def calibrate(
    free: Annotated[
        list[str] | None,
        typer.Option(
            help="KEY[,KEY…][=LOW:HIGH] that may move, keys of one option share a value, * is any word; repeatable."
        ),
    ] = None,
    step_model: StepModelName = defaults.STEP_MODEL,
    formula: Formula = None,
    settings: Settings = None,
    scoring: ScoringName = defaults.SCORING,
    hardware: HardwareName = defaults.HARDWARE,
    server: ServerName = None,
    mfu_tables: MfuTables = None,
    ground_truth: GroundTruthPath = None,
    metric: Annotated[str, typer.Option(help="What is fitted: tpot, ttft or e2e.")] = "tpot",
    loss: Annotated[str, typer.Option(help="mape, kinks and all, or huber of the log-ratio.")] = "mape",
    starts: Annotated[int, typer.Option(help="Starts, the first at the constants' own values.")] = 64,
    seed: Annotated[int, typer.Option(help="Seed of the other starts.")] = 0,
    force: Annotated[bool, typer.Option("--force", help=FORCED)] = False,
    out: Out = None,
    json: Json = False,
) -> None:
    """Fit constants by gradient on the train split, with HG1's guard, intervals and each family left out."""
    _run("calibrate", locals())


@app.command()
def sweep(
    vary: Annotated[
        list[str] | None,
        typer.Option(help="KEY=start:stop:step, KEY=log:low:high:N or KEY=a,b,c; repeatable, the last one fastest."),
    ] = None,
    zipped: Annotated[
        list[str] | None, typer.Option("--zip", help="As --vary; all of them advance together, as the last axis.")
    ] = None,
    points: Annotated[Path | None, typer.Option(help="CSV or Parquet file of points, keys as columns.")] = None,
    random: Annotated[int | None, typer.Option(help="N Sobol points between the ends of each --vary.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of --random. [default: 0]")] = None,
    model: Annotated[str | None, typer.Option(help="Sweep predictions for this model, not the measured runs.")] = None,
    tp: Annotated[int | None, typer.Option(help="Tensor-parallel degree.")] = None,
    prompt: Annotated[int | None, typer.Option(help="Prompt tokens.")] = None,
    output: Annotated[int | None, typer.Option(help="Output tokens.")] = None,
    cached: Annotated[int | None, typer.Option(help="Prompt tokens that the prefix cache holds. [default: 0]")] = None,
    batch: Annotated[int | None, typer.Option(help="Requests in flight. [default: 1]")] = None,
    output_cv: Annotated[float | None, typer.Option(help="Spread of outputs: stdev / mean. [default: 0]")] = None,
    ep: Annotated[int | None, typer.Option(help="Expert-parallel degree: 1, or as --tp. [default: 1]")] = None,
    sampling: SamplingText = None,
    kv_cache_dtype: KvCacheDtype = None,
    metric: Annotated[str | None, typer.Option(help="tpot_mape or latencies. [default: tpot_mape]")] = None,
    group: Annotated[str | None, typer.Option(help="Runs that are scored: all, train, test, … [default: all]")] = None,
    scoring: Annotated[str | None, typer.Option(help=f"{SCORING} [default: {defaults.SCORING}]")] = None,
    ground_truth: GroundTruthPath = None,
    best: Annotated[int | None, typer.Option(help="Keep the N points with the least --by.")] = None,
    by: Annotated[str | None, typer.Option(help="Metric of --best and --marginals. [default: the first]")] = None,
    pareto: Annotated[str | None, typer.Option(help="Keep the front of these metrics, all minimised: a,b,c.")] = None,
    marginals: Annotated[bool, typer.Option("--marginals", help="Keep the least --by at each value.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(parser=_named, help="FILE.parquet of all points, or a folder for what is kept or for shards."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a sweep was interrupted, if it was.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite a finished sweep, drop an interrupted one.")
    ] = False,
    memory: Annotated[str | None, typer.Option(help="Most memory, as 2GB. [default: half of what is free]")] = None,
    precision: Annotated[str, typer.Option(help="f64 or f32.")] = "f64",
    shard: Annotated[
        str | None,
        typer.Option(help="I/N: compute share I, from 0, of N into the folder --out. Any machine, any time."),
    ] = None,
    join: Annotated[Path | None, typer.Option(help="Folder of finished shards: make the whole sweep of them.")] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="A Dask scheduler's address, or local:N for N processes of this machine.")
    ] = None,
    hardware: HardwareName = defaults.HARDWARE,
    server: ServerName = None,
    step_model: StepModelName = defaults.STEP_MODEL,
    formula: Formula = None,
    settings: Settings = None,
    mfu_tables: MfuTables = None,
    json: Json = False,
) -> None:
    """Evaluate millions to billions of settings: all of them to a file, or the best, the front, the marginals."""
    _check_join(join, locals())
    _run("sweep", locals())


@app.command()
def devices(json: Json = False) -> None:
    """What JAX sees here, and how fast it evaluates: a self-test of two seconds."""
    _run("devices", locals())


@app.command("list")
def list_(
    kind: Annotated[str, typer.Argument(help="models, hardware, servers, overheads, studies or experiments.")],
    json: Json = False,
) -> None:
    """List what is there."""
    _run("listing", locals())


def _check_join(join: Path | None, options: Mapping[str, Any]) -> None:
    """Refuse what is given beside ``join``."""
    from jaxroof.files import InputError

    unset = {name: p.default for name, p in inspect.signature(sweep).parameters.items()}
    given = {name for name, value in options.items() if value not in (unset[name], [])}
    if join is not None and given - {"join", "force", "json"}:
        raise InputError("--join", str(join), "knows its sweep: only --force and --json beside it")


def _run(command: str, options: dict[str, Any]) -> None:
    """Call ``run`` of the command's module: a parameter is an option, or a dataclass whose fields are options."""
    if command not in LIGHT:
        from jaxroof.commands.program_cache import use_precision

        use_precision(options.pop("precision", "f64"), CACHED.get())
        if platforms := os.environ.get("JAX_PLATFORMS"):
            _check_platforms(platforms)
    run = importlib.import_module(f"jaxroof.commands.{command}").run
    options |= {name: [] for name in LISTS if options.get(name, ()) is None}
    kinds: dict[str, type[Any]] = {p.name: p.annotation for p in inspect.signature(run).parameters.values()}
    chosen = {
        name: kind(**{field.name: options.pop(field.name) for field in dataclasses.fields(kind)})
        for name, kind in kinds.items()
        if dataclasses.is_dataclass(kind)
    }
    run(**chosen, **options)


def _check_platforms(platforms: str) -> None:
    import jax

    from jaxroof.files import InputError

    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:
        raise InputError("JAX_PLATFORMS", platforms, f"no such device here. {error}") from None
