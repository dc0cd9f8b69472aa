r"""Examples, classes and readout in the eigenbasis, by the p x p or the n x n matrix, whichever is smaller.

With fewer examples than features the Gram matrix F F'/n = U diag(rho) U' gives the examples in the eigenbasis
at once, sqrt(n rho) U, and no p x p matrix is formed.

Example:
    >>> x, z = jnp.array([[0.0, 1.0, 2.0], [1.0, 0.0, 0.0]]), jnp.eye(2)
    >>> wide = diagonalise(x, z, None, None, centred=True, discrete=True)
    >>> print(wide.values, wide.examples.shape)
    [1.5 0. ] (2, 2)
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array

from theorysim.feature_map.second_moments import moments_of, target_factor
from theorysim.feature_map.spectrum import without_mean
from theorysim.feature_map.symmetric import cutoff, eigh
from theorysim.numerics.products import matmul

__all__ = ["Diagonal", "diagonalise"]


class Diagonal(NamedTuple):
    """A feature map in its eigenbasis of m = min(n, p) dimensions.

    Attributes:
        values: rho, 0 for those dropped, (m,).
        factor: the target factor, (k, m).
        readout: W, less its mean over centred classes, (C, m); None without one.
        examples: centred, in a basis of m dimensions, (n, m).
        vectors: from that basis to the eigenbasis, (m, m).
        full_readout: W, (C, p), the one given or the smallest that makes the outputs; None without one.
        dropped: how many of the m eigenvalues were set to 0.
    """

    values: Array
    factor: Array
    readout: Array | None
    examples: Array
    vectors: Array
    full_readout: Array | None
    dropped: Array


def diagonalise(
    x: Array, z: Array, readout: Array | None, outputs: Array | None, *, centred: bool, discrete: bool
) -> Diagonal:
    """The eigenbasis of features (n, p) with one-hot classes or targets z; nothing is checked.

    Example:
        >>> x, z = jnp.array([[0.0], [1.0], [3.0]]), jnp.eye(2)[jnp.array([0, 0, 1])]
        >>> print(diagonalise(x, z, jnp.ones((1, 1)), None, centred=False, discrete=True).readout)
        [[1.]]
    """
    n, p = x.shape
    x = x - x.mean(0, keepdims=True) if centred else x
    if p <= n:
        moments = moments_of(x, z, centred=centred, discrete=discrete)
        values, vectors = eigh(moments.second_moment)
        values = _clipped(values)
        examples, basis = x, vectors
    else:
        values, left = eigh(matmul(x, x.T) / n)
        values = _clipped(values)
        kept = values > 0
        root = jnp.where(kept, jnp.sqrt(n * jnp.where(kept, values, 1)), 0)
        examples, vectors = left * root[None], jnp.eye(n, dtype=x.dtype)
        moments = moments_of(examples, z, centred=centred, discrete=discrete)
        basis = matmul(x.T, left * jnp.where(kept, 1 / jnp.where(kept, root, 1), 0)[None])
    if outputs is not None:
        inverse = jnp.where(values > 0, 1 / jnp.where(values > 0, values, 1), 0)
        outputs = without_mean(outputs, 0) if centred else outputs
        readout = matmul(matmul(matmul(outputs.T, examples), vectors) / n * inverse[None], basis.T)
    own = None
    if readout is not None:
        own = matmul(without_mean(readout, 0) if centred and discrete else readout, basis)
    factor = matmul(target_factor(moments), vectors)
    return Diagonal(values, factor, own, examples, vectors, readout, (values == 0).sum())


def _clipped(values):
    return jnp.where(values > cutoff(values.dtype) * values[0], values, 0)
