"""Gradients in ten lines, and what else they give. Plain Python; run it whole, or cell by cell in an editor."""

# %% From import to the gradient of one number with respect to every constant
import jax

import jaxroof

jax.config.update("jax_enable_x64", True)
runs = jaxroof.load_experiments()  # the 13 measured runs, stacked
model = jaxroof.load_model("memory", "h100-sxm", overheads="h2b")  # a step-time model, a pytree of constants


def mape(model):
    """TPOT MAPE, a share: ITL against ITL."""
    return jaxroof.tpot_mape(model, runs)


gradient = jax.grad(mape)(model)  # a model of slopes, in SI units: per byte/s, per second, per share
slope = gradient.constants.hardware.hbm_efficiency
print(f"TPOT MAPE {mape(model):.4f}, per unit of bandwidth efficiency {slope:+.4f}")

# %% Elasticities: d MAPE / d log constant, whatever its unit
elasticity = jax.tree.map(lambda slope, value: 100 * slope * value, gradient, model)
print(f"1 % more bandwidth: {elasticity.constants.hardware.hbm_bytes_per_s / 100:+.3f} pp")
print(f"1 % more overhead per layer: {elasticity.constants.overheads.decode.per_layer_s / 100:+.3f} pp")

# %% A term at zero has a slope too: negative means that the data asks for it. Here in pp per µs
decode = gradient.constants.overheads.decode
for name in ("base_s", "per_layer_replicated_s", "per_vocab_s"):
    print(f"{name:24} {100 * 1e-6 * getattr(decode, name):+.4f} pp per µs")

# %% Both sides of every constant, and its kinks, in the units of the files
both = jaxroof.sensitivities(model, runs)
sides = 100 * both.mape_gradient("tpot", both.measured["tpot"] > 0)  # [side constant], pp per unit
i = both.keys.index("overheads.decode.base_us")
print(f"{both.keys[i]}: {sides[0, i]:.4f} below (illegal), {sides[1, i]:+.4f} pp per µs above")


# %% Per experiment: the Jacobian of every ITL along two constants, by forward mode
def log_itl(log_values):
    """log ITL [experiment] at the exponentials of two log-constants."""
    efficiency, per_layer_us = jax.numpy.exp(log_values)
    keys = {"hardware.hbm_efficiency": efficiency, "overheads.decode.per_layer_us": per_layer_us}
    return jax.numpy.log(jaxroof.latencies(jaxroof.replace(model, keys), runs).tpot_s)


here = jax.numpy.log(jax.numpy.array([0.82, 100.0]))
jacobian = jax.jacfwd(log_itl)(here)  # [experiment, constant], % per %
print(jacobian.round(2))


# %% Second order: a Hessian-vector product of a smooth loss costs two gradients, not a matrix
def loss(log_values):
    """Half the sum of squared log-errors."""
    error = log_itl(log_values) - jax.numpy.log(runs.measured["itl"].tpot_s)
    return jax.numpy.sum(error**2) / 2


along = jax.numpy.array([1.0, 0.0])
curvature = jax.jvp(jax.grad(loss), (here,), (along,))[1]
print(f"curvature along bandwidth efficiency {curvature[0]:.2f}, coupled to the overhead by {curvature[1]:+.2f}")
