r"""Two-point functions of smooth activations in closed form: erf, sin, cos and GELU.

With D = q11 q22 - q12^2 (see `angles` for how it is computed), h = (q11 + q22)/2, E = 1 + 2(q11 + q22) + 4 D
and G = 1 + q11 + q22 + D,

    erf   F = (2/pi) atan2(2 q12, sqrt E),                  Fd = (4/pi) / sqrt E,
    sin   F = exp(-h) sinh q12,                             Fd = exp(-h) cosh q12,
    cos   F = exp(-h) cosh q12,                             Fd = exp(-h) sinh q12,
    GELU  F = q12/4 + [q12 w + (q12^2 + q11 q22 G) / (P sqrt G)] / (2 pi),
          Fd = 1/4 + [w + q12 (3 + q11 + q22 + q12^2/G) / (P sqrt G)] / (2 pi),

with P = (1 + q11)(1 + q22) and w = atan2(q12, sqrt G). E and G are at least 1: all derivatives are finite, on
the diagonal and at zero variance too. C. K. I. Williams (1997) for erf; the others derived.

Example:
    >>> pair = gelu_two_point(jnp.array(1.3), jnp.array(0.7), jnp.array(0.5))
    >>> print(f"{pair.F:.12f} {pair.Fd:.12f}")
    0.221525972544 0.344603980398
"""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from theorysim.numerics.gaussian.angles import determinant
from theorysim.numerics.gaussian.records import TwoPoint

__all__ = ["cos_two_point", "erf_two_point", "gelu_two_point", "sin_two_point"]


def erf_two_point(q11: Array, q22: Array, q12: Array) -> TwoPoint:
    """F and Fd of erf; arrays of one rank that broadcast, nothing is checked.

    Example:
        >>> print(f"{erf_two_point(jnp.array(1.3), jnp.array(0.7), jnp.array(0.5)).F:.12f}")
        0.220994228495
    """
    root = jnp.sqrt(1 + 2 * (q11 + q22) + 4 * _determinant(q11, q22, q12))
    return TwoPoint((2 / math.pi) * jnp.arctan2(2 * q12, root), (4 / math.pi) / root)


def sin_two_point(q11: Array, q22: Array, q12: Array) -> TwoPoint:
    """F and Fd of the sine; arrays of one rank that broadcast, nothing is checked.

    Example:
        >>> print(f"{sin_two_point(*(jnp.array(x) for x in (1e3, 1e3, 1e3))).F:.6f}")
        0.500000
    """
    sinh, cosh = _damped(q11, q22, q12)
    return TwoPoint(sinh, cosh)


def cos_two_point(q11: Array, q22: Array, q12: Array) -> TwoPoint:
    """F and Fd of the cosine; arrays of one rank that broadcast, nothing is checked.

    Example:
        >>> print(f"{cos_two_point(jnp.array(1.3), jnp.array(0.7), jnp.array(0.5)).F:.12f}")
        0.414830409931
    """
    sinh, cosh = _damped(q11, q22, q12)
    return TwoPoint(cosh, sinh)


def gelu_two_point(q11: Array, q22: Array, q12: Array) -> TwoPoint:
    """F and Fd of x Phi(x), with Phi the normal distribution; arrays of one rank, nothing is checked.

    Example:
        >>> print(f"{gelu_two_point(jnp.array(0.0), jnp.array(1.0), jnp.array(0.0)).Fd:.3f}")
        0.250
    """
    G = 1 + q11 + q22 + _determinant(q11, q22, q12)
    root = jnp.sqrt(G)
    w = jnp.arctan2(q12, root)
    # Ratios first: q11 q22 G would overflow in float32 at variances of 1e12.
    one, two = 1 / (1 + q11), 1 / (1 + q22)
    square = (q12 * one) * (q12 * two)
    F = q12 / 4 + (q12 * w + square / root + (q11 * one) * (q22 * two) * root) / (2 * math.pi)
    growth = (3 + q11 + q22) * one * two + square / G
    return TwoPoint(F, 0.25 + (w + q12 / root * growth) / (2 * math.pi))


def _damped(q11: Array, q22: Array, q12: Array) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """exp(-h) times sinh and cosh of q12, without overflow; the sine's small values keep their digits."""
    h = (q11 + q22) / 2
    up, down = jnp.exp(q12 - h), jnp.exp(-q12 - h)
    small = jnp.abs(q12) < 1
    sinh = jnp.where(small, jnp.exp(-h) * jnp.sinh(jnp.where(small, q12, 0)), (up - down) / 2)
    return sinh, (up + down) / 2


def _determinant(q11: Array, q22: Array, q12: Array) -> Array:
    """D, but for a rounding error that would make E or G negative: only where variances are huge."""
    D = determinant(q11, q22, q12)
    return jnp.where(8 * D > -(1 + q11 + q22), D, 0)
