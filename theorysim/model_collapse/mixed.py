r"""Partially synthetic training: N real draws kept for ever, n synthetic draws renewed every generation.

With alpha = n/(N+n), beta = alpha^2 (1-1/n) and S_1 = 1/N + (1-1/N) S_0,

    V_m = (alpha/N) / (1 + (1+1/N) alpha) (1 - beta^(m-1)),    Cov(p^(m) | p^(1)) = V_m (diag q - q q^T),
    S_m = S_1 + V_m (1 - S_1),                                 E||p^(m) - q||_2^2 = V_m (1 - sigma_1),

where q = p^(1).

V_m <= 1/(2N+1) for every n: the drift is bounded however much synthetic data is used, and the squared error
to the truth is at most 3/2 of that of the real data alone. Seddik et al. (2024), theorem 3; their formula for
S_m has a sign misprint (`mixed_sumsq` corrects it). The bound on V_m, the exact L1 drift and the largest
admissible n are derived, see docs/model_collapse.md.

Example:
    >>> factor = mixed_variance_factor(n=1000, N=100, num_gens=12)
    >>> print(f"{factor[11]:.10f}, never above {1 / 201:.10f}")
    0.0041635005, never above 0.0049751244
"""

from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float

from theorysim.numerics.binomial import binomial_pmf
from theorysim.numerics.products import matmul
from theorysim.numerics.validation import choice, floating, positive_int, probabilities, real, scalar

__all__ = [
    "max_synthetic",
    "mixed_drift",
    "mixed_drift_mean",
    "mixed_sumsq",
    "mixed_variance_factor",
    "powers",
]


def mixed_variance_factor(n: ArrayLike, N: ArrayLike, num_gens: int) -> Float[Array, " num_gens"]:
    """Drift variance V_m of partially synthetic training for m = 1..num_gens.

    Args:
        n: synthetic draws per generation, >= 1; may be traced and need not be whole.
        N: real draws, >= 1; likewise.
        num_gens: last generation, >= 1 (static).

    Returns:
        Shape (num_gens,), entry m-1 for generation m; V_1 = 0, V_m <= 1/(2N+1).

    Raises:
        ValueError: n < 1, N < 1 or one of them is not a scalar, or num_gens is not a positive integer.

    Example:
        >>> print(f"{mixed_variance_factor(10, 100, 12)[11]:.14f}")
        0.00083263946711
    """
    num_gens = positive_int(num_gens, "num_gens")
    n, N = floating(real(scalar(n, "n"), "n", low=1)), floating(real(scalar(N, "N"), "N", low=1))
    alpha = n / (N + n)
    beta = alpha**2 * (1 - 1 / n)
    limit = (alpha / N) / (1 + (1 + 1 / N) * alpha)
    return limit * (1 - powers(beta, num_gens))


