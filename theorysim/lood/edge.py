r"""The edge of chaos, and how fast correlations approach one there: what depth does to leakage.

With F and Fd the two-point functions of phi and one variance q kept by every layer,

    q = sw2 F(q) + sb2,        sw2 Fd(q) = 1:        q = sb2 + F(q)/Fd(q),        sw2 = 1/E phi'(u)^2.

On it the correlation c_l of two inputs after l layers tends to 1 so slowly that depth may be used:

    smooth phi:      1 - c_l ~ (2/kappa) / l,      kappa = q E phi''(u)^2 / E phi'(u)^2,
    leaky rectifier: 1 - c_l ~ (9 pi^2 m^2 / 8 B^2) / l^2,      m = (1 + k^2)/2,  B = ((1 - k)/2)^2,

9 pi^2/2 for ReLU. Records that all have correlation c leak by what is left of their differences,
v = 1 - (n-1) c^2/(1 - c + s2 + (n-1) c) -> 1 - c: much if 1 - c_l >> s2. S. Hayou, A. Doucet, J. Rousseau
(2019), arXiv 1902.06853.

Example:
    >>> q, sw2 = edge_of_chaos("gelu", bias_variance=0.1)
    >>> rate = correlation_depth_constant("gelu", bias_variance=0.1)
    >>> print(f"{q:.9f} {sw2:.9f} {rate:.9f}")
    1.632426109 2.076676194 2.632053913
"""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.numerics.gaussian import (
    Activation,
    checked_activation,
    leaky_moments,
    leaky_slope,
    two_point_of,
)
from theorysim.numerics.validation import floating, is_traced, positive_int, real, scalar

__all__ = [
    "EdgeOfChaos",
    "Equicorrelated",
    "correlation_depth_constant",
    "edge_of_chaos",
    "equicorrelated",
]

# Where the variance is looked for.
_GRID = np.geomspace(1e-6, 1e4, 400)
_HALVINGS = 60


class EdgeOfChaos(NamedTuple):
    """A point of the edge of chaos.

    Attributes:
        q: variance of the pre-activations, kept by every layer.
        weight_variance: sw2.
    """

    q: Float[Array, ""]
    weight_variance: Float[Array, ""]


class Equicorrelated(NamedTuple):
    """One of n records that all have correlation c, unit prior variance.

    Attributes:
        variance: v, of the function at the record without it.
        leverage: h = v/(v + s2).
        information_gain: -log(1 - h)/2, in nats for one output.
    """

    variance: Float[Array, "*batch"]
    leverage: Float[Array, "*batch"]
    information_gain: Float[Array, "*batch"]


def edge_of_chaos(phi: Activation, *, bias_variance: ArrayLike = 0.0) -> EdgeOfChaos:
    """The variance of weights at which correlations neither die nor explode, and the variance they keep.

    Args:
        phi: activation, without kinks unless of the leaky family (static).
        bias_variance: sb2 >= 0, a scalar; 0 for the leaky family, whose edge is sw2 = 1/m at every q: q = 1
            is returned.

    Returns:
        EdgeOfChaos; of several, that of the smallest q. Derivatives are implicit. NaN under a trace where
        there is none.

    Raises:
        ValueError: no edge at this bias_variance, as at 0 for erf, tanh, sin and GELU.

    Example:
        >>> edge_of_chaos("gelu", bias_variance=0.0)
        Traceback (most recent call last):
        ValueError: bias_variance must be one at which 'gelu' has an edge of chaos, got 0: try a larger one
    """
    phi = checked_activation(phi)
    real(scalar(bias_variance, "bias_variance"), "bias_variance", low=0, high_open=True)
    bias = floating(bias_variance)
    slope = leaky_slope(phi)
    if slope is not None:
        if not is_traced(bias) and bias != 0:
            raise ValueError(f"bias_variance must be 0 for the homogeneous {phi!r}, got {float(bias):g}")
        q = jnp.where(bias == 0, 1, jnp.nan).astype(bias.dtype)
        return EdgeOfChaos(q, q / leaky_moments(slope).m)
    edge = _edge(phi, bias)
    if not is_traced(edge.q) and jnp.isnan(edge.q):
        raise ValueError(
            f"bias_variance must be one at which {phi!r} has an edge of chaos, got {float(bias):g}: try a "
            f"larger one"
        )
    return edge


