r"""The paper's bounds: on the collapse time, on the drift with real data kept, and the cap on synthetic data.

Seddik et al. (2024). Theorem 1 and its corollaries bound the law and the mean of the collapse time of fully
synthetic training by S_0 and the support alone; `lineage` has both exactly. Theorem 3 and its corollary bound
the drift of partially synthetic training: for all m >= 2,

    E||p^(m) - p^(1)||_1 < (1/N) sqrt(pi n / 2) G_n(s),

with, for C0 = e^3/(2 pi) and C1 = 6 e / pi^(3/2) (concentration of the empirical law, Mardia et al. 2020),

    G_n(s) = C1 s e^{C0 n/(2e)}      if s >= C0 n/e + 2
             C1 s (C0 n/s)^{s/2}     if C0 n/4 + 2 <= s < C0 n/e + 2
             2^s - 2                 if s < C0 n/4 + 2.

An L1 distance never exceeds 2, which this bound passes already at n = 1 in the paper's own setting; the exact
drift (`mixed_drift_mean`) and the bound V_m <= 1/(2N+1) hold for every n.

Example:
    >>> import math
    >>> print(f"{math.exp(log_drift_bound(1, 100, 600)):.2f}")
    39.66
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from theorysim.numerics.validation import floating, positive_int, probabilities, real

__all__ = [
    "Bounds",
    "collapse_cdf_bounds",
    "collapse_time_bounds",
    "log_drift_bound",
    "max_synthetic_bound",
]

_C0 = math.exp(3) / (2 * math.pi)
_C1 = 6 * math.e / math.pi**1.5


class Bounds(NamedTuple):
    """A lower and an upper bound on one quantity."""

    lower: Array
    upper: Array


def collapse_time_bounds(p: ArrayLike, n: ArrayLike) -> Bounds:
    """The paper's bounds on E[T]: 1 + (1-S_0)/(1-1/s~) (n-1) and 1 + (1-S_0) n (n-1).

    Args:
        p: next-token law(s), shape (*batch, s); s~ is the number of tokens with p_i > 0.
        n: samples per generation, >= 1, broadcast against the batch.

    Returns:
        Bounds in generations. The lower one is NaN for a Dirac law (s~ = 1), where the formula is 0/0.

    Raises:
        ValueError: p is not a distribution, or n < 1.

    Example:
        >>> import jax.numpy as jnp
        >>> lower, upper = collapse_time_bounds(jnp.array([0.5, 0.5]), 10)
        >>> print(f"{lower:.1f} {upper:.1f}")
        10.0 46.0
    """
    p = probabilities(p, "p")
    n = jnp.asarray(real(n, "n", low=1), p.dtype)
    diversity, share = _diversity_and_share(p)
    return Bounds(1 + share * (n - 1), 1 + diversity * n * (n - 1))


def collapse_cdf_bounds(p: ArrayLike, n: ArrayLike, num_gens: int) -> Bounds:
    """The paper's bounds on rho_m: 1 - n (1-S_0) (1-1/n)^m and 1 - (1-S_0)/(1-1/s~) (1-1/n)^m.

    Args:
        p: next-token law(s), shape (*batch, s).
        n: samples per generation, >= 1, broadcast against the batch.
        num_gens: last generation, >= 1 (static).

    Returns:
        Bounds of shape (*batch, num_gens + 1), m = 0..num_gens; the lower one may be negative, both hold for
        m >= 1. The upper one is NaN for a Dirac law, where the formula is 0/0.

    Raises:
        ValueError: p is not a distribution, n < 1, or num_gens is not a positive integer.

    Example:
        >>> import jax.numpy as jnp
        >>> lower, upper = collapse_cdf_bounds(jnp.array([0.5, 0.5]), 10, num_gens=30)
        >>> print(f"{lower[30]:.4f} {upper[30]:.4f}")
        0.7880 0.9576
    """
    p, num_gens = probabilities(p, "p"), positive_int(num_gens, "num_gens")
    n = jnp.asarray(real(n, "n", low=1), p.dtype)[..., None]
    diversity, share = (x[..., None] for x in _diversity_and_share(p))
    m = jnp.arange(num_gens + 1, dtype=p.dtype).reshape((1,) * (max(p.ndim, n.ndim) - 1) + (-1,))
    decay = (1 - 1 / n) ** m
    return Bounds(1 - n * diversity * decay, 1 - share * decay)


def log_drift_bound(n: ArrayLike, N: ArrayLike, s: ArrayLike) -> Float[Array, "*batch"]:
    """Natural logarithm of the paper's bound on E||p^(m) - p^(1)||_1, partially synthetic training.

    Args:
        n: synthetic draws per generation, >= 1.
        N: real draws, >= 1.
        s: vocabulary size, >= 2. All three broadcast, and may be traced.

    Returns:
        log of (1/N) sqrt(pi n/2) G_n(s); the bound itself overflows for n of a few hundred.

    Raises:
        ValueError: n < 1, N < 1 or s < 2.

    Example:
        >>> print(f"{log_drift_bound(10, 100, 600):.3f}")
        10.124
    """
    n, N = floating(real(n, "n", low=1)), floating(real(N, "N", low=1))
    s = floating(real(s, "s", low=2))
    many_tokens = jnp.log(_C1 * s) + _C0 * n / (2 * math.e)
    between = jnp.log(_C1 * s) + (s / 2) * jnp.log(_C0 * n / s)
    few_tokens = s * math.log(2) + jnp.log1p(-(2 ** (1 - s)))
    log_G = jnp.where(
        s >= _C0 * n / math.e + 2, many_tokens, jnp.where(s >= _C0 * n / 4 + 2, between, few_tokens)
    )
    return 0.5 * jnp.log(math.pi * n / 2) - jnp.log(N) + log_G


def max_synthetic_bound(eps: ArrayLike, N: ArrayLike, s: ArrayLike) -> Float[Array, "*batch"]:
    """The paper's "maximal amount of synthetic data" that suffices for an L1 drift of at most eps.

    floor(2 pi e^-2 min{s - 2, log(sqrt2 pi N eps / (6 e s))}): logarithmic in N. Negative when even one draw
    is not covered by the bound.

    Args:
        eps: admissible L1 drift, > 0.
        N: real draws, >= 1.
        s: vocabulary size, >= 2. All three broadcast, and may be traced.

    Returns:
        A whole number of synthetic draws, as a float.

    Raises:
        ValueError: eps <= 0, N < 1 or s < 2.

    Example:
        >>> print(f"{max_synthetic_bound(0.05, 1e9, 600):.0f}")
        8
    """
    eps = floating(real(eps, "eps", low=0, low_open=True))
    N, s = floating(real(N, "N", low=1)), floating(real(s, "s", low=2))
    reach = jnp.log(math.sqrt(2) * math.pi * N * eps / (6 * math.e * s))
    return jnp.floor(2 * math.pi * math.exp(-2) * jnp.minimum(s - 2, reach))


def _diversity_and_share(p: Array) -> tuple[Array, Array]:
    """1 - S_0, and its ratio to the largest value 1 - 1/s~ that the support allows."""
    diversity = (p * (1 - p)).sum(-1)
    support = (p > 0).sum(-1)
    return diversity, diversity / (1 - 1 / support.astype(p.dtype))
