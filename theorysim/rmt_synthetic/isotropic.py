r"""Isotropic noise: the general theorem in closed form, up to one scalar.

If C_k = c_k I, then delta_k = c_k delta with one scalar delta, the root of

    G(delta) = delta D(delta) - p/N,    D(delta) = gamma + sum_k pi_k alpha_k w_k / (1 + w_k delta),

with w_k = omega_k c_k. G is increasing and concave, so Newton's method from below never overshoots: at most
16 steps over gamma in [1e-8, 1e2], p/N in [1e-3, 1e4] and w_k in [3e-4, 3e2]; we make 20. Then Q0 = I / D,
and with C_r = I, C_s = sigma2 I the mean classifier lies in the plane of the two class means, mu u and beta
mu u + perp v:

    var = |wbar|^2 + sum_k pi_k d_k R_k,      d_k = c_k (p/N) / (D G'(delta)),

where nothing cancels. Derived, see docs/rmt_synthetic.md; the variant "released" is what the public code of
A. El Firdoussi et al. (2024), arXiv 2410.08942, computes.

Example:
    >>> from theorysim.rmt_synthetic.score import test_accuracy
    >>> sizes, law = dict(n=1000, m=2000, p=500), dict(mu=1.5, beta=0.7, perp=1, sigma2=0.49)
    >>> moments = isotropic_moments(**sizes, **law, eps=0.3, rho=0.1, phi=0.8, gamma=0.1)
    >>> print(f"{moments.mean:.10f} {moments.var:.10f} {test_accuracy(*moments):.10f}")
    0.6536694500 0.3078699349 0.8806175157
"""

from collections.abc import Sequence
from functools import partial

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.numerics.validation import choice
from theorysim.rmt_synthetic.elementwise import elementwise, jit_broadcast
from theorysim.rmt_synthetic.group_statistics import Variant
from theorysim.rmt_synthetic.scalar_root import lower_bound, newton_from_below
from theorysim.rmt_synthetic.score import Moments

__all__ = ["isotropic_fixed_point", "isotropic_moments"]


def isotropic_fixed_point(
    pi: ArrayLike,
    alpha: ArrayLike,
    omega: ArrayLike,
    sigma2: ArrayLike,
    gamma: ArrayLike,
    aspect: ArrayLike,
    *,
    variant: Variant = "exact",
) -> Float[Array, "*batch"]:
    """The scalar delta of K groups with covariances sigma2_k I; delta_k = sigma2_k delta.

    Args:
        pi: shares N_k / N of the samples, (K, *batch), >= 0; a batch of one, or none, serves all points.
        alpha: fraction of each group that is kept, (K, *batch), in [0, 1].
        omega: weight >= 0 of a kept sample, (K, *batch).
        sigma2: noise variance of each group, (K, *batch), >= 0.
        gamma: ridge, > 0, (*batch).
        aspect: p/N with N counting pruned samples too, > 0, (*batch).
        variant: "exact", or "released" with 1 + alpha omega delta in place of 1 + omega delta.

    Returns:
        delta (*batch), in the common dtype.

    Raises:
        ValueError: an argument out of its range, or without the group axis.

    Example:
        >>> shares, kept, noise = jnp.array([1 / 3, 2 / 3]), jnp.array([1, 0.59]), jnp.array([1, 0.49])
        >>> delta = isotropic_fixed_point(shares, kept, jnp.ones(2), noise, gamma=0.1, aspect=1 / 6)
        >>> print(f"{delta:.12f}")
        0.321249654367
    """
    choice(variant, "variant", ("exact", "released"))
    args = elementwise(pi=pi, alpha=alpha, omega=omega, sigma2=sigma2, gamma=gamma, aspect=aspect)
    for name, array in zip(("pi", "alpha", "omega", "sigma2"), args, strict=False):
        if array.ndim == 0 or len(array) != len(args[0]):
            raise ValueError(f"{name} must have a first axis of one entry per group, got shape {array.shape}")
    *groups, gamma, aspect = args
    columns = [column for array in groups for column in array]
    return _FIXED_POINT[variant](*columns, gamma, aspect)


