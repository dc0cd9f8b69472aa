r"""The correlation of two inputs in the limit of infinite depth: one curve for all homogeneous activations.

With the clock s = (1 - k)^2 tau (ReLU: s = tau; abs: 4 tau; linear: 0) the angle follows

    dtheta/ds = -(sin theta - theta cos theta) / (2 pi sin theta),      s = Psi(theta_s) - Psi(theta_0),
    Psi(theta) = 2 pi int_theta^pi sin t / (sin t - t cos t) dt = 6 pi (1/theta - 1/pi) + 2 pi R(theta),

where R is analytic on [0, pi] and beyond, up to tan t = t at 4.49: 32 Chebyshev coefficients hold it to
rounding. Then the correlation at any s, and the time between any two correlations, are closed forms: the flow
inverts Psi by Newton's method in u = 1/theta, in which Psi is convex and nearly linear. Derived, see
docs/width_depth.md.

Example:
    >>> print(f"{correlation_flow(0.2, 1.0):.14f}")
    0.30122651921506
    >>> print(f"{flow_time(0.2, correlation_flow(0.2, 7.0)):.10f}")
    7.0000000000
"""

import math
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.numerics.chebyshev import clenshaw
from theorysim.numerics.gaussian import angle_of_correlation, safe_ratio, sine_less_theta_cosine
from theorysim.numerics.validation import is_traced, real

__all__ = ["correlation_flow", "flow_gain", "flow_time", "later_angle"]

_ORDER = 32
_NEWTON_STEPS = 8


def correlation_flow(c0: ArrayLike, s: ArrayLike) -> Float[Array, "..."]:
    """Correlation after the time s of the universal flow, elementwise over arrays that broadcast.

    Args:
        c0: correlation at the start, in [-1, 1].
        s: time (1 - k)^2 tau, >= 0, with tau = sigma_w^2 sum alpha_l^2.

    Returns:
        c_s; it approaches 1 as 1 - 18 pi^2 / s^2 and stays there if c0 = 1. Differentiable in both: the
        implicit derivatives, finite at c0 = -1 and 1 too. The value has the rounding error of its dtype.

    Raises:
        ValueError: c0 outside [-1, 1], or s < 0.

    Example:
        >>> print(correlation_flow(jnp.array([-1.0, 0.0, 1.0]), 1.0).round(6))
        [-0.591562  0.141348  1.      ]
    """
    real(c0, "c0", low=-1, high=1)
    real(s, "s", low=0, high_open=True)
    dtype = jnp.result_type(*(getattr(x, "dtype", 0.0) for x in (c0, s)), 0.0)
    return _flow(*jnp.broadcast_arrays(jnp.asarray(c0, dtype), jnp.asarray(s, dtype)))


def flow_time(c0: ArrayLike, c1: ArrayLike) -> Float[Array, "..."]:
    """Time s that the universal flow takes from correlation c0 to c1, elementwise: its inverse in s.

    A network of slope k reaches c1 with the sum of squared branch scales s / ((1 - k)^2 sigma_w^2).

    Args:
        c0: correlation at the start, in [-1, 1].
        c1: correlation to reach, in [c0, 1].

    Returns:
        s >= 0; infinite if c1 = 1 and c0 < 1.

    Raises:
        ValueError: a correlation outside [-1, 1], or c1 < c0: correlations only grow.

    Example:
        >>> print(f"{flow_time(0.0, 0.5):.6f}")
        5.306465
    """
    real(c0, "c0", low=-1, high=1)
    real(c1, "c1", low=-1, high=1)
    if not is_traced((c0, c1)):
        falls = np.asarray(c1, np.float64) < np.asarray(c0, np.float64)
        if falls.any():
            first, last = (np.broadcast_to(x, falls.shape)[falls].flat[0] for x in (c0, c1))
            raise ValueError(f"c1 must be in [c0, 1], since correlations only grow, got {last:g} < {first:g}")
    dtype = jnp.result_type(*(getattr(x, "dtype", 0.0) for x in (c0, c1)), 0.0)
    return _time(*jnp.broadcast_arrays(jnp.asarray(c0, dtype), jnp.asarray(c1, dtype)))


@jax.custom_jvp
@jax.jit
def _flow(c0, s):
    # Correlations never fall, not even by rounding.
    return jnp.maximum(jnp.cos(later_angle(angle_of_correlation(c0), s)), c0)


@_flow.defjvp
@jax.jit
def _flow_jvp(primals, tangents):
    c0, s = primals
    dc0, ds = tangents
    start = angle_of_correlation(c0)
    end = later_angle(start, s)
    rate = sine_less_theta_cosine(end) / (2 * math.pi)
    return _flow(c0, s), flow_gain(start, end) * dc0 + rate * ds


