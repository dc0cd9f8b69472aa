r"""Infinite width and depth: kernels of pairs by the differential equation in depth-time.

For any vanishing schedule of sum tau (times sigma_w^2), in either order of the limits,

    dq_ab/dt = F(q_aa, q_bb, q_ab),     dT/dt = Fd T + F,     d log g/dt = -Fd backwards from g = 1,

from t = 0 to tau. For a homogeneous phi no equation needs to be solved: with theta_t from the flow (`flow`),
r(theta) = sin theta - theta cos theta, and hats for division by the growth exp(m t),

    g^ = r(theta_tau) / r(theta_0),     T^ = g^ T^_0 + int_0^tau r(theta_tau) / r(theta_t) F^(theta_t) dt,

with 64 Gauss-Legendre nodes in sqrt(t). S. Hayou, G. Yang (2023), arXiv 2302.00453, for q and ReLU; T
and g derived. The rest is solved by diffrax (Dopri8, relative tolerance 1e-12 in float64, 1e-6 in float32),
differentiable in reverse mode.

Example:
    >>> limit = depth_limit(jnp.array([1.0, 1.0, 0.5]), 1.0, "relu")
    >>> print(f"{limit.nngp[2]:.12f} {limit.ntk:.12f} {limit.grad:.12f}")
    0.907254053462 2.085872944765 1.402328988085
"""

from functools import partial
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.numerics.gaussian import (
    Activation,
    angle,
    bounded_correlation,
    checked_activation,
    checked_kinks,
    leaky_correlation,
    leaky_moments,
    leaky_slope,
    safe_ratio,
    safe_sqrt,
    two_point_of,
)
from theorysim.numerics.validation import real, scalar
from theorysim.width_depth.angles import AngleCurves
from theorysim.width_depth.arguments import Kernels, checked_get, pair_covariances
from theorysim.width_depth.flow import correlation_flow, flow_gain, later_angle

__all__ = ["depth_limit", "leaky_limit", "pair_limit"]

_MAX_STEPS = 4096
_NODES = 64


def depth_limit(
    q0: ArrayLike,
    tau: ArrayLike,
    phi: Activation,
    get: Any = ("nngp", "ntk", "grad"),
    *,
    train_input: bool = True,
    kinks: tuple[float, ...] = (),
) -> Kernels:
    """The kernels of pairs of inputs at infinite width and depth.

    Args:
        q0: (q_aa, q_bb, q_ab) along the last axis, (..., 3).
        tau: sigma_w^2 times the sum of alpha_l^2, >= 0; a scalar.
        phi: activation, see `numerics.gaussian.two_point` (static).
        get: which of "nngp", "ntk", "grad" (static).
        train_input: whether W_in is trained, which adds g_0 q_0 to the NTK (static).
        kinks: where phi' jumps, if phi is a function with kinks (static).

    Returns:
        Kernels with nngp (..., 3), ntk (...) and grad (...). Variances of a homogeneous phi are exact,
        q_0 exp(m tau).

    Raises:
        ValueError: covariances that cannot be, tau < 0, or unknown phi.

    Example:
        >>> print(depth_limit(jnp.array([1.0, 1.0, 1.0]), 1.0, "relu", get="nngp").nngp.round(6))
        [1.648721 1.648721 1.648721]
    """
    phi, kinks, get = checked_activation(phi), checked_kinks(kinks), checked_get(get)
    q0 = pair_covariances(q0)
    tau = jnp.asarray(real(scalar(tau, "tau"), "tau", low=0, high_open=True), q0.dtype)
    q, tangent, gain = _limit(q0, tau, phi, kinks, train_input)
    return Kernels(
        q if "nngp" in get else None,
        tangent + q[..., 2] if "ntk" in get else None,
        gain if "grad" in get else None,
    )


