"""Data of the reference values: X_ij = sin(o + 3i + 7j + .1 ij), y_im = cos(o + 2i + 5m + .3 im), o = 1."""

import jax.numpy as jnp
import numpy as np

from theorysim.lood import rbf

NOISE = 0.1


def inputs(offset: float, n: int, d: int = 2):
    i, j = np.mgrid[:n, :d]
    return jnp.asarray(np.sin(offset + 3 * i + 7 * j + 0.1 * i * j))


def labels(offset: float, n: int, k: int = 1):
    i, m = np.mgrid[:n, :k]
    return jnp.asarray(np.cos(offset + 2 * i + 5 * m + 0.3 * i * m))


X, Y, Q = inputs(1.0, 8), labels(1.0, 8), inputs(1.37, 2)
KERNEL = rbf()
GRAM, CROSS, QUERY_GRAM = KERNEL(X, X), KERNEL(Q, X), KERNEL(Q, Q)


def random_problem(seed: int, n: int = 12, d: int = 2, k: int = 1):
    """Inputs and labels at random, reproducibly."""
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.normal(size=(n, d))), jnp.asarray(rng.normal(size=(n, k)))
