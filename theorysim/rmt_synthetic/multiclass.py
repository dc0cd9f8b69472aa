r"""Ridge with one output per class: the law of the logits, and the accuracy of their largest.

With L classes the targets are one-hot vectors, or centred ones (minus 1/L). Features x are used as they are:
there are no label-aligned coordinates, and real class c is a group N(mu_c, C_r) of its own. A test point of
class c has logits N(Wbar'mu_c, V), V_ab = E[w_a' C_r w_b], and the accuracy is the probability that logit c
is the largest: an (L-1)-dimensional orthant probability, computed by A. Genz's separation of variables
(J. Comput. Graph. Stat. 1, 141, 1992), which is smooth in the moments. Derived, see docs/rmt_synthetic.md.

Example:
    >>> means = 1.5 * jnp.eye(3, 120)
    >>> shifted = means + 0.5 * jnp.roll(jnp.eye(3, 120), 3, axis=1)
    >>> problem = multiclass_problem(
    ...     jnp.full(3, 40.0), jnp.full(3, 80.0), means, shifted, eps=0.3, rho=0.2, phi=0.9
    ... )
    >>> logits = multiclass_moments(problem, gamma=0.1)
    >>> print(f"{logits.mean[0, 0]:.10f} {logits.cov[0, 0]:.10f}")
    0.2346940417 0.0963677231
    >>> print(f"{multiclass_accuracy(jax.random.key(0), logits):.3f}")
    0.613
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.special import ndtr, ndtri
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray

from theorysim.numerics.products import matmul
from theorysim.numerics.validation import floating, positive_int, real, scalar
from theorysim.rmt_synthetic.group_statistics import Variant
from theorysim.rmt_synthetic.moments import limit, second_moments
from theorysim.rmt_synthetic.problem import Problem, checked, real_plus_synthetic

__all__ = ["LogitMoments", "multiclass_accuracy", "multiclass_moments", "multiclass_problem"]


class LogitMoments(NamedTuple):
    """Mean logits of each class, row c for test points of class c, and their covariance, the same for all."""

    mean: Float[Array, "C L"]
    cov: Float[Array, "L L"]


def multiclass_problem(
    n: ArrayLike,
    m: ArrayLike,
    means: ArrayLike,
    means_s: ArrayLike | None = None,
    *,
    eps: ArrayLike,
    rho: ArrayLike,
    phi: ArrayLike,
    omega: ArrayLike = 1.0,
    cov_r: ArrayLike = 1.0,
    cov_s: ArrayLike = 1.0,
    centred: bool = True,
) -> Problem:
    """L real classes and L synthetic ones; a wrong label is any other class, all equally likely.

    Args:
        n: real samples of each class, (L,), >= 0.
        m: synthetic samples of each class before pruning, (L,), >= 0.
        means: real class means (L, p), L >= 2.
        means_s: synthetic class means (L, p); those of the real data by default.
        eps: probability in [0, 1] that a synthetic label is wrong; a scalar, as the next three.
        rho: probability in [0, 1] of keeping a wrong label.
        phi: probability in [0, 1] of keeping a right label.
        omega: weight >= 0 of each kept sample.
        cov_r: covariance of the real data: a scalar, (p,) or (p, p).
        cov_s: covariance of the synthetic data, likewise.
        centred: whether 1/L is taken off the one-hot targets (static).

    Returns:
        2L groups, the real ones first, with L targets.

    Raises:
        ValueError: an argument out of its range or of the wrong shape.

    Example:
        >>> n, m = jnp.full(2, 5), jnp.full(2, 9)
        >>> problem = multiclass_problem(n, m, jnp.eye(2, 4), eps=0.2, rho=0.5, phi=1.0)
        >>> problem.atoms.shape
        (4, 3, 4)
    """
    means = floating(means)
    if means.ndim != 2 or len(means) < 2:
        raise ValueError(f"means must have shape (L, p) with L >= 2 classes, got {means.shape}")
    L = len(means)
    means_s = means if means_s is None else floating(means_s)
    n, m = floating(n), floating(m)
    for name, value, shape in (("n", n, (L,)), ("m", m, (L,)), ("means_s", means_s, means.shape)):
        if value.shape != shape:
            raise ValueError(f"{name} must have shape {shape}, got {value.shape}")
    pair = real_plus_synthetic(
        n.sum(), m.sum(), means[0], means_s[0],
        eps=eps, rho=rho, phi=phi, omega=omega, cov_r=cov_r, cov_s=cov_s,
    )  # fmt: skip
    dtype = jnp.result_type(pair.means, means, means_s, n, m)
    weight, right, wrong = pair.atoms[1, 0, 0], pair.atoms[1, 0, 2], pair.atoms[1, 1, 2]
    targets = jnp.eye(L, dtype=dtype) - (1 / L if centred else 0)
    # One atom per label, and one for what is pruned.
    kept = jnp.where(jnp.eye(L, dtype=bool), right, wrong / (L - 1))
    synthetic = _atoms(weight, targets, kept)
    clean = _atoms(jnp.ones_like(weight), targets, jnp.eye(L, dtype=dtype))
    which = jnp.repeat(jnp.arange(2), L)
    return checked(
        Problem(
            means=jnp.concatenate([means, means_s]).astype(dtype),
            cov=pair.cov[which].astype(dtype),
            counts=jnp.concatenate([n, m]).astype(dtype),
            atoms=jnp.concatenate([clean, synthetic]).astype(dtype),
            directions=jnp.zeros((2 * L, 0, means.shape[1]), dtype),
            gains=jnp.zeros((2 * L, 0), dtype),
        ),
        targets=L,
    )


def multiclass_moments(problem: Problem, gamma: ArrayLike, *, variant: Variant = "exact") -> LogitMoments:
    """Law of the logits on test points of each of the L classes, which are the first L groups.

    Args:
        problem: groups with L targets, such as `multiclass_problem` makes.
        gamma: ridge, > 0, a scalar.
        variant: "exact" or "released".

    Returns:
        Mean logits (L, L) and their covariance (L, L); test points have the covariance of group 0.

    Raises:
        ValueError: gamma <= 0, or fewer groups than targets.

    Example:
        >>> problem = multiclass_problem(jnp.full(2, 50), jnp.zeros(2), jnp.eye(2, 20), eps=0, rho=0, phi=1)
        >>> mean = multiclass_moments(problem, gamma=0.5).mean
        >>> bool(mean[0, 0] > 0 > mean[0, 1])
        True
    """
    real(scalar(gamma, "gamma"), "gamma", low=0, low_open=True, high_open=True)
    checked(problem, targets=None)
    if problem.atoms.shape[2] - 2 > len(problem.means):
        raise ValueError(
            f"atoms must have at most as many targets as there are groups, got {problem.atoms.shape[2] - 2}"
        )
    return _logits(problem, jnp.asarray(gamma, problem.means.dtype), variant=variant)


def multiclass_accuracy(
    key: PRNGKeyArray, logits: LogitMoments, draws: int = 20_000, *, prior: ArrayLike | None = None
) -> Float[Array, ""]:
    """Probability that the largest logit is the right one.

    Exact for L = 2; otherwise a mean over `draws` points in L - 2 dimensions, with an error of about 0.001 at
    20,000. The same key gives common random numbers, so differences and gradients are far more accurate.

    Args:
        key: of the integration points.
        logits: from `multiclass_moments`.
        draws: integration points, >= 1 (static).
        prior: probabilities of the classes (L,); equal by default.

    Raises:
        ValueError: draws < 1, or a prior of the wrong shape.

    Example:
        >>> logits = LogitMoments(jnp.array([[1.0, 0.0], [0.0, 1.0]]), 0.5 * jnp.eye(2))
        >>> print(f"{multiclass_accuracy(jax.random.key(0), logits):.6f}")  # Phi(1)
        0.841345
    """
    draws = positive_int(draws, "draws")
    mean, cov = floating(logits.mean), floating(logits.cov)
    C, L = mean.shape
    if C != L or cov.shape != (L, L):
        raise ValueError(f"logits must hold (L, L) means and covariances, got {mean.shape} and {cov.shape}")
    prior = jnp.full(L, 1 / L, mean.dtype) if prior is None else floating(real(prior, "prior", low=0, high=1))
    if prior.shape != (L,):
        raise ValueError(f"prior must have shape {(L,)}, got {prior.shape}")
    return _accuracy(key, mean, cov, prior, draws=draws)


def _atoms(weight, targets, probabilities):
    """Rows (weight, targets, probability) for L groups: one atom per label, and one that is pruned."""
    L = len(targets)
    labels = jnp.concatenate([jnp.full((L, 1), weight), targets], axis=1)
    kept = jnp.concatenate([jnp.broadcast_to(labels, (L, L, L + 1)), probabilities[..., None]], axis=2)
    pruned = jnp.zeros((L, 1, L + 2), kept.dtype).at[:, 0, -1].set(1 - probabilities.sum(1))
    return jnp.concatenate([kept, pruned], axis=1)


@partial(jax.jit, static_argnames="variant")
def _logits(problem, gamma, *, variant):
    L = problem.atoms.shape[2] - 2
    found = limit(problem, gamma, variant=variant)
    return LogitMoments(matmul(problem.means[:L], found.wbar), second_moments(problem, found, problem.cov[0]))


@partial(jax.jit, static_argnames="draws")
def _accuracy(key, mean, cov, prior, *, draws):
    L = len(mean)
    uniforms = jax.random.uniform(key, (L - 2, draws), mean.dtype) if L > 2 else jnp.zeros((0, 1), mean.dtype)
    others = jnp.array([[a for a in range(L) if a != c] for c in range(L)])

    def right(c):
        lead = jnp.eye(L, dtype=mean.dtype)[c][None] - jnp.eye(L, dtype=mean.dtype)[others[c]]
        # The lead over each other class, (L-1,): all positive if c wins. Never singular, as cov may be.
        center, factor = matmul(lead, mean[c]), jnp.linalg.cholesky(matmul(matmul(lead, cov), lead.T))
        return _positive_orthant(center, factor, uniforms)

    return (prior * lax.map(right, jnp.arange(L))).sum()


def _positive_orthant(center, factor, uniforms):
    """P(center + factor z > 0), z normal: a product of conditional probabilities, averaged over uniforms."""
    z, product = [], 1.0
    for i in range(len(center)):
        reached = center[i] + sum(
            (factor[i, j] * z[j] for j in range(i)), jnp.zeros_like(uniforms[:1].sum(0))
        )
        chance = ndtr(reached / factor[i, i])
        product = product * chance
        if i < len(center) - 1:
            z.append(-ndtri(uniforms[i] * chance))
    return jnp.mean(product)
