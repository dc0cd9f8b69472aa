r"""Binomial laws as smooth functions of the success probability, accurate in float32 and at x = 0 and x = 1.

    Binom(k; n, x) = C(n, k) x^k (1-x)^(n-k),   k = 0..n

The textbook evaluation in logarithms subtracts numbers of size n log n, which costs four digits in float32 at
n = 1000. Loader's saddle-point form subtracts nothing large: with the Stirling error
$\delta(k) = \log k! - \log\sqrt{2\pi k}(k/e)^k$ and the deviance $D(k, m) = k\log(k/m) + m - k \ge 0$,

    Binom(k; n, x) = sqrt(n / (2 pi k (n-k))) exp(delta(n) - delta(k) - delta(n-k) - D(k, nx) - D(n-k,
    n(1-x))).

Reference: C. Loader, "Fast and accurate computation of binomial probabilities" (2000).

Example:
    >>> import jax.numpy as jnp
    >>> binomial_pmf(2, jnp.array(0.5))
    Array([0.25, 0.5 , 0.25], dtype=float64)
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float
from scipy.special import gammaln

from theorysim.numerics.validation import floating, positive_int, real

__all__ = ["binomial_pmf"]


def binomial_pmf(n: int, x: ArrayLike) -> Float[Array, "*batch n_plus_1"]:
    """Probabilities of 0..n successes in n trials with success probability x.

    Infinitely differentiable in x on the closed interval: the derivative is taken as
    n [Binom(k-1; n-1, x) - Binom(k; n-1, x)], which has no pole at the ends.

    Args:
        n: number of trials, >= 0 (static).
        x: success probabilities in [0, 1], any shape. Out of range gives NaN under a trace.

    Returns:
        Array of shape (*x.shape, n + 1) in the dtype of x. Relative error below 1e-12 (float64) and 1e-4
        (float32) wherever the probability exceeds 1e-30, for n up to 10,000. Cost O(n) a law.

    Raises:
        ValueError: n < 0, or a concrete x outside [0, 1].

    Example:
        >>> import jax, jax.numpy as jnp
        >>> jax.jacobian(lambda x: binomial_pmf(2, x))(jnp.zeros(()))
        Array([-2.,  2.,  0.], dtype=float64)
    """
    n = positive_int(n, "n", minimum=0)
    return _pmf(n, floating(real(x, "x", low=0, high=1)))


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _pmf(n: int, x: Array) -> Array:
    if n == 0:
        return jnp.ones_like(x)[..., None]
    x = x[..., None]
    ends = jnp.exp(n * jnp.log1p(-x)), jnp.exp(n * jnp.log(x))
    if n == 1:
        return jnp.concatenate(ends, axis=-1)
    k = np.arange(1, n)
    # Everything that depends on n and k alone is computed in float64 when the function is traced.
    delta = _stirling_error(n)
    log_scale = 0.5 * np.log(n / (2 * np.pi * k * (n - k))) + delta[n] - delta[1:n] - delta[n - 1 : 0 : -1]
    k = _row(k, x)
    exponent = _row(log_scale, x) - _deviance(k, n * x) - _deviance(n - k, n * (1 - x))
    return jnp.concatenate([ends[0], jnp.exp(exponent), ends[1]], axis=-1)


@_pmf.defjvp
def _pmf_jvp(n: int, primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (dx,) = primals, tangents
    if n == 0:
        return _pmf(n, x), jnp.zeros_like(x)[..., None]
    fewer = _pmf(n - 1, x)
    zero = jnp.zeros_like(fewer[..., :1])
    slope = n * (jnp.concatenate([zero, fewer], -1) - jnp.concatenate([fewer, zero], -1))
    return _pmf(n, x), slope * dx[..., None]


def _row(values: np.ndarray, like: Array) -> Array:
    """A constant vector in the dtype of `like`, with leading axes so that it broadcasts against it."""
    return jnp.asarray(values, like.dtype).reshape((1,) * (like.ndim - 1) + (-1,))


def _deviance(k: Array, m: Array) -> Array:
    """D(k, m) = k log(k/m) + m - k for k > 0, m >= 0, without cancellation near k = m."""
    # A fused loop may compute an m near zero twice and round it differently: 0 here, 1e-16 in the comparison.
    # So nothing divides by m, and far from k, where nothing cancels, m enters by its logarithm alone.
    safe = jnp.maximum(m, 1e-30)
    excess = (k - safe) / safe
    near = safe * ((1 + excess) * jnp.log1p(excess) - excess)
    far = k * jnp.log1p(excess) - (k - m)
    return jnp.where(m > 0, jnp.where(excess > 1, far, near), jnp.inf)


def _stirling_error(n: int) -> np.ndarray:
    """Log k! - log(sqrt(2 pi k) (k/e)^k) for k = 0..n (entry 0 is unused and zero), in float64."""
    k = np.arange(1, n + 1, dtype=np.float64)
    direct = gammaln(k + 1) - (k + 0.5) * np.log(k) + k - 0.5 * np.log(2 * np.pi)
    k2 = k * k
    series = (1 / 12 - (1 / 360 - (1 / 1260 - (1 / 1680 - 1 / (1188 * k2)) / k2) / k2) / k2) / k
    return np.concatenate([[0.0], np.where(k < 16, direct, series)])
