r"""Factors of small positive semidefinite matrices, and of tall ones, that are exact when they are singular.

Identical inputs, fewer neurons than inputs, and rectifiers that are all dead make Gram matrices of rank below
k. A pivot within rounding of 0 then gives a column of zeros, never a NaN; two equal rows of a Gram matrix
give two equal rows of the factor. Loops run over the k columns, elementwise over everything that is vmapped.

Example:
    >>> print(psd_factor(jnp.array([[4.0, 4.0, 2.0], [4.0, 4.0, 2.0], [2.0, 2.0, 2.0]])))
    [[2. 0. 0.]
     [2. 0. 0.]
     [1. 0. 1.]]
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from theorysim.numerics.products import matmul

__all__ = ["TallFactor", "psd_factor", "tall_factor"]

# Pivots below this many roundings of their diagonal count as 0.
_SLACK = 16


class TallFactor(NamedTuple):
    """P = Q R with orthonormal or zero columns in Q (n, k), and R (k, k) upper triangular."""

    Q: Float[Array, "n k"]
    R: Float[Array, "k k"]


def psd_factor(S: Float[Array, "k k"]) -> Float[Array, "k k"]:
    """Lower triangular R with R R' = S, for a positive semidefinite S of any rank.

    Example:
        >>> print(psd_factor(jnp.zeros((2, 2))))
        [[0. 0.]
         [0. 0.]]
    """
    k = len(S)
    slack = _SLACK * k * jnp.finfo(S.dtype).eps
    diagonal = jnp.diag(S)
    index = jnp.arange(k)

    def column(j, state):
        rest, factor = state
        pivot = rest[j, j]
        good = pivot > slack * diagonal[j]
        scaled = jnp.where(good, rest[:, j] / jnp.sqrt(jnp.where(good, pivot, 1)), 0)
        scaled = jnp.where(index >= j, scaled, 0)
        return rest - scaled[:, None] * scaled[None], factor.at[:, j].set(scaled)

    return lax.fori_loop(0, k, column, (S, jnp.zeros_like(S)))[1]


def tall_factor(P: Float[Array, "n k"]) -> TallFactor:
    """P = Q R by Gram-Schmidt, twice over: Q is orthonormal to rounding, with zero columns where P adds none.

    Example:
        >>> factor = tall_factor(jnp.array([[3.0, 3.0], [4.0, 4.0]]))
        >>> print(factor.Q.round(3) + 0.0, factor.R.round(3) + 0.0)
        [[0.6 0. ]
         [0.8 0. ]] [[5. 5.]
         [0. 0.]]
    """
    k = P.shape[1]
    slack = _SLACK * k * jnp.finfo(P.dtype).eps

    def column(j, state):
        Q, R = state
        vector = P[:, j]
        size = jnp.sqrt((vector**2).sum())
        first = matmul(Q.T, vector)
        rest = vector - matmul(Q, first)
        second = matmul(Q.T, rest)
        rest = rest - matmul(Q, second)
        length = jnp.sqrt((rest**2).sum())
        good = length > slack * size
        unit = jnp.where(good, rest / jnp.where(good, length, 1), 0)
        return Q.at[:, j].set(unit), R.at[:, j].set((first + second).at[j].add(jnp.where(good, length, 0)))

    return TallFactor(*lax.fori_loop(0, k, column, (jnp.zeros_like(P), jnp.zeros((k, k), P.dtype))))