def mixed_sumsq(
    sumsq0: ArrayLike,
    n: ArrayLike,
    N: ArrayLike,
    num_gens: int,
    *,
    variant: Literal["corrected", "printed"] = "corrected",
) -> Float[Array, " num_gens"]:
    """Closed form of S_m for m = 1..num_gens of partially synthetic training, as in the paper's theorem 3.

    S_{m+1} = { (1/N) [1 + 2 alpha - (1-1/N) alpha beta^m] + (1-1/N) S_0 [1 + alpha + (alpha/N) beta^m] }
              / { 1 + (1+1/N) alpha }.

    The paper prints "- (alpha/N) beta^m" in the last bracket; with that sign S_1 is not
    1/N + (1-1/N) S_0. `variant="printed"` evaluates it as printed, for comparison.

    Args:
        sumsq0: S_0 = sum_i p_i^2 in (0, 1], a scalar.
        n: synthetic draws per generation, >= 1.
        N: real draws, >= 1.
        num_gens: last generation, >= 1 (static).
        variant: "corrected" or "printed".

    Returns:
        Shape (num_gens,), entry m-1 for generation m.

    Raises:
        ValueError: a value out of its range, or not a scalar.

    Example:
        >>> print(f"{mixed_sumsq(0.1, 10, 100, 12)[11]:.12f}")
        0.109741881765
        >>> printed = mixed_sumsq(0.1, 1000, 100, 1, variant="printed")
        >>> print(f"{mixed_sumsq(0.1, 1000, 100, 1)[0]:.6f} {printed[0]:.6f}")
        0.109000 0.108062
    """
    choice(variant, "variant", ("corrected", "printed"))
    num_gens = positive_int(num_gens, "num_gens")
    S0 = floating(real(scalar(sumsq0, "sumsq0"), "sumsq0", low=0, high=1, low_open=True))
    n, N = floating(real(scalar(n, "n"), "n", low=1)), floating(real(scalar(N, "N"), "N", low=1))
    sign = 1 if variant == "corrected" else -1
    alpha = n / (N + n)
    beta_m = powers(alpha**2 * (1 - 1 / n), num_gens)
    from_real = (1 + 2 * alpha - (1 - 1 / N) * alpha * beta_m) / N
    from_truth = (1 - 1 / N) * S0 * (1 + alpha + sign * (alpha / N) * beta_m)
    return (from_real + from_truth) / (1 + (1 + 1 / N) * alpha)


def mixed_drift(
    p1: ArrayLike, n: int, N: int, num_gens: int, norm: Literal["l2", "l1"] = "l2"
) -> Float[Array, "*batch num_gens"]:
    """Expected drift from the first model, given that model p^(1), of partially synthetic training.

    Args:
        p1: the first model, the empirical law of the N real draws, shape (*batch, s).
        n: synthetic draws per generation, >= 1 (static for "l1").
        N: real draws, >= 1.
        num_gens: last generation, >= 1 (static).
        norm: "l2" gives E||p^(m) - p^(1)||_2^2 = V_m (1 - sigma_1); "l1" gives E||p^(m) - p^(1)||_1 exactly,
            from the count chain of each token.

    Returns:
        Shape (*batch, num_gens), entry m-1 for generation m (entry 0 is zero). Cost O(num_gens) for "l2"; for
        "l1" O(s n^2 num_gens) time and O(n^2) memory. Smooth in p1, but for kinks of "l1" where n p1_i is
        whole; there the derivative is that of one side or between them.

    Raises:
        ValueError: p1 is not a distribution, a size is not a positive integer, or an unknown norm.

    Example:
        >>> import jax.numpy as jnp
        >>> p1 = jnp.array([0.5, 0.3, 0.2])
        >>> print(f"{mixed_drift(p1, 10, 100, 12)[11]:.7f} {mixed_drift(p1, 10, 100, 12, norm='l1')[11]:.5f}")
        0.0005162 0.03028
    """
    choice(norm, "norm", ("l2", "l1"))
    p1, num_gens = probabilities(p1, "p1"), positive_int(num_gens, "num_gens")
    if norm == "l2":
        diversity = (p1 * (1 - p1)).sum(-1, keepdims=True)
        factor = mixed_variance_factor(n, N, num_gens).astype(p1.dtype)
        return diversity * factor.reshape((1,) * (p1.ndim - 1) + (-1,))
    n, N = positive_int(n, "n"), positive_int(N, "N")
    by_token = _token_l1_drift(p1.reshape(-1), n, N, num_gens)
    return by_token.reshape(*p1.shape, num_gens).sum(-2)


