r"""The same trainings with the adapters' weights themselves: what the order parameters are checked against.

f = s W_out B A X with gradients g_A = (s/N) (W_out B)'U X' and g_B = (s/N) W_out'U (A X)', at a cost per step
that grows with the widths.

Example:
    >>> X = jax.random.normal(jax.random.key(0), (50, 3))
    >>> train = partial(dense_adapter_training, jax.random.key(1), X, jnp.eye(2), jnp.ones((2, 3)))
    >>> path = train(rank=2, init="a", lr_a=0.01, lr_b=0.3, steps=20)
    >>> from theorysim.numerics.low_rank import adapter_dynamics
    >>> again = adapter_dynamics(
    ...     X.T @ X, jnp.eye(2), jnp.ones((2, 3)), path.P[0], path.Q[0], lr_a=0.01, lr_b=0.3, steps=20
    ... )
    >>> print(f"{path.loss[-1]:.6f} {again.loss[-1]:.6f}")
    0.000000 0.000000
"""

from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array

from theorysim.numerics.low_rank.arguments import added, clip, matrix, one_dtype, rates, record_steps
from theorysim.numerics.low_rank.descent import norm, rms
from theorysim.numerics.low_rank.losses import (
    Loss,
    check_loss,
    clip_share,
    diverged,
    mean_and_slopes,
    mean_loss,
    squared_error,
)
from theorysim.numerics.low_rank.records import AdapterPath
from theorysim.numerics.low_rank.single import Moments, adam_step
from theorysim.numerics.low_rank.starts import INITS, Init
from theorysim.numerics.products import matmul
from theorysim.numerics.validation import choice, positive_int, real

__all__ = ["DenseKnobs", "Optimizer", "dense_adapter_training", "train_weights"]

Optimizer = Literal["sgd", "adam", "sign"]


def dense_adapter_training(
    key: Array,
    X: ArrayLike,
    W_out: ArrayLike,
    Y: ArrayLike,
    *,
    rank: int,
    init: Init,
    var_a: ArrayLike | None = None,
    var_b: ArrayLike | None = None,
    A0: ArrayLike | None = None,
    B0: ArrayLike | None = None,
    lr_a: ArrayLike,
    lr_b: ArrayLike,
    scale: ArrayLike = 1.0,
    optimizer: Optimizer = "sgd",
    momentum: ArrayLike = 0.0,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    epsilon: ArrayLike = 0.0,
    weight_decay: ArrayLike = 0.0,
    clip_norm: ArrayLike | None = None,
    loss: Loss = squared_error,
    base: ArrayLike | None = None,
    steps: int,
    record_every: int = 1,
) -> AdapterPath:
    """Train A and B on |s W_out B A X - Y|^2/(2N) or another loss, all examples at once.

    Args:
        key: PRNG key of the random factors.
        X: frozen features, (n_in, N).
        W_out: frozen readout, (k, n_out).
        Y: targets, (k, N).
        rank: r >= 1, at most n_in and n_out (static).
        init: which factor is random: "a", "b", or "both", where the base gives up s W_out B0 A0 X (static).
        var_a: variance of the entries of A, >= 0, a scalar; 1/n_in by default.
        var_b: variance of the entries of B, >= 0, a scalar; 1/r by default.
        A0: given instead of drawn, where init has A random, (r, n_in).
        B0: likewise, (n_out, r).
        lr_a: rate of A, >= 0, a scalar.
        lr_b: rate of B, >= 0, a scalar.
        scale: s > 0, a scalar.
        optimizer: "sgd" (with momentum), "adam" or "sign" (static).
        momentum: of "sgd", in [0, 1), a scalar.
        b1: of "adam", in [0, 1), a scalar.
        b2: of "adam", in [0, 1), a scalar.
        epsilon: of "adam", >= 0, a scalar; with 0, what never had a gradient does not move.
        weight_decay: decoupled, >= 0, a scalar.
        clip_norm: the most that the gradient of both factors together may measure, > 0, a scalar; longer ones
            are cut to it, before the optimizer. None for any length.
        loss: of one example, a function of f (k,) and y (k,) to a scalar that `jax.grad` takes (static).
        base: what the frozen layer puts out by itself, added to the adapters', (k, N); 0 by default.
        steps: >= 1 (static).
        record_every: steps between records, which divides steps (static).

    Returns:
        AdapterPath of steps/record_every + 1 records.

    Raises:
        ValueError: an argument out of its range, or shapes that do not match.

    Example:
        >>> one = jnp.ones((1, 1))
        >>> path = dense_adapter_training(
        ...     jax.random.key(0), one, one, one, rank=1, init="a", A0=one, lr_a=0.1, lr_b=0.1, steps=2
        ... )
        >>> print(path.loss)
        [0.5        0.405      0.32666636]
    """
    X, W_out, Y = matrix(X, "X", "(n_in, N)"), matrix(W_out, "W_out", "(k, n_out)"), matrix(Y, "Y", "(k, N)")
    if Y.shape != (len(W_out), X.shape[1]):
        raise ValueError(f"Y must have shape ({len(W_out)}, {X.shape[1]}), like W_out and X, got {Y.shape}")
    X, W_out, Y = one_dtype(X, W_out, Y)
    rank = positive_int(rank, "rank", maximum=min(len(X), W_out.shape[1]))
    init = choice(init, "init", INITS)
    optimizer = choice(optimizer, "optimizer", ("sgd", "adam", "sign"))
    real(scale, "scale", low=0, low_open=True)
    for name, value in (("momentum", momentum), ("b1", b1), ("b2", b2)):
        real(value, name, high=1, high_open=True)
    var_a, var_b, *numbers = rates(
        Y.dtype,
        var_a=1 / len(X) if var_a is None else var_a,
        var_b=1 / rank if var_b is None else var_b,
        lr_a=lr_a,
        lr_b=lr_b,
        scale=scale,
        momentum=momentum,
        b1=b1,
        b2=b2,
        epsilon=epsilon,
        weight_decay=weight_decay,
    )
    check_loss(loss, Y)
    frozen, length = added(base, "base", Y), clip(clip_norm, Y.dtype)
    steps, record_every = record_steps(steps, record_every)
    key_a, key_b = jax.random.split(key)
    A = _factor(key_a, A0, "A0", (rank, len(X)), var_a, init != "b")
    B = _factor(key_b, B0, "B0", (W_out.shape[1], rank), var_b, init != "a")
    frozen = jnp.zeros_like(Y) if frozen is None else frozen
    *numbers, decay = numbers
    knobs = DenseKnobs(*numbers, decay_a=decay, decay_b=decay, clip_norm=length)
    if init == "both":
        # Adapters that are both random leave the output at the start to the base.
        frozen = frozen - knobs.scale * matmul(matmul(W_out, B), matmul(A, X))
    static = {"optimizer": optimizer, "loss": loss, "steps": steps, "every": record_every}
    return train_weights(X, W_out, Y, frozen, A, B, knobs, **static)


