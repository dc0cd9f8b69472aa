r"""What any queries see of a group of records, with all digits where little is left to see.

With Sigma = (B_SS)^-1 = L L', w = B k(X, Q) and everything "without S", by a rank-|S| update of one
factorisation,

    C_SQ = Sigma w_S,        C_QQ = cov(Q) + w_S' Sigma w_S = G G',
    mu_in - mu_out = w_S' r,        r = Sigma alpha_S,

so that out ~ N(0, I) and in ~ N(U z, I - U U') in units of G, with U = G^-1 w_S' L and z = L^-1 r: no
difference of two posteriors is ever taken. dP_in/dP_out depends on the function only through f(S) (Bayes),
hence Q = S maximises every divergence but the mean distance, every ROC curve, AUC and TPR, and adding
queries to S adds nothing. The mean distance is different: its gradient at S is proportional to that of the
variance.

Example:
    >>> from theorysim.lood.kernels import rbf
    >>> x = jnp.linspace(0.0, 1.0, 6)[:, None]
    >>> for q in (0.3, 0.4, 0.5):
    ...     print(f"{query_lood(rbf(), x, jnp.sin(6 * x), [2], jnp.array([[q]]), noise=0.1).kl:.6f}")
    0.445532
    0.472780
    0.447317
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.lood.arguments import finite, inputs, members_of
from theorysim.lood.divergence import lood_of_whitened
from theorysim.lood.kernels import Kernel, as_kernel
from theorysim.lood.records import Lood
from theorysim.numerics.gp import factor, inverse_diagonal, labels
from theorysim.numerics.products import matmul
from theorysim.numerics.validation import floating

__all__ = ["channel_of", "lood_of_halves", "query_leverage", "query_lood", "query_lood_of"]


def query_lood(kernel: Kernel, X: ArrayLike, y: ArrayLike, S: Any, Q: ArrayLike, *, noise: ArrayLike) -> Lood:
    """All divergences between models with and without the records S, seen at the queries Q jointly.

    Args:
        kernel: of the inputs, (n, d), (m, d) -> (n, m), see `kernels`.
        X: records, (n, d).
        y: labels, (n, k) or (n,).
        S: indices of the records that one model lacks, (p,), p < n; may be traced, and is then not checked.
        Q: queries, (q, d).
        noise: s2 > 0, a scalar.

    Returns:
        Lood of scalars, differentiable in Q, X, y, noise and in the kernel's parameters. NaN where two
        queries are so close that their covariance is singular.

    Raises:
        ValueError: S empty, repeated or outside the data, a query of another dimension, or whatever `factor`
            refuses.

    Example:
        >>> from theorysim.lood.kernels import rbf
        >>> x = jnp.array([[0.0], [0.2]])
        >>> slope = jax.grad(lambda q: query_lood(rbf(), x, jnp.ones(2), [1], q, noise=0.01).kl)(x[1:])
        >>> print(abs(slope.round(9)))  # Q = S is the maximum
        [[0.]]
    """
    kernel = as_kernel(kernel)
    X = inputs(X, "X")
    Q = inputs(Q, "Q", X.shape[1])
    S = members_of(S, len(X), "S")
    dtype = jnp.result_type(X, Q)
    X, Q, y = X.astype(dtype), Q.astype(dtype), labels(y, len(X), dtype)
    cholesky = factor(kernel(X, X), noise=noise)
    return _query_lood(kernel, X, y, S, Q, cholesky)


def query_lood_of(
    kernel: Kernel,
    X: Float[Array, "n d"],
    y: Float[Array, "n k"],
    S: Array,
    Q: Float[Array, "q d"],
    cholesky: Float[Array, "n n"],
) -> Lood:
    """`query_lood` from the Cholesky factor of all records; nothing is checked.

    Example:
        >>> from theorysim.lood.kernels import rbf
        >>> x, one = jnp.array([[0.0], [1.0]]), jnp.ones((2, 1))
        >>> cholesky = factor(rbf()(x, x), noise=1.0)
        >>> print(query_lood_of(rbf(), x, one, jnp.array([0]), x[:1], cholesky).kl.round(6))
        0.133713
    """
    n, p, k = len(X), len(S), y.shape[1]
    own = jax.nn.one_hot(S, n, dtype=X.dtype).T
    halves = solve_triangular(cholesky, jnp.concatenate([own, y, kernel(X, Q)], axis=1), lower=True)
    return lood_of_halves(*channel_of(halves[:, :p], halves[:, p : p + k]), halves[:, p + k :], kernel(Q, Q))


def channel_of(
    half_S: Float[Array, "n p"], half_y: Float[Array, "n k"]
) -> tuple[Float[Array, "n p"], Float[Array, "p k"]]:
    """What the records S add to a model, in its own units: H_S L, of orthonormal columns, and z.

    Args:
        half_S: H_S, the columns S of the inverse of the Cholesky factor of all records: B_SS = H_S' H_S.
        half_y: that inverse times the labels.

    Example:
        >>> print(channel_of(jnp.full((1, 1), 2.0), jnp.ones((1, 1)))[0])
        [[1.]]
    """
    directions = matmul(half_S, _inverse_factor(matmul(half_S.T, half_S)))
    return directions, matmul(directions.T, half_y)


def lood_of_halves(
    directions: Float[Array, "n p"],
    z: Float[Array, "p k"],
    half: Float[Array, "n q"],
    query_gram: Float[Array, "q q"],
) -> Lood:
    """All divergences at queries, from `channel_of` and the kernel half-way to the posterior.

    Args:
        directions: H_S L.
        z: L^-1 r.
        half: inverse of the Cholesky factor times k(X, Q).
        query_gram: k(Q, Q).

    Example:
        >>> half = jnp.full((1, 1), 0.5)
        >>> print(lood_of_halves(jnp.ones((1, 1)), jnp.ones((1, 1)), half, jnp.ones((1, 1))).mean_distance)
        0.25
    """
    projected = matmul(directions.T, half)
    cov = query_gram - matmul(half.T, half) + matmul(projected.T, projected)
    if len(cov) == 1:
        G = jnp.sqrt(cov)
        U = projected.T / G
    else:
        G = jnp.linalg.cholesky(cov)
        U = solve_triangular(G, projected.T, lower=True)
    return lood_of_whitened(matmul(U, U.T), matmul(U, z), G)


def query_leverage(
    gram: ArrayLike, cross: ArrayLike, query_variance: ArrayLike, *, noise: ArrayLike
) -> Float[Array, "n q"]:
    """rho^2 of every record at every query: how much of the record's channel each query carries.

    rho^2 = (w_iq^2/b_i) / (v(q) + w_iq^2/b_i), at most the record's leverage, which it is at the record.

    Args:
        gram: kernel between records, (n, n).
        cross: kernel between queries and records, (q, n).
        query_variance: k(q, q), (q,).
        noise: s2 > 0, a scalar.

    Returns:
        rho^2 in [0, 1), to be given to the functions of `channel` and `attack` with the record's surprise.

    Raises:
        ValueError: shapes that do not match, or whatever `factor` refuses.

    Example:
        >>> gram = jnp.array([[1.0, 0.5], [0.5, 1.0]])
        >>> print(query_leverage(gram, gram[:1], jnp.ones(1), noise=1.0))
        [[0.46666667]
         [0.06666667]]
    """
    gram, cross, variance = floating(gram), finite(cross, "cross"), finite(query_variance, "query_variance")
    if gram.ndim != 2 or cross.ndim != 2 or cross.shape[1] != len(gram):
        raise ValueError(f"cross must have shape (q, n) for gram (n, n), got {cross.shape} for {gram.shape}")
    if variance.shape != (len(cross),):
        raise ValueError(f"query_variance must have shape {(len(cross),)}, got {variance.shape}")
    dtype = gram.dtype
    return _query_leverage(factor(gram, noise=noise), cross.astype(dtype), variance.astype(dtype))


_query_lood = jax.jit(query_lood_of)


@jax.jit
def _query_leverage(cholesky, cross, variance):
    half = solve_triangular(cholesky, cross.T, lower=True)
    w = solve_triangular(cholesky, half, lower=True, trans=1)
    gained = w**2 / inverse_diagonal(cholesky)[:, None]
    return gained / ((variance - (half**2).sum(0))[None] + gained)


def _inverse_factor(block):
    """L with L L' = block^-1: lower triangular is not needed, only a square root."""
    if len(block) == 1:
        return 1 / jnp.sqrt(block)
    lower = jnp.linalg.cholesky((block + block.T) / 2)
    return solve_triangular(lower, jnp.eye(len(block), dtype=block.dtype), lower=True).T
