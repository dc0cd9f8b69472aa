r"""Ensembles stopped early: t steps of gradient descent without ridge, in place of convergence.

After t steps of size eta on |f - y|^2/2 the network is f_0 + W'(y + e - f_0) with

    W = T^-1 (I - (I - eta T)^t) T_Dq = eta sum_{s < t} (I - eta T)^s T_Dq,

and everything else is as in `ntk`. Leaving a record out has no closed form here: its residual is masked in
every step. But all n runs go together, as one n x n product a step. J. Lee et al. (2019), arXiv 1902.06720.

Example:
    >>> from theorysim.lood.kernels import mlp
    >>> x = jnp.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    >>> K, T = (mlp("relu", depth=2, sw2=2.0, sb2=0.1, get=get)(x, x) for get in ("nngp", "ntk"))
    >>> y = jnp.array([1.0, -1.0, 1.0])
    >>> for steps in (1, 10, 100):
    ...     law = early_stopped_leave_one_out(K, T, y, steps=steps, step_size=0.1)
    ...     print(steps, law.var_in.round(4), law.var_out.round(4))
    1 [0.2759 0.2056 0.1058] [0.8286 0.6974 0.5064]
    10 [0.0031 0.0067 0.011 ] [0.5705 0.3341 0.1501]
    100 [0. 0. 0.] [0.5253 0.3083 0.1497]
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array

from theorysim.lood.ntk import linear_covariance
from theorysim.lood.records import PairMoments
from theorysim.lood.tangent_arguments import tangent_queries, tangent_records
from theorysim.numerics.gp import Posterior
from theorysim.numerics.products import matmul
from theorysim.numerics.validation import is_traced, positive_int, real, scalar

__all__ = ["early_stopped_leave_one_out", "early_stopped_posterior"]


def early_stopped_posterior(
    nngp: ArrayLike,
    ntk: ArrayLike,
    nngp_cross: ArrayLike,
    ntk_cross: ArrayLike,
    query_gram: ArrayLike,
    y: ArrayLike,
    *,
    steps: int,
    step_size: ArrayLike,
    label_noise: ArrayLike = 0.0,
) -> Posterior:
    """Law of the outputs of an ensemble stopped after a number of steps, at any queries.

    Args:
        nngp: K between records, (n, n).
        ntk: T between records, (n, n).
        nngp_cross: K between queries and records, (q, n).
        ntk_cross: T between queries and records, (q, n).
        query_gram: K between queries, (q, q).
        y: labels, (n, k) or (n,).
        steps: t >= 1 (static).
        step_size: eta in (0, 2/largest eigenvalue of T), a scalar.
        label_noise: variance sn >= 0 of noise on the labels, a scalar.

    Returns:
        Posterior with mean (q, k) and cov (q, q), by one eigendecomposition for any number of steps.

    Raises:
        ValueError: an argument out of its range, or shapes that do not match.

    Example:
        >>> one = jnp.ones((1, 1))
        >>> law = early_stopped_posterior(one, one, one, one, one, one, steps=2, step_size=0.5)
        >>> print(law.mean, law.cov)
        [[0.75]] [[0.0625]]
    """
    K, T, y, label_noise = tangent_records(nngp, ntk, y, label_noise)
    queries = tangent_queries(nngp_cross, ntk_cross, query_gram, len(y), y.dtype)
    steps, step_size = _schedule(T, steps, step_size)
    return _posterior(K, T, *queries, y, label_noise, step_size, steps=steps)


def early_stopped_leave_one_out(
    nngp: ArrayLike,
    ntk: ArrayLike,
    y: ArrayLike,
    *,
    steps: int,
    step_size: ArrayLike,
    label_noise: ArrayLike = 0.0,
) -> PairMoments:
    """Outputs at every record of ensembles trained with and without it, stopped after the same steps.

    Args:
        nngp: K between records, (n, n).
        ntk: T between records, (n, n).
        y: labels, (n, k) or (n,).
        steps: t >= 1 (static).
        step_size: eta in (0, 2/largest eigenvalue of T), a scalar.
        label_noise: variance sn >= 0 of noise on the labels, a scalar.

    Returns:
        PairMoments. Cost 2 t n^3, memory 5 n^2.

    Raises:
        ValueError: an argument out of its range, or shapes that do not match.

    Example:
        >>> eye = jnp.eye(2)
        >>> law = early_stopped_leave_one_out(eye, eye, jnp.ones(2), steps=1, step_size=0.5)
        >>> print(law.var_out, law.var_in)
        [1. 1.] [0.25 0.25]
    """
    K, T, y, label_noise = tangent_records(nngp, ntk, y, label_noise)
    steps, step_size = _schedule(T, steps, step_size)
    return _leave_one_out(K, T, y, label_noise, step_size, steps=steps)


@partial(jax.jit, static_argnames="steps")
def _posterior(K, T, K_cross, T_cross, query_gram, y, label_noise, step_size, *, steps):
    values, vectors = jnp.linalg.eigh((T + T.T) / 2)
    positive = values > 0
    safe = jnp.where(positive, values, 1)
    # 1 - (1 - x)^t by the logarithm where it would cancel; beyond x = 1 the power alternates in sign.
    x = step_size * safe
    below = x < 1
    slow = -jnp.expm1(steps * jnp.log1p(-jnp.where(below, x, 0)))
    filtered = jnp.where(below, slow, 1 - jnp.where(below, 0, 1 - x) ** steps) / safe
    # An eigenvalue that is 0 but for rounding grows by eta a step.
    filtered = jnp.where(positive, filtered, steps * step_size)
    W = matmul(vectors, filtered[:, None] * matmul(vectors.T, T_cross.T))
    return Posterior(matmul(W.T, y), linear_covariance(W, K, K_cross, query_gram, label_noise))


@partial(jax.jit, static_argnames="steps")
def _leave_one_out(K, T, y, label_noise, step_size, *, steps):
    n = len(y)

    def moments(mask) -> tuple[Array, Array]:
        """Mean and variance at record i of the run whose residual is masked by column i."""

        def step(state, _):
            W, moved = state
            return (W + step_size * moved, moved - step_size * mask * matmul(T, moved)), None

        W = lax.scan(step, (jnp.zeros_like(T), mask * T), length=steps)[0][0]
        variance = jnp.diagonal(K) - 2 * (K * W).sum(0) + (W * matmul(K, W)).sum(0)
        return matmul(W.T, y), variance + label_noise * (W**2).sum(0)

    out, inside = moments(1 - jnp.eye(n, dtype=y.dtype)), moments(jnp.ones_like(T))
    return PairMoments(*out, *inside)


def _schedule(T, steps, step_size):
    steps = positive_int(steps, "steps")
    real(scalar(step_size, "step_size"), "step_size", low=0, low_open=True, high_open=True)
    step_size = jnp.asarray(step_size, T.dtype)
    if not is_traced((T, step_size)):
        bound = 2 / float(jnp.linalg.eigvalsh((T + T.T) / 2)[-1])
        if step_size >= bound:
            raise ValueError(
                f"step_size must be in (0, {bound:.6g}), below 2/(largest eigenvalue of ntk), "
                f"got {float(step_size):g}"
            )
    return steps, step_size
