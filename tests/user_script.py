"""What a user writes: it passes ``mypy --strict``, and a slip in it does not."""

import jax
import numpy as np

import jaxroof

model: jaxroof.Model = jaxroof.load_model("memory", "h100-sxm", overheads="h2b")
arch: jaxroof.Architecture = jaxroof.load_architecture("llama-3.1-8b")
try:
    prediction = jaxroof.predict(model, arch, jaxroof.Deployment(tp=1), prompt=512, output=128, batch=4)
except jaxroof.InputError as error:
    raise SystemExit(str(error)) from None
latency: jaxroof.Latency = prediction.latency
ttft_ms = 1000 * float(latency["ttft"])

truth: jaxroof.GroundTruth = jaxroof.load_ground_truth(models=[model])
runs: jaxroof.Runs = truth.runs
mape = float(jaxroof.tpot_mape(model, runs, scoring="itl"))
slopes: jaxroof.Model = jax.grad(jaxroof.tpot_mape)(model, runs)
swept = jaxroof.replace(model, {"hardware.hbm_efficiency": np.linspace(0.6, 1.0, 5)})
tpot_s = jaxroof.latencies(swept, runs).tpot_s
overheads: jaxroof.Tier0 = jaxroof.load_tier0(overheads="none")
gradient = jaxroof.sensitivities(model, runs).mape_gradient("tpot", truth.groups()["train"])
