r"""Choosing branch scales: a target separation in closed form, and any other goal by gradient.

For a homogeneous phi at infinite depth the sum of squared scales that takes correlation c0 to c1 is
`flow_time(c0, c1)` / ((1-k)^2 sigma_w^2). The correlation is an increasing concave function of that sum: at
infinite depth because its rate falls as it grows; at depth L, for the uniform schedule, on grids of c0 in
[-1, 1), of sums up to 20, L from 1 to 64 and k from -3 to 2, not by proof. Where that holds, Newton's method,
started from the infinite depth's answer below the root, never overshoots. Other goals (the conditioning of a
Gram matrix, a correlation at fixed sum) are minimised over the simplex alpha_l^2 >= 0, sum = tau,
differentiating through the layers.

Example:
    >>> from theorysim.width_depth.recursion import pair_kernels
    >>> alpha2 = schedule_for_correlation(0.2, 0.5, 6, "relu")
    >>> q = pair_kernels(jnp.array([1.0, 1.0, 0.2]), alpha2, "relu").nngp
    >>> print(f"sum {alpha2.sum():.4f}, correlation {q[2] / q[0]:.12f}")
    sum 5.1222, correlation 0.500000000000
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optimistix
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.numerics.gaussian import Activation, angle_of_correlation, leaky_correlation, leaky_moments
from theorysim.numerics.validation import floating, is_traced, positive_int, real, scalar
from theorysim.width_depth.angles import leaky_step
from theorysim.width_depth.arguments import homogeneous_slope
from theorysim.width_depth.flow import flow_time

__all__ = ["Design", "design_schedule", "schedule_for_correlation"]

_NEWTON_STEPS = 60


class Design(NamedTuple):
    """A schedule that was found by gradient.

    Attributes:
        alpha2: squared branch scales, (L,).
        value: of the objective there.
        start_value: of the objective at the start.
        converged: whether the search met its tolerance within its steps.
    """

    alpha2: Float[Array, " L"]
    value: Float[Array, ""]
    start_value: Float[Array, ""]
    converged: Any


def schedule_for_correlation(
    c0: ArrayLike, c1: ArrayLike, L: int, phi: Activation, sigma_w2: ArrayLike = 1.0
) -> Float[Array, " L"]:
    """The uniform schedule of L layers that takes the correlation c0 to exactly c1.

    Args:
        c0: correlation of the inputs, in [-1, 1); a scalar.
        c1: correlation after the last layer, in [c0, 1); a scalar.
        L: depth, >= 1 (static).
        phi: "relu", "abs" or a slope other than 1 (static); a linear network keeps its correlations.
        sigma_w2: variance of sqrt(n) times a weight, > 0.

    Returns:
        alpha2 (L,), differentiable in c0 and c1; NaN under a trace where L layers cannot reach c1.

    Raises:
        ValueError: an argument out of its range, or a c1 that L layers cannot reach with any scales.

    Example:
        >>> print(schedule_for_correlation(0.0, 0.1, 1, "relu"))
        [0.91612892]
    """
    k = homogeneous_slope(phi)
    if k == 1:
        raise ValueError("phi must not be linear: it keeps every correlation")
    L = positive_int(L, "L")
    real(scalar(c0, "c0"), "c0", low=-1, high=1, high_open=True)
    least = -1.0 if is_traced((c0, c1)) else float(jnp.asarray(c0))
    real(scalar(c1, "c1"), "c1", low=least, high=1, high_open=True)
    real(scalar(sigma_w2, "sigma_w2"), "sigma_w2", low=0, low_open=True, high_open=True)
    dtype = jnp.result_type(*(getattr(v, "dtype", 0.0) for v in (c0, c1, sigma_w2)), 0.0)
    start, target = jnp.asarray(c0, dtype), jnp.asarray(c1, dtype)
    highest = _highest(start, k, L)
    if not is_traced((start, target)) and not target < highest:
        raise ValueError(
            f"c1 must be below {highest:.6g}, which {L} layers approach from c0, got {target:.6g}"
        )
    tau = _total(start, target, k, L)
    # Not below 0 by rounding, where c1 = c0; the derivative stays.
    tau = jnp.where(target < highest, tau - lax.stop_gradient(jnp.minimum(tau, 0)), jnp.nan)
    return jnp.broadcast_to(tau / (L * jnp.asarray(sigma_w2, dtype)), (L,))


def design_schedule(
    objective: Callable[[Array], Array],
    L: int,
    tau: ArrayLike = 1.0,
    *,
    start: ArrayLike | None = None,
    steps: int = 256,
    tolerance: float = 1e-8,
) -> Design:
    """Minimise a function of the schedule over the simplex sum alpha_l^2 = tau, by BFGS in log scales.

    Args:
        objective: differentiable function of alpha2 (L,) to a scalar (static).
        L: depth, >= 1 (static).
        tau: the sum, > 0.
        start: alpha2 to start from, (L,), > 0; scaled to the sum; uniform by default. A start with the
            symmetry of the objective keeps it.
        steps: most steps (static).
        tolerance: of value and scales, relative and absolute (static).

    Returns:
        Design.

    Raises:
        ValueError: L < 1, tau <= 0, or a start of another shape or with scales <= 0.

    Example:
        >>> from theorysim.width_depth.recursion import pair_kernels
        >>> def miss(alpha2):  # separate by less than uniform scales do, at the same sum
        ...     q = pair_kernels(jnp.array([1.0, 1.0, 0.0]), alpha2, "relu").nngp
        ...     return (q[2] / q[0] - 0.2) ** 2
        >>> found = design_schedule(miss, 3, 2.0, start=jnp.array([1.0, 2.0, 4.0]))
        >>> print(f"{found.alpha2.sum():.6f} {found.value:.0e} {found.start_value:.0e} {found.converged}")
        2.000000 ...
    """
    L, steps = positive_int(L, "L"), positive_int(steps, "steps")
    tau = floating(real(scalar(tau, "tau"), "tau", low=0, low_open=True, high_open=True))
    real(tolerance, "tolerance", low=0, low_open=True)
    if start is None:
        logits = jnp.zeros(L, tau.dtype)
    else:
        real(start, "start", low=0, low_open=True, high_open=True)
        logits = jnp.log(floating(start).astype(tau.dtype))
        if logits.shape != (L,):
            raise ValueError(f"start must have shape ({L},), got {logits.shape}")

    def scales(logits):
        return tau * jax.nn.softmax(logits)

    solution = optimistix.minimise(
        lambda logits, _: objective(scales(logits)),
        optimistix.BFGS(rtol=tolerance, atol=tolerance),
        logits,
        max_steps=steps,
        throw=False,
    )
    alpha2 = scales(solution.value)
    return Design(
        alpha2,
        objective(alpha2),
        objective(scales(logits)),
        solution.result == optimistix.RESULTS.successful,
    )


def _final_correlation(c0, x, k, L):
    """c_L for L layers of x each."""
    theta = lax.fori_loop(0, L, lambda _, theta: leaky_step(k, x, theta), angle_of_correlation(c0))
    return jnp.cos(theta)


@partial(jax.jit, static_argnums=(1, 2))
def _highest(c0, k, L):
    """What infinite scales do: c -> F(c)/m, L times."""
    m = leaky_moments(k).m

    def layer(_, c):
        return leaky_correlation(k, angle_of_correlation(c)).F / m

    return lax.fori_loop(0, L, layer, c0)


@partial(jax.jit, static_argnums=(2, 3))
def _total(c0, c1, k, L):
    """Sum of the x_l of the uniform schedule from c0 to c1."""

    def miss(tau):
        return _final_correlation(c0, tau / L, k, L) - c1

    def newton(_, tau):
        value, slope = jax.jvp(miss, (tau,), (jnp.ones_like(tau),))
        return tau - value / slope

    def solve(_, start):
        return lax.fori_loop(0, _NEWTON_STEPS, newton, start)

    start = lax.stop_gradient(flow_time(c0, c1) / (1 - k) ** 2)
    return lax.custom_root(miss, start, solve, lambda linear, rhs: rhs / linear(jnp.ones_like(rhs)))
