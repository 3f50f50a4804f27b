"""Files of studies of mechanisms → :class:`MechanismsStudy` and its measurements."""

from pathlib import Path

from msgspec.structs import replace

from jaxroof.catalogue.load import load_model, with_settings
from jaxroof.catalogue.names import find
from jaxroof.experiments.loaded import NUMBERS
from jaxroof.files import InputError, check, errors_at, read_toml, to_struct
from jaxroof.mechanisms.sources import Measurements, load_source
from jaxroof.mechanisms.spec import MechanismsStudy, Switch
from jaxroof.parameters import Sampling, declared, numbers
from jaxroof.step import Model
from jaxroof.studies.load import MECHANISMS, check_name

# What is measured stays as it was; what a mechanism sees of a point may be another.
FILLED = {key: legal for key, legal in NUMBERS.items() if key not in ("itl_ms", "batch", "tp")}


def is_of_mechanisms(name: str) -> bool:
    """Whether a file of ``studies/`` is a study of mechanisms. Raises InputError."""
    return MECHANISMS in read_toml(find("studies", name))


def load_mechanisms(name: str) -> tuple[MechanismsStudy, dict[str, Measurements]]:
    """A study of mechanisms, checked, and its sources. Raises InputError."""
    path = find("studies", name)
    spec: MechanismsStudy = to_struct(path, read_toml(path), MechanismsStudy)
    check_name(path, spec.name)
    if list(spec.batch_bins) != sorted(set(spec.batch_bins)):
        raise InputError(path, "batch_bins", "must rise")
    check.no_repeats(path, "criteria.name", [c.name for c in spec.criteria])
    model = load_model("kernels")
    for mechanism, switch in spec.mechanisms.items():
        _check_switch(path, f"{MECHANISMS}.{mechanism}", switch, model)
    spec = replace(spec, sources={k: replace(s, file=str(path.parent / s.file)) for k, s in spec.sources.items()})
    for c in spec.criteria:
        check.one_of(path, "criteria.source", c.source, spec.sources)
    sources = {}
    for key, source in spec.sources.items():
        with errors_at(path, f"sources.{key}.file"):
            sources[key] = load_source(Path(source.file))
    for c in spec.criteria:
        masks = sources[c.source].measured.groups(spec.batch_bins).values()
        check.one_of(path, f"criteria.{c.name}.group", c.group, [name for each in masks for name in each])
    return spec, sources


def _check_switch(path: Path, where: str, switch: Switch, model: Model) -> None:
    """Every key is known and every value legal. Raises InputError."""
    if not (switch.constants or switch.sampling or switch.point):
        raise InputError(path, where, "takes nothing away")
    known, sampling = numbers(model), {key: leaf.range for key, (_, leaf) in declared(Sampling).items()}
    copied = [value for value in switch.constants.values() if isinstance(value, str)]
    check.unknown_key(path, [*switch.constants, *copied], known, f"{where}.constants.")
    with errors_at(path):
        with_settings(model, switch.settings(known), f"{where}.constants")
    for part, values, legal in (("sampling", switch.sampling, sampling), ("point", switch.point, FILLED)):
        check.unknown_key(path, values, legal, f"{where}.{part}.")
        for key, value in values.items():
            check.number(path, f"{where}.{part}.{key}", value, legal[key])
