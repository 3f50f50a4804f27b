"""jaxroof: a differentiable roofline model of LLM serving.

A :class:`Model` is a step-time model with its constants. Those are *Tier 0*: each one comes from a data sheet, a
published micro-benchmark or a formula file, with its source, and none is fitted to the latencies that it is scored on.
:func:`predict` says how long one request takes, :func:`latencies` and :func:`tpot_mape` what the model says of the
measured runs, :func:`sensitivities` how that answers to every constant; ``jax.grad`` and ``jax.vmap`` go through all.
"""

# ruff: noqa: I001  (short imports, several to a line)
import ast
import importlib
from typing import TYPE_CHECKING, Any

# The public names: type checkers follow these imports. At run time each one happens on the first use of its name, so
# that ``jaxroof --help`` does not import JAX; the table of them is read from here, and so has no second home.
if TYPE_CHECKING:
    # fmt: off
    from jaxroof.catalogue.load import load_architecture as load_architecture, load_hardware as load_hardware
    from jaxroof.catalogue.load import load_model as load_model, load_overheads as load_overheads
    from jaxroof.catalogue.load import load_tier0 as load_tier0, with_settings as with_settings
    from jaxroof.catalogue.servers import load_server as load_server
    from jaxroof.experiments.evaluate import latencies as latencies, tpot_mape as tpot_mape
    from jaxroof.experiments.ground_truth import GroundTruth as GroundTruth
    from jaxroof.experiments.load import load_experiments as load_experiments, load_ground_truth as load_ground_truth
    from jaxroof.experiments.runs import Runs as Runs
    from jaxroof.files import InputError as InputError
    from jaxroof.parameters import Architecture as Architecture, Deployment as Deployment
    from jaxroof.parameters import Sampling as Sampling, Server as Server, Tier0 as Tier0, replace as replace
    from jaxroof.request.predict import Prediction as Prediction, predict as predict
    from jaxroof.request.schedule import Latency as Latency
    from jaxroof.sensitivity.derivatives import Sensitivity as Sensitivity, sensitivities as sensitivities
    from jaxroof.serving.demand import Demand as Demand
    from jaxroof.serving.load import Load as Load
    from jaxroof.serving.simulate import Simulation as Simulation, simulate as simulate
    from jaxroof.serving.steady_state import Steady as Steady, steady_state as steady_state
    from jaxroof.step import Model as Model
    # fmt: on
else:
    _NODES = ast.walk(ast.parse(__spec__.loader.get_source(__name__)))
    _IMPORTS = [n for n in _NODES if isinstance(n, ast.ImportFrom) and n.module.startswith("jaxroof.")]
    _HOMES = {alias.name: node.module for node in _IMPORTS for alias in node.names}
    __all__ = sorted(_HOMES)

    def __dir__() -> list[str]:
        return __all__

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module 'jaxroof' has no attribute {name!r}")
        return getattr(importlib.import_module(_HOMES[name]), name)
