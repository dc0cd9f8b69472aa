r"""One scalar F and one derivative through the fixed point give the second moment.

Add t A to the ridge, and let

    F(t) = h'M_t^-1 h + sum_k pi_k delta_k(t) E[omega^2 s^2 / (1 + omega delta_k(t))],

the limit of b'(S + gamma I + t A)^-1 b. Then E[w'Aw] = -dF/dt at t = 0: one forward derivative, implicit
through the fixed point, replaces the system for d and the residuals R_k of `moments`, and holds for any
change of the model that keeps F. If A = I, t and gamma coincide and var = -dF/dgamma. Derived, see
docs/rmt_synthetic.md.

Example:
    >>> from theorysim.rmt_synthetic.problem import real_plus_synthetic
    >>> problem = real_plus_synthetic(0, 200, jnp.eye(100)[0], eps=0.3, rho=0.2, phi=0.4)
    >>> moments = response_moments(problem, 0.01)
    >>> print(f"{moments.mean:.10f} {moments.var:.9f}")
    0.2534335521 1.314227073
    >>> print(f"{-jax.grad(lambda gamma: response(problem, gamma))(0.01):.9f}")
    1.314227073
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.numerics.products import matmul
from theorysim.numerics.validation import real, scalar
from theorysim.rmt_synthetic.group_statistics import group_statistics
from theorysim.rmt_synthetic.moments import mean_classifier, symmetric
from theorysim.rmt_synthetic.newton import resolvent, solve_delta
from theorysim.rmt_synthetic.problem import Problem, checked
from theorysim.rmt_synthetic.score import Moments

__all__ = ["response", "response_moments"]


def response(
    problem: Problem,
    gamma: ArrayLike,
    t: ArrayLike = 0.0,
    *,
    test_cov: ArrayLike | None = None,
) -> Float[Array, ""]:
    """F(t), the limit of b'(S + gamma I + t A)^-1 b.

    Args:
        problem: any K groups with one target.
        gamma: ridge, > 0, a scalar.
        t: strength of A in the ridge, >= 0, a scalar.
        test_cov: A, (p,) or (p, p); the covariance of group 0 by default.

    Returns:
        A scalar, differentiable to any order in every argument.

    Raises:
        ValueError: gamma <= 0, t < 0, or a problem that cannot be.

    Example:
        >>> from theorysim.rmt_synthetic.problem import real_plus_synthetic
        >>> problem = real_plus_synthetic(50, 0, jnp.ones(20) / 4, eps=0, rho=0, phi=1)
        >>> print(f"{response(problem, 0.5):.6f} {response(problem, 0.3, 0.2):.6f}")
        0.567230 0.567230
    """
    problem, gamma, A = _prepared(problem, gamma, test_cov)
    t = jnp.asarray(real(scalar(t, "t"), "t", low=0), A.dtype)
    return _response(problem, gamma, t, A)[0]


def response_moments(
    problem: Problem,
    gamma: ArrayLike,
    *,
    test_cov: ArrayLike | None = None,
) -> Moments:
    """What `decision_moments` computes, by -dF/dt: an independent route to the variance.

    Args:
        problem: any K groups with one target.
        gamma: ridge, > 0, a scalar.
        test_cov: covariance of the test points, (p,) or (p, p); that of group 0 by default.

    Raises:
        ValueError: gamma <= 0, or a problem that cannot be.

    Example:
        >>> from theorysim.rmt_synthetic.moments import decision_moments
        >>> from theorysim.rmt_synthetic.problem import real_plus_synthetic
        >>> problem = real_plus_synthetic(30, 60, jnp.ones(20) / 4, eps=0.2, rho=0.1, phi=0.9, cov_s=2.0)
        >>> moments = decision_moments(problem, 0.1)
        >>> print(f"{moments.var:.8f} {response_moments(problem, 0.1).var:.8f}")
        0.24336100 0.24336100
    """
    problem, gamma, A = _prepared(problem, gamma, test_cov)
    return _moments(problem, gamma, A)


def _prepared(problem, gamma, test_cov):
    """Covariances and A in one representation: all diagonal, or all dense."""
    real(scalar(gamma, "gamma"), "gamma", low=0, low_open=True, high_open=True)
    checked(problem)
    p = problem.means.shape[1]
    A = problem.cov[0] if test_cov is None else symmetric(test_cov, "test_cov", p)
    cov = problem.cov
    if A.ndim == 2 and cov.ndim == 2:
        cov = cov[:, None, :] * jnp.eye(p, dtype=cov.dtype)[None]
    A = jnp.diag(A) if A.ndim < cov.ndim - 1 else A
    dtype = jnp.result_type(problem.means, cov)
    return problem._replace(cov=cov), jnp.asarray(gamma, dtype), A.astype(dtype)


@jax.jit
def _response(problem, gamma, t, A):
    """F(t) and the classifier wbar."""
    identity = jnp.ones_like(problem.means[0])
    ridge = gamma * (identity if A.ndim == 1 else jnp.diag(identity)) + t * A
    n_total = problem.counts.sum()
    pi = problem.counts / n_total
    traces = problem.cov.sum(1) if A.ndim == 1 else jnp.trace(problem.cov, axis1=1, axis2=2)
    delta = solve_delta(pi, problem.cov, problem.atoms, ridge, n_total, traces / (n_total * gamma))
    statistics = group_statistics(problem.atoms, delta)
    wbar = mean_classifier(problem, pi, statistics, resolvent(pi * statistics.kappa, problem.cov, ridge))
    signal = matmul((pi[:, None] * statistics.tau).T, matmul(problem.means, wbar))[0, 0]
    weight, target, probability = jnp.moveaxis(problem.atoms, -1, 0)
    noise = (probability * (weight * target) ** 2 / (1 + weight * delta[:, None])).sum(1)
    return signal + (pi * delta * noise).sum(), wbar[:, 0]


@jax.jit
def _moments(problem, gamma, A):
    def at(t):
        return _response(problem, gamma, t, A)

    zero = jnp.zeros_like(gamma)
    _, slope, wbar = jax.jvp(at, (zero,), (zero + 1,), has_aux=True)
    return Moments(matmul(problem.means[0], wbar), -slope)
