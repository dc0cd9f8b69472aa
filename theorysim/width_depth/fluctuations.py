r"""How much wide networks differ from each other: n Cov of the neural covariance, to leading order in 1/n.

One input, homogeneous phi (slope k, m = (1 + k^2)/2), L = infinity, clock tau:

    n Var(q_tau) / q_tau^2 -> V(tau) = 2 + 4 (1 - e^(-m tau)) + 2 int_0^tau (tau - t) C(e^(-m t/2)) dt,
    C(r) = 2 m^2 r^2 + ((1 - k^2)/2)^2 (2/pi) [3 r sqrt(1 - r^2) + (1 + 2 r^2) arcsin r],

which is 2 + 4 tau for the identity and the absolute value. The same at finite depth is a sum over pairs of
layers. Pairs of inputs, and any phi: the one-particle influence function (`influence`). Derived, see
docs/width_depth.md.

Example:
    >>> print(width_variance(jnp.array([0.25, 0.5, 1.0, 2.0]), "relu"))
    [2.54561084 3.17766487 4.67533408 8.45663123]
    >>> coefficient = fluctuation_coefficient(1.0, jnp.full(256, 1 / 256), "relu")
    >>> interval = band(0.99, 1000, jnp.exp(0.5), coefficient.cov)
    >>> print(f"{interval.low:.3f} < q_L < {interval.high:.3f} for 99 % of networks of width 1000")
    1.359 < q_L < 1.939 for 99 % of networks of width 1000
"""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtri
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.numerics.gaussian import Activation, checked_activation, checked_kinks, leaky_slope
from theorysim.numerics.validation import floating, positive_int, real
from theorysim.width_depth.arguments import homogeneous_slope, layer_variances, pair_covariances
from theorysim.width_depth.influence import FluctuationCoefficient, influence_covariance

__all__ = ["Band", "band", "fluctuation_coefficient", "width_variance"]

_NODES = 32


class Band(NamedTuple):
    """Interval that a fraction `level` of all networks falls into."""

    low: Float[Array, "..."]
    high: Float[Array, "..."]


def width_variance(tau: ArrayLike, phi: Activation) -> Float[Array, "..."]:
    """V(tau), the limit of n Var(q) / q^2 for one input at infinite depth; elementwise.

    Args:
        tau: sigma_w^2 times the sum of alpha_l^2, >= 0.
        phi: "linear", "relu", "abs" or a slope (static).

    Returns:
        V, with V(0) = 2 from W_in; relative error below 1e-13 for m tau <= 10.

    Raises:
        ValueError: tau < 0, or phi not homogeneous.

    Example:
        >>> print(width_variance(1.0, "abs").round(12))
        6.0
    """
    k = homogeneous_slope(phi)
    return _width_variance(floating(real(tau, "tau", low=0, high_open=True)), k)


def fluctuation_coefficient(
    q0: ArrayLike,
    alpha2: ArrayLike,
    phi: Activation,
    key: Array | None = None,
    *,
    sigma_w2: ArrayLike = 1.0,
    particles: int = 100_000,
    kinks: tuple[float, ...] = (),
) -> FluctuationCoefficient:
    """The limit of n Cov(q_L) over random networks as n -> infinity, at finite depth.

    In closed form for one input and a homogeneous phi, and for a pair of inputs of the linear network; else
    by `particles` limit particles.

    Args:
        q0: q_aa of one input, a scalar; or (q_aa, q_bb, q_ab) of a pair, (3,).
        alpha2: squared branch scales, (L,), >= 0.
        phi: activation (static).
        key: random key; needed where there is no closed form.
        sigma_w2: variance of sqrt(n) times a weight, >= 0.
        particles: how many, >= 2 (static).
        kinks: where phi' jumps, if phi is a function with kinks (static).

    Returns:
        FluctuationCoefficient: cov of q_aa, or (3, 3) of (q_aa, q_bb, q_ab), and its standard error, 0 for a
        closed form.

    Raises:
        ValueError: covariances that cannot be, negative scales, unknown phi, or no key where one is needed.

    Example:
        >>> alpha2 = jnp.full(32, 1 / 32)
        >>> pair = fluctuation_coefficient(jnp.array([1.0, 2.0, 0.3]), alpha2, "linear")
        >>> print(pair.cov.round(2))
        [[ 41.71   3.75  12.51]
         [  3.75 166.83  25.02]
         [ 12.51  25.02  43.58]]
    """
    phi, kinks = checked_activation(phi), checked_kinks(kinks)
    particles = positive_int(particles, "particles", minimum=2)
    x = layer_variances(alpha2, sigma_w2)
    q0 = floating(real(q0, "q0", low_open=True, high_open=True))
    if q0.ndim == 0:
        real(q0, "q0", low=0)
    elif q0.shape != (3,):
        raise ValueError(f"q0 must be a scalar or (q_aa, q_bb, q_ab), got shape {q0.shape}")
    else:
        q0 = pair_covariances(q0)
    dtype = jnp.result_type(q0, x)
    q0, x = q0.astype(dtype), x.astype(dtype)
    slope = leaky_slope(phi)
    closed = slope is not None and (q0.ndim == 0 or slope == 1)
    if closed:
        cov = _one_input(q0, x, slope) if q0.ndim == 0 else _linear_pair(q0, x)
        return FluctuationCoefficient(cov, jnp.zeros_like(cov))
    if key is None:
        kind = f"phi={phi!r} and q0 of shape {q0.shape}"
        raise ValueError(f"key must be given: there is no closed form for {kind}")
    return influence_covariance(key, q0, x, phi, particles, kinks)


