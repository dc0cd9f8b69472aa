r"""Fully synthetic training, backwards: the ancestors of today's samples give the exact law of collapse.

Each of the n samples of a generation copies a uniformly chosen sample of the generation before. Trace k
samples back one generation: they have l distinct parents with probability

    A[k, l] = S2(k, l) n! / ((n-l)! n^k),   A[k+1, l] = A[k, l] l/n + A[k, l-1] (n-l+1)/n,

a lower triangular matrix. The model has collapsed by generation m exactly when all n samples have ancestors
at the truth p that share one token, so with P_l = sum_i p_i^l and u_m = e_n A^m,

    P(T <= m) = sum_l u_{m-1}[l] P_l,        E[T] = 1 + sum_{l>=2} v_l (1 - P_l),    v = sum_m u_m.

v depends on n only: E[T] for any batch of p is one polynomial. Row k of A lives within a few standard
deviations of its mean n (1 - (1-1/n)^k), so v costs O(n^1.5) time and memory.

Derived, see docs/model_collapse.md.

Example:
    >>> import jax.numpy as jnp
    >>> mean, variance = collapse_time_moments(jnp.array([0.5, 0.3, 0.2]), n=20)
    >>> print(f"{mean:.10f} {variance:.8f}")
    29.4288475671 420.88187188
"""

from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Float

from theorysim.numerics.products import matmul
from theorysim.numerics.validation import positive_int, probabilities, real, scalar

__all__ = [
    "CollapseTimeMoments",
    "collapse_cdf",
    "collapse_time_diffusion",
    "collapse_time_mean",
    "collapse_time_moments",
    "collapse_time_quantile",
    "extinction_probability",
    "lineage_matrix",
    "lineage_visits",
    "power_sum_mean",
]


class CollapseTimeMoments(NamedTuple):
    """Mean and variance of the collapse time T, in generations and generations squared."""

    mean: Array
    var: Array


def lineage_matrix(n: int, *, dtype: DTypeLike = float) -> Float[Array, "n_plus_1 n_plus_1"]:
    """Probability A[k, l] that k samples of one generation have l distinct parents among n.

    Args:
        n: samples per generation, >= 1 (static).
        dtype: floating dtype of the result.

    Returns:
        Lower triangular stochastic matrix, shape (n+1, n+1). All terms are positive: no cancellation. Cost
        and memory O(n^2).

    Raises:
        ValueError: n is not a positive integer.

    Example:
        >>> lineage_matrix(2)
        Array([[1. , 0. , 0. ],
               [0. , 1. , 0. ],
               [0. , 0.5, 0.5]], dtype=float64)
    """
    n = positive_int(n, "n")
    parents = jnp.arange(n + 1, dtype=dtype)
    old_parent, new_parent = parents / n, (n - parents) / n

    def add_sample(row: Array, _: None) -> tuple[Array, Array]:
        return (row * old_parent).at[1:].add((row * new_parent)[:-1]), row

    first = jnp.zeros(n + 1, parents.dtype).at[0].set(1)
    return lax.scan(add_sample, first, length=n + 1)[1]


def lineage_visits(n: int, *, dtype: DTypeLike = float) -> Float[Array, " n_plus_1"]:
    """Expected number of generations v_l during which today's n samples have exactly l ancestors.

    Args:
        n: samples per generation, >= 1 (static).
        dtype: floating dtype of the result.

    Returns:
        v of shape (n+1,), generations. Entries 0 and 1 are zero: one ancestor is the end, not a visit.
        Computed in float64 while tracing, at a cost of O(n^1.5) time and memory (0.15 GiB at n = 20,000), and
        remembered.

    Raises:
        ValueError: n is not a positive integer.

    Example:
        >>> lineage_visits(2)
        Array([0., 0., 2.], dtype=float64)
    """
    n = positive_int(n, "n")
    return jnp.asarray(_visits(n)[0], dtype)


