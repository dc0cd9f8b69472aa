r"""Classes and readout in the eigenbasis, by the p x p or the n x n matrix, whichever is smaller.

With fewer examples than features the Gram matrix F F'/n = U diag(rho) U' gives the examples in the eigenbasis
at once, sqrt(n rho) U, and no p x p matrix is formed.

Example:
    >>> x, z = jnp.array([[0.0, 1.0, 2.0], [1.0, 0.0, 0.0]]), jnp.eye(2)
    >>> wide, examples = diagonalise(x, z, None, None, centred=True, discrete=True)
    >>> print(wide.values, examples.shape)
    [1.5 0. ] (2, 2)
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array

from theorysim.feature_map.second_moments import (
    FeatureMoments,
    TargetMoments,
    moments_of,
    target_factor,
    target_moments,
)
from theorysim.feature_map.spectrum import without_mean
from theorysim.numerics.products import matmul
from theorysim.numerics.symmetric import cutoff, eigh

__all__ = ["Diagonal", "Wide", "diagonal_of_gram", "diagonal_of_moments", "diagonalise"]


class Diagonal(NamedTuple):
    """A feature map in its eigenbasis of m = min(n, p) dimensions.

    Attributes:
        values: rho, 0 for those dropped, (m,).
        factor: the target factor, (k, m).
        readout: W, less its mean over centred classes, (C, m); None without one.
        vectors: from the basis of the examples to the eigenbasis, (m, m).
        full_readout: W, (C, p), the one given or the smallest that makes the outputs; None without one.
        dropped: how many of the m eigenvalues were set to 0.
    """

    values: Array
    factor: Array
    readout: Array | None
    vectors: Array
    full_readout: Array | None
    dropped: Array


class Wide(NamedTuple):
    """A feature map by its Gram matrix.

    Attributes:
        basis: the eigenbasis, without a full readout.
        examples: in it, (n, n).
        weights: (C, n), of the examples in the smallest readout that makes the outputs; None without outputs.
    """

    basis: Diagonal
    examples: Array
    weights: Array | None


def diagonalise(
    x: Array, z: Array, readout: Array | None, outputs: Array | None, *, centred: bool, discrete: bool
) -> tuple[Diagonal, Array]:
    """The eigenbasis of features (n, p) with one-hot classes or targets z, and the examples; no checks.

    Example:
        >>> x, z = jnp.array([[0.0], [1.0], [3.0]]), jnp.eye(2)[jnp.array([0, 0, 1])]
        >>> print(diagonalise(x, z, jnp.ones((1, 1)), None, centred=False, discrete=True)[0].readout)
        [[1.]]
    """
    n, p = x.shape
    x = x - x.mean(0, keepdims=True) if centred else x
    if p <= n:
        moments = moments_of(x, z, centred=centred, discrete=discrete)
        made = None
        if outputs is not None:
            made = target_moments(x, without_mean(outputs, 0) if centred else outputs, centred=False)
        return diagonal_of_moments(moments, readout, made), x
    if readout is not None:
        outputs = matmul(x, (without_mean(readout, 0) if centred and discrete else readout).T)
    elif outputs is not None and centred:
        outputs = without_mean(outputs, 0)
    wide = diagonal_of_gram(
        matmul(x, x.T) / n, z, outputs, centred=centred, discrete=discrete, made=readout is None
    )
    if readout is None and wide.weights is not None:
        readout = matmul(wide.weights, x)
    return wide.basis._replace(full_readout=readout), wide.examples


def diagonal_of_moments(
    moments: FeatureMoments, readout: Array | None, outputs: TargetMoments | None
) -> Diagonal:
    """The eigenbasis from the p x p moments, of the features and, in place of a readout, of the outputs."""
    values, vectors = eigh(moments.second_moment)
    values = _clipped(values)
    if outputs is not None:
        readout = matmul(matmul(outputs.cross, vectors) * _inverse(values)[None], vectors.T)
    own = None
    if readout is not None:
        classes_centred = moments.mean is not None and moments.targets is None
        own = matmul(without_mean(readout, 0) if classes_centred else readout, vectors)
    factor = matmul(target_factor(moments), vectors)
    return Diagonal(values, factor, own, vectors, readout, (values == 0).sum())


def diagonal_of_gram(
    gram: Array, z: Array, outputs: Array | None, *, centred: bool, discrete: bool, made: bool
) -> Wide:
    """The eigenbasis from F F'/n, (n, n), and outputs (n, C), centred like it.

    Without a readout (`made`) their mean over classes is still to be subtracted from it.
    """
    values, left = eigh(gram)
    values = _clipped(values)
    root = jnp.sqrt(len(gram) * values)
    examples, turn = left * root[None], left * _inverse(root)[None]
    own = weights = None
    if outputs is not None:
        own = matmul(outputs.T, turn)
        weights = matmul(own, turn.T)
        own = without_mean(own, 0) if made and centred and discrete else own
    factor = target_factor(moments_of(examples, z, centred=centred, discrete=discrete))
    vectors = jnp.eye(len(gram), dtype=gram.dtype)
    return Wide(Diagonal(values, factor, own, vectors, None, (values == 0).sum()), examples, weights)


def _clipped(values):
    return jnp.where(values > cutoff(values.dtype) * values[0], values, 0)


def _inverse(values):
    return jnp.where(values > 0, 1 / jnp.where(values > 0, values, 1), 0)
