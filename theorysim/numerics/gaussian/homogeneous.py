r"""Two-point functions of the leaky family phi(x) = x for x > 0 and k x for x < 0, in closed form.

ReLU is k = 0, the absolute value k = -1, the identity k = 1. With A = ((1+k)/2)^2, B = ((1-k)/2)^2, the angle
theta of the pair and D = q11 q22 - q12^2,

    F  = A q12 + B (2/pi) (sqrt D + q12 (pi/2 - theta)),       Fd = A + B (1 - 2 theta / pi),

and at unit variances F = m cos theta + B (2/pi) (sin theta - theta cos theta), with m = A + B = (1 + k^2)/2.
Y. Cho, L. K. Saul (2009), "Kernel Methods for Deep Learning", for k = 0.

The first derivatives of F are exact everywhere. Those of Fd diverge like 1/sqrt D; where D = 0 they are 0,
which is the derivative along the diagonal q11 = q22 = q12.

Example:
    >>> pair = leaky_two_point(0.0, jnp.array(1.0), jnp.array(1.0), jnp.array(0.5))
    >>> print(f"{pair.F:.6f} {pair.Fd:.6f}")
    0.304499 0.333333
"""

import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.numerics.gaussian.angles import (
    angle,
    determinant,
    safe_ratio,
    safe_sqrt,
    sine_less_theta_cosine,
)
from theorysim.numerics.gaussian.records import LeakyMoments, TwoPoint

__all__ = ["leaky_correlation", "leaky_moments", "leaky_two_point"]


def leaky_moments(slope: ArrayLike) -> LeakyMoments:
    """The constants A = ((1+k)/2)^2, B = ((1-k)/2)^2 and m = A + B = E phi(u)^2 / q of slope k.

    Example:
        >>> print(leaky_moments(0.0))
        LeakyMoments(even=0.25, odd=0.25, m=0.5)
    """
    even, odd = ((1 + slope) / 2) ** 2, ((1 - slope) / 2) ** 2
    return LeakyMoments(even, odd, (1 + slope * slope) / 2)


def leaky_two_point(slope: ArrayLike, q11: ArrayLike, q22: ArrayLike, q12: ArrayLike) -> TwoPoint:
    """F and Fd of the leaky rectifier with this slope; arrays of one rank that broadcast, nothing is checked.

    A variable of variance 0 counts as orthogonal to every other: Fd = A, as if phi'(0) = (1+k)/2.

    Example:
        >>> pair = leaky_two_point(-1.0, *(jnp.array(x) for x in (2.0, 2.0, 2.0)))
        >>> print(pair.F, pair.Fd)
        2.0 1.0
    """
    even, odd, _ = leaky_moments(slope)
    theta = angle(q11, q22, q12)
    return TwoPoint(
        F=even * q12 + odd * _absolute(q11, q22, q12),
        Fd=even + odd * (1 - (2 / math.pi) * theta),
    )


def leaky_correlation(slope: ArrayLike, theta: ArrayLike) -> TwoPoint:
    """F and Fd at unit variances as functions of the angle: analytic on [0, pi] and beyond.

    Example:
        >>> pair = leaky_correlation(0.0, jnp.array(jnp.pi / 3))
        >>> print(f"{pair.F:.6f} {pair.Fd:.6f}")
        0.304499 0.333333
    """
    even, odd, m = leaky_moments(slope)
    excess = odd * (2 / math.pi) * sine_less_theta_cosine(theta)
    return TwoPoint(m * jnp.cos(theta) + excess, even + odd * (1 - (2 / math.pi) * jnp.asarray(theta)))


@jax.custom_jvp
def _absolute(q11: Array, q22: Array, q12: Array) -> Float[Array, "..."]:
    """E|u||v| = (2/pi) (sqrt D + q12 arcsin c)."""
    root = safe_sqrt(determinant(q11, q22, q12))
    return (2 / math.pi) * (root + q12 * (math.pi / 2 - angle(q11, q22, q12)))


@_absolute.defjvp
def _absolute_jvp(primals, tangents):
    q11, q22, q12 = primals
    d11, d22, d12 = tangents
    # The terms in 1/sqrt D cancel; written out, they cannot leave rounding errors behind.
    half_root = safe_sqrt(determinant(q11, q22, q12)) / 2
    across = half_root * (safe_ratio(d11, q11) + safe_ratio(d22, q22))
    along = (math.pi / 2 - angle(q11, q22, q12)) * d12
    return _absolute(q11, q22, q12), (2 / math.pi) * (along + across)
