r"""The paper's bound on the drift of partially synthetic training, and the cap it puts on synthetic data.

Seddik et al. (2024), theorem 3 and its corollary: for all m >= 2,

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

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from theorysim.numerics.validation import floating, real

__all__ = ["log_drift_bound", "max_synthetic_bound"]

_C0 = math.exp(3) / (2 * math.pi)
_C1 = 6 * math.e / math.pi**1.5


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
