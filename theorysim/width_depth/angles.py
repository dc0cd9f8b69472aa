r"""The layers of a network whose activation is homogeneous, in the angle between two inputs.

For the leaky family (slope k, see `numerics.gaussian.homogeneous`) variances grow by 1 + m x_l a layer,
m = (1 + k^2)/2, and everything else depends on the angle theta alone: with hats for division by the growth,

    cos theta_l = cos theta + delta,     delta = x (2 B/pi) (sin theta - theta cos theta) / (1 + m x),
    T^_l = ((1 + x Fd) T^ + x F^) / (1 + m x),      G^_l = G^ (1 + x Fd) / (1 + m x),

where all on the right is of layer l-1. The state is theta, not its cosine, which in float32 holds no angle
below 3e-4: the step takes 1 - c and 1 + c from half angles, each with full relative precision.

Example:
    >>> curves = leaky_layers(0.0, jnp.ones(1), jnp.array(jnp.pi / 3), train_input=True)
    >>> print(f"{1.5 * jnp.cos(curves.theta):.12f}")
    0.804498890522
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.numerics.gaussian import leaky_correlation, leaky_moments, sine_less_theta_cosine

__all__ = ["AngleCurves", "leaky_growth", "leaky_layers", "leaky_step"]


class AngleCurves(NamedTuple):
    """What a stack of layers makes of pairs at unit variance, divided by the growth of the variance.

    Attributes:
        theta: angle after the last layer.
        tangent: T_L / growth, the tangent kernel without the readout.
        slope: d cos(theta_L) / d cos(theta_0), which is g_0 / growth.
    """

    theta: Float[Array, "..."]
    tangent: Float[Array, "..."]
    slope: Float[Array, "..."]


def leaky_growth(slope: float, x: Float[Array, " L"]) -> Float[Array, ""]:
    """Growth of the variance over all layers, the product of 1 + m x_l.

    Example:
        >>> print(f"{leaky_growth(0.0, jnp.full(64, 1 / 64)):.9f}")
        1.645520896
    """
    return jnp.exp(jnp.log1p(leaky_moments(slope).m * x).sum())


def leaky_step(slope: float, x: ArrayLike, theta: ArrayLike) -> Float[Array, "..."]:
    """The angle after one layer, in [0, theta]; derivative 1 at theta = 0.

    Example:
        >>> print(leaky_step(0.0, 1.0, jnp.array([0.0, jnp.pi / 2, jnp.pi])).round(6))
        [0.       1.464493 2.300524]
    """
    _, odd, m = leaky_moments(slope)
    theta = jnp.asarray(theta)
    apart = theta > 0
    at = jnp.where(apart, theta, 1)
    delta = x * (2 / math.pi) * odd * sine_less_theta_cosine(at) / (1 + m * x)
    less, more = 2 * jnp.sin(at / 2) ** 2 - delta, 2 * jnp.cos(at / 2) ** 2 + delta
    return jnp.where(apart, 2 * jnp.arctan2(jnp.sqrt(less), jnp.sqrt(more)), theta)


def leaky_layers(
    slope: float, x: Float[Array, " L"], theta: Float[Array, "*batch"], *, train_input: bool
) -> AngleCurves:
    """All layers, for angles of any shape; nothing is checked.

    Args:
        slope: k of the leaky family (static).
        x: alpha_l^2 sigma_w^2, (L,).
        theta: angles between the inputs, in [0, pi].
        train_input: whether W_in is trained and starts the tangent kernel.

    Example:
        >>> curves = leaky_layers(0.0, jnp.zeros(0), jnp.zeros(()), train_input=True)
        >>> print(curves.tangent, curves.slope)
        1.0 1.0
    """
    m = leaky_moments(slope).m

    def layer(state, x):
        theta, tangent, gain = state
        F, Fd = leaky_correlation(slope, theta)
        shrink = 1 / (1 + m * x)
        tangent = ((1 + x * Fd) * tangent + x * F) * shrink
        return AngleCurves(leaky_step(slope, x, theta), tangent, gain * (1 + x * Fd) * shrink), None

    start = jnp.cos(theta) if train_input else jnp.zeros_like(theta)
    return lax.scan(layer, AngleCurves(theta, start, jnp.ones_like(theta)), x)[0]
