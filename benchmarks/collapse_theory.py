"""What the ancestor chain gains over solving for the collapse time: one sample size, a huge one, many laws.

The naive way to E[T] solves (I - Q) g = x on the n - 1 interior counts of one token, whose matrix has to be
built first. Ours includes the table of lineage visits, which is otherwise remembered between calls.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import gammaln, xlog1py, xlogy

from benchmarks.harness import Comparison, benchmark, close
from theorysim.model_collapse import collapse_time_mean
from theorysim.model_collapse.lineage import _visits

P = np.array([0.5, 0.3, 0.2])


def dense_collapse_time(p, n):
    """E[T] = sum_i [p_i + b(p_i)^T g], by one dense solve."""
    k = np.arange(1, n)
    log_choose = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)

    def interior(x):
        return np.exp(log_choose + xlogy(k, x[:, None]) + xlog1py(n - k, -x[:, None]))

    g = np.linalg.solve(np.eye(n - 1) - interior(k / n), k / n)
    return (p + interior(p) @ g).sum()


def lineage_collapse_time(p, n):
    """E[T] with nothing remembered from an earlier call."""
    _visits.cache_clear()
    return collapse_time_mean(p, n)


@benchmark("E[T], n = 2000, against a dense linear solve", target=3.0)
def one_size():
    return Comparison(
        ours=lambda: lineage_collapse_time(P, 2000),
        baseline=lambda: dense_collapse_time(P, 2000),
        agree=close(1e-8),
    )


@benchmark("E[T], n = 20,000", memory_limit_mib=1024)
def huge_size():
    return Comparison(ours=lambda: lineage_collapse_time(P, 20_000))


@benchmark("E[T] of 1000 laws, n = 500, one vmapped call against a loop of solves", target=100.0)
def many_laws():
    laws = np.random.default_rng(0).dirichlet(np.ones(10), 1000)
    some = 5  # of the baseline's loop; it takes the same time for each law
    vmapped = jax.jit(jax.vmap(functools.partial(collapse_time_mean, n=500)))
    return Comparison(
        ours=lambda: vmapped(jnp.asarray(laws)),
        baseline=lambda: np.array([dense_collapse_time(p, 500) for p in laws[:some]]),
        agree=lambda ours, baseline: close(1e-8)(ours[:some], baseline),
        baseline_share=some / len(laws),
    )
