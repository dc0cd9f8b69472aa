r"""E f(u) g(v) for functions with kinks, by a rule in polar coordinates that is split where they are.

With u = sqrt(q11) r cos(a) and v = sqrt(q22) r cos(a - theta), theta the angle of the pair,

    E f(u) g(v) = (1/2 pi) int_0^2pi da int_0^inf dr r exp(-r^2/2) f(u) g(v).

A kink at 0 lies on a ray, so the angle is split where u or v changes sign; a kink at k > 0 or k < 0 is a
radius on each ray, and the angle is split once more where a kink of u meets a kink of v. On each piece the
integrand is smooth and Gauss-Legendre converges fast, for every theta in [0, pi]: on the diagonal the pieces
between the rays shrink to nothing.

Accuracy, largest error over q11, q22 in [0.1, 10] and |c| <= 1 - 1e-8: with a kink at 0 only (ReLU, against
its closed form) 2e-14 for F, 2e-15 for Fd; with kinks at -1 and 1 (hard tanh, against adaptive quadrature)
8e-11 and 2e-9, set by the angles at which a radius runs off to infinity. A pair takes 6,400 evaluations of f
with a kink at 0, 102,000 with two more.

Example:
    >>> import jax
    >>> one, half = jnp.array(1.0), jnp.array(0.5)
    >>> value = polar_expectation(jax.nn.relu, jax.nn.relu, one, one, half, (0.0,))
    >>> print(f"{value:.12f} {(jnp.sqrt(3) / 2 + jnp.pi / 3) / (2 * jnp.pi):.12f}")
    0.304498890522 0.304498890522
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from theorysim.numerics.gaussian.angles import angle, safe_sqrt

__all__ = ["polar_expectation"]

# exp(-10^2/2) = 2e-22.
_REACH = 10.0
# Nodes in the angle, without and with kinks beside 0, and in the radius.
_ANGLES, _SPLIT_ANGLES, _RADII = 32, 64, 40
# Pairs whose nodes are held at once.
_BATCH = 64


@lru_cache(maxsize=8)
def _legendre(order: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes and weights on [0, 1]."""
    x, w = np.polynomial.legendre.leggauss(order)
    return (x + 1) / 2, w / 2


def polar_expectation(
    f: Callable[[Any], Any],
    g: Callable[[Any], Any],
    q11: Array,
    q22: Array,
    q12: Array,
    kinks: tuple[float, ...],
) -> Float[Array, "..."]:
    """E f(u) g(v) for f and g that are smooth but for `kinks`; arrays broadcast, nothing is checked.

    Args:
        f: acts elementwise on arrays.
        g: likewise.
        q11: variance of u, >= 0.
        q22: variance of v, >= 0.
        q12: covariance.
        kinks: where f and g may have a kink or a jump (static).

    Returns:
        The expectation in the common shape. Its derivatives are those of the rule, which moves with its
        edges; in q12 they are 0 at theta = 0 and pi.

    Example:
        >>> jumps = polar_expectation(jnp.sign, jnp.sign, *(jnp.array(q) for q in (1.0, 4.0, 1.0)), (0.0,))
        >>> print(f"{jumps:.12f}")  # (2/pi) arcsin(1/2)
        0.333333333333
    """
    q11, q22, q12 = jnp.broadcast_arrays(q11, q22, q12)
    flat = tuple(x.ravel() for x in (safe_sqrt(q11), safe_sqrt(q22), angle(q11, q22, q12)))
    others = tuple(k for k in kinks if k != 0)

    def one(point):
        a, b, theta = point
        return _one_pair(f, g, a, b, theta, others)

    batch = min(_BATCH, flat[0].size)
    return lax.map(one, flat, batch_size=batch).reshape(q11.shape)


def _one_pair(f, g, a, b, theta, kinks):
    dtype = a.dtype
    edges = jnp.sort(jnp.stack(_angle_edges(a, b, theta, kinks)))
    alpha, angle_weight = _panels(edges, _SPLIT_ANGLES if kinks else _ANGLES)
    slope_u, slope_v = a * jnp.cos(alpha), b * jnp.cos(alpha - theta)
    radii = [jnp.zeros_like(alpha), jnp.full_like(alpha, _REACH)]
    for kink in kinks:
        radii += [_radius(kink, slope_u), _radius(kink, slope_v)]
    r, radius_weight = _panels(jnp.sort(jnp.stack(radii), axis=0), _RADII)
    values = f(slope_u[None] * r) * g(slope_v[None] * r)
    density = r * jnp.exp(-(r**2) / 2) * radius_weight
    return (values * density).sum(0) @ angle_weight / jnp.asarray(2 * math.pi, dtype)


def _angle_edges(a, b, theta, kinks):
    """0, 2 pi, the signs' changes of u and v, and the corners at which u and v are at kinks together."""
    zero = jnp.zeros_like(theta)
    edges = [zero, zero + math.pi / 2, zero + 1.5 * math.pi, zero + 2 * math.pi]
    edges += [jnp.mod(theta + math.pi / 2, 2 * math.pi), jnp.mod(theta + 1.5 * math.pi, 2 * math.pi)]
    sine, cosine = jnp.sin(theta), jnp.cos(theta)
    for first in kinks:
        for second in kinks:
            # The point with u = first and v = second, times a b sin(theta).
            x, y = first * b * sine, second * a - first * b * cosine
            nothing = (x == 0) & (y == 0)
            corner = jnp.arctan2(jnp.where(nothing, 0, y), jnp.where(nothing, 1, x))
            edges.append(jnp.where(nothing, 0, jnp.mod(corner, 2 * math.pi)))
    return edges


def _radius(kink, slope):
    """Where slope r = kink on the ray, or the end of the ray."""
    reached = kink * slope > abs(kink) ** 2 / _REACH
    return jnp.where(reached, kink / jnp.where(reached, slope, 1), _REACH)


def _panels(edges, order):
    """Nodes and weights of Gauss-Legendre between consecutive edges along axis 0, flattened into it."""
    x, w = (jnp.asarray(v, edges.dtype).reshape((1, -1) + (1,) * (edges.ndim - 1)) for v in _legendre(order))
    low, width = edges[:-1, None], jnp.diff(edges, axis=0)[:, None]
    return tuple(v.reshape(-1, *edges.shape[1:]) for v in (low + width * x, width * w))
