r"""One example, one output, rank 1: gradient flow on both factors in closed form.

With f = s q p, a = lr_a |x|^2 and b = lr_b |w_out|^2, the flow is p' = a s q (y - f), q' = b s p (y - f).
In v = s (sqrt(b) p + sqrt(a) q) and w = s (sqrt(b) p - sqrt(a) q), with c = 2 s sqrt(ab),

    v' = (c/2)(y - f) v,  w' = -(c/2)(y - f) w,     kappa = v w conserved,  2 c f = v^2 - w^2,
    sharpness (v^2 + w^2)/2 = sqrt(kappa^2 + c^2 f^2), at the end D = sqrt(kappa^2 + c^2 y^2),

so that G = (v/v_0)^2 obeys a Riccati equation, with T = tanh(D t/2):

    G = (D + (c y + w_0^2) T) / (D + (v_0^2 - c y) T),        v = v_0 sqrt(G),  w = w_0/sqrt(G).

It holds for all signs, and at kappa = 0. Derived here.

Example:
    >>> n = 1024
    >>> lr = (1 + 4 * n) ** -0.5  # one rate for both factors, of sharpness 1 at the end
    >>> print(f"{time_to_fraction(0.01, 1.0, 0.0, 1.0, gain_a=lr * n, gain_b=lr):.3f}")
    9.432
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array

from theorysim.numerics.validation import broadcast, real

__all__ = ["FlowState", "final_sharpness", "gradient_flow", "time_to_fraction"]


class FlowState(NamedTuple):
    """Where the flow is at one time.

    Attributes:
        prediction: f = s q p.
        sharpness: a s^2 q^2 + b s^2 p^2, the rate at which the residual shrinks.
        p: A x.
        q: w_out B.
    """

    prediction: Array
    sharpness: Array
    p: Array
    q: Array


def gradient_flow(
    t: ArrayLike,
    p0: ArrayLike,
    q0: ArrayLike,
    target: ArrayLike,
    *,
    gain_a: ArrayLike,
    gain_b: ArrayLike,
    scale: ArrayLike = 1.0,
) -> FlowState:
    """The two factors at time t, in steps of gradient descent.

    Args:
        t: >= 0; infinity is the end. Arrays broadcast.
        p0: A x at the start.
        q0: w_out B at the start.
        target: y.
        gain_a: a = lr_a |x|^2 > 0.
        gain_b: b = lr_b |w_out|^2 > 0.
        scale: s > 0.

    Returns:
        FlowState.

    Raises:
        ValueError: an argument out of its range.

    Example:
        >>> print(f"{gradient_flow(2.0, 0.7, 0.0, 1.3, gain_a=0.5, gain_b=0.1).prediction:.6f}")
        0.146675
    """
    real(t, "t", low=0)
    return _gradient_flow(*_checked(p0, q0, target, gain_a, gain_b, scale, t))


def time_to_fraction(
    eps: ArrayLike,
    p0: ArrayLike,
    q0: ArrayLike,
    target: ArrayLike,
    *,
    gain_a: ArrayLike,
    gain_b: ArrayLike,
    scale: ArrayLike = 1.0,
) -> Array:
    """Time until the residual is eps of the target: |y - f| = eps |y|.

    Args:
        eps: > 0. Arrays broadcast.
        p0: A x at the start.
        q0: w_out B at the start.
        target: y, not 0.
        gain_a: a = lr_a |x|^2 > 0.
        gain_b: b = lr_b |w_out|^2 > 0.
        scale: s > 0.

    Returns:
        The time; 0 where the residual is no larger at the start, infinite where the flow ends elsewhere (both
        factors 0, or exactly opposite to the target).

    Raises:
        ValueError: an argument out of its range.

    Example:
        >>> print(f"{time_to_fraction(0.5, 1.0, 0.0, 1.0, gain_a=1e-12, gain_b=1.0):.6f}")  # A stands still
        0.693147
    """
    real(eps, "eps", low=0, low_open=True, high_open=True)
    values = _checked(p0, q0, target, gain_a, gain_b, scale, eps)
    real(jnp.abs(values[3]), "the absolute target", low=0, low_open=True)
    return _time_to_fraction(*values)


def final_sharpness(
    p0: ArrayLike,
    q0: ArrayLike,
    target: ArrayLike,
    *,
    gain_a: ArrayLike,
    gain_b: ArrayLike,
    scale: ArrayLike = 1.0,
) -> Array:
    """Sharpness D where the flow has fitted the target; gradient descent is stable there below 2.

    Args:
        p0: A x at the start. Arrays broadcast.
        q0: w_out B at the start.
        target: y.
        gain_a: a = lr_a |x|^2 > 0.
        gain_b: b = lr_b |w_out|^2 > 0.
        scale: s > 0.

    Returns:
        D.

    Raises:
        ValueError: an argument out of its range.

    Example:
        >>> print(final_sharpness(1.0, 0.0, 1.0, gain_a=3.0, gain_b=0.5))
        2.5
    """
    return _final_sharpness(*_checked(p0, q0, target, gain_a, gain_b, scale))


def _checked(p0, q0, target, gain_a, gain_b, scale, *first):
    for name, value in (("p0", p0), ("q0", q0), ("target", target)):
        real(value, name, low_open=True, high_open=True)
    for name, value in (("gain_a", gain_a), ("gain_b", gain_b), ("scale", scale)):
        real(value, name, low=0, low_open=True, high_open=True)
    return broadcast(*first, p0, q0, target, gain_a, gain_b, scale)


def _start(p0, q0, a, b, s):
    """v, w and c of the start."""
    along, across = s * jnp.sqrt(b) * p0, s * jnp.sqrt(a) * q0
    return along + across, along - across, 2 * s * jnp.sqrt(a) * jnp.sqrt(b)


def _hypotenuse(x, y):
    """sqrt(x^2 + y^2), whose derivative at 0 is 0."""
    square = x**2 + y**2
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)


@jax.jit
def _gradient_flow(t, p0, q0, y, a, b, s):
    v0, w0, c = _start(p0, q0, a, b, s)
    pull = c * y
    D = _hypotenuse(v0 * w0, pull)
    moving, end = D > 0, jnp.isinf(t)
    time = jnp.where(end, 1, t)
    decay = jnp.where(end, 0, jnp.exp(-D * time))
    rest = 2 * decay / (1 + decay)
    # Without a pull v or w alone is left, and falls like a power of the time.
    T = jnp.where(moving, jnp.where(end, 1, jnp.tanh(D * time / 2)), jnp.where(end, jnp.inf, time / 2))
    T = jnp.where(~moving & end, 1, T)
    unit = jnp.where(moving, D, jnp.where(end, 0, 1))
    # D - |pull| T written out, so that nothing cancels where T is close to 1.
    size = jnp.abs(pull)
    less = (v0 * w0) ** 2 / jnp.where(moving, D + size, 1) + size * rest
    more = unit + size * T
    less = jnp.where(moving, less, unit)
    up = jnp.where(pull >= 0, more, less) + w0**2 * T
    down = jnp.where(pull >= 0, less, more) + v0**2 * T
    both = (up > 0) & (down > 0)
    G = jnp.sqrt(jnp.where(both, up, 1) / jnp.where(both, down, 1))
    # What neither grows nor lives: the end of a flow that started exactly opposite to the target.
    v, w = jnp.where(both, v0 * G, 0), jnp.where(both, w0 / G, 0)
    p, q = (v + w) / (2 * s * jnp.sqrt(b)), (v - w) / (2 * s * jnp.sqrt(a))
    return FlowState(s * q * p, (v**2 + w**2) / 2, p, q)


@jax.jit
def _time_to_fraction(eps, p0, q0, y, a, b, s):
    v0, w0, c = _start(p0, q0, a, b, s)
    # A negative target is a positive one with v and w exchanged.
    v0, w0 = jnp.where(y < 0, w0, v0), jnp.where(y < 0, v0, w0)
    y, kappa = jnp.abs(y), v0 * w0
    f0 = (v0**2 - w0**2) / (2 * c)
    D = _hypotenuse(kappa, c * y)
    gap = jnp.abs(y - f0)
    f1 = jnp.where(f0 > y, (1 + eps) * y, (1 - eps) * y)
    later = _hypotenuse(kappa, c * f1)
    # v^2 then; for a target of the other sign without the difference of two close numbers.
    square = jnp.where(f1 >= 0, later + c * f1, kappa**2 / jnp.where(f1 >= 0, 1, later - c * f1))
    floor = kappa**2 / (D + c * y)

    def log_ratio(square, sharpness):
        return jnp.log((D + c * y + square) / (D + sharpness) / (square + floor))

    there = gap <= eps * y
    stuck = v0 == 0
    start = jnp.where(stuck, 1, v0**2)
    t = (
        jnp.log(jnp.where(there, 1, gap) / (eps * y))
        + log_ratio(start, jnp.where(stuck, 1, (v0**2 + w0**2) / 2))
        - log_ratio(square, later)
    ) / D
    return jnp.where(there, 0, jnp.where(stuck, jnp.inf, t))


@jax.jit
def _final_sharpness(p0, q0, y, a, b, s):
    v0, w0, c = _start(p0, q0, a, b, s)
    return _hypotenuse(v0 * w0, c * y)
