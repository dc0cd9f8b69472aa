"""The side of neural-tangents: run by the Python of its own environment, which has neither us nor our JAX.

The network is that of `theorysim.networks.resnet` with ReLU and equal branch scales
alpha; its readout gives the NTK the share q_L, as in ours.
"""

import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import cho_factor, cho_solve


def neural_tangents_stax():
    """The module that describes networks."""
    # The package imports this part of it at once, which wants TensorFlow and serves nothing else.
    sys.modules["neural_tangents.experimental"] = types.ModuleType("neural_tangents.experimental")
    from neural_tangents import stax  # pyright: ignore[reportMissingImports]

    return stax


def kernel_fn(depth, alpha, layers):
    """Its kernel function, compiled, with the layers written out (serial) or in one loop (repeat)."""
    stax = neural_tangents_stax()
    branch = stax.serial(stax.Relu(), stax.Dense(1, W_std=float(alpha), b_std=None))
    block = stax.serial(stax.FanOut(2), stax.parallel(stax.Identity(), branch), stax.FanInSum())
    blocks = {"serial": lambda: [block] * depth, "repeat": lambda: [stax.repeat(block, depth)]}[layers]()
    ends = [stax.Dense(1, W_std=1.0, b_std=None) for _ in range(2)]
    found = stax.serial(ends[0], *blocks, ends[1])[2]
    return jax.jit(found, static_argnames="get")


def kernels(x, depth, alpha, layers):
    """NNGP and NTK of all pairs of rows."""
    compiled, x = kernel_fn(int(depth), alpha, str(layers)), jnp.asarray(x)

    def call():
        found = compiled(x, None, get=("nngp", "ntk"))
        return {"nngp": found.nngp, "ntk": found.ntk}

    return call


def regression(x, y, new, noise, depth, alpha, layers):
    """Scores of new rows by kernel regression on the centred columns of y with the NTK."""
    compiled = kernel_fn(int(depth), alpha, str(layers))
    x, y, new = (jnp.asarray(v) for v in (x, y, new))

    @jax.jit
    def predict(K, cross):
        mean = y.mean(0)
        factor = cho_factor(K + noise * jnp.eye(len(K), dtype=K.dtype), lower=True)
        return cross @ cho_solve(factor, y - mean) + mean

    return lambda: {"scores": predict(compiled(x, None, get="ntk"), compiled(new, x, get="ntk"))}


def prepare(inputs):
    """Compute in the precision of the inputs."""
    jax.config.update("jax_enable_x64", inputs["x"].dtype == np.float64)


TASKS = {"kernels": kernels, "regression": regression}
finish = jax.block_until_ready
