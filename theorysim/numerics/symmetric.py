r"""Symmetric matrices: eigendecompositions that stay serial under `vmap`, and their safe derivatives.

A batch of LAPACK calls beside large products may wait for ever on a CPU with few threads. Here a batched
`eigh` runs one matrix at a time, at any depth of nesting. Its derivative leaves out the turning of vectors
among eigenvalues that cannot be told apart: it is then finite, and exact for every function of the matrix
that does not depend on the basis chosen inside such a group.

Example:
    >>> values, vectors = eigh(jnp.diag(jnp.array([1.0, 3.0])))
    >>> print(values, vectors)
    [3. 1.] [[0. 1.]
     [1. 0.]]
"""

import jax
import jax.numpy as jnp
from jax.custom_batching import sequential_vmap
from jaxtyping import Array, Float

from theorysim.numerics.products import matmul

__all__ = ["cutoff", "eigh", "pseudo_inverse"]


def cutoff(dtype: jnp.dtype) -> float:
    """Below this share of the largest eigenvalue an eigenvalue counts as 0: 1e-12, in float32 1e-6.

    Example:
        >>> print(f"{cutoff(jnp.dtype('float32')):.1e}")
        9.5e-07
    """
    return max(1e-12, 8 * float(jnp.finfo(dtype).eps))


@jax.custom_jvp
def eigh(matrix: Float[Array, "p p"]) -> tuple[Float[Array, " p"], Float[Array, "p p"]]:
    """Eigenvalues in falling order, and eigenvectors in columns whose largest entry is positive.

    Args:
        matrix: symmetric, (p, p); only its symmetric part counts.

    Returns:
        Values (p,) and vectors (p, p).

    Example:
        >>> slope = jax.grad(lambda x: eigh(x)[0].sum())(jnp.eye(2))  # degenerate, yet the trace is smooth
        >>> print(slope)
        [[1. 0.]
         [0. 1.]]
    """
    return _descending(matrix)


@sequential_vmap
def _descending(matrix):
    values, vectors = jnp.linalg.eigh((matrix + matrix.T) / 2, symmetrize_input=False)
    values, vectors = values[::-1], vectors[:, ::-1]
    largest = jnp.take_along_axis(vectors, jnp.abs(vectors).argmax(0)[None], axis=0)
    return values, vectors * jnp.where(largest < 0, -1, 1).astype(vectors.dtype)


@eigh.defjvp
def _eigh_jvp(primals, tangents):
    (matrix,), (change,) = primals, tangents
    values, vectors = eigh(matrix)
    inside = matmul(vectors.T, matmul((change + change.T) / 2, vectors))
    gap = values[None] - values[:, None]
    apart = jnp.abs(gap) > 8 * jnp.finfo(values.dtype).eps * jnp.abs(values).max()
    turn = jnp.where(apart, inside / jnp.where(apart, gap, 1), 0)
    return (values, vectors), (jnp.diagonal(inside), matmul(vectors, turn))


@jax.custom_jvp
def pseudo_inverse(matrix: Float[Array, "p p"]) -> Float[Array, "p p"]:
    """The Moore-Penrose inverse of a symmetric matrix; eigenvalues below `cutoff` of the largest count as 0.

    Its derivative is that at constant rank (G. H. Golub, V. Pereyra, 1973).

    Args:
        matrix: symmetric, positive semi-definite, (p, p).

    Returns:
        The inverse on its range, (p, p).

    Example:
        >>> print(pseudo_inverse(jnp.array([[2.0, 0.0], [0.0, 0.0]])))
        [[0.5 0. ]
         [0.  0. ]]
    """
    values, vectors = eigh(matrix)
    kept = values > cutoff(values.dtype) * values[0]
    return matmul(vectors * jnp.where(kept, 1 / jnp.where(kept, values, 1), 0)[None], vectors.T)


@pseudo_inverse.defjvp
def _pseudo_inverse_jvp(primals, tangents):
    (matrix,), (change,) = primals, tangents
    change = (change + change.T) / 2
    inverse = pseudo_inverse(matrix)
    outside = jnp.eye(len(matrix), dtype=matrix.dtype) - matmul(matrix, inverse)
    turned = matmul(matmul(inverse, inverse), matmul(change, outside))
    return inverse, turned + turned.T - matmul(inverse, matmul(change, inverse))
