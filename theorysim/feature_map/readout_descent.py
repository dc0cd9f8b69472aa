r"""Learning curves of the last layer: gradient descent on the readout of fixed features, solved.

From 0 at rate eta on (1/2) mean |f - y|^2, the residual along e_k is multiplied by 1 - eta rho_k each step.
With y = F w + noise of variance s2, beta = V'w, g_k = 1 - (1 - eta rho_k)^t and M_t = V'M_test V,

    train = sum rho_k beta_k^2 (1-g_k)^2 + (s2/n) sum g_k^2,
    test  = d'M_t d + (s2/n) sum_k (M_t)_kk g_k^2/rho_k,       d = -(1-g) beta,

both averaged over the noise, and against the function without it. Derived here.

Example:
    >>> x = jax.random.normal(jax.random.key(0), (2, 30, 20)) / jnp.arange(1.0, 21).reshape(1, 1, -1)
    >>> steps = jnp.array([0, 10, 100, 10_000])
    >>> risk = readout_risk(x[0], x[1], jnp.ones(20), steps=steps, lr=0.5, noise=1.0)
    >>> print(risk.test.round(2))  # early stopping pays
    [1.32 0.31 0.3  1.92]
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array

from theorysim.feature_map.arguments import feature_matrix
from theorysim.numerics.gram import check_finite
from theorysim.numerics.products import matmul
from theorysim.numerics.symmetric import cutoff, eigh
from theorysim.numerics.validation import floating, real, scalar

__all__ = ["Risk", "readout_risk"]


class Risk(NamedTuple):
    """Squared distance to the function without noise, averaged over the noise of the training labels.

    Attributes:
        train: over the training inputs.
        test: over the test inputs.
    """

    train: Array
    test: Array


def readout_risk(
    features: ArrayLike,
    test_features: ArrayLike,
    weights: ArrayLike,
    *,
    steps: ArrayLike,
    lr: ArrayLike,
    noise: ArrayLike = 0.0,
) -> Risk:
    """Risk of a readout after any number of steps of full-batch gradient descent from 0.

    Args:
        features: F, (n, p), used as they are (about 0).
        test_features: (m, p).
        weights: w of the target F w, (p,).
        steps: t >= 0, whole numbers of any shape.
        lr: eta > 0, a scalar; above 2/rho_1 the risk diverges, and is given.
        noise: variance s2 >= 0 of the labels, a scalar.

    Returns:
        Risk, each of the shape of steps. Cost p^3 once, and p^2 a step count.

    Raises:
        ValueError: an argument out of its range, or shapes that do not match.

    Example:
        >>> eye = jnp.eye(2)
        >>> print(*readout_risk(eye, eye, jnp.ones(2), steps=1, lr=1.0, noise=0.0))
        0.25 0.25
    """
    x, t = feature_matrix(features, minimum=1), feature_matrix(test_features, "test_features", minimum=1)
    if t.shape[1] != x.shape[1]:
        raise ValueError(f"test_features must have {x.shape[1]} columns, like features, got {t.shape}")
    w = floating(weights).astype(x.dtype)
    if w.shape != x.shape[1:]:
        raise ValueError(f"weights must have shape ({x.shape[1]},), one for each feature, got {w.shape}")
    check_finite(w, "weights")
    real(steps, "steps", low=0, high_open=True)
    real(scalar(lr, "lr"), "lr", low=0, low_open=True, high_open=True)
    real(scalar(noise, "noise"), "noise", low=0, high_open=True)
    steps, lr, noise = (jnp.asarray(v, x.dtype) for v in (steps, lr, noise))
    return _readout_risk(x, t.astype(x.dtype), w, steps, lr, noise)


@jax.jit
def _readout_risk(x, t, w, steps, lr, noise):
    n = len(x)
    rho, V = eigh(matmul(x.T, x) / n)
    kept = rho > cutoff(rho.dtype) * rho[0]
    rho = jnp.where(kept, rho, 0)
    beta = matmul(V.T, w)
    along = matmul(t, V)
    M_t = matmul(along.T, along) / len(t)

    def risk(step):
        # 1 - (1 - x)^t by the logarithm where it would cancel; beyond x = 1 the power alternates in sign.
        y = lr * rho
        below = y < 1
        slow = -jnp.expm1(step * jnp.log1p(-jnp.where(below, y, 0)))
        size, sign = jnp.where(below, 1, jnp.abs(1 - y)), jnp.where(step % 2 == 0, 1, -1)
        g = jnp.where(below, slow, 1 - jnp.where(y > 1, sign, 1) * size**step)
        d = -(1 - g) * beta
        train = (rho * d**2).sum() + noise / n * (g**2).sum()
        grown = jnp.where(kept, g**2 / jnp.where(kept, rho, 1), 0)
        return train, d @ M_t @ d + noise / n * (jnp.diagonal(M_t) * grown).sum()

    train, test = jax.lax.map(risk, steps.ravel())
    return Risk(train.reshape(steps.shape), test.reshape(steps.shape))