def collapse_time_mean(p: ArrayLike, n: int) -> Float[Array, "*batch"]:
    """Expected generation E[T] at which fully synthetic training has collapsed to one token.

    Smooth in p; off the simplex it is sum_i p_i (1-p_i) h(p_i) with the polynomial h of the module docstring,
    which has positive coefficients only, so nothing cancels near a Dirac law.

    Args:
        p: next-token law(s), shape (*batch, s), entries >= 0 that sum to 1. Zero entries change nothing.
        n: samples per generation, >= 1 (static).

    Returns:
        Shape (*batch,), generations, in the dtype of p; between 1 and 2n - 1. Cost O(n^1.5 + n s) for one law
        and O(n s) for each further one in the batch.

    Raises:
        ValueError: p is not a distribution, n is not a positive integer.

    Example:
        >>> import jax.numpy as jnp
        >>> print(f"{collapse_time_mean(jnp.array([0.5, 0.5]), n=10):.10f}")
        12.5905181977
    """
    p, n = probabilities(p, "p"), positive_int(n, "n")
    visits, _ = _visits(n)
    return 1 + _expected_diversity(visits, p)


def collapse_time_moments(p: ArrayLike, n: int) -> CollapseTimeMoments:
    """Mean and variance of the collapse time T of fully synthetic training.

    Both are exact: E[(T-1)^2] = sum_l (v_l + 2 t_l)(1 - P_l), where t_l sums the ages of the visits to l.

    Args:
        p: next-token law(s), shape (*batch, s).
        n: samples per generation, >= 1 (static).

    Returns:
        CollapseTimeMoments of shape (*batch,): mean in generations, var in generations squared.

    Raises:
        ValueError: p is not a distribution, n is not a positive integer.

    Example:
        >>> import jax.numpy as jnp
        >>> moments = collapse_time_moments(jnp.array([0.5, 0.3, 0.2]), n=20)
        >>> print(f"{moments.mean:.4f} {moments.var:.4f}")
        29.4288 420.8819
    """
    p, n = probabilities(p, "p"), positive_int(n, "n")
    visits, ages = _visits(n)
    # Moments of T - 1: near a Dirac law those of T would cancel to nothing.
    excess = _expected_diversity(visits, p)
    return CollapseTimeMoments(1 + excess, _expected_diversity(visits + 2 * ages, p) - excess**2)


def collapse_time_quantile(p: ArrayLike, n: int, level: ArrayLike) -> Float[Array, "*batch"]:
    """Quantile of the collapse time T: the first generation m with P(T <= m) >= level.

    Args:
        p: next-token law(s), shape (*batch, s).
        n: samples per generation, >= 1 (static).
        level: probability in (0, 1), a scalar; may be traced.

    Returns:
        Generations, whole numbers >= 1 in the dtype of p, shape (*batch,). Cost O(n^2) a generation and O(n
        s) a law, memory O(n^2). The search ends where P(T > m) <= n (1-1/n)^m is below 1 - level, if rounding
        hides that before.

    Raises:
        ValueError: p is not a distribution, n is not a positive integer, or level is no scalar in (0, 1).

    Example:
        >>> import jax.numpy as jnp
        >>> p = jnp.array([0.5, 0.3, 0.2])
        >>> [int(collapse_time_quantile(p, 20, level)) for level in (0.05, 0.5, 0.95)]
        [8, 24, 70]
    """
    p, n = probabilities(p, "p"), positive_int(n, "n")
    level = real(scalar(level, "level"), "level", low=0, high=1, low_open=True, high_open=True)
    return _collapse_time_quantile(p, jnp.asarray(level, p.dtype), n)


