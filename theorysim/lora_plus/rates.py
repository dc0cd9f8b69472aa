r"""The best pair of rates, by gradient descent through the whole training, and maps of the loss over pairs.

In (lr_a n, lr_b) neither depends on the width n while K_in/n is fixed.

Example:
    >>> eye, target = 100.0 * jnp.eye(4), jnp.ones((2, 4))
    >>> P0, Q0 = jnp.array([[1.0, -0.5, 0.3, 0.8]]), jnp.zeros((2, 1))
    >>> best = best_rates(eye, jnp.eye(2), target, P0, Q0, steps=10, start=(0.005, 0.2))
    >>> around = best.lr_a * jnp.array([0.9, 1.0, 1.1]), best.lr_b * jnp.array([0.9, 1.0, 1.1])
    >>> print(loss_map(*around, eye, jnp.eye(2), target, P0, Q0, steps=10).argmin())  # the middle one
    4
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.numerics.low_rank import adapter_dynamics
from theorysim.numerics.minimise import lbfgs
from theorysim.numerics.validation import floating, positive_int, real, scalar

__all__ = ["BestRates", "best_rates", "loss_map"]


class BestRates(NamedTuple):
    """A pair of rates of least loss.

    Attributes:
        lr_a: rate of A.
        lr_b: rate of B.
        loss: after the steps asked for.
        ratio: lr_b/lr_a.
    """

    lr_a: Float[Array, ""]
    lr_b: Float[Array, ""]
    loss: Float[Array, ""]
    ratio: Float[Array, ""]


def best_rates(
    input_gram: ArrayLike,
    output_gram: ArrayLike,
    target: ArrayLike,
    P0: ArrayLike,
    Q0: ArrayLike,
    *,
    steps: int,
    start: tuple[ArrayLike, ArrayLike],
    scale: ArrayLike = 1.0,
    momentum: ArrayLike = 0.0,
    weight_decay: ArrayLike = 0.0,
    max_steps: int = 100,
) -> BestRates:
    """The pair of rates near `start` with the least loss after so many steps of gradient descent.

    Args:
        input_gram: K_in, (N, N).
        output_gram: K_out, (k, k).
        target: Y, (k, N).
        P0: A X at the start, (r, N).
        Q0: W_out B at the start, (k, r).
        steps: of the training, >= 1 (static).
        start: a pair (lr_a, lr_b), > 0, at which the training does not diverge.
        scale: s > 0, a scalar.
        momentum: in [0, 1), a scalar.
        weight_decay: >= 0, a scalar.
        max_steps: evaluations of the loss and its gradient, >= 1 (static).

    Returns:
        BestRates of a local minimum of the logarithm of the loss; two or three steps may fit a target of rank
        1 exactly at an absurd ratio, and then find it. Not differentiable.

    Raises:
        ValueError: an argument out of its range.

    Example:
        >>> one = jnp.ones((1, 1))
        >>> best = best_rates(one, one, one, one, 0 * one, steps=1, start=(0.1, 0.3))
        >>> print(f"{best.lr_b:.4f} {best.loss:.1e}")  # one step does it, with B alone
        1.0000 0.0e+00
    """
    if not isinstance(start, tuple | list) or len(start) != 2:
        raise ValueError(f"start must be a pair (lr_a, lr_b), got {start!r}")
    for value in start:
        real(scalar(value, "start"), "start", low=0, low_open=True, high_open=True)
    problem = tuple(map(floating, (input_gram, output_gram, target, P0, Q0)))
    other = {"scale": scale, "momentum": momentum, "weight_decay": weight_decay}
    # The first call checks the arguments, which the compiled search cannot see.
    adapter_dynamics(*problem, lr_a=0.0, lr_b=0.0, **other, steps=1)
    rates = jnp.stack([jnp.asarray(value, jnp.result_type(*problem)) for value in start])
    return _best_rates(
        problem, rates, other, steps=positive_int(steps, "steps"), tries=positive_int(max_steps, "max_steps")
    )


def loss_map(
    lr_a: ArrayLike,
    lr_b: ArrayLike,
    input_gram: ArrayLike,
    output_gram: ArrayLike,
    target: ArrayLike,
    P0: ArrayLike,
    Q0: ArrayLike,
    *,
    steps: int,
    scale: ArrayLike = 1.0,
    momentum: ArrayLike = 0.0,
    weight_decay: ArrayLike = 0.0,
) -> Float[Array, "I J"]:
    """The loss after so many steps of gradient descent for all pairs of rates, in one call.

    Args:
        lr_a: rates of A, >= 0, (I,).
        lr_b: rates of B, >= 0, (J,).
        input_gram: K_in, (N, N).
        output_gram: K_out, (k, k).
        target: Y, (k, N).
        P0: A X at the start, (r, N).
        Q0: W_out B at the start, (k, r).
        steps: of the training, >= 1 (static).
        scale: s > 0, a scalar.
        momentum: in [0, 1), a scalar.
        weight_decay: >= 0, a scalar.

    Returns:
        Losses, (I, J); NaN where the training diverged.

    Raises:
        ValueError: an argument out of its range.

    Example:
        >>> one = jnp.ones((1, 1))
        >>> print(loss_map(jnp.arange(2.0), jnp.arange(2.0), one, one, one, one, 0 * one, steps=1))
        [[0.5 0. ]
         [0.5 0. ]]
    """
    lr_a, lr_b = (_vector(value, name) for value, name in ((lr_a, "lr_a"), (lr_b, "lr_b")))
    problem = tuple(map(floating, (input_gram, output_gram, target, P0, Q0)))
    other = {"scale": scale, "momentum": momentum, "weight_decay": weight_decay}
    adapter_dynamics(*problem, lr_a=0.0, lr_b=0.0, **other, steps=1)
    return _loss_map(problem, lr_a, lr_b, other, steps=positive_int(steps, "steps"))


def _vector(value, name):
    x = floating(jnp.asarray(value))
    if x.ndim != 1 or not x.size:
        raise ValueError(f"{name} must be a vector of rates, got shape {x.shape}")
    return real(x, name, low=0, high_open=True)


def _final_loss(problem, a, b, other, steps):
    return adapter_dynamics(*problem, lr_a=a, lr_b=b, **other, steps=steps, record_every=steps).loss[-1]


@partial(jax.jit, static_argnames="steps")
def _loss_map(problem, lr_a, lr_b, other, *, steps):
    row = jax.vmap(lambda a, b: _final_loss(problem, a, b, other, steps), (None, 0))
    return jax.vmap(row, (0, None))(lr_a, lr_b)


@partial(jax.jit, static_argnames=("steps", "tries"))
def _best_rates(problem, rates, other, *, steps, tries):
    tiny = float(jnp.finfo(rates.dtype).tiny)

    def height(logs):
        a, b = jnp.exp(logs)
        return jnp.log(_final_loss(problem, a, b, other, steps) + tiny)

    a, b = jnp.exp(lbfgs(height, jnp.log(rates), max_steps=tries))
    return BestRates(a, b, _final_loss(problem, a, b, other, steps), b / a)
