r"""Verifiers trained as real models: how strong is one that has seen k clean samples?

A linear model w is fitted on k clean samples that nobody else uses. It keeps a synthetic sample iff it agrees
with the label, label * (w'x) > theta. Its strength is measured, not assumed:

    phi = share of right labels kept,      rho = share of wrong labels kept.

Two fits, both with the penalty (ridge/2) |w|^2 on top of the mean loss of the k samples: least squares, for
any number of classes, and logistic regression

    min_w  (1/k) sum_i log(1 + exp(-y_i w'x_i)) + (ridge/2) |w|^2

by Newton's method with a line search. On Gaussian data a fitted w is the `direction` of `linear_verifier`,
whose theory then predicts the result. Verifiers of several strengths are the subject of A. El Firdoussi et
al. (2024), arXiv 2410.08942.

Example:
    >>> mu = 1.5 * jnp.eye(30)[0]
    >>> key, noise_key = jax.random.split(jax.random.key(0))
    >>> y = jax.random.rademacher(key, (4000,), float)
    >>> x = y[:, None] * mu[None] + jax.random.normal(noise_key, (4000, 30))
    >>> labels = jnp.where(jnp.arange(4000) % 5 == 0, -y, y)  # 20 % wrong
    >>> def strength(k):
    ...     w = logistic_verifier(x, y, jnp.arange(4000) < k, ridge=0.1)
    ...     return measured_rates(agrees(w, x[2000:], labels[2000:]), labels[2000:], y[2000:])
    >>> few, many = strength(20), strength(2000)
    >>> print(f"{few.phi:.2f} {few.rho:.2f}, {many.phi:.2f} {many.rho:.2f}")
    0.89 0.09, 0.92 0.04
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.linalg import cho_factor, cho_solve
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from theorysim.numerics.products import matmul
from theorysim.numerics.validation import floating, is_traced, real, scalar
from theorysim.rmt_synthetic.ridge import ridge_classifier
from theorysim.rmt_synthetic.verifier import KeepRates

__all__ = ["agrees", "least_squares_verifier", "logistic_verifier", "measured_rates"]

# Newton's method needs about ten steps; its line search tries full steps down to 2^-15.
_NEWTON_STEPS, _STEP_SIZES = 30, 16


def logistic_verifier(
    x: ArrayLike, labels: ArrayLike, used: ArrayLike, ridge: ArrayLike
) -> Float[Array, " p"]:
    """Fit logistic regression without intercept on the clean samples marked in `used`.

    Args:
        x: features (M, p); append a column of ones for an intercept, which is then penalised too.
        labels: clean labels (M,), +1 or -1.
        used: which samples the verifier may see (M,), 0 or 1 or any weights >= 0; traced, so that one
            compilation serves verifiers of all strengths.
        ridge: penalty > 0 relative to the mean loss of the used samples; a scalar.

    Returns:
        w (p,), in the dtype of x: the minimiser to rounding, differentiable. Zero if no sample is used. Cost
        about 30 O(M p^2).

    Raises:
        ValueError: shapes that do not fit together, labels other than +-1, a number out of its range.

    Example:
        >>> w = logistic_verifier(jnp.array([[1.0, 0.0], [-1.0, 0.0]]), jnp.array([1, -1]), jnp.ones(2), 0.1)
        >>> bool(w[0] > 0), float(w[1])
        (True, 0.0)
    """
    x, labels, used = _checked_data(x, labels, used, ridge)
    if labels.ndim != 1:
        raise ValueError(f"labels must have shape ({len(x)},), got {labels.shape}")
    if not is_traced(labels) and not (np.abs(np.asarray(labels)) == 1).all():
        raise ValueError("labels must be +1 or -1")
    return _logistic(labels[:, None] * x, used / _total(used), jnp.asarray(ridge, x.dtype))


def least_squares_verifier(
    x: ArrayLike, targets: ArrayLike, used: ArrayLike, ridge: ArrayLike
) -> Float[Array, "p *L"]:
    """Fit ridge regression without intercept on the clean samples marked in `used`.

    Args:
        x: features (M, p); append a column of ones for an intercept, which is then penalised too.
        targets: labels +-1 (M,), or one-hot classes (M, L), centred or not.
        used: which samples the verifier may see (M,), 0 or 1 or any weights >= 0; may be traced.
        ridge: penalty > 0 relative to the mean loss; a scalar.

    Returns:
        w of shape (p,) or (p, L); zero if no sample is used.

    Raises:
        ValueError: shapes that do not fit together, or a number out of its range.

    Example:
        >>> w = least_squares_verifier(jnp.eye(3), jnp.eye(3), jnp.array([1, 1, 0]), ridge=0.5)
        >>> w.diagonal().tolist()
        [0.5, 0.5, 0.0]
    """
    x, targets, used = _checked_data(x, targets, used, ridge)
    return ridge_classifier(x, targets, used, ridge, _total(used))


def agrees(w: ArrayLike, x: ArrayLike, labels: ArrayLike, theta: ArrayLike = 0.0) -> Bool[Array, " m"]:
    """Whether a verifier agrees with each label: its decision to keep the sample.

    Args:
        w: fitted weights, (p,) for two classes or (p, L) for L.
        x: features (m, p).
        labels: +-1 (m,) if w is a vector, class numbers 0..L-1 if it is a matrix.
        theta: margin asked for. With two classes keep iff label * (w'x) > theta; with L, iff the label's
            logit is above all others by more than theta. A scalar.

    Raises:
        ValueError: shapes that do not fit together.

    Example:
        >>> agrees(jnp.ones(1), jnp.array([[2.0], [2.0], [-1.0]]), jnp.array([1, -1, -1])).tolist()
        [True, False, True]
        >>> agrees(jnp.eye(2), jnp.array([[2.0, 1.0], [2.0, 1.0]]), jnp.array([0, 1])).tolist()
        [True, False]
    """
    w, x, labels = floating(w), floating(x), jnp.asarray(labels)
    if w.ndim not in (1, 2) or x.ndim != 2 or x.shape[1] != len(w):
        raise ValueError(f"w must have shape (p,) or (p, L) for features (m, p), got {w.shape} for {x.shape}")
    if labels.shape != x.shape[:1]:
        raise ValueError(f"labels must have shape {x.shape[:1]}, got {labels.shape}")
    real(scalar(theta, "theta"), "theta")
    score = matmul(x, w)
    if w.ndim == 1:
        return labels * score > theta
    labelled = jax.nn.one_hot(labels, w.shape[1], dtype=bool)
    own = jnp.where(labelled, score, -jnp.inf).max(axis=1)
    return own - jnp.where(labelled, -jnp.inf, score).max(axis=1) > theta


def measured_rates(kept: ArrayLike, labels: ArrayLike, truth: ArrayLike) -> KeepRates:
    """Shares of right and of wrong labels that a verifier kept.

    Args:
        kept: its decisions (m,).
        labels: the labels it judged (m,), of any kind.
        truth: the true labels (m,).

    Returns:
        KeepRates(phi, rho); NaN where there was no such label to judge. The oracle, kept = (labels == truth),
        has (1, 0), and keeping all has (1, 1).

    Raises:
        ValueError: arrays of different shapes.

    Example:
        >>> labels, truth = jnp.array([1, 1, 1, -1, 1]), jnp.array([1, 1, 1, 1, -1])
        >>> rates = measured_rates(jnp.array([True, True, False, True, False]), labels, truth)
        >>> print(f"{rates.phi:.3f} {rates.rho:.3f}")
        0.667 0.500
    """
    kept, labels, truth = jnp.asarray(kept), jnp.asarray(labels), jnp.asarray(truth)
    if kept.ndim != 1 or not kept.shape == labels.shape == truth.shape:
        raise ValueError(
            f"kept, labels and truth must be vectors of one length, got {kept.shape}, {labels.shape} and "
            f"{truth.shape}"
        )
    right = labels == truth
    kept = kept.astype(bool)
    return KeepRates((kept & right).sum() / right.sum(), (kept & ~right).sum() / (~right).sum())


def _checked_data(x, targets, used, ridge):
    x, targets, used = floating(x), floating(targets), floating(used)
    if x.ndim != 2 or not x.size:
        raise ValueError(f"x must have shape (M, p) with M, p >= 1, got {x.shape}")
    if used.shape != x.shape[:1]:
        raise ValueError(f"used must have shape {x.shape[:1]}, got {used.shape}")
    if targets.shape[:1] != x.shape[:1]:
        raise ValueError(f"labels or targets must have {len(x)} rows, got shape {targets.shape}")
    real(used, "used", low=0, high_open=True)
    real(scalar(ridge, "ridge"), "ridge", low=0, low_open=True, high_open=True)
    return x, targets.astype(x.dtype), used.astype(x.dtype)


def _total(used):
    """Total weight, 1 if there is none."""
    total = used.sum()
    return jnp.where(total > 0, total, 1)


@jax.jit
def _logistic(v, shares, ridge):
    """The minimiser, from label-aligned samples v and their shares of the loss."""
    frozen = lax.stop_gradient((v, shares, ridge))
    sizes = 0.5 ** jnp.arange(_STEP_SIZES, dtype=v.dtype)

    def iterate(_, w):
        candidates = w[None] + sizes[:, None] * _newton_step(w, *frozen)[None]
        losses = jax.vmap(lambda w: _logistic_loss(w, *frozen))(candidates)
        return candidates[jnp.argmin(losses)]

    w = lax.fori_loop(0, _NEWTON_STEPS, iterate, jnp.zeros(v.shape[1], v.dtype))
    # At the minimum the derivative of w - H^-1 gradient(w), at fixed w and H, is the implicit one.
    return w + _newton_step(w, v, shares, ridge)


def _logistic_loss(w, v, shares, ridge):
    return (shares * jax.nn.softplus(-matmul(v, w))).sum() + ridge / 2 * matmul(w, w)


def _newton_step(w, v, shares, ridge):
    doubt = jax.nn.sigmoid(-matmul(v, w))
    gradient = ridge * w - matmul(v.T, shares * doubt)
    curved = matmul(v.T, (shares * doubt * (1 - doubt))[:, None] * v)
    hessian = curved + ridge * jnp.eye(w.size, dtype=w.dtype)
    return -cho_solve(cho_factor(lax.stop_gradient(hessian)), gradient)