def leaky_limit(
    slope: float, tau: Float[Array, ""], theta: Float[Array, "*batch"], *, train_input: bool
) -> AngleCurves:
    """The angle after depth-time tau in closed form, and one integral along it for the tangent kernel.

    Args:
        slope: k of the leaky family (static).
        tau: depth-time, >= 0; nothing is checked.
        theta: angles between the inputs, in [0, pi], of any shape.
        train_input: whether W_in is trained and starts the tangent kernel.

    Example:
        >>> curves = leaky_limit(0.0, jnp.ones(()), jnp.array(jnp.pi / 3), train_input=True)
        >>> print(f"{jnp.exp(0.5) * jnp.cos(curves.theta):.12f}")
        0.907254053462
    """
    # t = tau y^2: close to antipodal inputs the angle is analytic in the root of the time.
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    y, w = (jnp.asarray(v, tau.dtype) for v in ((nodes + 1) / 2, weights / 2))
    later = jnp.concatenate([y * y, jnp.ones(1, tau.dtype)]) * (1 - slope) ** 2 * tau
    angles = later_angle(theta[..., None], later.reshape((1,) * theta.ndim + (-1,)))
    between, end = angles[..., :-1], angles[..., -1]
    F = leaky_correlation(slope, between).F
    added = (
        flow_gain(between, end[..., None]) * F * (2 * tau * y * w).reshape((1,) * theta.ndim + (-1,))
    ).sum(-1)
    gain = flow_gain(theta, end)
    return AngleCurves(end, added + gain * jnp.cos(theta) if train_input else added, gain)


def pair_limit(
    q11: Array,
    q22: Array,
    q12: Array,
    tau: Float[Array, ""],
    phi: Activation,
    kinks: tuple[float, ...],
    *,
    train_input: bool,
) -> tuple[Array, Array, Array, Array, Array]:
    """q11, q22, q12, T and g at depth-time tau, for arrays of one rank that broadcast; nothing is checked.

    Example:
        >>> one = jnp.ones(())
        >>> print(f"{pair_limit(one, one, one, one, 'linear', (), train_input=False)[3]:.9f}")
        2.718281828
    """
    q12 = jnp.broadcast_to(q12, jnp.broadcast_shapes(q11.shape, q22.shape, q12.shape))

    def rate(state):
        q11, q22, q12, tangent, _ = state
        F, Fd = two_point_of(phi, q11, q22, q12, kinks=kinks)
        own = (two_point_of(phi, q, q, q, kinks=kinks).F for q in (q11, q22))
        return (*own, F, Fd * tangent + F, Fd)

    start = q12 if train_input else jnp.zeros_like(q12)
    q11, q22, q12, tangent, log_gain = _solve(rate, (q11, q22, q12, start, jnp.zeros_like(q12)), tau)
    return q11, q22, q12, tangent, jnp.exp(log_gain)


@partial(jax.jit, static_argnums=(2, 3, 4))
def _limit(q0, tau, phi, kinks, train_input):
    q11, q22, q12 = q0[..., 0], q0[..., 1], q0[..., 2]
    slope = leaky_slope(phi)
    if slope is None:
        q11, q22, q12, tangent, gain = pair_limit(q11, q22, q12, tau, phi, kinks, train_input=train_input)
        return jnp.stack([q11, q22, q12], axis=-1), tangent, gain
    even, _, m = leaky_moments(slope)
    growth, s = jnp.exp(m * tau), safe_sqrt(q11) * safe_sqrt(q22)
    # By its own rule, whose derivatives are finite at correlations 1 and -1.
    correlation = correlation_flow(bounded_correlation(safe_ratio(q12, s)), (1 - slope) ** 2 * tau)
    curves = leaky_limit(slope, tau, angle(q11, q22, q12), train_input=train_input)
    q = jnp.stack([q11, q22, s * correlation], axis=-1) * growth
    # An input of norm 0 stays orthogonal to every other.
    gain = jnp.where(s == 0, jnp.exp(even * tau), curves.slope * growth)
    return q, s * growth * curves.tangent, gain


def _solve(rate, start, tau) -> Any:
    """State after depth-time tau, on the unit interval so that tau = 0 is a value like any other."""
    tolerance = 1e-12 if tau.dtype == jnp.float64 else 1e-6
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, y, tau: jax.tree.map(lambda v: tau * v, rate(y))),
        diffrax.Dopri8(),
        t0=jnp.zeros_like(tau),
        t1=jnp.ones_like(tau),
        dt0=None,
        y0=start,
        args=tau,
        stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance / 10),
        max_steps=_MAX_STEPS,
    )
    assert solution.ys is not None
    return jax.tree.map(lambda y: y[0], solution.ys)