def isotropic_moments(
    n: ArrayLike,
    m: ArrayLike,
    p: ArrayLike,
    mu: ArrayLike,
    beta: ArrayLike,
    perp: ArrayLike,
    sigma2: ArrayLike,
    eps: ArrayLike,
    rho: ArrayLike,
    phi: ArrayLike,
    gamma: ArrayLike,
    omega: ArrayLike = 1.0,
    *,
    variant: Variant = "exact",
) -> Moments:
    """Mean and variance of the score after training on n real and m pruned synthetic samples.

    Real data are N(mu u, I), synthetic ones N(beta mu u + perp v, sigma2 I); u and v are orthogonal unit
    vectors. All arguments broadcast, elementwise; none needs to be whole. 10^6 points take 0.1 s on one
    core.

    Args:
        n: real samples, >= 0.
        m: synthetic samples before pruning, >= 0; n + m > 0.
        p: dimension, > 0.
        mu: length of the real class mean, >= 0.
        beta: overlap of the synthetic class mean with the real one, in units of the latter.
        perp: length of its part orthogonal to the real one, >= 0.
        sigma2: noise variance of the synthetic data, >= 0; that of the real data is 1.
        eps: probability in [0, 1] that a synthetic label is wrong.
        rho: probability in [0, 1] of keeping a sample with a wrong label.
        phi: probability in [0, 1] of keeping a sample with a right label.
        gamma: ridge, > 0.
        omega: weight >= 0 of each kept synthetic sample.
        variant: "exact"; or "released", whose variance can be negative.

    Returns:
        Two arrays of the common shape and dtype; 0 and 0 where no sample is left.

    Raises:
        ValueError: an argument out of its range.

    Example:
        >>> base = dict(n=200, m=1000, p=300, mu=1.2, beta=1, perp=0, sigma2=1, eps=0.25, rho=0.3, phi=0.9)
        >>> moments = isotropic_moments(**base, gamma=0.1, omega=jnp.array([0.5, 1.0]))
        >>> print([f"{x:.10f}" for x in moments.var])
        ['0.2820163493', '0.3233888666']
    """
    choice(variant, "variant", ("exact", "released"))
    sizes, law = {"n": n, "m": m, "p": p}, {"mu": mu, "beta": beta, "perp": perp, "sigma2": sigma2}
    args = elementwise(**sizes, **law, eps=eps, rho=rho, phi=phi, gamma=gamma, omega=omega)
    return _MOMENTS[variant](*args)


def _root(loads: Sequence[Array], rates: Sequence[Array], gamma: Array, aspect: Array) -> Array:
    """Root of gamma delta + sum_k loads_k delta / (1 + rates_k delta) = aspect."""

    def residual(delta):
        shrunk = [load / (1 + rate * delta) for load, rate in zip(loads, rates, strict=True)]
        return delta * (gamma + sum(shrunk)) - aspect

    return newton_from_below(residual, lower_bound(loads, rates, gamma, aspect))


def _fixed_point(*columns, variant):
    *groups, gamma, aspect = columns
    K = len(groups) // 4
    pi, alpha, omega, sigma2 = (groups[i * K : (i + 1) * K] for i in range(4))
    weights = [w * c for w, c in zip(omega, sigma2, strict=True)]
    loads = [share * a * w for share, a, w in zip(pi, alpha, weights, strict=True)]
    rates = [a * w if variant == "released" else w for a, w in zip(alpha, weights, strict=True)]
    return _root(loads, rates, gamma, aspect)


def _moments(n, m, p, mu, beta, perp, sigma2, eps, rho, phi, gamma, omega, *, variant):
    N = n + m
    pi_r, pi_s, eta = n / N, m / N, p / N
    right, wrong = phi * (1 - eps), rho * eps
    alpha, lam = right + wrong, right - wrong
    mask = alpha if variant == "released" else jnp.ones_like(alpha)
    load_s = pi_s * alpha * omega
    delta = _root([pi_r, load_s * sigma2], [jnp.ones_like(mask), mask * omega * sigma2], gamma, eta)

    # a_k = pi_k kappa_k and b_k = pi_k tau_k of the theorem.
    s_r, s_s = 1 / (1 + delta), 1 / (1 + mask * omega * sigma2 * delta)
    a_r, a_s = pi_r * s_r, load_s * s_s
    b_r, b_s = a_r, pi_s * lam * omega * s_s
    D = gamma + a_r + a_s * sigma2

    # wbar = M^-1 h in the basis (u, v), a 2 x 2 system; its determinant and numerators multiplied out.
    det = D * D + D * (a_r * mu**2 + a_s * ((beta * mu) ** 2 + perp**2)) + a_r * a_s * (mu * perp) ** 2
    along = mu * (b_r * (D + a_s * perp**2) + b_s * beta * D) / det
    across = perp * (b_s * (D + a_r * mu**2) - a_s * b_r * beta * mu**2) / det
    mean, score_s, size = mu * along, beta * mu * along + perp * across, along**2 + across**2

    # D - (p/N) sum_k pi_k chi_k c_k^2 / D, with the difference taken by hand; G' if the mask is 1.
    room = gamma + a_r * s_r + a_s * sigma2 * s_s * (1 + (mask - 1) * omega * sigma2 * delta)
    d = eta / (D * room)
    R_r = s_r**2 * (size + (1 - mean) ** 2)
    # chi u^2 - 2 xi u + zeta as a sum over right and wrong labels: no term is negative.
    spread = alpha * sigma2 * size + right * (1 - score_s) ** 2 + wrong * (1 + score_s) ** 2
    R_s = (omega * s_s) ** 2 * spread
    return Moments(mean, size + d * (pi_r * R_r + sigma2 * pi_s * R_s))


_FIXED_POINT = {v: jit_broadcast(partial(_fixed_point, variant=v)) for v in ("exact", "released")}
_MOMENTS = {v: jit_broadcast(partial(_moments, variant=v)) for v in ("exact", "released")}
