r"""The accuracy of the ridge classifier on any problem: the general theorem.

The classifier w = (S + gamma I)^-1 b, with S = (1/N) sum omega v v' and b = (1/N) sum omega s v over all
samples, has in the limit p, N -> infinity at fixed ratios a score w'x whose moments are deterministic:

    M = gamma I + sum_k pi_k kappa_k (C_k + m_k m_k'),   wbar = M^-1 sum_k pi_k tau_k m_k,   mean = mu'wbar,
    E[w'Aw] = wbar'A wbar + sum_k pi_k d_k R_k,          (I - B diag(pi chi)) d = a,
    a_k = tr(C_k Q0 A Q0)/N,                             R_k = chi_k E_k(v'wbar)^2 - 2 xi_k m_k'wbar + zeta_k,

and var = E[w' C_r w]. R_k >= 0 is E_k [omega (s - v'wbar) / (1 + omega delta)]^2: what the mean classifier
gets wrong on a sample, shrunk because the sample was trained on. The finite-size bias of both moments is
O(1/p). `fixed_point` gives delta, Q0 and B, `group_statistics` the Greek letters. Derived, see
docs/rmt_synthetic.md; with one group mask at its mean it is theorem 4 of A. El Firdoussi et al. (2024), arXiv
2410.08942.

Example:
    >>> from theorysim.rmt_synthetic.problem import paper_means, real_plus_synthetic
    >>> from theorysim.rmt_synthetic.score import test_accuracy
    >>> mu, mu_s = paper_means(p=500, mu=1.5, beta=0.7, perp=1.0)
    >>> problem = real_plus_synthetic(1000, 2000, mu, mu_s, eps=0.3, rho=0.1, phi=0.8, cov_s=0.49)
    >>> print(f"{test_accuracy(*decision_moments(problem, gamma=0.1)):.10f}")
    0.8806175157
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.numerics.products import matmul
from theorysim.numerics.validation import choice, floating, is_traced, real, scalar
from theorysim.rmt_synthetic.group_statistics import GroupStatistics, Variant, group_statistics
from theorysim.rmt_synthetic.newton import resolvent, solve_delta, trace_products
from theorysim.rmt_synthetic.problem import Problem, checked
from theorysim.rmt_synthetic.score import Moments

__all__ = ["Limit", "decision_moments", "limit", "mean_classifier", "second_moments", "symmetric"]


class Limit(NamedTuple):
    """The deterministic equivalent of a problem: shares (K,), delta (K,), Q0, statistics, and wbar (p, L)."""

    pi: Float[Array, " K"]
    delta: Float[Array, " K"]
    Q0: Float[Array, "*pp"]
    statistics: GroupStatistics
    wbar: Float[Array, "p L"]


def decision_moments(
    problem: Problem,
    gamma: ArrayLike,
    *,
    test_cov: ArrayLike | None = None,
    variant: Variant = "exact",
) -> Moments:
    """Mean and variance of the score w'x on a test point of class +1, for any K groups.

    The test law is N(m_0, C_0), that of group 0, unless `test_cov` says otherwise. `test_accuracy` and
    `test_risk` take the result.

    Args:
        problem: the groups; every field may be traced.
        gamma: ridge, > 0, a scalar.
        test_cov: covariance of the test points, (p,) eigenvalues or a matrix (p, p); C_0 by default.
        variant: "exact", or "released" as the authors' code has it, whose variance can be negative.

    Returns:
        Two scalars. Cost: O(p K^2) a Newton step if the covariances commute, O(K p^3) if they are matrices.
        float64 below gamma = 1e-3 if they are matrices; otherwise float32 keeps six digits away from the
        interpolation peak.

    Raises:
        ValueError: gamma <= 0, an unknown variant, a problem that cannot be (see `checked`).

    Example:
        >>> from theorysim.rmt_synthetic.problem import real_plus_synthetic
        >>> problem = real_plus_synthetic(0, 200, jnp.eye(100)[0], eps=0.3, rho=0.2, phi=0.4)
        >>> moments = decision_moments(problem, gamma=0.01)
        >>> print(f"{moments.mean:.10f} {moments.var:.9f}")
        0.2534335521 1.314227073
    """
    choice(variant, "variant", ("exact", "released"))
    real(scalar(gamma, "gamma"), "gamma", low=0, low_open=True, high_open=True)
    checked(problem)
    test_cov = problem.cov[0] if test_cov is None else symmetric(test_cov, "test_cov", problem.means.shape[1])
    dtype = jnp.result_type(problem.means, problem.cov)
    return _moments(problem, jnp.asarray(gamma, dtype), test_cov.astype(dtype), variant=variant)


def limit(problem: Problem, gamma: Float[Array, ""], *, variant: Variant = "exact") -> Limit:
    """Fixed point and mean classifier of a problem, without any check.

    Example:
        >>> from theorysim.rmt_synthetic.problem import real_plus_synthetic
        >>> problem = real_plus_synthetic(0, 200, jnp.eye(100)[0], eps=0.3, rho=0.2, phi=0.4)
        >>> found = limit(problem, jnp.array(0.01))
        >>> print(f"{found.delta[1]:.8f} {found.wbar[0, 0]:.10f}")
        17.80776406 0.2534335521
    """
    identity = jnp.ones_like(problem.means[0])
    ridge = gamma * (identity if problem.cov.ndim == 2 else jnp.diag(identity))
    n_total = problem.counts.sum()
    pi = problem.counts / n_total
    traces = problem.cov.sum(1) if problem.cov.ndim == 2 else jnp.trace(problem.cov, axis1=1, axis2=2)
    start = traces / (n_total * gamma)
    delta = solve_delta(pi, problem.cov, problem.atoms, ridge, n_total, start, variant=variant)
    statistics = group_statistics(problem.atoms, delta, variant=variant)
    Q0 = resolvent(pi * statistics.kappa, problem.cov, ridge)
    return Limit(pi, delta, Q0, statistics, mean_classifier(problem, pi, statistics, Q0))


def mean_classifier(
    problem: Problem, pi: Float[Array, " K"], statistics: GroupStatistics, Q0: Float[Array, "*pp"]
) -> Float[Array, "p L"]:
    """The classifier's mean M^-1 h, where M is Q0^-1 plus one rank per mean and per direction (Woodbury).

    Example:
        >>> from theorysim.rmt_synthetic.problem import real_plus_synthetic
        >>> problem = real_plus_synthetic(8, 0, jnp.ones(2), eps=0, rho=0, phi=1)
        >>> stats = group_statistics(problem.atoms, jnp.zeros(2))
        >>> print(mean_classifier(problem, jnp.array([1.0, 0.0]), stats, jnp.ones(2))[:, 0])
        [0.33333333 0.33333333]
    """
    loads = pi * statistics.kappa
    columns = jnp.concatenate([problem.means, problem.directions.reshape(-1, problem.means.shape[1])]).T
    strengths = jnp.concatenate([loads, (loads[:, None] * problem.gains).ravel()])
    h = matmul(problem.means.T, pi[:, None] * statistics.tau)
    Qh, QU = _apply(Q0, h), _apply(Q0, columns)
    # Strengths may be zero or negative: keep them out of any inverse.
    small = jnp.eye(len(strengths), dtype=h.dtype) + strengths[:, None] * matmul(columns.T, QU)
    return Qh - matmul(QU, jnp.linalg.solve(small, strengths[:, None] * matmul(columns.T, Qh)))


def second_moments(problem: Problem, found: Limit, test_cov: Float[Array, "*pp"]) -> Float[Array, "L L"]:
    """E[w_a' A w_b] for all pairs of outputs; A (p,) or (p, p) is `test_cov`.

    Example:
        >>> from theorysim.rmt_synthetic.problem import real_plus_synthetic
        >>> problem = real_plus_synthetic(0, 200, jnp.eye(100)[0], eps=0.3, rho=0.2, phi=0.4)
        >>> found = limit(problem, jnp.array(0.01))
        >>> print(f"{second_moments(problem, found, problem.cov[0])[0, 0]:.9f}")
        1.314227073
    """
    pi, _, Q0, (_, _, chi, xi, zeta), wbar = found
    n_total = problem.counts.sum()
    B = trace_products(Q0, problem.cov, problem.cov) / n_total
    # A diagonal Q0 sees the diagonal of A only; a dense one needs a matrix.
    if Q0.ndim == 1:
        A = test_cov if test_cov.ndim == 1 else jnp.diag(test_cov)
    else:
        A = test_cov if test_cov.ndim == 2 else jnp.diag(test_cov)
    a = trace_products(Q0, problem.cov, A[None])[:, 0] / n_total
    d = jnp.linalg.solve(jnp.eye(len(pi), dtype=B.dtype) - B * (pi * chi)[None], a)
    along_mean = matmul(problem.means, wbar)
    along = jnp.einsum("kdp,pa->kda", problem.directions, wbar, precision="highest")
    power = _forms(problem.cov, wbar) + jnp.einsum("ka,kb->kab", along_mean, along_mean)
    power = power + jnp.einsum("kd,kda,kdb->kab", problem.gains, along, along)
    cross = jnp.einsum("ka,kb->kab", xi, along_mean)
    residual = chi[:, None, None] * power - cross - cross.swapaxes(1, 2) + zeta
    return _forms(test_cov[None], wbar)[0] + jnp.tensordot(pi * d, residual, 1, precision="highest")


def symmetric(value: ArrayLike, name: str, p: int) -> Float[Array, "*pp"]:
    """Eigenvalues (p,) or a symmetric matrix (p, p), or a ValueError that names the argument.

    Example:
        >>> symmetric(jnp.ones(3), "test_cov", 2)
        Traceback (most recent call last):
        ValueError: test_cov must have shape (2,) or (2, 2), got (3,)
    """
    matrix = floating(value)
    if matrix.shape not in ((p,), (p, p)):
        raise ValueError(f"{name} must have shape ({p},) or ({p}, {p}), got {matrix.shape}")
    real(matrix, name)
    if (
        matrix.ndim == 2
        and not is_traced(matrix)
        and not jnp.allclose(matrix, matrix.T, rtol=1e-5, atol=1e-6)
    ):
        raise ValueError(f"{name} must be symmetric")
    return matrix


@partial(jax.jit, static_argnames="variant")
def _moments(problem, gamma, test_cov, *, variant):
    found = limit(problem, gamma, variant=variant)
    mean = matmul(problem.means[0], found.wbar[:, 0])
    return Moments(mean, second_moments(problem, found, test_cov)[0, 0])


def _apply(Q0, x):
    return Q0[:, None] * x if Q0.ndim == 1 else matmul(Q0, x)


def _forms(cov, wbar):
    """Quadratic forms wbar' C_k wbar, (K, L, L)."""
    if cov.ndim == 2:
        return jnp.einsum("kp,pa,pb->kab", cov, wbar, wbar, precision="highest")
    return jnp.einsum("pa,kpq,qb->kab", wbar, cov, wbar, precision="highest")
