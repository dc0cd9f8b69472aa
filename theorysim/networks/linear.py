r"""A linear classifier trained by full-batch gradient descent, which must arrive at ridge regression.

The network is one linear layer without bias, w = 0 at the start, and the loss of M label-aligned samples v
with weights omega and targets s is

    (1/2N) sum_i omega_i (w'v_i - s_i)^2 + (gamma/2) |w|^2.

With S = (1/N) sum omega v v', descent at the rate eta = 1 / lambda_max(S + gamma) approaches the minimiser
(S + gamma)^-1 b in every eigendirection of S by the factor 1 - eta (lambda + gamma) each step: in the time
t = eta * steps like exp(-t (gamma + lambda_min)) once eta is small against 1 / (gamma + lambda_min).

Model: A. El Firdoussi et al. (2024), arXiv 2410.08942.

Example:
    >>> v = jax.random.normal(jax.random.key(0), (40, 5)) + 0.5
    >>> run = train_linear(v, jnp.ones(40), jnp.ones(40), gamma=0.1, n_total=40, num_steps=300)
    >>> exact = jnp.linalg.solve(v.T @ v / 40 + 0.1 * jnp.eye(5), v.mean(axis=0))
    >>> run.w.shape, bool(jnp.allclose(run.w[-1], exact, atol=1e-6))
    ((301, 5), True)
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.networks.train import functional, train
from theorysim.numerics.products import matmul
from theorysim.numerics.validation import floating, positive_int, real, scalar

__all__ = ["LinearRun", "train_linear"]


class LinearRun(NamedTuple):
    """The weights after 0, r, 2r, ... steps (R, p), the loss at each of them (R,), and the step size."""

    w: Float[Array, "R p"]
    loss: Float[Array, " R"]
    step_size: Float[Array, ""]


def train_linear(
    v: ArrayLike,
    targets: ArrayLike,
    weights: ArrayLike,
    gamma: ArrayLike,
    n_total: ArrayLike,
    *,
    num_steps: int,
    record_every: int = 1,
    step_size: ArrayLike | None = None,
) -> LinearRun:
    """Train w on weighted least squares with a ridge, from zero.

    Args:
        v: label-aligned samples in rows, (M, p).
        targets: s, (M,).
        weights: omega >= 0, (M,); 0 for a pruned sample.
        gamma: ridge, >= 0; a scalar, as the next.
        n_total: N > 0, samples before pruning.
        num_steps: full-batch steps, >= 1 (static).
        record_every: steps between two records, which divides `num_steps` (static).
        step_size: eta > 0; by default 1 / lambda_max(S + gamma). Above twice that the run diverges, to
            inf and NaN.

    Returns:
        LinearRun with R = num_steps / record_every + 1, in the common dtype of the data. Batch over data sets
        by `jax.vmap`. Cost O(M p) a step.

    Raises:
        ValueError: shapes that do not fit together, or a number out of its range.

    Example:
        >>> data = jnp.ones((1, 1)), jnp.ones(1), jnp.ones(1)
        >>> run = train_linear(*data, 1.0, 1, num_steps=2, step_size=0.25)
        >>> print(run.w.ravel(), run.loss)
        [0.    0.25  0.375] [0.5      0.3125   0.265625]
    """
    v, targets, weights = floating(v), floating(targets), floating(weights)
    if v.ndim != 2 or not v.size:
        raise ValueError(f"v must have shape (M, p) with M, p >= 1, got {v.shape}")
    for name, value in (("targets", targets), ("weights", weights)):
        if value.shape != (len(v),):
            raise ValueError(f"{name} must have shape ({len(v)},), got {value.shape}")
    real(weights, "weights", low=0, high_open=True)
    real(scalar(gamma, "gamma"), "gamma", low=0, high_open=True)
    real(scalar(n_total, "n_total"), "n_total", low=0, low_open=True, high_open=True)
    num_steps = positive_int(num_steps, "num_steps")
    record_every = positive_int(record_every, "record_every")
    if num_steps % record_every:
        raise ValueError(f"record_every must divide num_steps = {num_steps}, got {record_every}")
    dtype = jnp.result_type(v, targets, weights)
    data = (jnp.asarray(x, dtype) for x in (v, targets, weights, gamma, n_total))
    if step_size is not None:
        real(scalar(step_size, "step_size"), "step_size", low=0, low_open=True)
        step_size = jnp.asarray(step_size, dtype)
    return _train(*data, step_size, num_steps=num_steps, record_every=record_every)


@partial(jax.jit, static_argnames=("num_steps", "record_every"))
def _train(v, targets, weights, gamma, n_total, step_size, num_steps, record_every):
    p = v.shape[1]
    network = functional(
        nnx.Linear(
            p,
            1,
            use_bias=False,
            kernel_init=nnx.initializers.zeros_init(),
            precision="highest",
            dtype=v.dtype,
            param_dtype=v.dtype,
            rngs=nnx.Rngs(0),
        )
    )

    def loss(params, batch=None):
        residual = network.apply(params, v)[:, 0] - targets
        penalty = sum(jnp.vdot(w, w) for w in jax.tree.leaves(params))
        return (weights * residual**2).sum() / (2 * n_total) + gamma / 2 * penalty

    def metrics(params):
        # w is what the network answers to the unit vectors.
        return network.apply(params, jnp.eye(p, dtype=v.dtype))[:, 0], loss(params)

    if step_size is None:
        second = matmul(v.T, weights[:, None] * v) / n_total
        step_size = 1 / (jnp.linalg.eigvalsh(second)[-1] + gamma)
    run = train(
        loss,
        network.params,
        optax.sgd(step_size),
        num_steps=num_steps,
        metrics=metrics,
        record_every=record_every,
    )
    w, losses = run.metrics
    return LinearRun(w, losses, step_size)
