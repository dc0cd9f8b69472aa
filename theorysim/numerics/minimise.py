"""Minimisation of a smooth function by L-BFGS, under `jit`, `vmap` and inside of sweeps.

Directions are optax's (memory 10; J. Nocedal, S. Wright, *Numerical Optimization*, 2006, section 7.2). The
step along one is halved until the loss falls (section 3.1), and every trial is an iteration of the one loop:
under `vmap` a lane that halves holds up no other, and all take as many trials as the slowest needs in total.

Example:
    >>> import jax.numpy as jnp
    >>> print(lbfgs(lambda x: (x[0] - 1) ** 4 + (x[1] - x[0]) ** 2, jnp.zeros(2), tolerance=1e-9).round(2))
    [1. 1.]
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float

from theorysim.numerics.validation import positive_int

__all__ = ["lbfgs"]

# A step must bring this part of the decrease that its slope promises; below the least length nothing is left.
_ARMIJO, _LEAST = 1e-4, 1e-6


def lbfgs(
    loss: Callable[[Array], Array],
    start: Float[Array, "*shape"],
    *,
    max_steps: int = 400,
    tolerance: float | None = None,
) -> Float[Array, "*shape"]:
    """A local minimiser near `start`, or `start` itself where no step makes the loss smaller.

    Args:
        loss: differentiable scalar function of one array.
        start: floating array; its dtype is that of the computation.
        max_steps: evaluations of the loss and its gradient, >= 1 (static).
        tolerance: of the largest entry of the gradient, at which it stops; sqrt(eps)/100 by default.

    Returns:
        Array like `start`. Not differentiable; NaN stays where the loss is NaN at the start.

    Raises:
        ValueError: max_steps < 1.

    Example:
        >>> print(lbfgs(lambda x: ((x - 3.0) ** 2).sum(), jnp.array([0.0])))
        [3.]
    """
    max_steps = positive_int(max_steps, "max_steps")
    directions, value_and_slope = optax.scale_by_lbfgs(), jax.value_and_grad(loss)
    eps = float(jnp.finfo(start.dtype).eps)
    flat = eps**0.5 / 100 if tolerance is None else tolerance

    def steep(state):
        _, _, slope, _, _, size, count = state
        return (count < max_steps) & (jnp.abs(slope).max() > flat) & (size > _LEAST)

    def step(state):
        x, value, slope, memory, direction, size, count = state
        trial = x - size * direction
        new_value, new_slope = value_and_slope(trial)
        lower = new_value <= value - _ARMIJO * size * jnp.vdot(direction, slope)
        # Near the minimum rounding hides the decrease of the loss, but not yet that of its gradient.
        hidden = new_value <= value + 1e3 * eps * (1 + jnp.abs(value))
        good = lower | (hidden & (jnp.abs(new_slope).max() < jnp.abs(slope).max()))
        good = good & jnp.isfinite(new_slope).all()
        # Where the loss curves down along the step, the past says nothing about a minimum: begin anew.
        curved = jnp.vdot(trial - x, new_slope - slope) > 0
        known = _where(curved, memory, directions.init(trial))
        new_direction, new_memory = directions.update(new_slope, known, trial)
        taken = trial, new_value, new_slope, new_memory, new_direction, jnp.ones_like(size)
        halved = x, value, slope, memory, direction, size / 2
        return (*_where(good, taken, halved), count + 1)

    value, slope = value_and_slope(start)
    direction, memory = directions.update(slope, directions.init(start), start)
    first = (start, value, slope, memory, direction, jnp.ones((), start.dtype), 0)
    end = lax.while_loop(steep, step, first)[0]
    return jnp.where(loss(end) <= loss(start), end, start)


def _where(condition, one, other):
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), one, other)
