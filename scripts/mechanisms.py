"""What each mechanism of a loaded server does to the errors: all, all but each, each alone, none.

    python scripts/mechanisms.py [--switches FILE.toml]

One table of ITL MAPE and mean signed error [%]: the 13 idle runs, the 19 points of inference-perf, the 42 of ML.ENERGY
by kind of model and batch. What a mechanism is without is data, ``mechanisms.toml``: constants, sampling parameters or
fields of a measured point. Nothing is fitted here, and no constant of a file is changed.
"""

import argparse
import dataclasses
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

import jax
import numpy as np

import jaxroof
from jaxroof.experiments import loaded
from jaxroof.experiments.runs import settled
from jaxroof.parameters import numbers, put

SWITCHES = Path(__file__).with_suffix(".toml")
SCORING = "itl"
LOADED = ("serving_h100.csv", "mlenergy_h100.csv")
FOLDER = Path(__file__).parents[1] / "ground_truth"


@dataclasses.dataclass(frozen=True)
class Switch:
    """What one mechanism, or several at once, are without."""

    constants: Mapping[str, float | str] = dataclasses.field(default_factory=dict)
    sampling: Mapping[str, float] = dataclasses.field(default_factory=dict)
    point: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def settings(self, defaults: Mapping[str, float]) -> list[str]:
        """The constants as the command line takes them; a key is a copy, of the value that is set or is default."""
        values = {**defaults, **self.constants}
        found = {key: values[value] if isinstance(value, str) else value for key, value in self.constants.items()}
        return [f"{key}={value!r}" for key, value in found.items()]

    def of_point(self, point: loaded.LoadedPoint) -> loaded.LoadedPoint:
        """The point sampled and filled otherwise; what its sampling leaves to the model's file stays there."""
        given = dict(part.split("=") for part in point.sampling.split(",") if part)
        text = ",".join(f"{key}={value}" for key, value in {**given, **self.sampling}.items())
        return dataclasses.replace(point, sampling=text, **self.point)

    def of_runs(self, runs: jaxroof.Runs) -> jaxroof.Runs:
        """The runs sampled otherwise; one request at a time has no other fields that matter."""
        schedule = runs.scheduled(SCORING)
        values = {f"sampling.{key}": np.full_like(schedule.output_cv, value) for key, value in self.sampling.items()}
        return dataclasses.replace(runs, schedules={SCORING: put(schedule, values)})


def load_switches(path: Path) -> dict[str, Switch]:
    """The mechanisms of a file, by name."""
    return {name: Switch(**table) for name, table in tomllib.loads(path.read_text(encoding="utf-8")).items()}


def joined(switches: Iterable[Switch]) -> Switch:
    """All of ``switches`` at once."""
    merged: dict[str, dict[str, float | str]] = {}
    for switch in switches:
        for field, values in vars(switch).items():
            merged.setdefault(field, {}).update(values)
    return Switch(**merged)  # type: ignore[arg-type]


def rows(switches: Mapping[str, Switch]) -> dict[str, Switch]:
    """Row of the table → what is off in it."""
    but_one = {f"without {name}": switch for name, switch in switches.items()}
    alone = {f"only {one}": joined(s for name, s in switches.items() if name != one) for one in switches}
    return {"all": Switch(), **but_one, **alone, "none": joined(switches.values())}


class Idle:
    """The 13 runs of one request at a time."""

    def __init__(self) -> None:
        self.runs = jaxroof.load_experiments()
        self.model = settled(jaxroof.load_model("kernels"), self.runs)
        self.defaults = numbers(self.model)
        self.groups = {"13 idle": np.ones(len(self.runs.measured[SCORING].tpot_s), dtype=bool)}

    def errors(self, switch: Switch) -> np.ndarray:
        """Signed error of each run."""
        model = jaxroof.with_settings(self.model, switch.settings(self.defaults))
        predicted = jaxroof.latencies(model, switch.of_runs(self.runs), scoring=SCORING).tpot_s
        return np.asarray(predicted / self.runs.measured[SCORING].tpot_s - 1)


class Loaded:
    """The points of a file."""

    def __init__(self, path: Path, *, by_group: bool) -> None:
        self.path, self.points = path, loaded.load_points(path)
        groups = loaded.groups(self.points)
        everything = {f"{len(self.points)} {path.stem.partition('_')[0]}": groups.pop("all")}
        self.groups = groups | everything if by_group else everything
        self.measured = np.array([point.itl_ms for point in self.points])
        (hardware,) = {point.hardware for point in self.points}  # copies are of one GPU's constants
        self.defaults = numbers(jaxroof.load_model("kernels", hardware))

    def errors(self, switch: Switch) -> np.ndarray:
        """Signed error of each point."""
        points = [switch.of_point(point) for point in self.points]
        found = loaded.predicted_itl_ms(self.path, points, None, switch.settings(self.defaults))
        return found / self.measured - 1


def cells(errors: np.ndarray, groups: Mapping[str, np.ndarray]) -> list[str]:
    """MAPE and mean signed error [%] of each group."""
    means = [(100 * abs(errors[mask]).mean(), 100 * errors[mask].mean()) for mask in groups.values()]
    return [f"{mape:.1f} ({signed:+z.1f})".replace("-", "−") for mape, signed in means]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--switches", type=Path, default=SWITCHES, help="what each mechanism is without")
    args = parser.parse_args()

    serving, mlenergy = (FOLDER / name for name in LOADED)
    tables = [Idle(), Loaded(serving, by_group=False), Loaded(mlenergy, by_group=True)]
    head = [name for table in tables for name in table.groups]
    print("ITL MAPE (mean signed error) [%]\n")
    print(f"| mechanisms | {' | '.join(head)} |\n|{'---|' * (len(head) + 1)}")
    for name, switch in rows(load_switches(args.switches)).items():
        row = [cell for table in tables for cell in cells(table.errors(switch), table.groups)]
        print(f"| {name} | {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    main()
