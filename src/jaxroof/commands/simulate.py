"""``jaxroof simulate``: a server under load."""

from pathlib import Path
from typing import cast

import numpy as np

from jaxroof.commands import simulate_tables
from jaxroof.commands.serving_options import ServerOptions
from jaxroof.commands.simulate_tables import Said
from jaxroof.files import InputError
from jaxroof.report.folder import check_out
from jaxroof.report.report import note
from jaxroof.serving.capacity import beyond_positions
from jaxroof.serving.demand import Demand
from jaxroof.serving.options import WHERE, LoadOptions, mean_request
from jaxroof.serving.setting import NO_MODEL, Setting
from jaxroof.serving.steady_state import steady_state
from jaxroof.serving.summary import Summary, of_steady_state, simulated


def run(
    server: ServerOptions, load: LoadOptions, *, steady: bool, out: Path | None, force: bool, json: bool,
    requests_json: bool,
) -> None:  # fmt: skip
    """Simulate a server, or solve for its steady state; print tables, or one JSON object; fill the folder ``out``."""
    load.check()
    if steady and requests_json:
        raise InputError(WHERE, "--requests-json", "the steady state has means only, of no requests")
    demand = load.demand() if steady else None
    # The steady state draws no load: that one mean request can be served is all that it asks for.
    sent = mean_request(demand) if demand else load.load()
    setting = server.setting(sent)
    means = _means(demand, setting, server.kv_blocks) if demand else None
    check_out(out, simulate_tables.NAME, force)
    made = None if means else simulated(setting)
    summary = made.summary if made else cast(Summary, means)
    notes = [*server.notes(setting), *_lengths(setting, load, steady), *simulate_tables.notes(summary, *load.chosen)]
    data = simulate_tables.record(summary, server.inputs(setting) | load.given(), notes)
    said = Said(server.describe(), load.describe(), server.command(steady, **load.options(), out=out))
    report = simulate_tables.simulation_report(data, summary, made, sent, said)
    note(notes)
    shown = data | {"requests": simulate_tables.requests_record(made.simulation)} if requests_json and made else None
    report.deliver(out, force, json or requests_json, shown)


def _means(demand: Demand, setting: Setting, kv_blocks: int | None) -> Summary:
    """What a load is like that goes on for ever, of which ``setting`` has one request. Raises InputError."""
    found = steady_state(setting.model, demand, setting.architecture, setting.deployment, kv_blocks=kv_blocks)
    return of_steady_state(found, float(demand.output_tokens), float(setting.kv_blocks))


def _lengths(setting: Setting, load: LoadOptions, steady: bool) -> list[str]:
    """What there is to say of requests that are too long, or too few for all clients."""
    longest = float(np.max(setting.load.prompt_tokens + setting.load.output_tokens))
    beyond, requests = beyond_positions(setting.architecture, longest), setting.load.requests
    idle = f"only {requests} of {load.concurrency} clients send: there are no more requests"
    few = load.concurrency is not None and load.concurrency > requests and not steady
    line = setting.architecture is NO_MODEL
    return [note for note in (None if line else beyond, idle if few else None) if note]
