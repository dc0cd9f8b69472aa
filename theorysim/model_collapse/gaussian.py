r"""Recursive training of a Gaussian: fit mean and covariance to n own samples, sample, fit again.

One coordinate, n samples: sigma^2_{m+1} = sigma^2_m chi2_{n-1}/nu and mu_{m+1} = mu_m + sigma_m z/sqrt n,
with nu = n-1 ("unbiased") or n ("mle"), from a standard normal truth. With r = (n-1)/nu and
c4 = sqrt(2/(n-1)) Gamma(n/2)/Gamma((n-1)/2),

    E log sigma^2_m = m [psi((n-1)/2) + log(2/nu)],    Var log sigma^2_m = m psi'((n-1)/2),
    E sigma^2_m = r^m,   E sigma_m = (c4 sqrt r)^m,    Var mu_m = m/n (unbiased) or 1 - (1-1/n)^m (mle),
    E W2^2(model, truth) = Var mu_m + r^m + 1 - 2 (c4 sqrt r)^m.

In d dimensions the covariance is a Wishart chain: log det and the traces below. The mean of sigma^2 stays at
one (unbiased) while its median dies. Model of Shumailov et al. (2023); laws derived, see
docs/model_collapse.md.

Example:
    >>> curves = gaussian_recursion(n=10, d=1, num_gens=15, mode="unbiased")
    >>> print(f"{curves.log_variance_mean[15]:.11f} {curves.w2_squared[15]:.9f}")
    -1.72809705625 2.180404042
"""

from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike
from scipy.special import gammaln, polygamma, psi

from theorysim.numerics.validation import choice, floating, positive_int, real, scalar

__all__ = ["GaussianCurves", "GaussianMixedCurves", "gaussian_mixed", "gaussian_recursion"]


class GaussianCurves(NamedTuple):
    """Exact curves of the Gaussian recursion, each of shape (num_gens + 1,), index m = 0..num_gens.

    Attributes:
        log_variance_mean: E log sigma^2_m of one coordinate.
        log_variance_var: Var log sigma^2_m of one coordinate.
        variance_mean: E sigma^2_m of one coordinate.
        std_mean: E sigma_m of one coordinate.
        mean_var: Var mu_m of one coordinate.
        w2_squared: E W2^2 between the model's and the truth's law of one coordinate.
        log_det_mean: E log det of the d x d covariance.
        trace_sq_mean: E tr S_m^2.
        sq_trace_mean: E (tr S_m)^2.
    """

    log_variance_mean: Array
    log_variance_var: Array
    variance_mean: Array
    std_mean: Array
    mean_var: Array
    w2_squared: Array
    log_det_mean: Array
    trace_sq_mean: Array
    sq_trace_mean: Array


class GaussianMixedCurves(NamedTuple):
    """Exact curves of partially synthetic Gaussian training for m = 1..num_gens, each (num_gens,).

    Attributes:
        mean_shift: E (mu_m - mu_1)^2, in units of the true variance.
        variance_mean: E sigma^2_m, in units of the true variance.
    """

    mean_shift: Array
    variance_mean: Array


def gaussian_recursion(n: int, d: int, num_gens: int, mode: Literal["unbiased", "mle"]) -> GaussianCurves:
    """Exact curves of a d-dimensional standard normal refitted to n own samples per generation.

    Args:
        n: samples per generation, > d (static), so that covariances stay invertible.
        d: dimension, >= 1 (static).
        num_gens: last generation, >= 1 (static).
        mode: "unbiased" divides the scatter by n-1, "mle" by n.

    Returns:
        GaussianCurves in the default float dtype. Cost O(num_gens + d).

    Raises:
        ValueError: a size is not a positive integer, n <= d, or an unknown mode.

    Example:
        >>> print(f"{gaussian_recursion(12, 4, 6, 'unbiased').log_det_mean[6]:.11f}")
        -6.34075774289
    """
    choice(mode, "mode", ("unbiased", "mle"))
    d, num_gens = positive_int(d, "d"), positive_int(num_gens, "num_gens")
    n = positive_int(n, "n", minimum=d + 1)
    nu = n - 1 if mode == "unbiased" else n
    # Everything is a function of the static n and d: the constants are exact float64 numbers.
    r = (n - 1) / nu
    log_c4 = 0.5 * np.log(2 / (n - 1)) + gammaln(n / 2) - gammaln((n - 1) / 2)
    std_factor = np.exp(log_c4) * np.sqrt(r)
    m = np.arange(num_gens + 1)
    mean_var = m / n if mode == "unbiased" else -np.expm1(m * np.log1p(-1 / n))
    log_det = psi((n - np.arange(1, d + 1)) / 2).sum() + d * np.log(2 / nu)
    trace_sq, sq_trace = _trace_moments(n, d, num_gens, r)
    curves = (
        m * (psi((n - 1) / 2) + np.log(2 / nu)),
        m * polygamma(1, (n - 1) / 2),
        r**m,
        std_factor**m,
        mean_var,
        mean_var + r**m + 1 - 2 * std_factor**m,
        m * log_det,
        trace_sq,
        sq_trace,
    )
    return GaussianCurves(*(jnp.asarray(curve, jnp.result_type(float)) for curve in curves))


def gaussian_mixed(n: ArrayLike, N: ArrayLike, num_gens: int) -> GaussianMixedCurves:
    """Exact curves of a 1-d Gaussian refitted (maximum likelihood) to N fixed real and n own samples.

    D' = alpha^2 (D + E/n),
    E' = (1-alpha)(1-1/N) + alpha (1-1/n) E + alpha (1-alpha)(D + E/n), from D = 0, E = 1 - 1/N at m = 1.

    Args:
        n: synthetic draws per generation, >= 1; may be traced.
        N: real draws, >= 1; may be traced.
        num_gens: last generation, >= 1 (static).

    Returns:
        GaussianMixedCurves, entry m-1 for generation m.

    Raises:
        ValueError: n < 1, N < 1 or one of them is not a scalar, or num_gens is not a positive integer.

    Example:
        >>> curves = gaussian_mixed(n=30, N=20, num_gens=25)
        >>> print(f"{curves.mean_shift[24]:.5f} {curves.variance_mean[24]:.5f}")
        0.01748 0.93252
    """
    num_gens = positive_int(num_gens, "num_gens")
    n, N = floating(real(scalar(n, "n"), "n", low=1)), floating(real(scalar(N, "N"), "N", low=1))
    alpha = n / (N + n)

    def refit(state: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        shift, variance = state
        between = shift + variance / n
        new_variance = (
            (1 - alpha) * (1 - 1 / N) + alpha * (1 - 1 / n) * variance + alpha * (1 - alpha) * between
        )
        return (alpha**2 * between, new_variance), state

    start = (jnp.zeros_like(alpha), jnp.broadcast_to(1 - 1 / N, alpha.shape).astype(alpha.dtype))
    return GaussianMixedCurves(*lax.scan(refit, start, length=num_gens)[1])


def _trace_moments(n: int, d: int, num_gens: int, r: float) -> tuple[np.ndarray, np.ndarray]:
    """E tr S_m^2 and E (tr S_m)^2 of the chain S' | S ~ r Wishart(n-1, S)/(n-1), from the identity."""
    t, u = np.empty(num_gens + 1), np.empty(num_gens + 1)
    t[0], u[0] = d, d * d
    for m in range(num_gens):
        t[m + 1] = r**2 * ((1 + 1 / (n - 1)) * t[m] + u[m] / (n - 1))
        u[m + 1] = r**2 * (u[m] + 2 * t[m] / (n - 1))
    return t, u
