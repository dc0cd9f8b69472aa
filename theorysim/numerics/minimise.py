"""Minimisation of a smooth function by L-BFGS, under `jit`, `vmap` and inside of sweeps.

Directions come from the last ten moves and turns of the gradient by the two loops of J. Nocedal and
S. Wright, *Numerical Optimization* (2006), algorithm 7.4. The step along one is shortened, by a parabola,
until the loss falls (section 3.5), or its slope where rounding hides that (W. Hager, H. Zhang, 2005). Every
trial is an iteration of the one loop: under `vmap` a lane that shortens its step holds up no other, and all
take as many trials as the slowest needs in total.

Example:
    >>> import jax.numpy as jnp
    >>> print(lbfgs(lambda x: (x[0] - 1) ** 4 + (x[1] - x[0]) ** 2, jnp.zeros(2), tolerance=1e-9).round(2))
    [1. 1.]
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from theorysim.numerics.validation import positive_int

__all__ = ["lbfgs"]

# A step must bring this part of the decrease that its slope promises; below the least length nothing is left.
_ARMIJO, _LEAST = 1e-4, 1e-6
_MEMORY = 10


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
    value_and_slope = jax.value_and_grad(lambda x: loss(x.reshape(start.shape)))
    eps = float(jnp.finfo(start.dtype).eps)
    flat = eps**0.5 / 100 if tolerance is None else tolerance

    def steep(state):
        _, _, slope, _, _, size, count = state
        return (count < max_steps) & (jnp.abs(slope).max() > flat) & (size > _LEAST)

    def step(state):
        x, value, slope, past, direction, size, count = state
        trial = x - size * direction
        new_value, new_slope = value_and_slope(trial)
        fall, new_fall = jnp.vdot(direction, slope), jnp.vdot(direction, new_slope)
        lower = new_value <= value - _ARMIJO * size * fall
        # Near the minimum rounding hides the decrease of the loss, but not yet that of its slope, which for a
        # parabola says the same.
        hidden = new_value <= value + 1e3 * eps * (1 + jnp.abs(value))
        good = lower | (hidden & (-new_fall <= (1 - 2 * _ARMIJO) * fall))
        good = good & jnp.isfinite(new_slope).all()
        new_past = _remembered(past, trial - x, new_slope - slope)
        taken = trial, new_value, new_slope, new_past, _direction(new_past, new_slope), jnp.ones_like(size)
        shorter = x, value, slope, past, direction, size * _shorter(new_value - value, size * fall)
        return (*jax.tree.map(lambda a, b: jnp.where(good, a, b), taken, shorter), count + 1)

    x = start.ravel()
    value, slope = value_and_slope(x)
    blank = jnp.zeros((_MEMORY, x.size), x.dtype)
    past = _Past(blank, blank, blank[:, 0])
    first = (x, value, slope, past, _direction(past, slope), jnp.ones((), x.dtype), 0)
    end, end_value, *_ = lax.while_loop(steep, step, first)
    return jnp.where(end_value <= value, end, x).reshape(start.shape)


def _shorter(rise, fall):
    """Where the parabola through both ends, of this slope at the first, is least: a part of the step."""
    bend = 2 * (rise + fall)
    return jnp.where(bend > 0, jnp.clip(fall / jnp.where(bend > 0, bend, 1), 0.1, 0.5), 0.5)


class _Past(NamedTuple):
    """Moves s, turns t of the gradient along them, and 1/(s.t), newest last; 0 for those to be ignored."""

    moves: Array
    turns: Array
    weights: Array


def _remembered(past, move, turn):
    def pushed(old, new):
        return jnp.concatenate([old[1:], new[None]])

    curvature = jnp.vdot(move, turn)
    curved = curvature > 0
    weights = pushed(past.weights, 1 / jnp.where(curved, curvature, 1))
    # Where the loss curves down along the step, the past says nothing about a minimum: begin anew.
    return _Past(pushed(past.moves, move), pushed(past.turns, turn), jnp.where(curved, weights, 0))


def _direction(past, slope):
    """The slope times an estimate of the inverse Hessian; without a past, no longer than 1."""
    # Unrolled: scanning over the memory would transpose it under vmap.
    pairs = [tuple(x[i] for x in past) for i in range(_MEMORY)]
    shares = []
    for move, turn, weight in reversed(pairs):
        shares.append(weight * jnp.vdot(move, slope))
        slope = slope - shares[-1] * turn
    _, turn, weight = pairs[-1]
    steepness = weight * jnp.vdot(turn, turn)
    known = steepness > 0
    length = jnp.sqrt(jnp.vdot(slope, slope))
    slope = slope / jnp.where(known, steepness, jnp.maximum(length, 1))
    for (move, turn, weight), share in zip(pairs, reversed(shares), strict=True):
        slope = slope + (share - weight * jnp.vdot(turn, slope)) * move
    return slope
