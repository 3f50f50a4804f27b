"""Measured points of loaded servers: a decode step at a known batch, and what the model says of it."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from jaxroof.catalogue.load import load_architecture, load_deployment, load_model, with_settings
from jaxroof.catalogue.sampling import sampled_by
from jaxroof.files import AT_LEAST_ONE, CACHED_TOKENS, POSITIVE, TOKENS, Range, check, errors_at, read_csv
from jaxroof.parameters import EP, TP, Architecture, Mask, Vector
from jaxroof.request.limits import SPREAD
from jaxroof.request.predict import Traced, latency_of, prepared
from jaxroof.step import Model
from jaxroof.units import MILLI

# One token has no time between tokens.
SEVERAL = dataclasses.replace(TOKENS, low=2)
NUMBERS: Mapping[str, Range] = {
    "tp": TP, "ep": EP, "prompt_tokens": TOKENS, "cached_tokens": CACHED_TOKENS, "output_tokens": SEVERAL,
    "output_cv": SPREAD, "batch": AT_LEAST_ONE, "itl_ms": POSITIVE,
}  # fmt: skip
TEXTS = ("name", "model", "hardware", "server", "sampling", "set")
COLUMNS = (*TEXTS, *NUMBERS, "source")
# Batches above it are the large ones of :func:`groups`.
LARGE = 64


@dataclasses.dataclass(frozen=True)
class LoadedPoint:
    """Mean time between tokens at a mean batch; ``sampling`` and ``set`` (by semicolons) as on the command line."""

    name: str
    model: str
    hardware: str
    server: str
    sampling: str
    set: str
    tp: float
    ep: float
    prompt_tokens: float
    cached_tokens: float
    output_tokens: float
    output_cv: float
    batch: float
    itl_ms: float


@dataclasses.dataclass(frozen=True)
class Catalogue:
    """Each file that points name, read once."""

    model: Callable[..., Model] = dataclasses.field(default_factory=lambda: functools.cache(load_model))
    architecture: Callable[[str], Architecture] = dataclasses.field(
        default_factory=lambda: functools.cache(load_architecture)
    )


def load_points(path: Path) -> list[LoadedPoint]:
    """The points of a CSV file with ``COLUMNS``, in its order. Raises InputError."""
    points: list[LoadedPoint] = []
    for row in read_csv(path, COLUMNS):
        where = row["name"]
        numbers = {key: check.parsed_number(path, f"{where}.{key}", row[key], NUMBERS[key]) for key in NUMBERS}
        check.no_repeats(path, "name", [*(point.name for point in points), where])
        points.append(LoadedPoint(**{key: row[key] for key in TEXTS}, **numbers))  # type: ignore[arg-type]
    return points


def predicted_itl_ms(
    path: Path, points: Sequence[LoadedPoint], server: str | None, settings: Sequence[str],
    catalogue: Catalogue | None = None,
) -> Vector:  # fmt: skip
    """Predicted ITL ``[point]`` [ms] by ``kernels``; ``server`` and ``settings`` win over the points' own."""
    catalogue = catalogue or Catalogue()
    return np.array([_itl_ms(path, point, server, settings, catalogue) for point in points])


def groups(points: Sequence[LoadedPoint], catalogue: Catalogue | None = None) -> dict[str, Mask]:
    """Masks over the points: dense models and mixtures, at batches up to 64 and above."""
    load = (catalogue or Catalogue()).architecture
    routed = np.array([is_mixture(load(point.model)) for point in points])
    masks = by_kind_and_batch(routed, np.array([point.batch for point in points]))
    return masks | {"all": np.ones(len(points), dtype=bool)}


def is_mixture(arch: Architecture) -> bool:
    """Whether any layer has experts that a router chooses from."""
    return bool(np.any(arch.layers.num_experts > 0))


def by_kind_and_batch(routed: Mask, batches: Vector) -> dict[str, Mask]:
    """Masks of dense models and mixtures, ``routed``, at batches up to 64 and above; none is empty."""
    large = batches > LARGE
    masks = {
        f"{kind}, batch {side} {LARGE}": of_kind & of_side
        for kind, of_kind in {"dense": ~routed, "mixture": routed}.items()
        for side, of_side in {"≤": ~large, ">": large}.items()
    }
    return {name: mask for name, mask in masks.items() if mask.any()}


def _itl_ms(path: Path, point: LoadedPoint, server: str | None, settings: Sequence[str], catalogue: Catalogue) -> float:
    model, (traced, static) = prepared_point(path, point, server, settings, catalogue)
    return float(latency_of(model, *traced, *static)["tpot"]) / MILLI


def prepared_point(
    path: Path, point: LoadedPoint, server: str | None, settings: Sequence[str], catalogue: Catalogue
) -> tuple[Model, tuple[Traced, tuple[int, int]]]:
    """The model and the request of a point, as :func:`jaxroof.request.predict.latency_of` takes them."""
    with errors_at(f"{path}: {point.name}"):
        model = catalogue.model("kernels", point.hardware, server=server or point.server)
        model = with_settings(model, [*filter(None, point.set.split(";")), *settings], "set")
        arch = sampled_by("sampling", point.sampling, catalogue.architecture(point.model))
        deployment = load_deployment("deployment", arch, point.tp, point.ep)
        prompt, output, cached = (int(getattr(point, f"{key}_tokens")) for key in ("prompt", "output", "cached"))
        return model, prepared(
            model, arch, deployment, prompt=prompt, output=output, cached=cached, batch=point.batch,
            output_cv=point.output_cv,
        )  # fmt: skip
