r"""What depth does to the variance of one input beyond the limit: its error, and series.

For a homogeneous phi, m = (1 + k^2)/2, q_L = q_0 prod (1 + m x_l). A vanishing schedule of sum tau falls
short of exp(m tau) by the relative error -(m^2/2) sum x_l^2 + ...: first order in 1/L. A series alpha_l =
l^-p with p > 1/2 has the limit prod (1 + m l^(-2p)), and truncation after L layers misses the tail of the
sum.

Example:
    >>> x = jnp.arange(1, 1001.0) ** -2
    >>> missing = series_limit(0.0, 1.0, "relu").growth / jnp.prod(1 + x / 2) - 1
    >>> print(f"{2 * 1000 * missing:.3f}")  # -> 1
    1.000
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.numerics.gaussian import Activation, angle_of_correlation, leaky_moments
from theorysim.numerics.validation import floating, real, scalar
from theorysim.width_depth.angles import leaky_step
from theorysim.width_depth.arguments import homogeneous_slope, layer_variances
from theorysim.width_depth.flow import correlation_flow

__all__ = ["DiscretisationError", "SeriesLimit", "discretisation_error", "series_limit"]

# Layers of a series that are multiplied out; the rest of the sums is taken by Euler and Maclaurin.
_HEAD = 512
_POWERS = 6


class DiscretisationError(NamedTuple):
    """How far the variance at finite depth is from exp(m tau), relatively.

    Attributes:
        exact: prod(1 + m x_l) / exp(m sum x_l) - 1.
        leading: -(m^2/2) sum x_l^2, its first term: -1/(8 L) for ReLU with the uniform schedule.
    """

    exact: Float[Array, ""]
    leading: Float[Array, ""]


class SeriesLimit(NamedTuple):
    """What infinitely many layers with alpha_l = l^-p make of a pair.

    Attributes:
        growth: q_aa(infinity) / q_aa(0), the product of 1 + m l^(-2p) sigma_w^2.
        correlation: c(infinity).
    """

    growth: Float[Array, ""]
    correlation: Float[Array, ""]


def discretisation_error(
    alpha2: Float[Array, " L"], phi: Activation, sigma_w2: ArrayLike = 1.0
) -> DiscretisationError:
    """Relative error that finite depth makes in the variance of one input, for a homogeneous phi.

    Args:
        alpha2: squared branch scales, (L,), >= 0.
        phi: "linear", "relu", "abs" or a slope (static).
        sigma_w2: variance of sqrt(n) times a weight, >= 0.

    Returns:
        The exact relative error and its leading term.

    Raises:
        ValueError: negative scales, or phi not homogeneous: use Richardson extrapolation there.

    Example:
        >>> error = discretisation_error(jnp.full(1024, 1 / 1024), "relu")
        >>> print(f"{1024 * error.exact * jnp.exp(0.5):.7f} {1024 * error.leading * jnp.exp(0.5):.7f}")
        -0.2060105 -0.2060902
    """
    y = leaky_moments(homogeneous_slope(phi)).m * layer_variances(alpha2, sigma_w2)
    small = y < 1e-2
    at = jnp.where(small, y, 0)
    # log(1 + y) - y, by its series where the two cancel.
    series = at**2 * jnp.polyval(jnp.asarray([-1 / 6, 1 / 5, -1 / 4, 1 / 3, -1 / 2], y.dtype), at)
    return DiscretisationError(jnp.expm1(jnp.where(small, series, jnp.log1p(y) - y).sum()), -(y**2).sum() / 2)


def series_limit(c0: ArrayLike, p: ArrayLike, phi: Activation, sigma_w2: ArrayLike = 1.0) -> SeriesLimit:
    """The limit L -> infinity of the fixed scales alpha_l = l^-p, for a homogeneous phi.

    512 layers are multiplied out; the rest of the product is summed by Euler-Maclaurin, and the rest of
    the correlation follows the flow, whose error there is O(512^(1-4p)), 1e-9 at p = 1.

    Args:
        c0: correlation of the inputs, in [-1, 1]; a scalar.
        p: exponent, > 1/2; a scalar.
        phi: "linear", "relu", "abs" or a slope (static).
        sigma_w2: variance of sqrt(n) times a weight, >= 0.

    Returns:
        SeriesLimit.

    Raises:
        ValueError: an argument out of its range, or phi not homogeneous.

    Example:
        >>> print(f"{series_limit(0.2, 1.0, 'relu').growth:.13f}")  # sinh(pi/sqrt 2) / (pi/sqrt 2)
        2.0509565479833
    """
    k = homogeneous_slope(phi)
    c0 = floating(real(scalar(c0, "c0"), "c0", low=-1, high=1))
    p = jnp.asarray(real(scalar(p, "p"), "p", low=0.5, low_open=True, high_open=True), c0.dtype)
    sigma_w2 = jnp.asarray(real(scalar(sigma_w2, "sigma_w2"), "sigma_w2", low=0, high_open=True), c0.dtype)
    return _series_limit(c0, p, sigma_w2, k)


@partial(jax.jit, static_argnums=3)
def _series_limit(c0, p, sigma_w2, k):
    m = leaky_moments(k).m
    x = sigma_w2 * jnp.asarray(np.arange(1, _HEAD + 1), c0.dtype) ** (-2 * p)
    # sum over l > 512 of log(1 + m x_l), by the powers of m x_l.
    y = m * sigma_w2
    rest = sum((-1) ** (j + 1) * y**j / j * _zeta_tail(2 * p * j) for j in range(1, _POWERS + 1))
    theta = lax.scan(lambda theta, x: (leaky_step(k, x, theta), None), angle_of_correlation(c0), x)[0]
    tail = (1 - k) ** 2 * sigma_w2 * _zeta_tail(2 * p)
    return SeriesLimit(jnp.exp(jnp.log1p(m * x).sum() + rest), correlation_flow(jnp.cos(theta), tail))


def _zeta_tail(a):
    """Sum of l^-a over l > 512; the first term left out is 512^-5 of the second."""
    N = _HEAD + 1.0
    bernoulli = a / (12 * N) - a * (a + 1) * (a + 2) / (720 * N**3)
    return N**-a * (N / (a - 1) + 0.5 + bernoulli)
