r"""Adam, AdamW and sign descent on a low-rank adapter with one example and one output, exactly.

Every entry of a factor has the gradient x_j (or w_i) times a sequence common to all, and without epsilon Adam
does not see the size of a gradient. So with g_p = s q u and g_q = s u p it is enough to run it on r numbers:

    p <- (1 - lr_a wd) p - lr_a |x|_1 adam(g_p),        q <- (1 - lr_b wd) q - lr_b |w_out|_1 adam(g_q).

A factor whose gradient was always 0 does not move. Derived here; D. Kingma, J. Ba (2015), arXiv 1412.6980.

Example:
    >>> p0, q0 = jnp.array([1.0, -0.5]), jnp.zeros(2)
    >>> run = partial(adapter_dynamics_single, input_l1=100.0, output_l1=1.0, p0=p0, q0=q0, steps=30)
    >>> print(run(target=1.0, lr_a=1e-3, lr_b=0.1, optimizer="adam").loss[::15].round(3))
    [0.5   0.022 0.006]
"""

from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array

from theorysim.numerics.gram import check_finite
from theorysim.numerics.low_rank.arguments import one_dtype, rates
from theorysim.numerics.low_rank.descent import half_mean_square, rms
from theorysim.numerics.low_rank.losses import diverged
from theorysim.numerics.low_rank.records import AdapterPath
from theorysim.numerics.validation import choice, floating, positive_int, real, scalar

__all__ = ["Moments", "adam_step", "adapter_dynamics_single"]


def adapter_dynamics_single(
    input_l1: ArrayLike,
    output_l1: ArrayLike,
    target: ArrayLike,
    p0: ArrayLike,
    q0: ArrayLike,
    *,
    lr_a: ArrayLike,
    lr_b: ArrayLike,
    scale: ArrayLike = 1.0,
    optimizer: Literal["adam", "sign"],
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    weight_decay: ArrayLike = 0.0,
    steps: int,
) -> AdapterPath:
    """Train both factors by Adam or by the signs of the gradients, one example, one output, any width.

    Args:
        input_l1: sum of |x_j|, > 0, a scalar; about 0.8 n for standard Gaussian features.
        output_l1: sum of |w_i| over the readout, > 0, a scalar; 1 without a readout.
        target: y, a scalar.
        p0: A x at the start, (r,).
        q0: w_out B at the start, (r,).
        lr_a: rate of A, >= 0, a scalar.
        lr_b: rate of B, >= 0, a scalar.
        scale: s > 0, a scalar.
        optimizer: "adam" (AdamW with weight decay) or "sign" (static).
        b1: of Adam, in [0, 1), a scalar.
        b2: of Adam, in [0, 1), a scalar.
        weight_decay: decoupled, >= 0, a scalar.
        steps: >= 1 (static).

    Returns:
        AdapterPath of steps + 1 records with N = k = 1, without gradient norms. Exact for Adam with epsilon =
        0; a positive epsilon depends on the single |x_j|.

    Raises:
        ValueError: an argument out of its range.

    Example:
        >>> one = jnp.ones(1)
        >>> path = adapter_dynamics_single(
        ...     10.0, 1.0, 1.0, one, 0 * one, lr_a=0.01, lr_b=0.1, optimizer="sign", steps=2
        ... )
        >>> print(path.loss)  # the first step moves q alone
        [0.5    0.405  0.3042]
    """
    Y = floating(scalar(target, "target"))
    check_finite(Y, "target")
    p, q = _vector(p0, "p0"), _vector(q0, "q0")
    if p.shape != q.shape:
        raise ValueError(f"q0 must have shape {p.shape}, like p0, got {q.shape}")
    Y, p, q = one_dtype(Y, p, q)
    for name, value in (("input_l1", input_l1), ("output_l1", output_l1), ("scale", scale)):
        real(value, name, low=0, low_open=True)
    for name, value in (("b1", b1), ("b2", b2)):
        real(value, name, high=1, high_open=True)
    knobs = _Knobs(
        *rates(
            Y.dtype,
            input_l1=input_l1,
            output_l1=output_l1,
            lr_a=lr_a,
            lr_b=lr_b,
            scale=scale,
            b1=b1,
            b2=b2,
            weight_decay=weight_decay,
        )
    )
    adam = choice(optimizer, "optimizer", ("adam", "sign")) == "adam"
    return _single(Y, p, q, knobs, adam=adam, steps=positive_int(steps, "steps"))


