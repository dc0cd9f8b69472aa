r"""A finite stack of layers, or infinitely many: two depths that kernels of Gram matrices treat alike.

Example:
    >>> for depth in (Layers(jnp.full(64, 1 / 64)), DepthTime(jnp.ones(()))):
    ...     print(f"{depth.growth(0.0):.6f}")
    1.645521
    1.648721
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from theorysim.numerics.gaussian import Activation, leaky_moments
from theorysim.width_depth.angles import AngleCurves, leaky_growth, leaky_layers
from theorysim.width_depth.limit import leaky_limit, pair_limit
from theorysim.width_depth.recursion import pair_layers

__all__ = ["DepthTime", "Layers"]


class Layers(NamedTuple):
    """L layers that add the variances x_l = alpha_l^2 sigma_w^2.

    Example:
        >>> print(Layers(jnp.ones(2)).growth(0.0))
        2.25
    """

    x: Float[Array, " L"]

    def growth(self, slope: float) -> Array:
        """Growth of the variance of an input, for the leaky family."""
        return leaky_growth(slope, self.x)

    def alone(self, slope: float) -> Array:
        """Gradient covariance of an input of norm 0."""
        return jnp.exp(jnp.log1p(leaky_moments(slope).even * self.x).sum())

    def curves(self, slope: float, theta: Array, *, train_input: bool) -> AngleCurves:
        """What becomes of angles, see `angles`."""
        return leaky_layers(slope, self.x, theta, train_input=train_input)

    def pairs(self, q11, q22, q12, phi: Activation, kinks, *, train_input: bool):
        """What becomes of pairs under any activation, see `recursion`."""
        return pair_layers(q11, q22, q12, self.x, phi, kinks, train_input=train_input)


class DepthTime(NamedTuple):
    """Infinitely many layers that add the variance tau together.

    Example:
        >>> print(f"{DepthTime(jnp.ones(())).growth(1.0):.6f}")
        2.718282
    """

    tau: Float[Array, ""]

    def growth(self, slope: float) -> Array:
        """Growth of the variance of an input, for the leaky family."""
        return jnp.exp(leaky_moments(slope).m * self.tau)

    def alone(self, slope: float) -> Array:
        """Gradient covariance of an input of norm 0."""
        return jnp.exp(leaky_moments(slope).even * self.tau)

    def curves(self, slope: float, theta: Array, *, train_input: bool) -> AngleCurves:
        """What becomes of angles, see `limit`."""
        return leaky_limit(slope, self.tau, theta, train_input=train_input)

    def pairs(self, q11, q22, q12, phi: Activation, kinks, *, train_input: bool):
        """What becomes of pairs under any activation, see `limit`."""
        return pair_limit(q11, q22, q12, self.tau, phi, kinks, train_input=train_input)