def band(level: ArrayLike, n: ArrayLike, centre: ArrayLike, variance: ArrayLike) -> Band:
    """Central normal interval for a quantity of mean `centre` and variance `variance` / n; elementwise.

    Args:
        level: fraction of networks inside, in (0, 1).
        n: width, >= 1.
        centre: value at infinite width.
        variance: n times the variance, >= 0: a diagonal entry of a `fluctuation_coefficient`.

    Returns:
        Band(low, high) in the broadcast shape.

    Raises:
        ValueError: an argument out of its range.

    Example:
        >>> interval = band(0.95, 100, 1.0, 4.0)
        >>> print(f"{interval.low:.3f} {interval.high:.3f}")
        0.608 1.392
    """
    real(level, "level", low=0, high=1, low_open=True, high_open=True)
    real(n, "n", low=1, high_open=True)
    real(centre, "centre", low_open=True, high_open=True)
    real(variance, "variance", low=0, high_open=True)
    dtype = jnp.result_type(*(getattr(v, "dtype", 0.0) for v in (level, centre, variance)), 0.0)
    return _band(*jnp.broadcast_arrays(*(jnp.asarray(v, dtype) for v in (level, n, centre, variance))))


@jax.jit
def _band(level, n, centre, variance):
    positive = variance > 0
    half = ndtri((1 + level) / 2) * jnp.where(positive, jnp.sqrt(jnp.where(positive, variance, 1) / n), 0)
    return Band(centre - half, centre + half)


def _overlap(k, r):
    """C(r): covariance of phi(y)^2 and phi(y')^2 over the variances, at correlation r in [0, 1]."""
    m, skew = (1 + k * k) / 2, ((1 - k * k) / 2) ** 2
    apart = r < 1
    at = jnp.where(apart, r, 0)
    root = jnp.sqrt((1 - at) * (1 + at))
    signs = (2 / math.pi) * (3 * at * root + (1 + 2 * at * at) * jnp.arctan2(at, root))
    return 2 * m * m * r * r + skew * jnp.where(apart, signs, 3)


@partial(jax.jit, static_argnums=1)
def _width_variance(tau, k):
    m = (1 + k * k) / 2
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    # t = tau y^2: C is analytic in y, not in t, at 0.
    y, w = (jnp.asarray(v, tau.dtype) for v in ((nodes + 1) / 2, weights / 2))
    t = tau[..., None] * (y * y).reshape((1,) * tau.ndim + (-1,))
    inner = (tau[..., None] - t) * _overlap(k, jnp.exp(-m * t / 2))
    integral = tau * (inner * (2 * y * w).reshape((1,) * tau.ndim + (-1,))).sum(-1)
    return 2 - 4 * jnp.expm1(-m * tau) + 2 * integral


@partial(jax.jit, static_argnums=2)
def _one_input(q0, x, k):
    """Limit of n Var(q_L): the sum over pairs of layers that becomes V as they get thin."""
    m = (1 + k * k) / 2
    # Log growth before each layer, and at the end.
    logs = jnp.concatenate([jnp.zeros(1, x.dtype), jnp.cumsum(jnp.log1p(m * x))])
    # Weight of layer l times q_{l-1} / q_L.
    w = x / (1 + m * x)
    r = jnp.exp(-jnp.abs(logs[:-1, None] - logs[None, :-1]) / 2)
    pairs = (w[:, None] * w[None] * _overlap(k, r)).sum()
    return (q0 * jnp.exp(logs[-1])) ** 2 * (2 + 4 * m * (w * jnp.exp(logs[:-1] - logs[-1])).sum() + pairs)


@jax.jit
def _linear_pair(q0, x):
    """Of the linear network: Isserlis' matrix of q_0 times one scalar sum over pairs of layers."""
    aa, bb, ab = q0
    square = jnp.array(
        [
            [2 * aa * aa, 2 * ab * ab, 2 * aa * ab],
            [2 * ab * ab, 2 * bb * bb, 2 * bb * ab],
            [2 * aa * ab, 2 * bb * ab, aa * bb + ab * ab],
        ]
    )
    one = jnp.ones((), q0.dtype)
    return square * _one_input(one, x, 1.0) / 2