@jax.jit
def _time(c0, c1):
    start, end = angle_of_correlation(c0), angle_of_correlation(c1)
    same = c0 == c1
    parallel = (end == 0) & ~same
    start, end = jnp.where(start > 0, start, 1), jnp.where(end > 0, end, 1)
    time = 6 * math.pi * (1 / end - 1 / start) + 2 * math.pi * (_remainder(end) - _remainder(start))
    return jnp.where(same, 0, jnp.where(parallel, jnp.inf, time))


@jax.custom_jvp
def later_angle(theta: Float[Array, "..."], s: Float[Array, "..."]) -> Float[Array, "..."]:
    """Angle after the time s, from any angle in [0, pi]; arrays of one rank, nothing is checked.

    Its derivative in theta is 0 at theta = pi, and in s is 0 at s = 0 there, where it is infinite.

    Example:
        >>> print(later_angle(jnp.array([0.0, 1.0]), jnp.array([1.0, 0.0])).round(12))
        [0. 1.]
    """
    apart = theta > 0
    start = jnp.where(apart, theta, 1)
    target = s / (2 * math.pi) + 3 / start + _remainder(start)

    def newton(_, u):
        angle = 1 / u
        # d/du of 3 u + R(1/u), where R' = 3/t^2 - sin t / (sin t - t cos t).
        slope = angle**2 * jnp.sin(angle) / sine_less_theta_cosine(angle)
        nonzero = slope > 0
        step = jnp.where(nonzero, 3 * u + _remainder(angle) - target, 0) / jnp.where(nonzero, slope, 1)
        # The slope vanishes at theta = pi, where the step is rounding over rounding.
        return jnp.clip(u - step, 1 / start, u)

    # Psi is convex in u = 1/theta: from above, Newton's method never leaves that side. Beyond s / 6 pi the
    # way is at most that from theta = pi, sqrt(s)/pi^2 at first and 0.25 in the end.
    above = jnp.minimum(0.13 * jnp.sqrt(s), 0.3)
    later = 1 / lax.fori_loop(0, _NEWTON_STEPS, newton, 1 / start + s / (6 * math.pi) + above)
    return jnp.where(apart, later, 0)


@later_angle.defjvp
def _later_angle_jvp(primals, tangents):
    theta, s = primals
    dtheta, ds = tangents
    end = later_angle(theta, s)
    fall = safe_ratio(sine_less_theta_cosine(end), jnp.where(end < math.pi, jnp.sin(end), 0))
    gain = flow_gain(theta, end) * safe_ratio(jnp.sin(theta), jnp.sin(end))
    gain = jnp.where(theta > 0, gain, 1)
    return end, gain * dtheta - fall / (2 * math.pi) * ds


def flow_gain(start: Float[Array, "..."], end: Float[Array, "..."]) -> Float[Array, "..."]:
    """Derivative of cos(end) by cos(start): the ratio of sin - theta cos at both ends, 1 if they are 0.

    Example:
        >>> print(flow_gain(jnp.zeros(1), jnp.zeros(1)))
        [1.]
    """
    rate, rate_0 = sine_less_theta_cosine(end), sine_less_theta_cosine(start)
    moving = rate_0 > 0
    return jnp.where(moving, rate / jnp.where(moving, rate_0, 1), 1)


def _remainder(theta):
    """R(theta), the integral from theta to pi of sin t / (sin t - t cos t) - 3 / t^2."""
    return clenshaw(jnp.asarray(_remainder_coefficients(), theta.dtype), theta, 0.0, math.pi, unroll=False)


@lru_cache(maxsize=1)
def _remainder_coefficients() -> np.ndarray:
    chebyshev = np.polynomial.chebyshev
    t = math.pi / 2 * (1 + np.cos(np.pi * (np.arange(_ORDER) + 0.5) / _ORDER))
    # (t^2 sin t - 3 (sin t - t cos t)) / (t^2 (sin t - t cos t)), by power series below 1.
    k = np.arange(1, 12)[:, None]
    factorial = np.array([math.factorial(2 * int(j) + 1) for j in k.ravel()], float)[:, None]
    power = np.minimum(t, 1.0) ** (2 * k + 1)
    difference = ((-1.0) ** (k + 1) * 2 * k * power / factorial).sum(0)
    excess = ((-1.0) ** k * power / factorial * (-2 * k * (2 * k + 1) + 6 * k)).sum(0)
    direct = np.sin(t) - t * np.cos(t)
    small = t < 1
    numerator = np.where(small, excess, t * t * np.sin(t) - 3 * direct)
    integrand = numerator / (t * t * np.where(small, difference, direct))
    coefficients = chebyshev.chebfit(2 * t / math.pi - 1, integrand, _ORDER - 1)
    # The integral from theta to pi.
    integral = -chebyshev.chebint(coefficients, scl=math.pi / 2)
    integral[0] -= chebyshev.chebval(1.0, integral)
    return integral