def correlation_depth_constant(phi: Activation, *, bias_variance: ArrayLike = 0.0) -> Float[Array, ""]:
    """The constant of the decay of 1 - c_l with depth on the edge of chaos.

    Args:
        phi: activation, without kinks unless of the leaky family (static).
        bias_variance: sb2, see `edge_of_chaos`.

    Returns:
        2/kappa, the limit of l (1 - c_l); for the leaky family the limit of l^2 (1 - c_l). Infinite for the
        identity, whose correlations do not move.

    Raises:
        ValueError: no edge at this bias_variance.

    Example:
        >>> print(f"{correlation_depth_constant('relu'):.6f}")
        44.413220
    """
    phi = checked_activation(phi)
    q, sw2 = edge_of_chaos(phi, bias_variance=bias_variance)
    slope = leaky_slope(phi)
    if slope is not None:
        _, odd, m = leaky_moments(slope)
        return q * (9 * math.pi**2 * m**2 / (8 * odd**2) if odd else math.inf)
    return _smooth_constant(phi, q, sw2)


def equicorrelated(n: int, correlation: ArrayLike, *, noise: ArrayLike) -> Equicorrelated:
    """Leakage of any of n records that all have the same correlation: a deep network's, close to rank one.

    Args:
        n: records, that one included, >= 1 (static).
        correlation: c in [0, 1].
        noise: s2 > 0; broadcasts against c.

    Returns:
        Equicorrelated in the common shape.

    Raises:
        ValueError: an argument out of its range.

    Example:
        >>> print(f"{equicorrelated(50, 0.9, noise=0.01).information_gain:.9f}")
        1.209024108
    """
    n = positive_int(n, "n")
    real(correlation, "correlation", low=0, high=1)
    real(noise, "noise", low=0, low_open=True, high_open=True)
    dtype = jnp.result_type(floating(correlation), getattr(noise, "dtype", 0.0))
    c, s2 = jnp.asarray(correlation, dtype), jnp.asarray(noise, dtype)
    # 1 - (n-1) c^2/(1 - c + s2 + (n-1) c), without its cancellation.
    rest = 1 - c + s2
    v = ((1 - c) * (rest + (n - 1) * c) + c * rest) / (rest + (n - 1) * c)
    return Equicorrelated(v, v / (v + s2), jnp.log1p(v / s2) / 2)


@partial(jax.jit, static_argnums=0)
def _edge(phi, bias):
    def excess(q):
        F, Fd = two_point_of(phi, q, q, q)
        return q - F / Fd

    grid = jnp.asarray(_GRID, bias.dtype)
    above = excess(grid) >= bias
    first = jnp.argmax(above)
    found = above.any() & (first > 0)

    def solve(residual, _):
        def halve(_, ends):
            low, high = ends
            middle = jnp.sqrt(low * high)
            less = residual(middle) < 0
            return jnp.where(less, middle, low), jnp.where(less, high, middle)

        ends = grid[jnp.maximum(first - 1, 0)], grid[first]
        return jnp.sqrt(jnp.prod(jnp.stack(lax.fori_loop(0, _HALVINGS, halve, ends))))

    def tangent_solve(linear, rhs):
        return rhs / linear(jnp.ones_like(rhs))

    q = lax.custom_root(lambda q: excess(q) - bias, grid[0], solve, tangent_solve)
    q = jnp.where(found, q, jnp.nan)
    return EdgeOfChaos(q, 1 / two_point_of(phi, q, q, q).Fd)


@partial(jax.jit, static_argnums=0)
def _smooth_constant(phi, q, sw2):
    # E phi''^2 is the slope of E phi' phi' in the covariance.
    curvature = jax.grad(lambda q12: two_point_of(phi, q, q, q12).Fd)(q)
    return 2 / (q * curvature * sw2)
