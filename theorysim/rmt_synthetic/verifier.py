r"""Pruning that looks at the features: a linear verifier.

Keep a synthetic sample iff its label agrees with r'x by more than theta, label * (r'x) > theta, |r| = 1. In
label-aligned coordinates the right labels (b = 1) and the wrong ones (b = -1) are two groups whose law is
truncated along r; with C_s = I, a = theta - b r'mu_s, keep probability P = Phi(-a) and l = pdf(a) / P,

    E[r'u] = b (b r'mu_s + l),        Var[r'u] = 1 + a l - l^2,

and nothing else changes. phi and rho are the two P. Derived, see docs/rmt_synthetic.md; A. El Firdoussi et
al. (2024), arXiv 2410.08942, decide without looking at x.

Example:
    >>> from theorysim.rmt_synthetic.moments import decision_moments
    >>> from theorysim.rmt_synthetic.problem import paper_means
    >>> mu, _ = paper_means(200, 1.5)
    >>> _, off = paper_means(200, 1.5, beta=0.0, perp=0.6)
    >>> direction = 0.8 * mu / 1.5 + off  # cos(r, mu) = 0.8
    >>> problem = linear_verifier(100, 600, mu, direction, eps=0.3)
    >>> moments = decision_moments(problem, gamma=0.1)
    >>> print(f"{moments.mean:.10f} {moments.var:.10f}")
    0.6466308172 0.3000403578
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax.scipy.special import log_ndtr, ndtr
from jax.scipy.stats import norm
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.numerics.products import matmul
from theorysim.numerics.validation import floating, is_traced, real, scalar
from theorysim.rmt_synthetic.problem import Problem, checked, real_plus_synthetic

__all__ = ["KeepRates", "linear_verifier", "verifier_rates"]


class KeepRates(NamedTuple):
    """Probability of keeping a right label, and a wrong one."""

    phi: Float[Array, ""]
    rho: Float[Array, ""]


def verifier_rates(mu_s: ArrayLike, direction: ArrayLike, theta: ArrayLike = 0.0) -> KeepRates:
    """Keep rates of a linear verifier: phi = Phi(r'mu_s - theta) and rho = Phi(-r'mu_s - theta).

    Args:
        mu_s: mean of the synthetic data (p,), whose covariance is I.
        direction: any multiple of r (p,), not zero.
        theta: margin asked for; -inf keeps all.

    Raises:
        ValueError: a zero direction, or vectors of different shapes.

    Example:
        >>> rates = verifier_rates(jnp.array([1.5, 0.0]), jnp.array([0.8, 0.6]))
        >>> print(f"{rates.phi:.10f} {rates.rho:.10f}")
        0.8849303298 0.1150696702
    """
    mu_s, r, theta = _checked(mu_s, direction, theta)
    overlap = matmul(r, mu_s)
    return KeepRates(ndtr(overlap - theta), ndtr(-overlap - theta))


def linear_verifier(
    n: ArrayLike,
    m: ArrayLike,
    mu: ArrayLike,
    direction: ArrayLike,
    theta: ArrayLike = 0.0,
    *,
    eps: ArrayLike,
    mu_s: ArrayLike | None = None,
    omega: ArrayLike = 1.0,
    cov_r: ArrayLike = 1.0,
) -> Problem:
    """The problem of n real samples and m synthetic ones that a linear verifier prunes.

    Three groups: real, synthetic with right labels, synthetic with wrong ones.

    Args:
        n: real samples, >= 0.
        m: synthetic samples before pruning, >= 0; n + m > 0.
        mu: real class mean (p,).
        direction: the verifier's r (p,), normalised here; in the basis of the means.
        theta: margin of agreement that keeps a sample; a scalar.
        eps: probability in [0, 1] that a synthetic label is wrong.
        mu_s: synthetic class mean (p,), that of the real data by default; the covariance is I.
        omega: weight >= 0 of each kept sample.
        cov_r: covariance of the real data, as in `real_plus_synthetic`.

    Raises:
        ValueError: an argument out of its range or of the wrong shape; a zero direction.

    Example:
        >>> problem = linear_verifier(10, 20, jnp.ones(4), jnp.ones(4), eps=0.25)
        >>> problem.counts.tolist()
        [10.0, 15.0, 5.0]
    """
    base = real_plus_synthetic(n, m, mu, mu_s, eps=eps, rho=1.0, phi=1.0, omega=omega, cov_r=cov_r)
    dtype = base.means.dtype
    center, r, theta = (x.astype(dtype) for x in _checked(base.means[1], direction, theta))
    b = jnp.array([1, -1], dtype)
    a = theta - b * matmul(r, center)
    keep, hazard = ndtr(-a), jnp.exp(norm.logpdf(a) - log_ndtr(-a))
    zero, weight = jnp.zeros_like(keep), jnp.asarray(omega, dtype) * jnp.ones_like(keep)
    kept, pruned = jnp.stack([weight, b, keep], 1), jnp.stack([zero, zero, 1 - keep], 1)
    atoms = jnp.stack([kept, pruned, jnp.zeros_like(kept)], 1)
    wrong = jnp.asarray(eps, dtype) * base.counts[1]
    still = jnp.zeros((1, 1), dtype)
    return checked(
        Problem(
            means=jnp.concatenate([base.means[:1], center[None] + (b * hazard)[:, None] * r[None]]),
            cov=base.cov[jnp.array([0, 1, 1])],
            counts=jnp.stack([base.counts[0], base.counts[1] - wrong, wrong]),
            atoms=jnp.concatenate([base.atoms[:1], atoms]),
            directions=jnp.broadcast_to(r, (3, 1, r.size)),
            gains=jnp.concatenate([still, (a * hazard - hazard**2)[:, None]]),
        )
    )


def _checked(mu_s, direction, theta):
    mu_s, r, theta = floating(mu_s), floating(direction), floating(scalar(theta, "theta"))
    if r.shape != mu_s.shape or r.ndim != 1:
        raise ValueError(f"direction must have the shape {mu_s.shape} of the mean, got {r.shape}")
    real(theta, "theta")
    length = jnp.linalg.norm(r)
    if not is_traced(length) and not 0 < float(length) < float("inf"):
        raise ValueError("direction must be a finite vector other than zero")
    return mu_s, r / length, theta
