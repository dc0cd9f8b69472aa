r"""How far the kernel operator is from the projection onto the labels, and what that says about features.

T is the operator of the feature map, P the projection onto the target space of dimension K*, S_B the moment
of the target factor (between classes), S_W = M - S_B, b the K* largest eigenvalues of S_B, Var their
population variance, w = tr S_W:

    min_a |T - a P|_F^2 = K* Var(b) + 2 tr(S_B S_W) + |S_W|_F^2,          at a = tr S_B / K*,
    K* Var(b) + w^2/min(n, p)  <=  min_a |T - a P|_F^2  <=  K* Var(b) + 2 b_max w + w^2,
    1 - q(K*) <= tr(S_B S_W) / (K* delta^2),    delta = max(b_min - rho_{K*+1}, rho_{K*} - |S_W|),

the last by Davis and Kahan, and only if delta > 0. Any class sizes, centred or not. Balanced and centred,
NC1 and NC2 together say that T is a multiple of P; unbalanced, T = a P puts rare classes far out, <mu_c,
mu_c'> = a (delta_cc'/pi_c - 1). Derived here from arXiv 2410.04264 and V. Papyan, X. Han, D. Donoho (2020),
arXiv 2008.08186.

Example:
    >>> from theorysim.feature_map.second_moments import moments
    >>> x = jnp.array([[1.0, 0.1], [1.0, -0.1], [-1.0, 0.1], [-1.0, -0.1]])
    >>> distance = kernel_distance(moments(x, jnp.array([0, 0, 1, 1])))
    >>> print(f"alignment {distance.alignment:.5f}, 1 - q(K*) <= {abs(distance.bound):.5f}")
    alignment 0.99995, 1 - q(K*) <= 0.00000
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from theorysim.feature_map.second_moments import FeatureMoments, target_dimension, target_factor
from theorysim.numerics.products import matmul
from theorysim.numerics.symmetric import eigh

__all__ = ["KernelDistance", "kernel_distance"]


class KernelDistance(NamedTuple):
    """The kernel operator T against multiples of the projection P onto the targets.

    Attributes:
        distance_squared: min_a |T - a P|_F^2.
        alignment: <T, P> / (|T| |P|), the centred kernel alignment, in [0, 1]; distance_squared / |T|^2 is
            1 - alignment^2.
        bound: on 1 - q(K*) by Davis and Kahan; infinite without a gap, and empty of content above 1.
        lower: bound on distance_squared by the collapse of the features.
        upper: likewise.
    """

    distance_squared: Array
    alignment: Array
    bound: Array
    lower: Array
    upper: Array


def kernel_distance(moments: FeatureMoments) -> KernelDistance:
    """Distance of the kernel operator to the closest multiple of the projection onto the targets.

    Args:
        moments: from `moments`, of classes or targets.

    Returns:
        KernelDistance. Its parts are differences: distance_squared has an absolute error of 1e-15 |T|^2, in
        float32 3e-7. Cost p^3.

    Raises:
        ValueError: a class without an example.

    Example:
        >>> from theorysim.feature_map.second_moments import moments
        >>> distance = kernel_distance(moments(jnp.array([[0.0], [1.0], [3.0]]), jnp.array([0, 0, 1])))
        >>> print(f"{distance.alignment:.4f}, distance in [{distance.lower:.4f}, {distance.upper:.4f}]")
        0.8929, distance in [0.0278, 0.4907]
    """
    return _kernel_distance(moments, dimension=target_dimension(moments))


@partial(jax.jit, static_argnames="dimension")
def _kernel_distance(moments, *, dimension):
    M, factor = moments.second_moment, target_factor(moments)
    between = matmul(factor.T, factor)
    within = M - between
    b = eigh(matmul(factor, factor.T))[0][:dimension]
    rho = jnp.concatenate([eigh(M)[0], jnp.zeros(max(dimension + 1 - len(M), 0), M.dtype)])
    spread, cross, square = dimension * b.var(), (between * within).sum(), (within**2).sum()
    distance = spread + 2 * cross + square
    trace = jnp.trace(between)
    alignment = trace / jnp.sqrt(dimension * (M**2).sum())
    delta = jnp.maximum(b[-1] - rho[dimension], rho[dimension - 1] - eigh(within)[0][0])
    gap = delta > 0
    bound = jnp.where(gap, cross / (dimension * jnp.where(gap, delta, 1) ** 2), jnp.inf)
    w = jnp.trace(within)
    lower = spread + w**2 / jnp.minimum(moments.count, len(M))
    return KernelDistance(distance, alignment, bound, lower, spread + 2 * b[0] * w + w**2)
