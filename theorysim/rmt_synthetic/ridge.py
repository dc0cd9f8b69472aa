r"""The ridge classifier of a given training set, also stopped early, and the moments of its score.

With M samples v = y x in the rows of V, their weights Omega and targets s,

    S = V' Omega V / N,    b = V' Omega s / N,    w = (S + gamma)^-1 b,

where N counts the pruned samples, whether they are among the rows (with weight 0) or left out. Descent of
(1/2N) sum omega (w'v - s)^2 + (gamma/2) |w|^2 from w = 0 applies another filter to the eigenvalues l of S:

    ridge               1 / (l+gamma),
    flow for a time t   (1 - exp(-t (l+gamma))) / (l+gamma),
    k steps of eta      (1 - (1 - eta (l+gamma))^k) / (l+gamma).

The targets may be vectors (one-hot classes), on features that are not aligned with their labels. The score
w'x of any w on Gaussian data has mean mu'w and variance w'Cw: no test set is ever drawn. Model: A. El
Firdoussi et al. (2024), arXiv 2410.08942. The filters are standard; A. Ali et al., arXiv 1810.10082.

Example:
    >>> from theorysim.rmt_synthetic.score import test_accuracy
    >>> mu = jnp.full(20, 0.3)
    >>> v = mu[None] + jax.random.normal(jax.random.key(0), (50, 20))
    >>> w = ridge_classifier(v, jnp.ones(50), jnp.ones(50), gamma=0.5, n_total=50)
    >>> mean, var = score_moments(w, mu)
    >>> print(f"{test_accuracy(mean, var):.2f}, at best {test_accuracy(mu @ mu, mu @ mu):.2f}")
    0.85, at best 0.91
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import cho_factor, cho_solve
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.numerics.products import matmul
from theorysim.numerics.validation import floating, is_traced, real, scalar
from theorysim.rmt_synthetic.score import Moments

__all__ = ["gradient_descent_classifier", "gradient_flow_classifier", "ridge_classifier", "score_moments"]


def ridge_classifier(
    v: ArrayLike, targets: ArrayLike, weights: ArrayLike, gamma: ArrayLike, n_total: ArrayLike
) -> Float[Array, "p *L"]:
    """The minimiser of (1/2N) sum omega (w'v - s)^2 + (gamma/2) |w|^2.

    Args:
        v: label-aligned samples in rows, (M, p).
        targets: s, (M,) or (M, L) for L outputs.
        weights: omega >= 0, (M,); 0 for a pruned sample.
        gamma: ridge, > 0; a scalar.
        n_total: N > 0, samples before pruning; a scalar. The sums are over the M rows only.

    Returns:
        w of shape (p,) or (p, L), in the common dtype of v, targets and weights; differentiable in all of
        them. Cost O(M p min(M, p)): p equations by Cholesky, or M equations if M < p.

    Raises:
        ValueError: shapes that do not fit together, or a number out of its range.

    Example:
        >>> print(ridge_classifier(jnp.ones((1, 2)), jnp.ones(1), jnp.ones(1), gamma=1.0, n_total=1))
        [0.33333333 0.33333333]
    """
    data = _checked(v, targets, weights, gamma, n_total, least=0, least_open=True)
    return _ridge(*data)


def gradient_flow_classifier(
    v: ArrayLike,
    targets: ArrayLike,
    weights: ArrayLike,
    gamma: ArrayLike,
    n_total: ArrayLike,
    times: ArrayLike,
) -> Float[Array, "T p *L"]:
    """Gradient flow from w = 0 on the loss of `ridge_classifier`, stopped at each of several times.

    Args:
        v: label-aligned samples in rows, (M, p).
        targets: (M,) or (M, L).
        weights: omega >= 0, (M,).
        gamma: ridge, >= 0; a scalar.
        n_total: N > 0; a scalar.
        times: (T,), >= 0. Infinity gives the minimiser, if gamma > 0.

    Returns:
        (T, p) or (T, p, L), by one eigendecomposition for all times, of order min(M, p). Differentiable in
        targets, gamma, n_total and times; in v and weights only if no two eigenvalues of S are equal.

    Raises:
        ValueError: shapes that do not fit together, or a number out of its range.

    Example:
        >>> data = jnp.ones((1, 1)), jnp.ones(1), jnp.ones(1)
        >>> gradient_flow_classifier(*data, 1.0, 1, jnp.array([0.0, 0.5])).ravel().round(4)
        Array([0.    , 0.3161], dtype=float64)
    """
    data = _checked(v, targets, weights, gamma, n_total, least=0)
    return _flow(*data, _along("times", times, data.v.dtype))


def gradient_descent_classifier(
    v: ArrayLike,
    targets: ArrayLike,
    weights: ArrayLike,
    gamma: ArrayLike,
    n_total: ArrayLike,
    steps: ArrayLike,
    *,
    step_size: ArrayLike | None = None,
) -> Float[Array, "T p *L"]:
    """Full-batch gradient descent from w = 0 on the loss of `ridge_classifier`, after each of several counts.

    Args:
        v: label-aligned samples in rows, (M, p).
        targets: (M,) or (M, L).
        weights: omega >= 0, (M,).
        gamma: ridge, >= 0; a scalar.
        n_total: N > 0; a scalar.
        steps: (T,) whole numbers k >= 0 of steps taken.
        step_size: eta > 0, a scalar; by default 1 / (largest eigenvalue of S + gamma). Descent diverges above
            twice that.

    Returns:
        (T, p) or (T, p, L); cost and derivatives as of `gradient_flow_classifier`.

    Raises:
        ValueError: shapes that do not fit together, or a number out of its range.

    Example:
        >>> data = jnp.ones((1, 1)), jnp.ones(1), jnp.ones(1)
        >>> print(gradient_descent_classifier(*data, 1.0, 1, jnp.arange(3), step_size=0.25).ravel())
        [0.    0.25  0.375]
    """
    data = _checked(v, targets, weights, gamma, n_total, least=0)
    steps = _along("steps", steps, data.v.dtype)
    if not is_traced(steps) and (np.asarray(steps) % 1).any():
        raise ValueError(f"steps must be whole numbers, got {steps.tolist()}")
    if step_size is None:
        return _descent(*data, steps, None)
    real(scalar(step_size, "step_size"), "step_size", low=0, low_open=True, high_open=True)
    return _descent(*data, steps, jnp.asarray(step_size, data.v.dtype))


def score_moments(w: ArrayLike, mu: ArrayLike, cov: ArrayLike | None = None) -> Moments:
    """Moments of the score w'x on test points N(mu, C) of class +1: mu'w and w'Cw, exact for every w.

    Args:
        w: classifiers (*batch, p).
        mu: class mean (p,).
        cov: C as eigenvalues (p,) in the basis of w and mu, or as a matrix (p, p); I by default.

    Returns:
        Moments of shape batch, which `test_accuracy` and `test_risk` take.

    Raises:
        ValueError: shapes that do not fit together.

    Example:
        >>> mean, var = score_moments(jnp.array([[1.0, 0.0], [1.0, 1.0]]), jnp.array([1.0, 0.5]))
        >>> mean.tolist(), var.tolist()
        ([1.0, 1.5], [1.0, 2.0])
    """
    w, mu = floating(w), floating(mu)
    if mu.ndim != 1 or not w.ndim or w.shape[-1] != mu.size:
        raise ValueError(f"mu must be a vector as long as the last axis of w, got {mu.shape} for {w.shape}")
    cov = None if cov is None else floating(cov)
    p = mu.size
    if cov is not None and cov.shape not in ((p,), (p, p)):
        raise ValueError(f"cov must have shape {(p,)} or {(p, p)}, got {cov.shape}")
    return _score_moments(w, mu, cov)


class _Data(NamedTuple):
    v: Float[Array, "M p"]
    targets: Float[Array, "M *L"]
    weights: Float[Array, " M"]
    gamma: Float[Array, ""]
    n_total: Float[Array, ""]


def _checked(v, targets, weights, gamma, n_total, **gamma_range) -> _Data:
    v, targets, weights = floating(v), floating(targets), floating(weights)
    if v.ndim != 2 or not v.shape[1]:
        raise ValueError(f"v must have shape (M, p) with p >= 1, got {v.shape}")
    if targets.ndim not in (1, 2) or len(targets) != len(v):
        raise ValueError(f"targets must have shape ({len(v)},) or ({len(v)}, L), got {targets.shape}")
    if weights.shape != (len(v),):
        raise ValueError(f"weights must have shape ({len(v)},), got {weights.shape}")
    real(weights, "weights", low=0, high_open=True)
    least, least_open = gamma_range["least"], gamma_range.get("least_open", False)
    real(scalar(gamma, "gamma"), "gamma", low=least, low_open=least_open, high_open=True)
    real(scalar(n_total, "n_total"), "n_total", low=0, low_open=True, high_open=True)
    dtype = jnp.result_type(v, targets, weights)
    return _Data(*(jnp.asarray(x, dtype) for x in (v, targets, weights, gamma, n_total)))


def _along(name: str, values: ArrayLike, dtype) -> Float[Array, " T"]:
    real(values, name, low=0)
    values = jnp.asarray(values, dtype)
    if values.ndim != 1:
        raise ValueError(f"{name} must be a vector, got shape {values.shape}")
    return values


@jax.jit
def _ridge(v, targets, weights, gamma, n_total):
    M, p = v.shape
    weighted = _rows(weights, v) / n_total
    if M >= p:
        matrix = matmul(v.T, weighted) + gamma * jnp.eye(p, dtype=v.dtype)
        return cho_solve(cho_factor(matrix), matmul(weighted.T, targets))
    # (gamma + Omega V V'/N) a = Omega s / N, w = V'a. A symmetric system would need roots of
    # the weights, which are not differentiable at 0, the weight of every pruned sample.
    matrix = matmul(weighted, v.T) + gamma * jnp.eye(M, dtype=v.dtype)
    return matmul(v.T, jnp.linalg.solve(matrix, _rows(weights, targets) / n_total))


@jax.jit
def _flow(v, targets, weights, gamma, n_total, times):
    values, vectors = _spectrum(v, weights, n_total)
    rate = values + gamma
    safe = jnp.where(rate > 0, rate, 1)[None]
    gain = -jnp.expm1(-times[:, None] * safe) / safe
    return _apply_gain(jnp.where(rate[None] > 0, gain, times[:, None]), vectors, v, targets, weights, n_total)


@jax.jit
def _descent(v, targets, weights, gamma, n_total, steps, step_size):
    values, vectors = _spectrum(v, weights, n_total)
    rate = values + gamma
    step_size = 1 / rate[-1] if step_size is None else step_size
    safe = jnp.where(rate > 0, rate, 1)[None]
    x, k = step_size * safe, steps[:, None]
    # By the logarithm where 1 - (1 - x)^k would cancel; beyond x = 1 the power alternates in sign.
    below = x < 1
    monotone = -jnp.expm1(k * jnp.log1p(-jnp.where(below, x, 0)))
    swinging = 1 - (1 - 2 * (k % 2)) * jnp.where(below, 1, x - 1) ** k
    gain = jnp.where(below, monotone, swinging) / safe
    gain = jnp.where(rate[None] > 0, gain, step_size * k)
    return _apply_gain(gain, vectors, v, targets, weights, n_total)


def _spectrum(v, weights, n_total):
    """Eigenvalues >= 0 and eigenvectors of S, or of its twin of order M if M < p."""
    scaled = jnp.sqrt(weights)[:, None] * v
    matrix = matmul(scaled.T, scaled) if v.shape[0] >= v.shape[1] else matmul(scaled, scaled.T)
    values, vectors = jnp.linalg.eigh(matrix / n_total)
    # Rounding may push a zero eigenvalue below zero.
    return jnp.maximum(values, 0), vectors


def _apply_gain(gain, vectors, v, targets, weights, n_total):
    """Sum of gain * u u'b over the eigenvectors u of S, for each row of gains."""
    if v.shape[0] >= v.shape[1]:
        basis, start = vectors, matmul(v.T, _rows(weights, targets)) / n_total
    else:
        root = jnp.sqrt(weights)
        basis, start = matmul((root[:, None] * v).T, vectors), _rows(root, targets) / n_total
    coordinates = matmul(vectors.T, start)[None]
    if targets.ndim == 1:
        return matmul(gain * coordinates, basis.T)
    return matmul(basis[None], gain[:, :, None] * coordinates)


def _rows(weights, x):
    return weights.reshape(-1, *(1,) * (x.ndim - 1)) * x


@jax.jit
def _score_moments(w, mu, cov):
    if cov is None:
        weighted = w
    else:
        weighted = w * jnp.broadcast_to(cov, w.shape) if cov.ndim == 1 else matmul(w, cov)
    return Moments(matmul(w, mu), (weighted * w).sum(-1))
