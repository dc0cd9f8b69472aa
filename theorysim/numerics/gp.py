r"""Gaussian process regression, and what it would have predicted without any one of its records.

Prior covariance K = k(X, X) of n records, k outputs that share it, noise variance s2: with A = K + s2 I,
B = A^-1 and alpha = B Y, at queries q,

    mean = k(q, X) alpha,        cov = k(q, q') - k(q, X) B k(X, q').

All n leave-one-out posteriors come from the same factorisation. With b_i = B_ii and w_q = B k(X, q),

    mean_-i(q) = mean(q) - w_iq alpha_i / b_i,        cov_-i(q, q') = cov(q, q') + w_iq w_iq' / b_i,
    at the record itself:   mean_-i = y_i - alpha_i / b_i,        v_-i = 1 / b_i - s2.

Everything concerns the noiseless function. Nothing but the noise is added to the diagonal: a Gram matrix that
rounding makes indefinite is an error. Errors grow like eps cond(A); 1 / b_i - s2 loses digits as s2 -> 0.
C. E. Rasmussen, C. K. I. Williams, "Gaussian Processes for Machine Learning" (2006), 2.2 and 5.4.

Example:
    >>> x = jnp.linspace(0.0, 1.0, 5)
    >>> gram, y = jnp.exp(-((x[:, None] - x[None]) ** 2) / 2), jnp.sin(4 * x)[:, None]
    >>> print(leave_one_out(gram, y, noise=0.01).leverage)
    [0.7746304  0.38065693 0.41906681 0.38065693 0.7746304 ]
"""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_solve, solve_triangular
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.numerics.gram import check_factor, check_finite, check_gram, square
from theorysim.numerics.memory import require_memory
from theorysim.numerics.products import matmul
from theorysim.numerics.validation import floating, positive_int, real, scalar

__all__ = [
    "LeaveOneOut",
    "Posterior",
    "factor",
    "inverse_diagonal",
    "labels",
    "leave_one_out",
    "leave_one_out_at",
    "log_marginal_likelihood",
    "posterior",
    "posterior_of",
]


class Posterior(NamedTuple):
    """The law of the function at q queries: k independent outputs of one covariance.

    Attributes:
        mean: (..., q, k).
        cov: (..., q, q), the same for every output.
    """

    mean: Float[Array, "*batch q k"]
    cov: Float[Array, "*batch q q"]


class LeaveOneOut(NamedTuple):
    """What the other n - 1 records say about each of them.

    Attributes:
        mean: prediction mu_-i(x_i) without the record, (n, k).
        variance: v_-i(x_i) of that prediction, without noise, (n,).
        leverage: h_i = v/(v + s2) in (0, 1), (n,): how far the record pulls the function to its label. The
            sum of all is the effective number of degrees of freedom.
        surprise: zeta_i = |y_i - mu_-i|^2 / (v + s2), (n,): squared distance of the label in deviations.
        residual: y_i - mu_-i, (n, k).
    """

    mean: Float[Array, "n k"]
    variance: Float[Array, " n"]
    leverage: Float[Array, " n"]
    surprise: Float[Array, " n"]
    residual: Float[Array, "n k"]


def factor(gram: ArrayLike, *, noise: ArrayLike) -> Float[Array, "n n"]:
    """Lower Cholesky factor L of K + s2 I, for the functions below that start from it.

    Args:
        gram: K, (n, n), symmetric.
        noise: s2 > 0, a scalar.

    Returns:
        L in the dtype of gram; NaN under a trace where the matrix is not positive definite.

    Raises:
        ValueError: gram that is not square, finite and symmetric, noise <= 0, two equal records at a noise
            below 1e-10 (which ones), a matrix that is not positive definite (with its smallest eigenvalue),
            or more memory than there is.

    Example:
        >>> factor(jnp.ones((2, 2)), noise=1e-12)
        Traceback (most recent call last):
        ValueError: noise must be at least 1e-10 where records are equal, got 1e-12 for records 0 and 1:...
    """
    real(scalar(noise, "noise"), "noise", low=0, low_open=True, high_open=True)
    gram = square(gram, "gram")
    n = len(gram)
    require_memory(
        2 * n * n * gram.dtype.itemsize,
        f"gram of n = {n:,} records in {gram.dtype}",
        "use float32, or fewer records",
    )
    check_gram(gram, noise)
    cholesky = _cholesky(gram, jnp.asarray(noise, gram.dtype))
    check_factor(cholesky, gram, noise)
    return cholesky


def labels(y: ArrayLike, n: int, dtype: Any) -> Float[Array, "n k"]:
    """Labels as an (n, k) array in a dtype, from (n,) or (n, k), or ValueError.

    Example:
        >>> labels(jnp.array([1.0, jnp.nan]), 2, jnp.float64)
        Traceback (most recent call last):
        ValueError: y must be finite, got nan
    """
    y = floating(y)
    if y.ndim not in (1, 2) or len(y) != n or not y.size:
        raise ValueError(f"y must have shape ({n}, k) or ({n},), one row per record, got {y.shape}")
    check_finite(y, "y")
    return y.reshape(n, -1).astype(dtype)


