r"""The fixed point that fixes everything: one delta per group.

    Q0 = (gamma I + sum_k pi_k kappa_k(delta_k) C_k)^-1,        delta_k = tr(C_k Q0) / N.

The map delta -> tr(C_k Q0)/N is increasing and concave, so Newton's method from above, delta_k = tr C_k / (N
gamma), decreases monotonically to the root; its Jacobian is I - B diag(pi chi), with B_kl = tr(C_k Q0 C_l Q0)
/ N, the matrix of the second moment. Over random spectra it takes at most 13 steps down to gamma = 1e-8,
where Picard's iteration needs thousands; we make 20, for every problem. Derivatives are implicit, of any
order, and never go through the iteration. Derived, see docs/rmt_synthetic.md; the released code of A. El
Firdoussi et al. (2024), arXiv 2410.08942, solves the variant of `group_statistics` by Picard.

Example:
    >>> import numpy as np
    >>> from theorysim.rmt_synthetic.problem import paper_means, real_plus_synthetic
    >>> p, i = 150, np.arange(150)
    >>> decay = 0.4 ** abs(i[:, None] - i)
    >>> mu, mu_s = paper_means(p, 1.5, beta=0.8, perp=0.6)
    >>> problem = real_plus_synthetic(
    ...     200, 400, mu, mu_s, eps=0.3, rho=0.2, phi=0.9, cov_r=decay, cov_s=jnp.linspace(0.5, 2, p)
    ... )
    >>> delta = fixed_point_dense(jnp.array([1 / 3, 2 / 3]), problem.cov, problem.atoms, 0.05, 600)
    >>> print(f"{delta[0]:.9f} {delta[1]:.9f}")
    0.347504026 0.456703901
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.numerics.products import matmul
from theorysim.numerics.validation import choice, floating, real, scalar
from theorysim.rmt_synthetic.group_statistics import Variant, kappa_slope

__all__ = ["NEWTON_STEPS", "fixed_point", "fixed_point_dense", "resolvent", "solve_delta", "trace_products"]

NEWTON_STEPS = 20
"""Enough for every gamma >= 1e-8, with seven to spare."""


def fixed_point(
    pi: ArrayLike,
    spectra: ArrayLike,
    atoms: ArrayLike,
    gamma: ArrayLike,
    n_total: ArrayLike,
    *,
    variant: Variant = "exact",
) -> Float[Array, " K"]:
    """Fixed point delta of K groups whose covariances commute, O(p K^2) a Newton step.

    Args:
        pi: shares N_k / N of the samples, (K,), >= 0.
        spectra: eigenvalues (K, p) of the covariances in their common eigenbasis, >= 0.
        atoms: (weight, target, probability) of a sample, (K, J, 3); any number of targets.
        gamma: ridge, > 0.
        n_total: number N of samples, pruned ones included, > 0.
        variant: "exact", or "released" as the authors' code has it.

    Returns:
        The fixed point (K,), in the common dtype; relative accuracy 1e-13 in float64, 1e-6 in float32.

    Raises:
        ValueError: an argument out of its range, or shapes that do not match.

    Example:
        >>> atoms = jnp.ones((1, 1, 3))  # 50 clean samples in 100 dimensions
        >>> delta = fixed_point(jnp.ones(1), jnp.ones((1, 100)), atoms, 0.1, 50)
        >>> print(f"{delta[0]:.12f}")
        10.844288770225
    """
    pi, cov, atoms, gamma, n_total = _checked(pi, spectra, atoms, gamma, n_total, variant, axes=2)
    return _delta(pi, cov, atoms, gamma, n_total, variant=variant)


def fixed_point_dense(
    pi: ArrayLike,
    cov: ArrayLike,
    atoms: ArrayLike,
    gamma: ArrayLike,
    n_total: ArrayLike,
    *,
    variant: Variant = "exact",
) -> Float[Array, " K"]:
    """Fixed point delta of K groups with any covariances, O(K p^3) a Newton step.

    Args:
        pi: shares N_k / N of the samples, (K,), >= 0.
        cov: symmetric positive semi-definite matrices (K, p, p).
        atoms: (weight, target, probability) of a sample, (K, J, 3); any number of targets.
        gamma: ridge, > 0. In float32 keep it above 1e-3.
        n_total: number N of samples, pruned ones included, > 0.
        variant: "exact", or "released" as the authors' code has it.

    Raises:
        ValueError: an argument out of its range, or shapes that do not match.

    Example:
        >>> atoms = jnp.ones((1, 1, 3))
        >>> delta = fixed_point_dense(jnp.ones(1), jnp.eye(100)[None], atoms, 0.1, 50)
        >>> print(f"{delta[0]:.12f}")
        10.844288770225
    """
    pi, cov, atoms, gamma, n_total = _checked(pi, cov, atoms, gamma, n_total, variant, axes=3)
    return _delta(pi, cov, atoms, gamma, n_total, variant=variant)


def resolvent(
    loads: Float[Array, " K"], cov: Float[Array, "K *pp"], ridge: Float[Array, "*pp"]
) -> Float[Array, "*pp"]:
    """Q0 = (ridge + sum_k loads_k C_k)^-1, as eigenvalues (p,) or as a matrix (p, p), like the covariances.

    Example:
        >>> print(resolvent(jnp.array([0.5]), jnp.ones((1, 2)), jnp.full(2, 0.5)))
        [1. 1.]
    """
    inverse = ridge + jnp.tensordot(loads, cov, 1, precision="highest")
    if inverse.ndim == 1:
        return 1 / inverse
    factor = jax.scipy.linalg.cho_factor(inverse, lower=True)
    return jax.scipy.linalg.cho_solve(factor, jnp.eye(len(inverse), dtype=inverse.dtype))


def trace_products(
    Q0: Float[Array, "*pp"], left: Float[Array, "K *pp"], right: Float[Array, "L *pp"]
) -> Float[Array, "K L"]:
    """tr(A_k Q0 B_l Q0) for all pairs of the matrices, or diagonals, in `left` and `right`.

    Example:
        >>> print(trace_products(jnp.full(3, 0.5), jnp.ones((1, 3)), jnp.ones((1, 3))))
        [[0.75]]
    """
    if Q0.ndim == 1:
        return matmul(left * Q0[None], (right * Q0[None]).T)
    left, right = matmul(left, Q0[None]), matmul(right, Q0[None])
    return jnp.einsum("kij,lji->kl", left, right, precision="highest")


def solve_delta(
    pi: Float[Array, " K"],
    cov: Float[Array, "K *pp"],
    atoms: Float[Array, "K J S"],
    ridge: Float[Array, "*pp"],
    n_total: Float[Array, ""],
    start: Float[Array, " K"],
    *,
    variant: Variant = "exact",
) -> Float[Array, " K"]:
    """The fixed point under any ridge matrix, from any `start` above it, with implicit derivatives.

    Example:
        >>> atoms = jnp.ones((1, 1, 3))
        >>> ridge, start = jnp.full(100, 0.1), jnp.array([20.0])
        >>> delta = solve_delta(jnp.ones(1), jnp.ones((1, 100)), atoms, ridge, jnp.array(50.0), start)
        >>> print(f"{delta[0]:.6f}")
        10.844289
    """

    def residual(delta):
        kappa, _ = kappa_slope(atoms, delta, variant=variant)
        return delta - _traces(resolvent(pi * kappa, cov, ridge), cov) / n_total

    def newton(_, delta):
        kappa, slope = kappa_slope(atoms, delta, variant=variant)
        Q0 = resolvent(pi * kappa, cov, ridge)
        B = trace_products(Q0, cov, cov) / n_total
        jacobian = jnp.eye(len(pi), dtype=delta.dtype) - B * (pi * slope)[None]
        return delta - jnp.linalg.solve(jacobian, delta - _traces(Q0, cov) / n_total)

    def tangent_solve(linear, rhs):
        return jnp.linalg.solve(jax.jacobian(linear)(jnp.zeros_like(rhs)), rhs)

    def solve(_, start):
        return lax.fori_loop(0, NEWTON_STEPS, newton, start)

    return lax.custom_root(residual, start, solve, tangent_solve)


def _traces(Q0, cov):
    return jnp.einsum("kij,ij->k", cov, Q0, precision="highest") if Q0.ndim == 2 else matmul(cov, Q0)


@partial(jax.jit, static_argnames="variant")
def _delta(pi, cov, atoms, gamma, n_total, *, variant):
    p = cov.shape[1]
    ones = jnp.ones(p, cov.dtype)
    identity = ones if cov.ndim == 2 else jnp.diag(ones)
    start = _traces(identity, cov) / (n_total * gamma)
    return solve_delta(pi, cov, atoms, gamma * identity, n_total, start, variant=variant)


def _checked(pi, cov, atoms, gamma, n_total, variant, *, axes):
    choice(variant, "variant", ("exact", "released"))
    real(scalar(gamma, "gamma"), "gamma", low=0, low_open=True, high_open=True)
    real(scalar(n_total, "n_total"), "n_total", low=0, low_open=True, high_open=True)
    pi, cov, atoms, gamma, n_total = (floating(x) for x in (pi, cov, atoms, gamma, n_total))
    name, shape = ("spectra", "(K, p)") if axes == 2 else ("cov", "(K, p, p)")
    if cov.ndim != axes or not cov.size or cov.shape[1] != cov.shape[-1]:
        raise ValueError(f"{name} must have shape {shape}, got {cov.shape}")
    K = len(cov)
    if pi.shape != (K,):
        raise ValueError(f"pi must have shape {(K,)}, got {pi.shape}")
    if atoms.ndim != 3 or len(atoms) != K or atoms.shape[2] < 3:
        raise ValueError(f"atoms must have shape ({K}, J, 3), got {atoms.shape}")
    real(pi, "pi", low=0)
    dtype = jnp.result_type(pi, cov, atoms, gamma, n_total)
    return tuple(x.astype(dtype) for x in (pi, cov, atoms, gamma, n_total))
