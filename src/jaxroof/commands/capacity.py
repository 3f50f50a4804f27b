"""``jaxroof capacity``: what a model takes of GPUs' memory, and what fits."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxroof import defaults
from jaxroof.capacity import findings
from jaxroof.capacity.analysis import analyse
from jaxroof.capacity.record import record
from jaxroof.catalogue.choice import command_line
from jaxroof.catalogue.counts import counts
from jaxroof.catalogue.huggingface import load_notes, load_shape
from jaxroof.catalogue.load import load_architecture, load_tier0, with_settings
from jaxroof.catalogue.names import is_original
from jaxroof.catalogue.ranges import load_ranges
from jaxroof.files import COUNT, TOKENS, InputError, check
from jaxroof.report.folder import check_out
from jaxroof.report.report import note
from jaxroof.serving.capacity import beyond_positions, slides

WHERE = "capacity"
WINDOWED = "layers with a window hold no more than it of a request: requests count that, kv_tokens counts all tokens"


@dataclasses.dataclass(frozen=True)
class CapacityOptions:
    """A model, the GPUs that are to hold it, and one request."""

    model: str
    hardware: str
    tp: str
    prompt: int | None
    output: int | None
    server: str | None
    settings: Sequence[str]
    kv_cache_dtype: str | None


def run(options: CapacityOptions, out: Path | None, force: bool, json: bool) -> None:
    """What fits each GPU and degree; tables, or one JSON object; fill the folder ``out``."""
    gpus, degrees = _names(options.hardware), _degrees(options.tp)
    server = options.server or defaults.SERVER
    arch = load_architecture(options.model, options.kv_cache_dtype)
    tokens, tokens_are = _tokens(options, float(arch.max_position_embeddings))
    tier0s = {gpu: with_settings(load_tier0(gpu, server=server), options.settings) for gpu in gpus}
    check_out(out, findings.NAME, force)
    notes = [*load_notes(options.model), *([WINDOWED] if slides(arch) else [])]
    notes += [said for said in [beyond_positions(arch, tokens)] if said]
    shape = load_shape(options.model) | {"kv_cache_bytes": float(arch.kv_cache_bytes)}
    inputs: dict[str, Any] = {
        "model": options.model, "hardware": gpus, "tp": degrees, "prompt": options.prompt, "output": options.output,
        "tokens": tokens, "tokens_are": tokens_are, "server": server,
        "kv_cache_dtype": options.kv_cache_dtype or "auto", "set": list(options.settings),
    }  # fmt: skip
    ranges = {gpu: load_ranges(gpu, server=server) for gpu in gpus}
    data = record(counts(shape), analyse(arch, tier0s, ranges, degrees, tokens), inputs, notes)
    note(notes)
    given = vars(options) | {"settings": None, "out": out, "set": [*options.settings]}
    again = command_line(WHERE, given)
    findings.capacity_report(data, again).deliver(out, force, json)


def _names(text: str) -> list[str]:
    """The GPUs' names. Raises InputError."""
    names = check.names("--hardware", "value", text)
    if original := next((name for name in names if is_original(name)), None):
        raise InputError(original, "--hardware", "says nothing of the GPU's memory")
    return names


def _degrees(text: str) -> list[int]:
    """The numbers of GPUs. Raises InputError."""
    degrees = [int(check.parsed_number(WHERE, "--tp", degree.strip(), COUNT)) for degree in text.split(",")]
    check.no_repeats(WHERE, "--tp", list(map(str, degrees)))
    return degrees


def _tokens(options: CapacityOptions, positions: float) -> tuple[int, str]:
    """Of a request in the end, and what they are. Raises InputError."""
    given = {"--prompt": options.prompt, "--output": options.output}
    lengths = {option: int(check.number(WHERE, option, n, TOKENS)) for option, n in given.items() if n is not None}
    if len(lengths) == 2:
        return sum(lengths.values()), f"{lengths['--prompt']} of prompt and {lengths['--output']} of output"
    if lengths:
        missing = next(option for option in given if option not in lengths)
        raise InputError(WHERE, missing, "is missing: give both lengths of a request, or none")
    if not positions:
        raise InputError(WHERE, "--prompt", f"is missing: {options.model} does not say how long its contexts may be")
    return int(positions), "the model's longest context"
