r"""Infinite width at finite depth: covariance, tangent kernel and gradient covariance, layer by layer.

For Y_l = Y_{l-1} + alpha_l W_l phi(Y_{l-1}) with W_l ~ N(0, sigma_w^2/n), Y_0 = W_in a, at n = infinity, with
x_l = alpha_l^2 sigma_w^2 and F, Fd the two-point functions of phi,

    q_l = q_{l-1} + x_l F(q_{l-1}),
    T_l = (1 + x_l Fd(q_{l-1})) T_{l-1} + x_l F(q_{l-1}),     T_0 = q_0 (W_in trained) or 0 (frozen),
    g_0 = prod_l (1 + x_l Fd(q_{l-1})),                       NTK = T_L + q_L,

for f = v.Y_L / sqrt n in the tangent parametrization; q_L is the readout's share. The pair in q is exactly
Gaussian, being a sum of independent Gaussian increments. S. Hayou, G. Yang (2023), arXiv 2302.00453, for q; T
and g derived.

Example:
    >>> q0 = jnp.array([1.0, 2.0, jnp.sqrt(2) / 5])
    >>> print(covariance_recursion(q0, jnp.full(64, 1 / 64), "relu"))
    [1.6455209  3.29104179 0.69968738]
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.numerics.gaussian import (
    Activation,
    angle,
    checked_activation,
    checked_kinks,
    leaky_moments,
    leaky_slope,
    safe_sqrt,
    two_point_of,
)
from theorysim.numerics.validation import floating
from theorysim.width_depth.angles import leaky_growth, leaky_layers
from theorysim.width_depth.arguments import (
    Kernels,
    checked_get,
    layer_variances,
    pair_covariances,
    psd_matrix,
)

__all__ = ["covariance_recursion", "pair_kernels", "pair_layers"]


def covariance_recursion(
    q0: ArrayLike,
    alpha2: ArrayLike,
    phi: Activation,
    sigma_w2: ArrayLike = 1.0,
    return_path: bool = False,
    *,
    gram: bool | None = None,
    kinks: tuple[float, ...] = (),
) -> Float[Array, "..."]:
    """Neural covariance q_L of pairs of inputs, or of a Gram matrix of them.

    Args:
        q0: covariances <a, b>/d of the inputs: (q_aa, q_bb, q_ab) along the last axis, or a Gram matrix (N,
            N).
        alpha2: squared branch scales, (L,), >= 0; L may be 0.
        phi: activation, see `numerics.gaussian.two_point` (static).
        sigma_w2: variance of sqrt(n) times a weight, >= 0.
        return_path: whether to return all layers, with a leading axis L + 1 (static).
        gram: whether q0 is a Gram matrix; by default, whether its shape is square and not (3, 3), which could
            be either.
        kinks: where phi' jumps, if phi is a function with kinks (static).

    Returns:
        q_L in the shape of q0, or the path (L + 1, ...).

    Raises:
        ValueError: covariances that cannot be, negative scales, unknown phi, or a 3 x 3 q0 without `gram`.

    Example:
        >>> K0 = jnp.array([[1.0, 1.0], [1.0, 1.0]])  # one input twice
        >>> print(covariance_recursion(K0, jnp.ones(2), "relu"))
        [[2.25 2.25]
         [2.25 2.25]]
    """
    phi, kinks = checked_activation(phi), checked_kinks(kinks)
    x = layer_variances(alpha2, sigma_w2)
    shape = floating(q0).shape
    if gram is None:
        if shape == (3, 3):
            raise ValueError("gram must say what a 3 x 3 q0 is: a Gram matrix (True) or three pairs (False)")
        gram = len(shape) == 2 and shape[0] == shape[1]
    if gram:
        q0 = psd_matrix(q0, "q0")
        variances = jnp.diag(q0)
        parts = (variances[:, None], variances[None], q0)
    else:
        q0 = pair_covariances(q0)
        parts = (q0[..., 0], q0[..., 1], q0[..., 2])
    dtype = jnp.result_type(q0, x)
    path = _paths(tuple(part.astype(dtype) for part in parts), x.astype(dtype), phi, kinks, return_path)
    if gram:
        # The diagonal once more: the covariance of an input with itself is its variance, to the last bit.
        eye = jnp.eye(len(q0), dtype=bool)
        return jnp.where(jnp.broadcast_to(eye, path[2].shape), path[0], path[2])
    return jnp.stack(path, axis=-1)


def pair_kernels(
    q0: ArrayLike,
    alpha2: ArrayLike,
    phi: Activation,
    sigma_w2: ArrayLike = 1.0,
    *,
    get: Any = ("nngp", "ntk", "grad"),
    train_input: bool = True,
    kinks: tuple[float, ...] = (),
) -> Kernels:
    """The three kernels for pairs of inputs that are given by their covariances.

    Args:
        q0: (q_aa, q_bb, q_ab) along the last axis, (..., 3).
        alpha2: squared branch scales, (L,), >= 0.
        phi: activation (static).
        sigma_w2: variance of sqrt(n) times a weight, >= 0.
        get: which of "nngp", "ntk", "grad" (static).
        train_input: whether W_in is trained, which adds g_0 q_0 to the NTK (static).
        kinks: where phi' jumps, if phi is a function with kinks (static).

    Returns:
        Kernels with nngp (..., 3), ntk (...) and grad (...). An input of norm 0 has nngp = ntk = 0.

    Raises:
        ValueError: covariances that cannot be, negative scales, or unknown phi.

    Example:
        >>> pair = pair_kernels(jnp.array([1.0, 1.0, 0.5]), jnp.ones(1), "relu")
        >>> print(f"{pair.nngp[2]:.6f} {pair.ntk:.6f} {pair.grad:.6f}")
        0.804499 1.775664 1.333333
    """
    phi, kinks, get = checked_activation(phi), checked_kinks(kinks), checked_get(get)
    q0, x = pair_covariances(q0), layer_variances(alpha2, sigma_w2)
    dtype = jnp.result_type(q0, x)
    q, tangent, gain = _pairs(q0.astype(dtype), x.astype(dtype), phi, kinks, train_input)
    return Kernels(
        q if "nngp" in get else None,
        tangent + q[..., 2] if "ntk" in get else None,
        gain if "grad" in get else None,
    )


def pair_layers(
    q11: Array,
    q22: Array,
    q12: Array,
    x: Float[Array, " L"],
    phi: Activation,
    kinks: tuple[float, ...],
    *,
    train_input: bool,
) -> tuple[Array, Array, Array, Array, Array]:
    """q11, q22, q12, T and g after all layers, for arrays of one rank that broadcast; nothing is checked.

    Example:
        >>> one = jnp.ones(())
        >>> print(pair_layers(one, one, one, jnp.ones(1), "linear", (), train_input=False)[3])
        1.0
    """
    start = jnp.broadcast_to(q12, jnp.broadcast_shapes(q11.shape, q22.shape, q12.shape))

    def layer(state, x):
        q11, q22, q12, tangent, gain = state
        F, Fd = two_point_of(phi, q11, q22, q12, kinks=kinks)
        grown = 1 + x * Fd
        q11, q22 = (q + x * two_point_of(phi, q, q, q, kinks=kinks).F for q in (q11, q22))
        return (q11, q22, q12 + x * F, grown * tangent + x * F, gain * grown), None

    tangent = start if train_input else jnp.zeros_like(start)
    return lax.scan(layer, (q11, q22, start, tangent, jnp.ones_like(start)), x)[0]


@partial(jax.jit, static_argnums=(2, 3, 4))
def _paths(parts, x, phi, kinks, return_path):
    q11, q22, q12 = parts

    def layer(state, x):
        q11, q22, q12 = state
        F = two_point_of(phi, q11, q22, q12, kinks=kinks).F
        own = (q + x * two_point_of(phi, q, q, q, kinks=kinks).F for q in (q11, q22))
        new = (*own, q12 + x * F)
        return new, new if return_path else None

    last, later = lax.scan(layer, (q11, q22, q12), x)
    if later is None:
        return last
    return tuple(jnp.concatenate([first[None], rest]) for first, rest in zip(parts, later, strict=True))


@partial(jax.jit, static_argnums=(2, 3, 4))
def _pairs(q0, x, phi, kinks, train_input):
    q11, q22, q12 = q0[..., 0], q0[..., 1], q0[..., 2]
    slope = leaky_slope(phi)
    if slope is None:
        q11, q22, q12, tangent, gain = pair_layers(q11, q22, q12, x, phi, kinks, train_input=train_input)
        return jnp.stack([q11, q22, q12], axis=-1), tangent, gain
    growth = leaky_growth(slope, x)
    s = safe_sqrt(q11) * safe_sqrt(q22)
    curves = leaky_layers(slope, x, angle(q11, q22, q12), train_input=train_input)
    q = jnp.stack([q11, q22, s * jnp.cos(curves.theta)], axis=-1) * growth
    # An input of norm 0 stays orthogonal to every other.
    alone = jnp.exp(jnp.log1p(leaky_moments(slope).even * x).sum())
    return q, s * growth * curves.tangent, jnp.where(s == 0, alone, growth * curves.slope)
