"""A Gram matrix of many records, tile by tile: nothing of its size is held but the matrix itself.

Example:
    >>> from theorysim.lood import rbf
    >>> x = np.arange(5.0).reshape(-1, 1)
    >>> bool(jnp.allclose(gram_in_tiles(rbf(), x, jnp.float64, tile=2), rbf()(x, x)))
    True
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.tree_util import Partial
from jaxtyping import Array, Float

__all__ = ["TILE", "gram_in_tiles"]

TILE = 2048
"""Records on a side of a tile; up to twice as many are one tile."""


def gram_in_tiles(kernel: Partial, x: np.ndarray, dtype: Any, *, tile: int = TILE) -> Float[Array, "n n"]:
    """The kernel between all records.

    Args:
        kernel: covariance function.
        x: features, (n, d).
        dtype: of the result, and of what it is computed in.
        tile: records on a side.

    Returns:
        (n, n), exactly symmetric; beside it a few tiles were held.

    Example:
        >>> print(gram_in_tiles(Partial(lambda a, b: a @ b.T), np.ones((3, 2)), jnp.float32, tile=1))
        [[2. 2. 2.]
         [2. 2. 2.]
         [2. 2. 2.]]
    """
    features = jnp.asarray(x, dtype)
    n = len(features)
    if n <= 2 * tile:
        return _own(kernel, features)
    gram = jnp.zeros((n, n), dtype)
    starts = range(0, n, tile)
    for i in starts:
        rows = features[i : i + tile]
        gram = _put(gram, _own(kernel, rows), i, i)
        for j in range(0, i, tile):
            block = _between(kernel, rows, features[j : j + tile])
            gram = _put(gram, block, i, j)
            gram = _put(gram, block.T, j, i)
    return gram


@jax.jit
def _own(kernel, x):
    # One array twice: kernels know then that the diagonal has distance 0.
    gram = kernel(x, x)
    return (gram + gram.T) / 2


@jax.jit
def _between(kernel, x1, x2):
    return kernel(x1, x2)


@partial(jax.jit, donate_argnums=0)
def _put(gram, block, i, j):
    return lax.dynamic_update_slice(gram, block, (i, j))
