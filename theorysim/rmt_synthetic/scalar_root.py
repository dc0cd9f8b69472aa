r"""Roots of the isotropic fixed points: increasing concave functions of one number, solved elementwise.

Newton's method on an increasing concave G from below never overshoots, since every tangent lies above G; and
it needs no bracket, no branch and no stopping rule. Derivatives are implicit, of any order, and never go
through the iteration.

Example:
    >>> def sqrt(x):
    ...     return newton_from_below(lambda y: y - x / y, jnp.minimum(x, 1.0))
    >>> print(f"{sqrt(9.0):.6f} {jax.grad(sqrt)(9.0):.6f} {jax.grad(jax.grad(sqrt))(9.0):.6f}")
    3.000000 0.166667 -0.009259
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

__all__ = ["NEWTON_STEPS", "lower_bound", "newton_from_below"]

NEWTON_STEPS = 20
"""At most 16 are needed down to gamma = 1e-8, see `isotropic`."""


def newton_from_below(residual: Callable, start: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """Root of an increasing concave residual, elementwise, from a `start` below it that is held constant.

    Example:
        >>> print(f"{newton_from_below(lambda x: 2 - 1 / x, jnp.array(0.1)):.6f}")
        0.500000
    """

    def newton(_, x):
        value, slope = jax.jvp(residual, (x,), (jnp.ones_like(x),))
        return x - value / slope

    def solve(_, start):
        return lax.fori_loop(0, NEWTON_STEPS, newton, start)

    def tangent_solve(linear, rhs):
        return rhs / linear(jnp.ones_like(rhs))

    return lax.custom_root(residual, lax.stop_gradient(start), solve, tangent_solve)


def lower_bound(
    loads: Sequence[Float[Array, "*batch"]],
    rates: Sequence[Float[Array, "*batch"]],
    gamma: Float[Array, "*batch"],
    aspect: Float[Array, "*batch"],
) -> Float[Array, "*batch"]:
    """Below the root of gamma delta + sum_k loads_k delta / (1 + rates_k delta) = aspect, often close to it.

    It is the root if every group in use had the least of their rates: that of a quadratic.

    Example:
        >>> one, gamma = jnp.array(1.0), jnp.array(0.5)
        >>> print(f"{lower_bound([one], [one], gamma, one):.6f}")  # delta / 2 + delta / (1 + delta) = 1
        1.000000
    """
    least = jnp.full_like(gamma, jnp.inf)
    for load, rate in zip(loads, rates, strict=True):
        least = jnp.where(load > 0, jnp.minimum(least, rate), least)
    least = jnp.where(jnp.isfinite(least), least, 0)
    b = gamma + sum(loads) - least * aspect
    size = jnp.where(b > 0, b, -b) + jnp.sqrt(b * b + 4 * gamma * least * aspect)
    # b <= 0 only if least > 0: where it is not, what the other branch divides by only must not be 0.
    return jnp.where(b > 0, 2 * aspect / size, size / jnp.where(b > 0, 1, 2 * gamma * least))
