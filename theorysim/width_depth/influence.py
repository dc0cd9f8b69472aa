r"""Fluctuations of wide networks from one limit particle: any activation, one input or a pair.

At n = infinity the n neurons are independent copies of a Gaussian walk y_l. Each neuron moves the empirical
covariance that drives all others; to first order in 1/n its influence on q_L is

    A_l = h(y_l) - E h + J_l R_l,     R_{l+1} = R_l + x_{l+1} A_l,     I = (y_a^2, y_b^2, y_a y_b)_L + R_L,

with h = (phi_a^2, phi_b^2, phi_a phi_b) and J_l = d(F_aa, F_bb, F_ab)/d(q_aa, q_bb, q_ab), and n Cov(q_L) ->
Cov(I). Independent particles give an estimate with a standard error at O(L) each, without any network.
Derived, see docs/width_depth.md.

Example:
    >>> one = influence_covariance(jax.random.key(0), jnp.array(1.0), jnp.full(8, 1 / 8), "relu", 50_000)
    >>> print(f"{one.cov:.1f} +- {one.standard_error:.1f}")
    11.9 +- 0.2
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from theorysim.numerics.gaussian import Activation, activation, two_point_of
from theorysim.width_depth.factors import psd_factor
from theorysim.width_depth.forward import times_factor

__all__ = ["FluctuationCoefficient", "influence_covariance"]


class FluctuationCoefficient(NamedTuple):
    """The limit of n Cov(q_L): of q_aa alone, or of (q_aa, q_bb, q_ab).

    Attributes:
        cov: the variance, or the (3, 3) covariance.
        standard_error: of each entry, if it was estimated; else 0.
    """

    cov: Float[Array, "..."]
    standard_error: Float[Array, "..."]


def influence_covariance(
    key: Array,
    q0: Float[Array, "..."],
    x: Float[Array, " L"],
    phi: Activation,
    particles: int,
    kinks: tuple[float, ...] = (),
) -> FluctuationCoefficient:
    """Cov(I) from independent particles; q0 a scalar or (3,), nothing is checked.

    Example:
        >>> one = influence_covariance(jax.random.key(0), jnp.array(1.0), jnp.zeros(0), "relu", 50_000)
        >>> print(f"{one.cov:.2f}")
        2.03
    """
    return _influence(key, q0, x, phi, particles, kinks)


@partial(jax.jit, static_argnums=(3, 4, 5))
def _influence(key, q0, x, phi, particles, kinks):
    f = activation(phi)
    # One input is handled as the pair of it with itself, of which only q_aa is kept.
    pair = q0 if q0.ndim else jnp.stack([q0, q0, q0])

    def average(q):
        aa, bb, ab = q
        own = (two_point_of(phi, v, v, v, kinks=kinks).F for v in (aa, bb))
        return jnp.stack([*own, two_point_of(phi, aa, bb, ab, kinks=kinks).F])

    def walk(key, q):
        R = psd_factor(jnp.array([[q[0], q[2]], [q[2], q[1]]]))
        return times_factor(jax.random.normal(key, (particles, 2), q.dtype), R)

    def layer(state, step):
        y, response, q = state
        x, index = step
        mean = average(q)
        value, jacobian = _products(f(y)) - mean[None], jax.jacfwd(average)(q)
        influence = value + (response[:, None, :] * jacobian[None]).sum(2)
        y = y + jnp.sqrt(x) * walk(jax.random.fold_in(key, index + 1), mean)
        return (y, response + x * influence, q + x * mean), None

    start = (walk(jax.random.fold_in(key, 0), pair), jnp.zeros((particles, 3), q0.dtype), pair)
    (y, response, _), _ = lax.scan(layer, start, (x, jnp.arange(len(x))))
    influence = _products(y) + response
    if not q0.ndim:
        influence = influence[:, 0]
    centred = influence - influence.mean(0, keepdims=True)
    squares = centred[:, :, None] * centred[:, None, :] if q0.ndim else centred**2
    error = squares.std(0) / jnp.sqrt(jnp.asarray(particles, q0.dtype))
    return FluctuationCoefficient(squares.sum(0) / (particles - 1), error)


def _products(y):
    """(aa, bb, ab) products of the two columns."""
    return jnp.stack([y[:, 0] ** 2, y[:, 1] ** 2, y[:, 0] * y[:, 1]], axis=1)
