r"""The angle between two Gaussian variables, and functions of it that lose no digits near 0 and pi.

For (u, v) ~ N(0, [[q11, q12], [q12, q22]]) let theta = arccos(q12 / sqrt(q11 q22)) in [0, pi]. Near theta = 0
a rounding error of 6e-8 in the correlation (float32) is an error of 3e-4 in theta, so nothing here goes
through the correlation: with D = q11 q22 - q12^2,

    theta = atan2(sqrt D, q12),        D = (q11 - |q12|) q22 + |q12| (q22 - |q12|),

where the differences are exact if q11 and q22 are within a factor of two of |q12| (Sterbenz): for equal
variances D keeps its relative precision down to theta = 0. All derivatives are finite everywhere: the exact
ones where they exist, 0 where theta(q12) has its vertical tangent (theta = 0 or pi) or a variance vanishes.

Example:
    >>> near = angle(jnp.float32(1), jnp.float32(1), jnp.float32(1 - 2**-20))
    >>> print(f"{near:.9f} {jnp.arccos(1 - 2.0**-20):.9f}")
    0.001381068 0.001381068
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

__all__ = [
    "angle",
    "angle_of_correlation",
    "bounded_correlation",
    "determinant",
    "safe_ratio",
    "safe_sqrt",
    "sine_less_theta_cosine",
]

# Terms of the power series used below theta = 1: the first one left out is 4e-18.
_TERMS = 9

# arcsin(x)/x as a polynomial in x^2, in rising order, interpolated at Chebyshev nodes of x^2 in [0, 1/2]
# (singular at 1: the error falls like (3 + sqrt 8)^-order): relative error 2.0e-17, and 2.6e-9 for 9 terms.
_ARCSINE = (
    1.0,
    0.16666666666664987,
    0.07500000000401816,
    0.044642856762615,
    0.030381963396751827,
    0.022371584779320355,
    0.017364281439103527,
    0.01380344589589198,
    0.013191002571753903,
    -0.002601537848299688,
    0.07871611357002127,
    -0.2968705430689824,
    1.0082016650534187,
    -2.4908808126226116,
    4.6420689099888435,
    -6.229299875397985,
    5.7579408313146985,
    -3.278933156739812,
    0.8892904367638688,
)
_ARCSINE_NARROW = (
    1.0000000016226234,
    0.16666614237824284,
    0.07502757316352404,
    0.04409161673371687,
    0.03581423928401177,
    -0.0070205791522944755,
    0.10740002130174647,
    -0.13591627123984387,
    0.12391349490512975,
)


def safe_sqrt(x: ArrayLike) -> Float[Array, "..."]:
    """sqrt(x), and 0 with derivative 0 where x <= 0.

    Example:
        >>> print(jax.grad(safe_sqrt)(0.0), safe_sqrt(jnp.array(-1e-17)))
        0.0 0.0
    """
    x = jnp.asarray(x)
    positive = x > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1)), 0)


def bounded_correlation(c: ArrayLike) -> Float[Array, "..."]:
    """A correlation that rounding has pushed out of [-1, 1], back in it, with the derivative of not clipping.

    Example:
        >>> bounded_correlation(jnp.array(1.001)).item(), jax.grad(bounded_correlation)(1.0).item()
        (1.0, 1.0)
    """
    c = jnp.asarray(c)
    return c / lax.stop_gradient(jnp.maximum(jnp.abs(c), 1))


def safe_ratio(numerator: ArrayLike, denominator: ArrayLike) -> Float[Array, "..."]:
    """The ratio numerator / denominator, and 0 with derivative 0 where the denominator is 0.

    Example:
        >>> print(safe_ratio(jnp.array([1.0, 1.0]), jnp.array([4.0, 0.0])))
        [0.25 0.  ]
    """
    denominator = jnp.asarray(denominator)
    nonzero = denominator != 0
    return jnp.where(nonzero, numerator / jnp.where(nonzero, denominator, 1), 0)


def determinant(q11: ArrayLike, q22: ArrayLike, q12: ArrayLike) -> Float[Array, "..."]:
    """D = q11 q22 - q12^2, precise where q11, q22 and |q12| are close to each other; may round below 0.

    Args:
        q11: variance of u, >= 0.
        q22: variance of v, >= 0; the three broadcast.
        q12: covariance.

    Returns:
        D, in the common shape.

    Example:
        >>> q, close = jnp.float32(0.7), jnp.float32(0.7) - jnp.float32(2**-22)
        >>> exact = 0.7 * 2**-21
        >>> print(f"{determinant(q, q, close) / exact:.4f} {(q * q - close * close) / exact:.4f}")
        1.0000 0.9821
    """
    q11, q22, q12 = jnp.asarray(q11), jnp.asarray(q22), jnp.asarray(q12)
    # A branch, not abs: the second derivative at q12 = 0 must be -2.
    size = jnp.where(q12 < 0, -q12, q12)
    return (q11 - size) * q22 + size * (q22 - size)


@jax.custom_jvp
def angle(q11: ArrayLike, q22: ArrayLike, q12: ArrayLike) -> Float[Array, "..."]:
    """The angle arccos(q12 / sqrt(q11 q22)); pi/2 where a variance is 0.

    Args:
        q11: variance of u, >= 0.
        q22: variance of v, >= 0; the three broadcast.
        q12: covariance, |q12| <= sqrt(q11 q22); beyond, theta is 0 or pi.

    Returns:
        theta in [0, pi], in the common shape. dtheta/dq12 = -1/sqrt D, and 0 where D is.

    Example:
        >>> print(angle(jnp.array([4.0, 4.0, 0.0]), jnp.array([1.0, 1.0, 1.0]), jnp.array([1.0, -2.0, 0.0])))
        [1.04719755 3.14159265 1.57079633]
    """
    q12 = jnp.asarray(q12)
    root = safe_sqrt(determinant(q11, q22, q12))
    nothing = (root == 0) & (q12 == 0)
    return jnp.where(nothing, math.pi / 2, jnp.arctan2(root, jnp.where(nothing, 1, q12)))


@angle.defjvp
def _angle_jvp(primals, tangents):
    q11, q22, q12 = primals
    d11, d22, d12 = tangents
    root = safe_sqrt(determinant(q11, q22, q12))
    change = safe_ratio(q12, 2 * q11) * d11 + safe_ratio(q12, 2 * q22) * d22 - d12
    return angle(q11, q22, q12), safe_ratio(change, root)


@jax.custom_jvp
def angle_of_correlation(c: ArrayLike) -> Float[Array, "..."]:
    """arccos(c) by half angles, as precise as the input allows at both ends; the derivative at |c| = 1 is 0.

    By a polynomial, ten times as fast on a CPU as a library's arctangent and as accurate: the relative error
    of the angle is below 2.5e-7 in float32 and 4e-16 in float64, rounding included. A NaN stays one.

    Example:
        >>> print(angle_of_correlation(jnp.array([1.0, 0.5, -1.0])), jax.grad(angle_of_correlation)(1.0))
        [0.         1.04719755 3.14159265] 0.0
    """
    c = jnp.asarray(c)
    # sin^2 of half the angle to the nearer of 1 and -1: exact in the input.
    square = jnp.maximum(1 - jnp.abs(c), 0) / 2
    table = _ARCSINE if jnp.finfo(square.dtype).eps < 1e-7 else _ARCSINE_NARROW
    ratio = jnp.full_like(square, table[-1])
    for coefficient in table[-2::-1]:
        ratio = ratio * square + coefficient
    near = 2 * jnp.sqrt(square) * ratio
    return jnp.where(c < 0, math.pi - near, near)


@angle_of_correlation.defjvp
def _angle_of_correlation_jvp(primals, tangents):
    (c,), (change,) = primals, tangents
    return angle_of_correlation(c), -safe_ratio(change, safe_sqrt((1 - c) * (1 + c)))


def sine_less_theta_cosine(theta: ArrayLike) -> Float[Array, "..."]:
    """sin(theta) - theta cos(theta) with full relative precision, theta^3/3 near 0.

    Args:
        theta: any angle, elementwise.

    Returns:
        The difference; below 1 by its power series. Derivative theta sin(theta).

    Example:
        >>> print(sine_less_theta_cosine(jnp.array([0.0, 1e-5, jnp.pi])))
        [0.00000000e+00 3.33333333e-16 3.14159265e+00]
    """
    theta = jnp.asarray(theta)
    square = theta * theta
    small = square < 1
    x = jnp.where(small, square, 0)
    # (-1)^(k+1) 2k theta^(2k+1) / (2k+1)!
    terms = [(-1.0) ** (k + 1) * 2 * k / math.factorial(2 * k + 1) for k in range(1, _TERMS + 1)]
    series = jnp.polyval(jnp.asarray(np.array(terms[::-1]), theta.dtype), x, unroll=_TERMS)
    return jnp.where(small, theta * x * series, jnp.sin(theta) - theta * jnp.cos(theta))
