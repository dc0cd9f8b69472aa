r"""Ensembles of networks trained by gradients, in the linearised limit: no posterior, but as exact.

A network that starts at f_0 ~ N(0, K) (NNGP) and descends |f - y|^2/2 + (s2/2)|w - w_0|^2 in its tangent
kernel T converges to f_0 + T_qD G (y + e - f_0), G = (T + s2)^-1, with label noise e of variance sn, if any.
Over initialisations, with W = G T_Dq,

    mean = W'y,        cov = K_qq - K_qD W - W'K_Dq + W'(K + sn I) W.

Leave-one-out, with g = diag G, alpha = G y, H = G (K + sn I) G and P = G K_Dq - G (K + sn I) W:

    mean_-i = mean - W_i alpha_i/g_i,        cov_-i = cov + (W_i'P_i + P_i'W_i)/g_i + W_i'W_i H_ii/g_i^2,
    at the record:   out  y - alpha/g,  H_ii/g^2 - sn;        in  y - s2 alpha,  s2^2 H_ii + sn (1 - 2 s2 g).

Without label noise the in-variance at the record is (1-h)^2 times the out-variance, h = 1 - s2 g, where a
posterior has 1 - h. J. Lee et al. (2019), arXiv 1902.06720, for the ensembles; the identities derived.

Example:
    >>> from theorysim.lood.kernels import mlp
    >>> x = jnp.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    >>> K, T = (mlp("relu", depth=2, sw2=2.0, sb2=0.1, get=get)(x, x) for get in ("nngp", "ntk"))
    >>> print(ntk_leave_one_out(K, T, jnp.array([1.0, -1.0, 1.0]), noise=0.1).mean_out.ravel())
    [ 0.85937279  0.64316695 -0.20169932]
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_solve
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.lood.records import PairMoments
from theorysim.lood.tangent_arguments import tangent_queries, tangent_records
from theorysim.numerics.gp import Posterior, factor
from theorysim.numerics.products import matmul
from theorysim.numerics.validation import real, scalar

__all__ = ["linear_covariance", "ntk_leave_one_out", "ntk_leave_one_out_at", "ntk_posterior"]


def ntk_leave_one_out(
    nngp: ArrayLike, ntk: ArrayLike, y: ArrayLike, *, noise: ArrayLike, label_noise: ArrayLike = 0.0
) -> PairMoments:
    """Outputs at every record of ensembles trained with and without it, from one factorisation.

    Args:
        nngp: K between records, the covariance at initialisation, (n, n).
        ntk: T between records, (n, n).
        y: labels, (n, k) or (n,).
        noise: ridge s2 > 0 toward the initialisation, a scalar.
        label_noise: variance sn >= 0 of noise added to the labels, drawn anew for every network; a scalar.

    Returns:
        PairMoments; `gaussian_pair_auc` makes AUCs of them.

    Raises:
        ValueError: an argument out of its range, shapes that do not match, or whatever `factor` refuses of
            ntk.

    Example:
        >>> law = ntk_leave_one_out(jnp.eye(2), jnp.eye(2), jnp.array([1.0, 3.0]), noise=1.0)
        >>> print(law.var_out, law.var_in)
        [1. 1.] [0.25 0.25]
    """
    K, T, y, noise, label_noise = _problem(nngp, ntk, y, noise, label_noise)
    return _at_records(_factor(T, noise), K, y, noise, label_noise)


def ntk_posterior(
    nngp: ArrayLike,
    ntk: ArrayLike,
    nngp_cross: ArrayLike,
    ntk_cross: ArrayLike,
    query_gram: ArrayLike,
    y: ArrayLike,
    *,
    noise: ArrayLike,
    label_noise: ArrayLike = 0.0,
) -> Posterior:
    """Law of the outputs of a trained ensemble at any queries.

    Args:
        nngp: K between records, (n, n).
        ntk: T between records, (n, n).
        nngp_cross: K between queries and records, (q, n).
        ntk_cross: T between queries and records, (q, n).
        query_gram: K between queries, (q, q).
        y: labels, (n, k) or (n,).
        noise: ridge s2 > 0, a scalar.
        label_noise: sn >= 0, a scalar.

    Returns:
        Posterior with mean (q, k) and cov (q, q).

    Raises:
        ValueError: as of `ntk_leave_one_out`.

    Example:
        >>> one = jnp.ones((1, 1))
        >>> print(ntk_posterior(one, one, one, one, one, 2 * one, noise=1.0))
        Posterior(mean=Array([[1.]], dtype=float64), cov=Array([[0.25]], dtype=float64))
    """
    K, T, y, noise, label_noise = _problem(nngp, ntk, y, noise, label_noise)
    queries = tangent_queries(nngp_cross, ntk_cross, query_gram, len(y), y.dtype)
    return _posterior(_factor(T, noise), K, *queries, y, label_noise)


def ntk_leave_one_out_at(
    nngp: ArrayLike,
    ntk: ArrayLike,
    nngp_cross: ArrayLike,
    ntk_cross: ArrayLike,
    query_gram: ArrayLike,
    y: ArrayLike,
    *,
    noise: ArrayLike,
    label_noise: ArrayLike = 0.0,
) -> Posterior:
    """`ntk_posterior` of the n ensembles that lack one record each, from one factorisation.

    Args:
        nngp: K between records, (n, n).
        ntk: T between records, (n, n).
        nngp_cross: K between queries and records, (q, n).
        ntk_cross: T between queries and records, (q, n).
        query_gram: K between queries, (q, q).
        y: labels, (n, k) or (n,).
        noise: ridge s2 > 0, a scalar.
        label_noise: sn >= 0, a scalar.

    Returns:
        Posterior with a leading axis of n: mean (n, q, k), cov (n, q, q).

    Raises:
        ValueError: as of `ntk_leave_one_out`.

    Example:
        >>> one, eye = jnp.ones((1, 2)), jnp.eye(2)
        >>> print(ntk_leave_one_out_at(eye, eye, one, one, one[:, :1], jnp.ones(2), noise=1.0).mean[..., 0])
        [[0.5]
         [0.5]]
    """
    K, T, y, noise, label_noise = _problem(nngp, ntk, y, noise, label_noise)
    queries = tangent_queries(nngp_cross, ntk_cross, query_gram, len(y), y.dtype)
    return _all_out(_factor(T, noise), K, *queries, y, label_noise)


def _at_records(cholesky, K, y, noise, label_noise):
    n = len(y)
    block = max(256, -(-n // 8))
    # One program a block of columns of G, as in `inverse_diagonal`: whole, G and K G would be held at once.
    parts = [
        _columns(cholesky, K, label_noise, start=start, width=min(block, n - start))
        for start in range(0, n, block)
    ]
    return _moments(
        *(jnp.concatenate(part) for part in zip(*parts, strict=True)), cholesky, y, noise, label_noise
    )


@partial(jax.jit, static_argnames=("start", "width"))
def _columns(cholesky, K, label_noise, *, start, width):
    """Diagonals g of G and H of G (K + sn I) G, of some records."""
    G = cho_solve((cholesky, True), jnp.eye(len(K), width, -start, dtype=K.dtype))
    return jnp.diagonal(G, -start), ((matmul(K, G) + label_noise * G) * G).sum(0)


@jax.jit
def _moments(g, H, cholesky, y, noise, label_noise):
    alpha = cho_solve((cholesky, True), y)
    return PairMoments(
        mean_out=y - alpha / g[:, None],
        var_out=H / g**2 - label_noise,
        mean_in=y - noise * alpha,
        var_in=noise**2 * H + label_noise * (1 - 2 * noise * g),
    )


@jax.jit
def _posterior(cholesky, K, K_cross, T_cross, query_gram, y, label_noise):
    W = cho_solve((cholesky, True), T_cross.T)
    return Posterior(matmul(W.T, y), linear_covariance(W, K, K_cross, query_gram, label_noise))


def linear_covariance(
    W: Float[Array, "n q"],
    K: Float[Array, "n n"],
    K_cross: Float[Array, "q n"],
    query_gram: Float[Array, "q q"],
    label_noise: Float[Array, ""],
) -> Float[Array, "q q"]:
    """Covariance of f_0(q) + W'(y + e - f_0(D)) for any weights W; nothing is checked.

    Example:
        >>> one = jnp.ones((1, 1))
        >>> print(linear_covariance(0.5 * one, one, one, one, jnp.array(0.0)))
        [[0.25]]
    """
    mixed = matmul(K_cross, W)
    return query_gram - mixed - mixed.T + matmul(W.T, matmul(K, W)) + label_noise * matmul(W.T, W)


@jax.jit
def _all_out(cholesky, K, K_cross, T_cross, query_gram, y, label_noise):
    whole = _posterior(cholesky, K, K_cross, T_cross, query_gram, y, label_noise)
    G = cho_solve((cholesky, True), jnp.eye(len(y), dtype=y.dtype))
    g, W = jnp.diagonal(G)[:, None], matmul(G, T_cross.T)
    P = matmul(G, K_cross.T - matmul(K, W) - label_noise * W)
    H = ((matmul(K, G) + label_noise * G) * G).sum(0)[:, None]
    step = W / g
    mean = whole.mean[None] - step[:, :, None] * matmul(G, y)[:, None]
    crossed = step[:, :, None] * P[:, None]
    change = crossed + jnp.swapaxes(crossed, 1, 2) + step[:, :, None] * (step * H)[:, None]
    return Posterior(mean, whole.cov[None] + change)


def _factor(T, noise):
    try:
        return factor(T, noise=noise)
    except ValueError as error:
        # What `factor` calls gram is the tangent kernel here.
        raise ValueError(str(error).replace("gram", "ntk", 1)) from None


def _problem(nngp, ntk, y, noise, label_noise):
    real(scalar(noise, "noise"), "noise", low=0, low_open=True, high_open=True)
    K, T, y, label_noise = tangent_records(nngp, ntk, y, label_noise)
    return K, T, y, jnp.asarray(noise, y.dtype), label_noise
