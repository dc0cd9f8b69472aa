r"""Sampling the sufficient statistics instead of the samples: any covariances, weights and targets.

The classifier needs S = (1/N) sum omega v v' and b = (1/N) sum omega s v only. The M_g kept samples of one
group with one weight and one target (a subgroup) have, with y_g = sqrt(M_g) m_g + N(0, C_g),

    sum v = sqrt(M_g) y_g,      sum v v' = W_g + y_g y_g',      W_g ~ Wishart(C_g, M_g - 1).

Subgroups with the same covariance and weight share one Wishart, whose degrees of freedom add up. With
Bartlett's factor it is C^1/2 L L' C^1/2, L lower triangular with L_ii = chi_{f-i} and L_ij ~ N(0, 1), i
counted from 0 and f the degrees of freedom; only the columns i < f exist, so that any f will do. The cost of
a draw, O(p^3), does not grow with N.

References: M. S. Bartlett, "On the theory of statistical regression" (1933); derived, see
docs/rmt_synthetic.md.

Example:
    >>> from theorysim.rmt_synthetic.problem import real_plus_synthetic
    >>> mu, quality = jnp.ones(20) / 4, dict(eps=0.2, rho=0.1, phi=0.9)
    >>> problem = real_plus_synthetic(300, 600, mu, **quality, omega=0.5, cov_s=jnp.linspace(0.5, 2, 20))
    >>> keys = jax.random.split(jax.random.key(0), 2000)
    >>> print(f"{jax.jit(sample_bartlett)(keys, problem, jnp.array(0.1)).mean.mean():.3f}")
    0.488
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.linalg import cho_factor, cho_solve
from jaxtyping import Array, Float, Int

from theorysim.numerics.products import matmul
from theorysim.rmt_synthetic.problem import Problem
from theorysim.rmt_synthetic.samplers.counts import atom_counts
from theorysim.rmt_synthetic.samplers.plain import quadratic, square_roots, times_root
from theorysim.rmt_synthetic.score import Moments

__all__ = ["sample_bartlett"]


def sample_bartlett(keys: Array, problem: Problem, gamma: Float[Array, ""]) -> Moments:
    """Moments of the score for one training set per key, (B,) each.

    Args:
        keys: random keys, (B,).
        problem: the groups; test points follow group 0.
        gamma: ridge.

    Example:
        >>> from theorysim.rmt_synthetic.problem import real_plus_synthetic
        >>> problem = real_plus_synthetic(30, 0, jnp.ones(20) / 4, eps=0, rho=0, phi=1)
        >>> keys = jax.random.split(jax.random.key(0), 2)
        >>> jax.jit(sample_bartlett)(keys, problem, jnp.array(0.1)).var.shape
        (2,)
    """
    roots, pools = square_roots(problem.cov), _pools(problem)
    return jax.vmap(lambda key: _one(key, problem, gamma, roots, pools))(keys)


class _Pools(NamedTuple):
    """Which of the G = K J subgroups share a Wishart: the number of pools, and the pools in the order of use.

    `first` (G,) is the first subgroup of each pool; `member` (G, G) says in row i who is in pool `first[i]`.
    """

    number: Int[Array, ""]
    first: Int[Array, " G"]
    member: Float[Array, "G G"]


def _pools(problem: Problem) -> _Pools:
    """Found by comparing values, so that it is the same whether they are traced or not."""
    K, J = problem.atoms.shape[:2]
    weight, probability = (problem.atoms[..., i].ravel() for i in (0, -1))
    group = jnp.repeat(jnp.arange(K), J)
    same_cov = jnp.stack([(problem.cov == cov[None]).reshape(K, -1).all(axis=1) for cov in problem.cov])
    used = (weight > 0) & (probability > 0) & (problem.counts[group] > 0)
    shared = same_cov[group][:, group] & (weight[:, None] == weight[None]) & used[:, None] & used[None]
    leads = used & (jnp.argmax(shared, axis=1) == jnp.arange(K * J))
    first = jnp.argsort(~leads, stable=True)
    return _Pools(leads.sum(), first, shared[first].astype(weight.dtype))


def _one(
    key: Array, problem: Problem, gamma: Float[Array, ""], roots: Float[Array, "K *pp"], pools: _Pools
) -> Moments:
    (K, p), J = problem.means.shape, problem.atoms.shape[1]
    dtype = problem.means.dtype
    count_key, mean_key, wishart_key = jax.random.split(key, 3)
    n_total = problem.counts.sum()
    weight, target = (problem.atoms[..., i].ravel() for i in (0, 1))
    kept = atom_counts(count_key, problem.counts, problem.atoms[..., -1]).ravel()

    size, scale = jnp.sqrt(kept), jnp.sqrt(weight / n_total)
    noise = jax.random.normal(mean_key, (K, p, J), dtype)
    noise = jnp.stack([times_root(roots[k], noise[k]) for k in range(K)])
    y = size.reshape(K, 1, J) * problem.means[:, :, None] + noise
    # An empty subgroup has no mean.
    y = jnp.where(size[None] > 0, y.swapaxes(0, 1).reshape(p, K * J), 0) * scale[None]
    b = matmul(y, target * size * scale)

    freedom = matmul(pools.member, jnp.maximum(kept - 1, 0))

    def add_wishart(i: Array, S: Float[Array, "p p"]) -> Float[Array, "p p"]:
        lead = pools.first[i]
        factor = _bartlett_factor(jax.random.fold_in(wishart_key, lead), freedom[i], p)
        factor = times_root(roots[lead // J], factor) * scale[lead]
        return S + matmul(factor, factor.T)

    S = lax.fori_loop(0, pools.number, add_wishart, gamma * jnp.eye(p, dtype=dtype) + matmul(y, y.T))
    w = cho_solve(cho_factor(S), b)
    return Moments(matmul(problem.means[0], w), quadratic(problem.cov[0], w))


def _bartlett_factor(key: Array, freedom: Float[Array, ""], p: int) -> Float[Array, "p p"]:
    """L with L L' ~ Wishart(I, freedom), singular if freedom < p."""
    normal_key, gamma_key = jax.random.split(key)
    below = jnp.tril(jax.random.normal(normal_key, (p, p), freedom.dtype), -1)
    dof = freedom - jnp.arange(p, dtype=freedom.dtype)
    exists = dof > 0
    chi = jnp.sqrt(2 * jax.random.gamma(gamma_key, jnp.where(exists, dof, 1) / 2, dtype=dof.dtype))
    return jnp.where(exists[None], below + jnp.diag(chi), 0)