@partial(jax.jit, static_argnames="n")
def _collapse_time_quantile(p: Array, level: Array, n: int) -> Array:
    matrix, sums = lineage_matrix(n, dtype=p.dtype), _power_sums(p, n)
    latest = 1 if n == 1 else 1 + jnp.log((1 - level) / n) / np.log1p(-1 / n)

    def running(state: tuple[Array, Array, Array]) -> Array:
        m, _, time = state
        return (m <= latest) & (time == m).any()

    def generation(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        m, ancestors, time = state
        alive = (time == m) & (matmul(sums, ancestors) < level)
        return m + 1, matmul(ancestors, matrix), jnp.where(alive, m + 1, time)

    start = jnp.ones((), p.dtype), jnp.zeros(n + 1, p.dtype).at[n].set(1), jnp.ones(p.shape[:-1], p.dtype)
    return lax.while_loop(running, generation, start)[2]


def collapse_cdf(p: ArrayLike, n: int, num_gens: int) -> Float[Array, "*batch num_gens_plus_1"]:
    """Probability rho_m = P(T <= m) that fully synthetic training has collapsed by generation m.

    Args:
        p: next-token law(s), shape (*batch, s).
        n: samples per generation, >= 1 (static).
        num_gens: last generation, >= 1 (static).

    Returns:
        Shape (*batch, num_gens + 1), index m = 0..num_gens; rho_0 = 0 since p itself does not count. Cost
        O(n^2) a generation and O(n s) a law, memory O(n^2).

    Raises:
        ValueError: p is not a distribution, n or num_gens is not a positive integer.

    Example:
        >>> import jax.numpy as jnp
        >>> print(f"{collapse_cdf(jnp.array([0.5, 0.5]), n=10, num_gens=10)[10]:.10f}")
        0.5348972574
    """
    p, n, num_gens = probabilities(p, "p"), positive_int(n, "n"), positive_int(num_gens, "num_gens")
    return _collapse_cdf(p, n, num_gens)


@partial(jax.jit, static_argnames=("n", "num_gens"))
def _collapse_cdf(p: Array, n: int, num_gens: int) -> Array:
    ancestors = _ancestor_laws(n, n, num_gens, p.dtype)
    collapsed = matmul(_power_sums(p, n), ancestors.T)
    return jnp.concatenate([jnp.zeros((*p.shape[:-1], 1), p.dtype), collapsed], axis=-1)


def extinction_probability(p: ArrayLike, n: int, num_gens: int) -> Float[Array, "*batch num_gens_plus_1 s"]:
    """Probability that each token has disappeared from the model by generation m of fully synthetic training.

    P(token i extinct by m) = sum_l (A^(m-1))[n, l] (1 - p_i)^l.

    Args:
        p: next-token law(s), shape (*batch, s).
        n: samples per generation, >= 1 (static).
        num_gens: last generation, >= 1 (static).

    Returns:
        Shape (*batch, num_gens + 1, s). Row 0 is 1 where p_i = 0, else 0. Cost O(n^2 num_gens + n s
        num_gens).

    Raises:
        ValueError: p is not a distribution, n or num_gens is not a positive integer.

    Example:
        >>> import jax.numpy as jnp
        >>> extinction_probability(jnp.array([0.5, 0.5]), n=2, num_gens=2)
        Array([[0.   , 0.   ],
               [0.25 , 0.25 ],
               [0.375, 0.375]], dtype=float64)
    """
    p, n, num_gens = probabilities(p, "p"), positive_int(n, "n"), positive_int(num_gens, "num_gens")
    return _extinction_probability(p, n, num_gens)


@partial(jax.jit, static_argnames=("n", "num_gens"))
def _extinction_probability(p: Array, n: int, num_gens: int) -> Array:
    ancestors = _ancestor_laws(n, n, num_gens, p.dtype)
    # A row of `ancestors` holds the coefficients of a polynomial in 1 - p_i, for every m and i at once.
    lost = _polynomial(ancestors.T[:, :, None], (1 - p)[..., None, :])
    start = (p == 0).astype(p.dtype)[..., None, :]
    return jnp.concatenate([start, lost], axis=-2)


def power_sum_mean(p: ArrayLike, n: int, power: int, num_gens: int) -> Float[Array, "*batch num_gens_plus_1"]:
    """Expected power sum E sum_i (p_i^(m))^power of the model of generation m, fully synthetic.

    Args:
        p: next-token law(s), shape (*batch, s).
        n: samples per generation, >= 1 (static).
        power: exponent, >= 1 (static); 2 gives the paper's S_m = 1 - (1-1/n)^m (1-S_0).
        num_gens: last generation, >= 1 (static).

    Returns:
        Shape (*batch, num_gens + 1), index m = 0..num_gens. Cost O(power^2 num_gens + power s).

    Raises:
        ValueError: p is not a distribution; n, power or num_gens is not a positive integer.

    Example:
        >>> import jax.numpy as jnp
        >>> power_sum_mean(jnp.array([0.5, 0.5]), n=4, power=2, num_gens=2)
        Array([0.5    , 0.625  , 0.71875], dtype=float64)
    """
    p, n = probabilities(p, "p"), positive_int(n, "n")
    power, num_gens = positive_int(power, "power"), positive_int(num_gens, "num_gens")
    ancestors = _ancestor_laws(n, power, num_gens + 1, p.dtype)
    return matmul(_power_sums(p, power), ancestors.T)


def collapse_time_diffusion(p: ArrayLike, n: ArrayLike) -> Float[Array, "*batch"]:
    """Large-n limit of the expected collapse time, -2n sum_i (1-p_i) log(1-p_i).

    Args:
        p: next-token law(s), shape (*batch, s).
        n: samples per generation, > 0, broadcast against the batch.

    Returns:
        Generations. Off by 10 % at n = 10 and 0.2 % at n = 1000 for p = (1/2, 1/2).

    Raises:
        ValueError: p is not a distribution, or n <= 0.

    Example:
        >>> import jax.numpy as jnp
        >>> print(f"{collapse_time_diffusion(jnp.array([0.5, 0.5]), 10):.4f}")
        13.8629
    """
    p = probabilities(p, "p")
    n = jnp.asarray(real(n, "n", low=0, low_open=True), p.dtype)
    loss = jnp.where(p < 1, -(1 - p) * jnp.log1p(jnp.where(p < 1, -p, 0)), 0)
    return 2 * n * loss.sum(-1)


def _power_sums(p: Array, n: int) -> Array:
    """P_l = sum_i p_i^l for l = 0..n along a new last axis; O(n s) time, O(n + s) memory."""

    def multiply(q: Array, _: None) -> tuple[Array, Array]:
        return q * p, q.sum(-1)

    sums = lax.scan(multiply, jnp.ones_like(p), length=n + 1)[1]
    return jnp.moveaxis(sums, 0, -1)


def _polynomial(coefficients: Array, x: Array) -> Array:
    """sum_l coefficients[l] x^l by Horner's rule; the coefficients' other axes broadcast against x."""

    def step(value: Array, c: Array) -> tuple[Array, None]:
        return value * x + c.reshape((1,) * (x.ndim - c.ndim) + c.shape), None

    shape = jnp.broadcast_shapes(coefficients.shape[1:], x.shape)
    return lax.scan(step, jnp.zeros(shape, x.dtype), coefficients, reverse=True, unroll=8)[0]


def _expected_diversity(weights: np.ndarray, p: Array) -> Array:
    """sum_{l>=2} weights_l (1 - P_l), as sum_i p_i (1-p_i) h(p_i): every term is positive.

    1 - P_l = sum_i p_i (1 - p_i^(l-1)) and 1 - x^(l-1) = (1-x)(1 + x + ... + x^(l-2)), so the coefficient of
    x^j in h is the sum of the weights with l >= j + 2.
    """
    tails = np.cumsum(weights[::-1])[::-1][2:]
    return _positive_polynomial(jnp.asarray(tails, p.dtype), p)


@jax.jit
def _positive_polynomial(tails: Array, p: Array) -> Array:
    return (p * (1 - p) * _polynomial(tails, p)).sum(-1)


def _ancestor_laws(n: int, samples: int, count: int, dtype: DTypeLike) -> Array:
    """Laws of the number of ancestors of `samples` samples 0..count-1 generations ago, (count, samples+1)."""
    matrix = lineage_matrix(n, dtype=dtype) if samples == n else _lineage_block(n, samples, dtype)

    def back_one(law: Array, _: None) -> tuple[Array, Array]:
        return matmul(law, matrix), law

    start = jnp.zeros(samples + 1, dtype).at[samples].set(1)
    return lax.scan(back_one, start, length=count)[1]


def _lineage_block(n: int, k: int, dtype: DTypeLike) -> Array:
    """Rows and columns 0..k of the lineage matrix, for any k: also for more samples than a generation has."""
    ancestors = np.arange(k + 1)
    rows = np.eye(1, k + 1)
    for _ in range(k):
        row = rows[-1]
        new = row * ancestors / n + np.concatenate([[0.0], row[:-1]]) * (n - ancestors + 1) / n
        rows = np.vstack([rows, new])
    return jnp.asarray(rows, dtype)


def _band(n: int) -> tuple[np.ndarray, int]:
    """First column of each row of the lineage matrix, and a width, that hold all but 1e-18 of every row.

    The number of distinct parents is a sum of independent indicators (its generating polynomial has real
    roots) with mean n (1 - (1-1/n)^k) and a variance of at most 0.102 n + 1 (largest at k = 1.26 n), so
    Bernstein's inequality bounds its tails.
    """
    k = np.arange(n + 1)
    mean = np.ceil(-n * np.expm1(k * np.log1p(-1 / n)))
    log_tail = np.log(2e18)
    variance = 0.102 * n + 1
    half = int(np.ceil(log_tail / 3 + np.sqrt((log_tail / 3) ** 2 + 2 * log_tail * variance))) + 1
    half = min(half, n)
    return mean.astype(int) - half, 2 * half + 1


def _banded_rows(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the lineage matrix in band storage (n+1, width), and the first column of each."""
    first, width = _band(n)
    columns = np.arange(width)
    rows = np.zeros((n + 1, width + 2))
    rows[0, -first[0]] = 1
    for k in range(n):
        parents = columns + first[k]
        start = first[k + 1] - first[k]  # 0 or 1: the mean grows by at most one a row
        row, new = rows[k, :width], rows[k + 1]
        new[1 : width + 1] = row * ((n - parents) / n)
        new[:width] += row * (parents / n)
        if start:
            new[:-1] = new[1:]
        new[width:] = 0
    return rows[:, :width], first


@lru_cache(maxsize=64)
def _visits(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Visits v_l and summed ages t_l = sum_m m P(l ancestors after m generations), both (n+1,), in float64.

    Both solve x = source + x A on l >= 2, from the top row down: v from e_n, t from v A = v - e_n. They
    depend on the static n alone, so they are computed once, while tracing: a scan of n tiny steps would cost
    an accelerator more than all the rest, and float32 four digits.
    """
    visits, ages = np.zeros(n + 1), np.zeros(n + 1)
    if n == 1:
        return visits, ages
    rows, first = _banded_rows(n)
    # Probability that l samples do not all keep apart, 1 - A[l, l], without cancellation for small l.
    leave = -np.expm1(np.concatenate([[0.0], np.cumsum(np.log1p(-np.arange(n) / n))]))
    pad = int(max(0, -first.min()))
    arrivals = np.zeros((2, pad + max(n, int(first.max()) + rows.shape[1]) + 1))
    for k in range(n, 1, -1):
        inflow, inflow_ages = arrivals[:, pad + k]
        visits[k] = (inflow + (k == n)) / leave[k]
        # v A at k: what enters k from any number of ancestors, k itself included.
        entering = inflow + visits[k] * (1 - leave[k])
        ages[k] = (inflow_ages + entering) / leave[k]
        window = slice(pad + first[k], pad + first[k] + rows.shape[1])
        arrivals[0, window] += visits[k] * rows[k]
        arrivals[1, window] += ages[k] * rows[k]
    return visits, ages
