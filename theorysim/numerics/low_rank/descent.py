r"""Gradient descent on both factors of a low-rank adapter, exactly, at a cost that no width enters.

Output f = s W_out B A X with frozen features X and readout W_out. With P = A X, Q = W_out B, the Grams K_in =
X'X and K_out = W_out W_out', targets Y and U = s Q P - Y, a step on |U|^2/(2N) is

    P <- P - lr_a (m_P + wd P),   m_P <- momentum m_P + (s/N) Q'U K_in,
    Q <- Q - lr_b (m_Q + wd Q),   m_Q <- momentum m_Q + (s/N) K_out U P',       both from the old P and Q,

and so it is for any loss of the outputs, with its slopes for U. Derived here; the model is that of S. Hayou,
N. Ghosh, B. Yu, "LoRA+" (2024), arXiv 2402.12354.

Example:
    >>> width, eye = 10**9, jnp.eye(2)
    >>> P0, Q0 = jnp.array([[1.0, -0.5]]), jnp.zeros((2, 1))
    >>> path = adapter_dynamics(width * eye, eye, eye, P0, Q0, lr_a=0.2 / width, lr_b=0.2, steps=40)
    >>> print(path.loss[jnp.array([0, 40])].round(4))  # rank 1 can do half of it
    [0.5  0.25]
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array

from theorysim.numerics.gram import semidefinite
from theorysim.numerics.low_rank.arguments import (
    added,
    clip,
    matrix,
    one_dtype,
    rates,
    record_steps,
    start_and_target,
)
from theorysim.numerics.low_rank.losses import (
    Loss,
    check_loss,
    clip_share,
    diverged,
    mean_and_slopes,
    mean_loss,
    root,
    squared_error,
)
from theorysim.numerics.low_rank.records import AdapterPath
from theorysim.numerics.products import matmul
from theorysim.numerics.validation import positive_int, real

__all__ = ["adapter_dynamics", "half_mean_square", "norm", "rms"]


def adapter_dynamics(
    input_gram: ArrayLike,
    output_gram: ArrayLike,
    target: ArrayLike,
    P0: ArrayLike,
    Q0: ArrayLike,
    *,
    lr_a: ArrayLike,
    lr_b: ArrayLike,
    scale: ArrayLike = 1.0,
    momentum: ArrayLike = 0.0,
    weight_decay: ArrayLike = 0.0,
    clip_norm: ArrayLike | None = None,
    loss: Loss = squared_error,
    base: ArrayLike | None = None,
    steps: int,
    batch_size: int | None = None,
    key: Array | None = None,
    test_gram: ArrayLike | None = None,
    test_P0: ArrayLike | None = None,
    test_target: ArrayLike | None = None,
    test_base: ArrayLike | None = None,
    record_every: int = 1,
) -> AdapterPath:
    """Train both factors by gradient descent: exact for any width, rank, number of examples and outputs.

    Adam and sign descent do not close in P and Q: for one example and one output they are
    `adapter_dynamics_single`, for infinite width `sign_dynamics`, and otherwise nearly `width_proxy`.

    Args:
        input_gram: K_in = X'X, symmetric and positive semi-definite, (N, N).
        output_gram: K_out = W_out W_out', likewise, (k, k); the identity without a readout.
        target: Y, (k, N).
        P0: A X at the start, (r, N).
        Q0: W_out B at the start, (k, r).
        lr_a: rate of A, >= 0, a scalar.
        lr_b: rate of B, >= 0, a scalar.
        scale: s > 0, a scalar: alpha/r, or alpha/sqrt(r).
        momentum: of heavy-ball descent, in [0, 1), a scalar.
        weight_decay: >= 0, beside the velocity, a scalar.
        clip_norm: the most that the gradient of both factors together may measure, > 0, a scalar; longer ones
            are cut to it, before momentum. None for any length.
        loss: of one example, a function of f (k,) and y (k,) to a scalar that `jax.grad` takes; one function
            object compiles once (static).
        base: what the frozen layer puts out by itself, added to s Q P, (k, N); 0 by default.
        steps: >= 1 (static).
        batch_size: of mini-batches, drawn without repetition anew at every step; None for all (static).
        key: of the mini-batches.
        test_gram: X'X_test, (N, M).
        test_P0: A X_test at the start, (r, M).
        test_target: (k, M).
        test_base: (k, M); 0 by default.
        record_every: steps between records, which divides steps (static).

    Returns:
        AdapterPath of steps/record_every + 1 records. r N^2 + k r N + k^2 N operations a step.

    Raises:
        ValueError: an argument out of its range, shapes that do not match, a mini-batch without key, or only
            some of the test arguments.

    Example:
        >>> one = jnp.ones((1, 1))
        >>> path = adapter_dynamics(one, one, one, one, 0 * one, lr_a=0.1, lr_b=0.1, steps=2)
        >>> print(path.loss, path.deltas[1])
        [0.5        0.405      0.32666636] [0.0009  0.09    0.00081]
    """
    K_in, K_out = semidefinite(input_gram, "input_gram"), semidefinite(output_gram, "output_gram")
    Y, P, Q = start_and_target(target, P0, Q0, inputs=len(K_in), outputs=len(K_out))
    K_in, K_out, Y, P, Q = one_dtype(K_in, K_out, Y, P, Q)
    real(scale, "scale", low=0, low_open=True)
    real(momentum, "momentum", high=1, high_open=True)
    numbers = rates(Y.dtype, lr_a=lr_a, lr_b=lr_b, scale=scale, momentum=momentum, weight_decay=weight_decay)
    knobs = _Knobs(*numbers, clip_norm=clip(clip_norm, Y.dtype))
    check_loss(loss, Y)
    frozen = added(base, "base", Y)
    steps, record_every = record_steps(steps, record_every)
    if batch_size is not None:
        batch_size = positive_int(batch_size, "batch_size", maximum=len(K_in))
        if key is None:
            raise ValueError("key must be given to draw mini-batches, got None")
    test = _test_columns(test_gram, test_P0, test_target, test_base, Y, P)
    static = {"loss": loss, "steps": steps, "batch_size": batch_size, "every": record_every}
    return _dynamics(K_in, K_out, Y, frozen, P, Q, knobs, test, key, **static)


class _Knobs(NamedTuple):
    lr_a: Array
    lr_b: Array
    scale: Array
    momentum: Array
    weight_decay: Array
    clip_norm: Array | None


class _Test(NamedTuple):
    gram: Array
    P0: Array
    target: Array
    base: Array | None


class _State(NamedTuple):
    """P and the test columns side by side, Q, and their velocities."""

    P: Array
    Q: Array
    m_P: Array
    m_Q: Array


def _test_columns(test_gram, test_P0, test_target, test_base, Y, P):
    given = {"test_gram": test_gram, "test_P0": test_P0, "test_target": test_target}
    missing = [name for name, value in given.items() if value is None]
    if len(missing) == 3 and test_base is None:
        return None
    if missing:
        raise ValueError(f"{missing[0]} must be given with the other test arguments, got None")
    K, P_test, Y_test = (matrix(value, name, "(.., M)") for name, value in given.items())
    columns = K.shape[1]
    for name, value, rows in (
        ("test_gram", K, Y.shape[1]),
        ("test_P0", P_test, len(P)),
        ("test_target", Y_test, len(Y)),
    ):
        if value.shape != (rows, columns):
            raise ValueError(f"{name} must have shape ({rows}, {columns}), got {value.shape}")
    K, P_test, Y_test = (value.astype(Y.dtype) for value in (K, P_test, Y_test))
    return _Test(K, P_test, Y_test, added(test_base, "test_base", Y_test))


def half_mean_square(residual: Array) -> Array:
    """The loss |U|^2/(2N) of a residual (.., k, N).

    Example:
        >>> print(half_mean_square(jnp.ones((3, 2))))
        1.5
    """
    return (residual**2).sum((-2, -1)) / (2 * residual.shape[-1])


def norm(x: Array) -> Array:
    """Frobenius norm of a matrix, whose derivative at 0 is 0.

    Example:
        >>> print(norm(jnp.array([[3.0, 4.0]])))
        5.0
    """
    return root((x**2).sum())


def rms(x: Array) -> Array:
    """Root mean square of the entries, whose derivative at 0 is 0.

    Example:
        >>> print(rms(jnp.full((2, 2), -3.0)))
        3.0
    """
    return norm(x) / x.size**0.5


@partial(jax.jit, static_argnames=("loss", "steps", "batch_size", "every"))
def _dynamics(K_in, K_out, Y, base, P0, Q0, knobs, test, key, *, loss, steps, batch_size, every):
    n, s = Y.shape[1], knobs.scale
    # Test columns ride along: their features move with the same Q'U.
    wide_K = K_in if test is None else jnp.concatenate([K_in, test.gram], axis=1)
    wide_P = P0 if test is None else jnp.concatenate([P0, test.P0], axis=1)

    def outputs(Q, P, base):
        change = s * matmul(Q, P)
        return change if base is None else base + change

    # What the adapters start from, and what the layer does without them.
    marks = [mean_loss(loss, outputs(Q, P0, base), Y) for Q in (Q0, jnp.zeros_like(Q0))]

    def step(state, t):
        """The state after step t; loss, squared gradients and moves of this step."""
        P = state.P[:, :n]
        value, U = mean_and_slopes(loss, outputs(state.Q, P, base), Y)
        lost = diverged(value, *marks)
        rows = slice(None)
        if batch_size is not None:
            rows = jax.random.choice(jax.random.fold_in(key, t), n, (batch_size,), replace=False)
        share = s / (n if batch_size is None else batch_size)
        residual, K = U[:, rows], wide_K[rows]
        push = share * matmul(state.Q.T, residual)
        pull = share * matmul(residual, P[:, rows].T)
        g_P, g_Q = matmul(push, K), matmul(K_out, pull)
        # |g_A|^2 = tr(push K push') over the batch, |g_B|^2 = tr(pull' K_out pull).
        a, b = (push * g_P[:, :n][:, rows]).sum(), (pull * g_Q).sum()
        kept = clip_share(a + b, knobs.clip_norm)
        m_P, m_Q = knobs.momentum * state.m_P + kept * g_P, knobs.momentum * state.m_Q + kept * g_Q
        dP = -knobs.lr_a * (m_P + knobs.weight_decay * state.P)
        dQ = -knobs.lr_b * (m_Q + knobs.weight_decay * state.Q)
        new = _State(state.P + dP, state.Q + dQ, m_P, m_Q)
        new = jax.tree.map(lambda x: jnp.where(lost, jnp.nan, x), new)
        return new, (jnp.where(lost, jnp.nan, value), a, b, dP[:, :n], dQ)

    def record(state, t):
        new, (value, a, b, dP, dQ) = step(state, t)
        P, Q = state.P[:, :n], state.Q
        deltas = jnp.stack([norm(s * matmul(Q, dP)), norm(s * matmul(dQ, P)), norm(s * matmul(dQ, dP))])
        test_loss = None
        if test is not None:
            test_loss = mean_loss(loss, outputs(Q, state.P[:, n:], test.base), test.target)
        lost = jnp.isnan(value)
        seen = AdapterPath(value, test_loss, rms(P), rms(Q), deltas, root(a), root(b), P, Q)
        return new, jax.tree.map(lambda x: jnp.where(lost, jnp.nan, x), seen)

    def block(state, t):
        state, seen = record(state, t)
        if every > 1:
            state, _ = lax.scan(lambda x, i: (step(x, i)[0], None), state, t + jnp.arange(1, every))
        return state, seen

    state = _State(wide_P, Q0, jnp.zeros_like(wide_P), jnp.zeros_like(Q0))
    state, path = lax.scan(block, state, jnp.arange(0, steps, every))
    _, end = record(state, jnp.asarray(steps))
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b[None]]), path, end)
