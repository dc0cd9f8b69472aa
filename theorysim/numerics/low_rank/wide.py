r"""Signs and Adam on a low-rank adapter over several examples: the limit of many inputs, and a narrow proxy.

For inputs whose rows are Gaussian with covariance Sigma over the examples, K_in = n Sigma, and with G = Q'U,
a plain output without readout moves under sign descent by

    P_row <- P_row - lr_a n sqrt(2/pi) g Sigma / sqrt(g Sigma g'),   g a row of G,
    Q <- Q - lr_b sign(U P'),

the sum of n signs times correlated Gaussians being replaced by its mean; the loss of 40 steps errs by 1e-2,
3e-3 and 1e-4 at n = 1e3, 1e4 and 1e5. Adam does not close. Its sums over n inputs are n/J times those over J
<< n of the same law, so a layer of width J at the rate lr_a n/J is a proxy, up to errors of order J^(-1/2).
Derived here.

Example:
    >>> P0, Q0 = jnp.array([[1.0, -0.5]]), jnp.zeros((2, 1))
    >>> path = sign_dynamics(jnp.eye(2), 1e6, jnp.eye(2), P0, Q0, lr_a=1e-7, lr_b=0.1, steps=5)
    >>> print(path.loss.round(3))
    [0.5   0.431 0.367 0.313 0.276 0.26 ]
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array

from theorysim.numerics.gram import semidefinite
from theorysim.numerics.low_rank.arguments import one_dtype, rates, record_steps, start_and_target
from theorysim.numerics.low_rank.dense import DenseKnobs, Optimizer, train_weights
from theorysim.numerics.low_rank.descent import half_mean_square, norm, rms
from theorysim.numerics.low_rank.losses import Loss, check_loss, diverged, squared_error
from theorysim.numerics.low_rank.records import AdapterPath
from theorysim.numerics.products import matmul
from theorysim.numerics.symmetric import cutoff, eigh
from theorysim.numerics.validation import choice, positive_int, real

__all__ = ["sign_dynamics", "width_proxy"]


def sign_dynamics(
    covariance: ArrayLike,
    width: ArrayLike,
    target: ArrayLike,
    P0: ArrayLike,
    Q0: ArrayLike,
    *,
    lr_a: ArrayLike,
    lr_b: ArrayLike,
    scale: ArrayLike = 1.0,
    steps: int,
) -> AdapterPath:
    """Train both factors by the signs of the gradients: asymptotic in the number of inputs.

    Args:
        covariance: Sigma of the rows of X over the examples, (N, N).
        width: number n of inputs, > 0, a scalar; only lr_a n matters.
        target: Y, (k, N).
        P0: A X at the start, (r, N).
        Q0: B at the start, (k, r); outputs are counted one by one, without a readout.
        lr_a: rate of A, >= 0, a scalar.
        lr_b: rate of B, >= 0, a scalar.
        scale: s > 0, a scalar.
        steps: >= 1 (static).

    Returns:
        AdapterPath of steps + 1 records, without gradient norms.

    Raises:
        ValueError: an argument out of its range, or shapes that do not match.

    Example:
        >>> one = jnp.ones((1, 1))
        >>> print(sign_dynamics(one, 1e3, one, one, 0 * one, lr_a=1e-4, lr_b=0.1, steps=2).loss)
        [0.5        0.405      0.30736117]
    """
    Sigma = semidefinite(covariance, "covariance")
    Y, P, Q = start_and_target(target, P0, Q0, inputs=len(Sigma))
    Sigma, Y, P, Q = one_dtype(Sigma, Y, P, Q)
    for name, value in (("width", width), ("scale", scale)):
        real(value, name, low=0, low_open=True)
    knobs = _Knobs(*rates(Y.dtype, width=width, lr_a=lr_a, lr_b=lr_b, scale=scale))
    return _sign_dynamics(Sigma, Y, P, Q, knobs, steps=positive_int(steps, "steps"))


def width_proxy(
    key: Array,
    covariance: ArrayLike,
    width: ArrayLike,
    target: ArrayLike,
    P0: ArrayLike,
    Q0: ArrayLike,
    *,
    proxy_width: int,
    lr_a: ArrayLike,
    lr_b: ArrayLike,
    scale: ArrayLike = 1.0,
    optimizer: Optimizer,
    momentum: ArrayLike = 0.0,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    epsilon: ArrayLike = 0.0,
    weight_decay: ArrayLike = 0.0,
    loss: Loss = squared_error,
    steps: int,
    record_every: int = 1,
) -> AdapterPath:
    """Train a layer of J inputs in place of one of n, with the same starts: nearly the same training.

    The J inputs are drawn with their Gram exactly J Sigma, from A of the least norm that has P0, at lr_a n/J
    and J/n times the weight decay of A. Gradient descent is then exact; under Adam and signs the error is of
    order J^(-1/2), beside the n^(-1/2) by which a layer of n Gaussian inputs scatters itself. Repeat with
    other keys to see it.

    Args:
        key: PRNG key of the inputs.
        covariance: Sigma = K_in/n of Gaussian rows of X over the examples, (N, N).
        width: number n of inputs, > 0, a scalar.
        target: Y, (k, N).
        P0: A X at the start, (r, N), in the row space of Sigma.
        Q0: B at the start, (k, r); outputs are counted one by one, without a readout.
        proxy_width: J >= max(r, N) (static).
        lr_a: rate of A in the layer of n inputs, >= 0, a scalar.
        lr_b: rate of B, >= 0, a scalar.
        scale: s > 0, a scalar.
        optimizer: "sgd" (with momentum), "adam" or "sign" (static).
        momentum: of "sgd", in [0, 1), a scalar.
        b1: of "adam", in [0, 1), a scalar.
        b2: of "adam", in [0, 1), a scalar.
        epsilon: of "adam", >= 0, a scalar; of gradients whose size no width changes.
        weight_decay: decoupled, >= 0, a scalar.
        loss: of one example, a function of f (k,) and y (k,) to a scalar that `jax.grad` takes (static).
        steps: >= 1 (static).
        record_every: steps between records, which divides steps (static).

    Returns:
        AdapterPath of steps/record_every + 1 records; `grad_norm_a` is that of the n inputs.

    Raises:
        ValueError: an argument out of its range, or shapes that do not match.

    Example:
        >>> one, P0 = jnp.ones((1, 1)), jnp.array([[1.0], [-0.5]])
        >>> path = width_proxy(
        ...     jax.random.key(0), one, 1e9, one, P0, 0 * P0.T, proxy_width=64,
        ...     lr_a=2e-10, lr_b=0.2, optimizer="sgd", steps=20,
        ... )
        >>> print(f"{path.loss[-1]:.4f}")
        0.0000
    """
    Sigma = semidefinite(covariance, "covariance")
    Y, P, Q = start_and_target(target, P0, Q0, inputs=len(Sigma))
    Sigma, Y, P, Q = one_dtype(Sigma, Y, P, Q)
    narrow = positive_int(proxy_width, "proxy_width", minimum=max(P.shape))
    optimizer = choice(optimizer, "optimizer", ("sgd", "adam", "sign"))
    for name, value in (("width", width), ("scale", scale)):
        real(value, name, low=0, low_open=True)
    for name, value in (("momentum", momentum), ("b1", b1), ("b2", b2)):
        real(value, name, high=1, high_open=True)
    check_loss(loss, Y)
    steps, record_every = record_steps(steps, record_every)
    n, lr_a, lr_b, scale, momentum, b1, b2, epsilon, decay = rates(
        Y.dtype,
        width=width,
        lr_a=lr_a,
        lr_b=lr_b,
        scale=scale,
        momentum=momentum,
        b1=b1,
        b2=b2,
        epsilon=epsilon,
        weight_decay=weight_decay,
    )
    share = n / narrow
    knobs = DenseKnobs(lr_a * share, lr_b, scale, momentum, b1, b2, epsilon, decay / share, decay, None)
    X, A = _narrow_layer(key, Sigma, P, width=narrow)
    eye, static = jnp.eye(len(Y), dtype=Y.dtype), {"optimizer": optimizer, "loss": loss}
    path = train_weights(X, eye, Y, jnp.zeros_like(Y), A, Q, knobs, **static, steps=steps, every=record_every)
    return path._replace(grad_norm_a=path.grad_norm_a * jnp.sqrt(share))


class _Knobs(NamedTuple):
    width: Array
    lr_a: Array
    lr_b: Array
    scale: Array


@partial(jax.jit, static_argnames="steps")
def _sign_dynamics(Sigma, Y, P0, Q0, knobs, *, steps):
    s = knobs.scale
    reach = knobs.lr_a * knobs.width * (2 / jnp.pi) ** 0.5
    first, zero = half_mean_square(s * matmul(Q0, P0) - Y), half_mean_square(Y)

    def step(state, _):
        P, Q = state
        U = s * matmul(Q, P) - Y
        G = matmul(Q.T, U)
        along = matmul(G, Sigma)
        square = (along * G).sum(1, keepdims=True)
        moved = square > 0
        dP = -reach * jnp.where(moved, along / jnp.sqrt(jnp.where(moved, square, 1)), 0)
        dQ = -knobs.lr_b * jnp.sign(matmul(U, P.T))
        deltas = jnp.stack([norm(s * matmul(Q, dP)), norm(s * matmul(dQ, P)), norm(s * matmul(dQ, dP))])
        loss = half_mean_square(U)
        lost = diverged(loss, first, zero)
        seen = AdapterPath(loss, None, rms(P), rms(Q), deltas, None, None, P, Q)
        return jax.tree.map(lambda x: jnp.where(lost, jnp.nan, x), ((P + dP, Q + dQ), seen))

    return lax.scan(step, (P0, Q0), None, length=steps + 1)[1]


@partial(jax.jit, static_argnames="width")
def _narrow_layer(key, Sigma, P0, *, width):
    """Inputs X (J, N) with X'X = J Sigma, else Gaussian, and the least A with A X = P0."""
    G = jax.random.normal(key, (width, len(Sigma)), Sigma.dtype)
    values, vectors = eigh(matmul(G.T, G))
    white = matmul(G, matmul(vectors / jnp.sqrt(values)[None], vectors.T))
    values, vectors = eigh(Sigma)
    kept = values > cutoff(values.dtype) * values[0]
    size = jnp.sqrt(width * jnp.where(kept, values, 1))
    X = matmul(white, matmul(vectors * jnp.where(kept, size, 0)[None], vectors.T))
    A = matmul(matmul(P0, vectors) * jnp.where(kept, 1 / size, 0)[None], matmul(vectors.T, white.T))
    return X, A
