"""Which constants move the TPOT error, under each step-time model: library calls only, made to be copied.

Usage: python scripts/sensitivity_report.py [memory roofline kernels]
"""

import sys

import jax
import numpy as np

import jaxroof

OVERHEADS = {"memory": "h2b", "roofline": "h2b", "kernels": "none"}
SHOWN = 6


def report(step: str, scoring: str = "itl") -> None:
    """Print the constants with the largest elasticity of TPOT MAPE, and the term at zero that is asked for most."""
    model = jaxroof.load_model(step, overheads=OVERHEADS[step])
    runs = jaxroof.load_experiments(model=model)
    s = jaxroof.sensitivities(model, runs, scoring=scoring)
    everything = np.ones(len(s.measured["tpot"]), dtype=bool)
    below, above = 100 * s.mape_gradient("tpot", everything)  # [pp per unit], NaN on a side that is illegal
    elasticity = np.nan_to_num(below) * s.values
    print(f"{step}, {scoring} scoring: TPOT MAPE {100 * s.ape('tpot').mean():.1f} %")
    for i in np.argsort(-abs(elasticity), kind="stable")[:SHOWN]:
        if elasticity[i]:
            print(f"  {s.keys[i]:48} {s.values[i]:8g} {elasticity[i]:+8.2f} pp per 100 %")
    added = 100 * np.nanmean(s.slopes["tpot"][1] / s.predicted["tpot"], axis=1)  # [% of latency per unit]
    zero = np.flatnonzero((s.values == 0) & (added > 0))
    if zero.size:
        most = zero[np.argmin(above[zero] / added[zero])]
        print(f"  at zero, asked for most: {s.keys[most]}, {above[most] / added[most]:+.2f} pp per 1 % of latency")


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    for name in sys.argv[1:] or OVERHEADS:
        report(name)