def posterior(
    gram: ArrayLike, cross: ArrayLike, query_gram: ArrayLike, y: ArrayLike, *, noise: ArrayLike
) -> Posterior:
    """Mean and covariance of the noiseless function at the queries, given all records.

    Args:
        gram: kernel between records, (n, n).
        cross: kernel between queries and records, (q, n).
        query_gram: kernel between queries, (q, q).
        y: labels, (n, k) or (n,).
        noise: s2 > 0, a scalar.

    Returns:
        Posterior with mean (q, k) and cov (q, q).

    Raises:
        ValueError: shapes that do not match, or whatever `factor` refuses.

    Example:
        >>> one = jnp.ones((1, 1))
        >>> law = posterior(one, 0.5 * one, one, 2 * one, noise=1.0)
        >>> print(law.mean, law.cov)
        [[0.5]] [[0.875]]
    """
    gram = square(gram, "gram")
    cross, query_gram, y = _queries(cross, query_gram, y, gram)
    return posterior_of(factor(gram, noise=noise), cross, query_gram, y)


@jax.jit
def posterior_of(
    cholesky: Float[Array, "n n"],
    cross: Float[Array, "q n"],
    query_gram: Float[Array, "q q"],
    y: Float[Array, "n k"],
) -> Posterior:
    """`posterior` from a Cholesky factor, inside other kernels: arrays of one dtype, nothing is checked.

    Example:
        >>> one = jnp.ones((1, 1))
        >>> print(posterior_of(factor(one, noise=1.0), one, one, one).cov)
        [[0.5]]
    """
    whitened = solve_triangular(cholesky, cross.T, lower=True)
    targets = solve_triangular(cholesky, y, lower=True)
    return Posterior(matmul(whitened.T, targets), query_gram - matmul(whitened.T, whitened))


def leave_one_out(
    gram: ArrayLike, y: ArrayLike, *, noise: ArrayLike, block: int | None = None
) -> LeaveOneOut:
    """Prediction, leverage and surprise of every record without itself, from one factorisation.

    Costs (2/3) n^3 and holds, beside gram, the factor and a copy of a part of it: 2.2 n^2 numbers.

    Args:
        gram: kernel between records, (n, n).
        y: labels, (n, k) or (n,).
        noise: s2 > 0, a scalar.
        block: columns of the triangular inverse held at once, >= 1 (static); by default n / 8, at least 256.

    Returns:
        LeaveOneOut. In float32, on 1,800 records with cond(A) = 3e4 .. 2e6, leverages are within 1e-4 of
        float64 and surprises within 4 %: good for ranking, not for digits.

    Raises:
        ValueError: shapes that do not match, or whatever `factor` refuses.

    Example:
        >>> one_of_two = leave_one_out(jnp.eye(2), jnp.array([1.0, 3.0]), noise=0.5)
        >>> print(one_of_two.mean.ravel() + 0.0, one_of_two.leverage, one_of_two.surprise)
        [0. 0.] [0.66666667 0.66666667] [0.66666667 6.        ]
    """
    gram = square(gram, "gram")
    y, block = labels(y, len(gram), gram.dtype), _block(block, gram)
    cholesky = factor(gram, noise=noise)
    b = inverse_diagonal(cholesky, block=block)
    return _leave_one_out(cholesky, b, y, jnp.asarray(noise, y.dtype))


def leave_one_out_at(
    gram: ArrayLike,
    cross: ArrayLike,
    query_gram: ArrayLike,
    y: ArrayLike,
    *,
    noise: ArrayLike,
    block: int | None = None,
) -> Posterior:
    """The n posteriors at the same queries, each without one record, from one factorisation.

    Args:
        gram: kernel between records, (n, n).
        cross: kernel between queries and records, (q, n).
        query_gram: kernel between queries, (q, q).
        y: labels, (n, k) or (n,).
        noise: s2 > 0, a scalar.
        block: as in `leave_one_out` (static).

    Returns:
        Posterior with a leading axis of n: mean (n, q, k), cov (n, q, q).

    Raises:
        ValueError: shapes that do not match, n q (q + k) numbers that do not fit into memory, or whatever
            `factor` refuses.

    Example:
        >>> gram = jnp.array([[1.0, 0.5], [0.5, 1.0]])
        >>> print(leave_one_out_at(gram, gram[:1], gram[:1, :1], jnp.ones(2), noise=1.0).mean[..., 0])
        [[0.25]
         [0.5 ]]
    """
    gram = square(gram, "gram")
    cross, query_gram, y = _queries(cross, query_gram, y, gram)
    block = _block(block, gram)
    n, q, k = len(y), len(cross), y.shape[1]
    require_memory(
        n * q * (q + k) * y.dtype.itemsize,
        f"query_gram of {q:,} queries for n = {n:,} records",
        f"ask for blocks of {max(1, q // 8)} queries",
    )
    cholesky = factor(gram, noise=noise)
    b = inverse_diagonal(cholesky, block=block)
    return _leave_one_out_at(cholesky, b, cross, query_gram, y)


