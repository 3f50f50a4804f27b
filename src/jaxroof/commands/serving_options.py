"""The options that say what serves a load."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from jaxroof import defaults
from jaxroof.catalogue.choice import ModelOptions, option
from jaxroof.catalogue.load import load_architecture, load_deployment
from jaxroof.catalogue.model_notes import model_notes
from jaxroof.catalogue.sampling import sampled_by
from jaxroof.files import COUNT, InputError, check
from jaxroof.parameters import TP, Architecture, Deployment, scalar
from jaxroof.serving import capacity
from jaxroof.serving.load import Load
from jaxroof.serving.options import WHERE
from jaxroof.serving.setting import Setting, make_setting
from jaxroof.step import Model
from jaxroof.units import GIGA

NEEDED = ("model", "hardware", "tp")
POOLED = (
    "layers with a window hold all tokens in this KV cache, where vLLM frees those before it: more requests would fit"
)


@dataclasses.dataclass(frozen=True)
class ServerOptions:
    """A step-time model, and the model and its GPUs, of which a measured line needs to know none."""

    step_model: str
    model: str | None
    hardware: str | None
    tp: int | None
    ep: int | None
    server: str | None
    sampling: str | None
    formula: str | None
    settings: Sequence[str]
    kv_blocks: int | None
    kv_cache_dtype: str | None

    @property
    def choice(self) -> ModelOptions:
        """Those that choose the step-time model."""
        hardware = self.hardware or defaults.HARDWARE
        return ModelOptions(self.step_model, hardware, self.server, self.formula, None, self.settings)

    @property
    def missing(self) -> list[str]:
        """Which of the model and its GPUs are not given."""
        return [f"--{name}" for name in NEEDED if getattr(self, name) is None]

    def served(self) -> tuple[Model, Architecture | None, Deployment | None]:
        """The step-time model, the model and how it is laid out on GPUs. Raises InputError."""
        model = self.choice.model()
        if self.missing and model.step != "linear":
            needs = f"{' and '.join(self.missing)} {'are' if len(self.missing) > 1 else 'is'} missing"
            raise InputError(WHERE, f"{needs}: only --step-model linear needs none of them")
        if self.missing or self.model is None or self.tp is None:
            if foreign := next(
                (name for name in ("sampling", "ep", "kv_cache_dtype") if getattr(self, name) is not None), None
            ):
                raise InputError(WHERE, option(foreign), f"has no meaning without {', '.join(self.missing)}")
            return model, None, None
        arch = sampled_by("--sampling", self.sampling, load_architecture(self.model, self.kv_cache_dtype))
        return model, arch, load_deployment(WHERE, arch, self.tp, self.ep or 1)

    def setting(self, load: Load) -> Setting:
        """All that is simulated, checked. Raises InputError."""
        if self.kv_blocks is not None:
            check.number(WHERE, "--kv-blocks", self.kv_blocks, COUNT)
        model, arch, deployment = self.served()
        if arch is not None and self.tp is not None and self.kv_blocks is None and model.step != "linear":
            _check_weights(model, arch, self.tp)
        return make_setting(model, load, arch, deployment, self.kv_blocks)

    def inputs(self, setting: Setting) -> dict[str, Any]:
        """What was given, and what stands for the rest."""
        sampling = None if self.missing else setting.architecture.sampling.given()
        return {
            "model": self.model, "hardware": self.hardware, "tp": self.tp, "ep": self.ep or 1,
            "kv_blocks": self.kv_blocks, "server": self.server or defaults.server(self.step_model),
            "sampling": sampling, "kv_cache_dtype": None if self.missing else self.kv_cache_dtype or "auto",
            "step_model": self.step_model,
            "formula": self.choice.overheads_source(), "set": list(self.settings),
        }  # fmt: skip

    def notes(self, setting: Setting) -> list[str]:
        """What there is to say of the model, and of its KV cache as it is simulated. Raises InputError."""
        if self.missing or self.model is None or self.hardware is None:
            return []
        pooled = self.kv_blocks is None and setting.model.step != "linear"
        notes = model_notes(self.model, setting.architecture, {self.hardware: setting.model.constants.hardware})
        return notes + [POOLED] * (pooled and capacity.slides(setting.architecture))

    def describe(self) -> str:
        """The server in words."""
        gpus = f"{self.model} on {self.tp} × {self.hardware}, " if not self.missing else ""
        return f"{gpus}{self.step_model} step time, {self.server or defaults.server(self.step_model)}"

    def command(self, steady: bool, **others: object) -> str:
        """The command line that serves the same again, and ``others``; hardware that no line needs is not named."""
        keys = ("hardware", "model", "tp", "ep", "sampling", "kv_blocks", "kv_cache_dtype")
        mine = {key: getattr(self, key) for key in keys}
        return self.choice.command("simulate", **mine, **others) + " --steady" * steady


def _check_weights(model: Model, arch: Architecture, tp: int) -> None:
    """Raise InputError where they leave no block of KV cache, and say how many GPUs would."""
    tier0 = model.constants

    def blocks(tp: float) -> float:
        return float(capacity.kv_blocks(arch, scalar(tp), tier0))

    if blocks(tp) >= 1:
        return
    wider = (n for n in range(tp + 1, int(TP.high) + 1) if capacity.divides(arch, scalar(n)) and blocks(n) >= 1)
    fits = next((f"--tp {n}" for n in wider), "no degree")
    weights = float(capacity.gpu_bytes(arch, scalar(tp), 0.0)) / GIGA
    raise InputError(
        WHERE, "--tp",
        f"{weights:.1f} GB of weights per GPU leave no KV cache in {capacity.room_in_words(arch, scalar(tp), tier0)}; "
        f"{fits} would fit",
    )  # fmt: skip