class DenseKnobs(NamedTuple):
    """Numbers that a training of the weights depends on; `decay_a` and `decay_b` are the weight decays."""

    lr_a: Any
    lr_b: Any
    scale: Any
    momentum: Any
    b1: Any
    b2: Any
    epsilon: Any
    decay_a: Any
    decay_b: Any
    clip_norm: Any


def _factor(key, given, name, shape, variance, drawn):
    if not drawn:
        if given is not None:
            raise ValueError(f"{name} must be left out: this init starts the factor at zero")
        return jnp.zeros(shape, variance.dtype)
    if given is None:
        return jnp.sqrt(variance) * jax.random.normal(key, shape, variance.dtype)
    x = matrix(given, name, str(shape))
    if x.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {x.shape}")
    return x.astype(variance.dtype)


@partial(jax.jit, static_argnames=("optimizer", "loss", "steps", "every"))
def train_weights(
    X: Array,
    W_out: Array,
    Y: Array,
    base: Array,
    A: Array,
    B: Array,
    knobs: DenseKnobs,
    *,
    optimizer: Optimizer,
    loss: Loss,
    steps: int,
    every: int,
) -> AdapterPath:
    """What `dense_adapter_training` does once its arguments are checked, from given factors.

    Example:
        >>> one = jnp.ones((1, 1))
        >>> knobs = DenseKnobs(0.1, 0.1, 1.0, 0.0, 0.9, 0.999, 0.0, 0.0, 0.0, None)
        >>> static = {"optimizer": "sgd", "loss": squared_error, "steps": 1, "every": 1}
        >>> print(train_weights(one, one, one, 0 * one, one, 0 * one, knobs, **static).loss)
        [0.5   0.405]
    """
    s, n = knobs.scale, Y.shape[1]

    def outputs(P, Q):
        return base + s * matmul(Q, P)

    # What the adapters start from, and what the layer does without them.
    marks = mean_loss(loss, outputs(matmul(A, X), matmul(W_out, B)), Y), mean_loss(loss, base, Y)

    def update(memory, gradient, t):
        if optimizer == "sgd":
            velocity = knobs.momentum * memory.first + gradient
            return Moments(velocity, memory.second), velocity
        if optimizer == "sign":
            return memory, jnp.sign(gradient)
        return adam_step(memory, gradient, t, knobs.b1, knobs.b2, knobs.epsilon)

    def step(state, t):
        A, B, memory_a, memory_b = state
        P, Q = matmul(A, X), matmul(W_out, B)
        value, U = mean_and_slopes(loss, outputs(P, Q), Y)
        g_A, g_B = s / n * matmul(matmul(Q.T, U), X.T), s / n * matmul(W_out.T, matmul(U, P.T))
        kept = clip_share((g_A**2).sum() + (g_B**2).sum(), knobs.clip_norm)
        memory_a, move_a = update(memory_a, kept * g_A, t)
        memory_b, move_b = update(memory_b, kept * g_B, t)
        dA = -knobs.lr_a * (move_a + knobs.decay_a * A)
        dB = -knobs.lr_b * (move_b + knobs.decay_b * B)
        dP, dQ = matmul(dA, X), matmul(W_out, dB)
        deltas = jnp.stack([norm(s * matmul(Q, dP)), norm(s * matmul(dQ, P)), norm(s * matmul(dQ, dP))])
        seen = AdapterPath(value, None, rms(P), rms(Q), deltas, norm(g_A), norm(g_B), P, Q)
        new = A + dA, B + dB, memory_a, memory_b
        lost = diverged(value, *marks)
        return jax.tree.map(lambda x: jnp.where(lost, jnp.nan, x), (new, seen))

    def block(state, t):
        state, seen = step(state, t)
        if every > 1:
            state, _ = lax.scan(lambda x, i: (step(x, i)[0], None), state, t + jnp.arange(1, every))
        return state, seen

    blank = [Moments(jnp.zeros_like(x), jnp.zeros_like(x)) for x in (A, B)]
    state, path = lax.scan(block, (A, B, *blank), jnp.arange(0, steps, every))
    _, end = step(state, jnp.asarray(steps))
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b[None]]), path, end)