def log_marginal_likelihood(gram: ArrayLike, y: ArrayLike, *, noise: ArrayLike) -> Float[Array, ""]:
    """Log-density of the labels under the prior: log N(Y; 0, K + s2 I), summed over the outputs.

    Args:
        gram: kernel between records, (n, n).
        y: labels, (n, k) or (n,).
        noise: s2 > 0, a scalar.

    Returns:
        A scalar, differentiable in all arguments.

    Raises:
        ValueError: shapes that do not match, or whatever `factor` refuses.

    Example:
        >>> print(log_marginal_likelihood(jnp.zeros((1, 1)), jnp.zeros(1), noise=1.0).round(6))
        -0.918939
    """
    gram = square(gram, "gram")
    y = labels(y, len(gram), gram.dtype)
    return _log_likelihood(factor(gram, noise=noise), y)


def inverse_diagonal(cholesky: Float[Array, "n n"], *, block: int | None = None) -> Float[Array, " n"]:
    """Diagonal b of B = (L L')^-1: the squared norms of the columns of L^-1, some columns at a time.

    A block of columns that starts at j has zeros above j: only the trailing triangle of L enters, which makes
    n^3/3 of n^3 operations.

    Args:
        cholesky: L, (n, n), lower.
        block: columns at once, >= 1 (static); by default n / 8, at least 256.

    Returns:
        b, (n,).

    Raises:
        ValueError: block < 1.

    Example:
        >>> print(inverse_diagonal(factor(jnp.eye(2), noise=1.0)))
        [0.5 0.5]
    """
    block, n = _block(block, cholesky), len(cholesky)
    # One program a block: in a single one XLA would hold the parts of L for all of them at once.
    return jnp.concatenate(
        [_squared_columns(cholesky, start=start, width=min(block, n - start)) for start in range(0, n, block)]
    )


@partial(jax.jit, static_argnames=("start", "width"))
def _squared_columns(cholesky, *, start, width):
    """Squared norms of columns start .. start + width of L^-1."""
    columns = jnp.eye(len(cholesky) - start, width, dtype=cholesky.dtype)
    return (solve_triangular(cholesky[start:, start:], columns, lower=True) ** 2).sum(0)


@jax.jit
def _cholesky(gram, noise):
    return jnp.linalg.cholesky(gram + noise * jnp.eye(len(gram), dtype=gram.dtype))


@jax.jit
def _leave_one_out(cholesky, b, y, noise):
    residual = cho_solve((cholesky, True), y) / b[:, None]
    return LeaveOneOut(
        mean=y - residual,
        variance=1 / b - noise,
        leverage=1 - noise * b,
        surprise=(residual**2).sum(1) * b,
        residual=residual,
    )


@jax.jit
def _leave_one_out_at(cholesky, b, cross, query_gram, y):
    whole = posterior_of(cholesky, cross, query_gram, y)
    w, alpha = (cho_solve((cholesky, True), x) for x in (cross.T, y))
    mean = whole.mean[None] - w[:, :, None] * (alpha / b[:, None])[:, None]
    return Posterior(mean, whole.cov[None] + w[:, :, None] * (w / b[:, None])[:, None])


@jax.jit
def _log_likelihood(cholesky, y):
    whitened = solve_triangular(cholesky, y, lower=True)
    log_det = 2 * jnp.log(jnp.diagonal(cholesky)).sum()
    return -((whitened**2).sum() + y.shape[1] * log_det + y.size * math.log(2 * math.pi)) / 2


def _queries(cross, query_gram, y, gram):
    """The queries' kernels and the labels in the dtype of gram, or ValueError."""
    n, dtype = len(gram), gram.dtype
    cross, query_gram = floating(cross), floating(query_gram)
    if cross.ndim != 2 or cross.shape[1] != n or not len(cross):
        raise ValueError(f"cross must have shape (q, {n}), queries by records, got {cross.shape}")
    if query_gram.shape != (len(cross),) * 2:
        raise ValueError(f"query_gram must have shape {(len(cross),) * 2}, got {query_gram.shape}")
    check_finite(cross, "cross")
    check_finite(query_gram, "query_gram")
    return cross.astype(dtype), query_gram.astype(dtype), labels(y, n, dtype)


def _block(block, gram):
    """Columns at once, if they fit into memory beside the factor and its trailing part."""
    n = len(gram)
    block = max(256, -(-n // 8)) if block is None else positive_int(block, "block")
    require_memory(
        2 * n * (n + min(block, n)) * gram.dtype.itemsize,
        f"gram of n = {n:,} records in {gram.dtype} with block = {block:,}",
        f"use block = {max(1, block // 8)}, float32, or fewer records",
    )
    return block