class Moments(NamedTuple):
    """What Adam remembers of one array of gradients.

    Attributes:
        first: running mean.
        second: running mean of squares.
    """

    first: Array
    second: Array


def adam_step(
    moments: Moments,
    gradient: Array,
    t: int | Array,
    b1: float | Array,
    b2: float | Array,
    epsilon: float | Array = 0.0,
) -> tuple[Moments, Array]:
    """Adam's update for rate 1: exactly 0 where all gradients so far were 0, also for epsilon = 0.

    Args:
        moments: before the step, zeros at first.
        gradient: of this step.
        t: steps taken before, 0 at first.
        b1: in [0, 1).
        b2: in [0, 1).
        epsilon: >= 0, beside the root of the second moment.

    Returns:
        The moments after the step, and the update to subtract.

    Example:
        >>> blank = Moments(jnp.zeros(2), jnp.zeros(2))
        >>> print(adam_step(blank, jnp.array([1e-9, 0.0]), 0, 0.9, 0.999)[1])
        [1. 0.]
    """
    first = b1 * moments.first + (1 - b1) * gradient
    second = b2 * moments.second + (1 - b2) * gradient**2
    moved = second > 0
    size = jnp.sqrt(jnp.where(moved, second, 1) / (1 - b2 ** (t + 1)))
    return Moments(first, second), jnp.where(moved, first / (1 - b1 ** (t + 1)) / (size + epsilon), 0)


class _Knobs(NamedTuple):
    input_l1: Array
    output_l1: Array
    lr_a: Array
    lr_b: Array
    scale: Array
    b1: Array
    b2: Array
    weight_decay: Array


def _vector(value, name):
    x = floating(value)
    if x.ndim != 1 or not x.size:
        raise ValueError(f"{name} must have shape (r,), got {x.shape}")
    check_finite(x, name)
    return x


@partial(jax.jit, static_argnames=("adam", "steps"))
def _single(y, p0, q0, knobs, *, adam, steps):
    s = knobs.scale
    first, zero = (s * (q0 * p0).sum() - y) ** 2 / 2, y**2 / 2

    def step(state, t):
        p, q, moments = state
        u = s * (q * p).sum() - y
        gradients = s * q * u, s * u * p
        if adam:
            pairs = [adam_step(m, g, t, knobs.b1, knobs.b2) for m, g in zip(moments, gradients, strict=True)]
            moments, updates = tuple(m for m, _ in pairs), [update for _, update in pairs]
        else:
            updates = [jnp.sign(g) for g in gradients]
        dp = -knobs.lr_a * (knobs.weight_decay * p + knobs.input_l1 * updates[0])
        dq = -knobs.lr_b * (knobs.weight_decay * q + knobs.output_l1 * updates[1])
        deltas = jnp.abs(s * jnp.stack([(q * dp).sum(), (dq * p).sum(), (dq * dp).sum()]))
        loss = half_mean_square(u[None, None])
        lost = diverged(loss, first, zero)
        seen = AdapterPath(loss, None, rms(p), rms(q), deltas, None, None, p[:, None], q[None])
        new = p + dp, q + dq, moments
        return jax.tree.map(lambda x: jnp.where(lost, jnp.nan, x), (new, seen))

    blank = Moments(jnp.zeros_like(p0), jnp.zeros_like(p0))
    return lax.scan(step, (p0, q0, (blank, blank)), jnp.arange(steps + 1))[1]