def mixed_drift_mean(p: ArrayLike, n: int, N: int, num_gens: int) -> Float[Array, "*batch num_gens"]:
    """Exact E||p^(m) - p^(1)||_1 of partially synthetic training, averaged over the real sample too.

    Args:
        p: the truth, shape (*batch, s).
        n: synthetic draws per generation, >= 1 (static).
        N: real draws, >= 1 (static).
        num_gens: last generation, >= 1 (static).

    Returns:
        Shape (*batch, num_gens), entry m-1 for generation m. Cost O(N n^2 num_gens) whatever s and the batch,
        memory O(n^2).

    Raises:
        ValueError: p is not a distribution, or a size is not a positive integer.

    Example:
        >>> import jax.numpy as jnp
        >>> print(f"{mixed_drift_mean(jnp.array([0.5, 0.3, 0.2]), 10, 100, 12)[11]:.5f}")
        0.03132
    """
    p, num_gens = probabilities(p, "p"), positive_int(num_gens, "num_gens")
    n, N = positive_int(n, "n"), positive_int(N, "N")
    by_count = _token_l1_drift(jnp.arange(N + 1, dtype=p.dtype) / N, n, N, num_gens)
    return matmul(binomial_pmf(N, p).sum(-2), by_count)


def max_synthetic(eps: ArrayLike, N: ArrayLike, sigma1: ArrayLike) -> Float[Array, "*batch"]:
    """Largest n whose stationary drift sqrt(E||p^(m) - p^(1)||_2^2) stays within eps.

    Unlimited (infinity) if (2N+1) eps^2 >= 1 - sigma_1, else n* = N alpha*/(1 - alpha*) with
    alpha* = N eps^2 / (1 - sigma_1 - (N+1) eps^2).

    Args:
        eps: admissible L2 drift, > 0.
        N: real draws, >= 1.
        sigma1: sum of squares of the first model, in (0, 1]. All three broadcast, and may be traced.

    Returns:
        Number of synthetic draws per generation, not rounded; infinity where every n is admissible.

    Raises:
        ValueError: eps <= 0, N < 1, or sigma1 outside (0, 1].

    Example:
        >>> print(f"{max_synthetic(0.05, 100, 0.1):.9f} {max_synthetic(0.07, 100, 0.1)}")
        62.893081761 inf
    """
    eps = floating(real(eps, "eps", low=0, low_open=True))
    N = floating(real(N, "N", low=1))
    sigma1 = floating(real(sigma1, "sigma1", low=0, high=1, low_open=True))
    diversity = 1 - sigma1
    unlimited = (2 * N + 1) * eps**2 >= diversity
    # alpha*/(1 - alpha*) = N eps^2 / (diversity - (2N+1) eps^2): one division, none by zero where it is used.
    gap = jnp.where(unlimited, 1, diversity - (2 * N + 1) * eps**2)
    return jnp.where(unlimited, jnp.inf, N * (N * eps**2) / gap)


def powers(x: Float[Array, ""], count: int) -> Float[Array, " count"]:
    """The powers 1, x, x^2, ... of a scalar as products: x ** m has a NaN for derivative at x = 0 (n = 1).

    Example:
        >>> import jax.numpy as jnp
        >>> powers(jnp.array(0.5), 4)
        Array([1.   , 0.5  , 0.25 , 0.125], dtype=float64)
    """
    return jnp.concatenate([jnp.ones(1, x.dtype), jnp.cumprod(jnp.full(count - 1, x))])


@partial(jax.jit, static_argnames=("n", "N", "num_gens"))
def _token_l1_drift(q: Array, n: int, N: int, num_gens: int) -> Array:
    """E|p_i^(m) - q| for tokens with p_i^(1) = q: shape (len(q), num_gens).

    The synthetic count is a chain of its own, K_q[j, .] = Binom(n, (1-alpha) q + alpha j/n), from Binom(n,
    q); p_i^(m) = (1-alpha) q + alpha j/n drifts by alpha |j/n - q|.
    """
    alpha = n / (N + n)
    x = jnp.asarray(np.arange(n + 1) / n, q.dtype)

    def one_token(q: Array) -> Array:
        law = binomial_pmf(n, q)  # counts that generation 2 is trained on
        chain = binomial_pmf(n, x + (1 - alpha) * (q - x))
        drift = alpha * jnp.abs(x - q)
        return lax.scan(lambda law, _: (matmul(law, chain), matmul(law, drift)), law, length=num_gens - 1)[1]

    later = lax.map(one_token, q)
    return jnp.concatenate([jnp.zeros((q.shape[0], 1), q.dtype), later], axis=1)
