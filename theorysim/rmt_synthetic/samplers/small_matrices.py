"""Algebra of small matrices, many at once: lists of rows of entries, each entry an array over the matrices.

Every operation is elementwise along that array, so a CPU or GPU works on long contiguous rows instead of
calling a library for each 4 x 4 matrix, which costs twenty times as much. An entry None is a zero known in
advance, and costs nothing. All loops are unrolled when the function is traced.

Example:
    >>> a = [[jnp.array([4.0]), None], [jnp.array([2.0]), jnp.array([5.0])]]
    >>> factor = cholesky(a)
    >>> x = solve_upper(factor, solve_lower(factor, [[jnp.array([8.0])], [jnp.array([16.0])]]))
    >>> print(stack(x).ravel())
    [0.5 3. ]
"""

from typing import NamedTuple, TypeAlias

import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float

__all__ = [
    "Cholesky",
    "Matrix",
    "cholesky",
    "plus_diagonal",
    "product",
    "products",
    "solve_lower",
    "solve_upper",
    "stack",
    "transpose",
    "triangular_factor",
    "unstack",
]

Matrix: TypeAlias = list[list[Array | None]]


class Cholesky(NamedTuple):
    """A lower triangular factor, without what is above its diagonal, and the inverses on its diagonal."""

    lower: Matrix
    inverse: list[Array]


def stack(a: Matrix) -> Float[Array, "n m B"]:
    """One array of all entries.

    Example:
        >>> print(stack([[jnp.ones(1), None]])[..., 0])
        [[1. 0.]]
    """
    zero = jnp.zeros_like(next(x for row in a for x in row if x is not None))
    return jnp.stack([jnp.stack([zero if x is None else x for x in row]) for row in a])


def unstack(a: Float[Array, "n m B"]) -> Matrix:
    """The entries of an array.

    Example:
        >>> len(unstack(jnp.ones((2, 3, 5)))[0])
        3
    """
    return [list(row) for row in a]


def products(a: Float[Array, "n k B"], b: Float[Array, "k m B"]) -> Float[Array, "n m B"]:
    """The matrix products a b of arrays, for operands without zeros: fewer and larger operations.

    Example:
        >>> print(products(jnp.ones((1, 2, 1)), jnp.ones((2, 1, 1))).ravel())
        [2.]
    """
    total = a[:, 0, None] * b[None, 0]
    for i in range(1, len(b)):
        total = total + a[:, i, None] * b[None, i]
    return total


def plus_diagonal(a: Matrix, value: ArrayLike) -> Matrix:
    """Those of a + value I.

    Example:
        >>> print(stack(plus_diagonal([[jnp.ones(1)]], 2)).ravel())
        [3.]
    """
    rows = [list(row) for row in a]
    for i, row in enumerate(rows):
        row[i] = _known(row[i]) + value
    return rows


def transpose(a: Matrix) -> Matrix:
    """The transposes.

    Example:
        >>> len(transpose([[None, None]]))
        2
    """
    return [list(column) for column in zip(*a, strict=True)]


def product(a: Matrix, b: Matrix) -> Matrix:
    """The matrix products a b.

    Example:
        >>> one = jnp.ones(1)
        >>> print(stack(product([[one, one]], [[one], [one]])).ravel())
        [2.]
    """
    columns = transpose(b)
    return [[_dot(row, column) for column in columns] for row in a]


def cholesky(a: Matrix) -> Cholesky:
    """L with L L' = a, of symmetric positive definite matrices; reads the lower triangle.

    Example:
        >>> print(stack(cholesky([[jnp.array([4.0])]]).lower).ravel())
        [2.]
    """
    k = len(a)
    lower: Matrix = [[None] * k for _ in range(k)]
    inverse = []
    for j in range(k):
        pivot = _known(_minus(a[j][j], _dot(lower[j][:j], lower[j][:j])))
        inverse.append(lax.rsqrt(pivot))
        lower[j][j] = pivot * inverse[j]
        for i in range(j + 1, k):
            entry = _minus(a[i][j], _dot(lower[i][:j], lower[j][:j]))
            lower[i][j] = None if entry is None else entry * inverse[j]
    return Cholesky(lower, inverse)


def solve_lower(factor: Cholesky, b: Matrix) -> Matrix:
    """L^-1 b.

    Example:
        >>> print(stack(solve_lower(cholesky([[jnp.array([4.0])]]), [[jnp.ones(1)]])).ravel())
        [0.5]
    """
    rows: Matrix = []
    for i, row in enumerate(b):
        left = factor.lower[i][:i]
        sums = [_minus(x, _dot(left, [done[c] for done in rows])) for c, x in enumerate(row)]
        rows.append([None if x is None else x * factor.inverse[i] for x in sums])
    return rows


def solve_upper(factor: Cholesky, b: Matrix) -> Matrix:
    """L'^-1 b.

    Example:
        >>> print(stack(solve_upper(cholesky([[jnp.array([4.0])]]), [[jnp.ones(1)]])).ravel())
        [0.5]
    """
    k = len(b)
    rows: Matrix = []  # those below, nearest first
    for i in reversed(range(k)):
        left = [factor.lower[j][i] for j in range(i + 1, k)]
        sums = [_minus(x, _dot(left, [done[c] for done in rows])) for c, x in enumerate(b[i])]
        rows.insert(0, [None if x is None else x * factor.inverse[i] for x in sums])
    return rows


def triangular_factor(a: Float[Array, "n k B"]) -> Float[Array, "k k B"]:
    """An upper triangular R with R'R = a'a, by modified Gram-Schmidt; zero rows where a column is zero.

    Example:
        >>> a = jnp.array([[3.0, 1.0], [4.0, 0.0]])[:, :, None]
        >>> print(triangular_factor(a)[..., 0])
        [[5.  0.6]
         [0.  0.8]]
    """
    k = a.shape[1]
    rows = []
    for i in range(k):
        length = jnp.sqrt((a[:, i] ** 2).sum(axis=0, keepdims=True))
        q = a[:, i] / jnp.where(length > 0, length, 1)
        row = (q[:, None] * a).sum(axis=0)
        a = a - q[:, None] * row[None]
        rows.append(jnp.where(jnp.arange(k)[:, None] >= i, row, 0))
    return jnp.stack(rows)


def _dot(a: list[Array | None], b: list[Array | None]) -> Array | None:
    total = None
    for x, y in zip(a, b, strict=True):
        if x is not None and y is not None:
            total = x * y if total is None else total + x * y
    return total


def _minus(a: Array | None, b: Array | None) -> Array | None:
    if b is None:
        return a
    return -b if a is None else a - b


def _known(a: Array | None) -> Array:
    """An entry that is not None, as on the diagonal of a positive definite matrix."""
    if a is None:
        raise ValueError("a positive definite matrix has no zero on its diagonal")
    return a
