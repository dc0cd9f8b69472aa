r"""Fully synthetic training, forwards: the count of one token is a Markov chain by itself.

The count X = n p_i^(m) of one token evolves by X' ~ Bin(n, X/n), from Bin(n, p_i), whatever the other tokens
do. With K[j, k] = Binom(k; n, j/n) every separable functional is exact,

    E sum_i f(p_i^(m)) = sum_i b(p_i)^T K^(m-1) f,    b(x) = Binom(.; n, x),   f = (f(0), f(1/n), ..., f(1)),

for instance the support (f = 1[x > 0]) and the entropy (f = -x log x). The matrix is only ever applied to
vectors, O(n^2) a generation. Derived, see docs/model_collapse.md.

Example:
    >>> import jax.numpy as jnp
    >>> p = 0.5 ** jnp.arange(1, 9)
    >>> support = expected_support(p / p.sum(), n=20, num_gens=9)
    >>> print(f"{support[0]:.0f} tokens, after nine generations {support[9]:.4f}")
    8 tokens, after nine generations 2.4879
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float

from theorysim.numerics.binomial import binomial_pmf
from theorysim.numerics.products import matmul
from theorysim.numerics.validation import floating, positive_int, probabilities, real, scalar

__all__ = [
    "count_stationary_law",
    "expected_entropy",
    "expected_support",
    "replace_drift",
    "separable_expectation",
]


def separable_expectation(
    f: ArrayLike, p: ArrayLike, n: int, num_gens: int, mutation: ArrayLike | None = None
) -> Float[Array, "*batch num_gens"]:
    """Exact expectation of sum_i f(p_i^(m)) for the models m = 1..num_gens of fully synthetic training.

    Args:
        f: values f(k/n) for k = 0..n, shape (n+1,).
        p: next-token law(s), shape (*batch, s).
        n: samples per generation, >= 1 (static).
        num_gens: last generation, >= 1 (static).
        mutation: probability u in [0, 1] that a sample is replaced by a uniformly chosen token (label noise;
            Laplace smoothing of the sampled law to (1-u) x + u/s). None means 0.

    Returns:
        Shape (*batch, num_gens), entry m-1 for generation m. Cost O(n s) a law and O(n^2) a generation;
        memory O(n^2).

    Raises:
        ValueError: f has the wrong shape, p is not a distribution, a size is not a positive integer, or
            mutation is not a scalar in [0, 1].

    Example:
        >>> import jax.numpy as jnp
        >>> squares = (jnp.arange(5) / 4) ** 2
        >>> separable_expectation(squares, jnp.array([0.5, 0.5]), n=4, num_gens=2)
        Array([0.625  , 0.71875], dtype=float64)
    """
    p, n, num_gens = probabilities(p, "p"), positive_int(n, "n"), positive_int(num_gens, "num_gens")
    values = jnp.asarray(f, p.dtype)
    if values.shape != (n + 1,):
        raise ValueError(f"f must have shape (n + 1,) = ({n + 1},), got {values.shape}")
    rate = 0 if mutation is None else real(scalar(mutation, "mutation"), "mutation", low=0, high=1)
    rate = jnp.asarray(rate, p.dtype)
    return _separable(values, p, rate, n, num_gens)


@partial(jax.jit, static_argnames=("n", "num_gens"))
def _separable(values: Array, p: Array, rate: Array, n: int, num_gens: int) -> Array:
    def sampled(x: Array) -> Array:
        return _pull(x, 1 / p.shape[-1], rate)

    chain = binomial_pmf(n, sampled(jnp.arange(n + 1, dtype=p.dtype) / n))
    occupancy = binomial_pmf(n, sampled(p)).sum(-2)  # expected number of tokens with k samples, generation 1
    return matmul(occupancy, _iterate(partial(matmul, chain), values, num_gens).T)


def expected_support(p: ArrayLike, n: int, num_gens: int) -> Float[Array, "*batch num_gens_plus_1"]:
    """Expected number of tokens the model of generation m still knows, fully synthetic training.

    Args:
        p: next-token law(s), shape (*batch, s).
        n: samples per generation, >= 1 (static).
        num_gens: last generation, >= 1 (static).

    Returns:
        Tokens, shape (*batch, num_gens + 1), index m = 0..num_gens; entry 0 counts the p_i > 0.

    Raises:
        ValueError: p is not a distribution, n or num_gens is not a positive integer.

    Example:
        >>> import jax.numpy as jnp
        >>> expected_support(jnp.array([0.5, 0.5]), n=2, num_gens=2)
        Array([2.  , 1.5 , 1.25], dtype=float64)
    """
    p, n = probabilities(p, "p"), positive_int(n, "n")
    later = separable_expectation(np.arange(n + 1) > 0, p, n, num_gens)
    return jnp.concatenate([(p > 0).sum(-1, keepdims=True).astype(p.dtype), later], axis=-1)


def expected_entropy(p: ArrayLike, n: int, num_gens: int) -> Float[Array, "*batch num_gens_plus_1"]:
    """Expected Shannon entropy of the model of generation m, fully synthetic training.

    Args:
        p: next-token law(s), shape (*batch, s).
        n: samples per generation, >= 1 (static).
        num_gens: last generation, >= 1 (static).

    Returns:
        Nats, shape (*batch, num_gens + 1), index m = 0..num_gens.

    Raises:
        ValueError: p is not a distribution, n or num_gens is not a positive integer.

    Example:
        >>> import jax.numpy as jnp
        >>> print(f"{expected_entropy(jnp.array([0.5, 0.5]), n=2, num_gens=1)[1]:.6f}")
        0.346574
    """
    p, n = probabilities(p, "p"), positive_int(n, "n")
    x = np.arange(1, n + 1) / n
    later = separable_expectation(np.concatenate([[0.0], -x * np.log(x)]), p, n, num_gens)
    safe = jnp.where(p > 0, p, 1)
    return jnp.concatenate([-(p * jnp.log(safe)).sum(-1, keepdims=True), later], axis=-1)


def replace_drift(p: ArrayLike, n: int, num_gens: int) -> Float[Array, "*batch num_gens"]:
    """Expected L1 distance E||p^(m) - p^(1)||_1 from the first model, fully synthetic training.

    sum_i sum_j b_j(p_i) sum_k (K^(m-1))[j, k] |j - k| / n, which tends to 2 (1-1/n)(1-S_0).

    Args:
        p: next-token law(s), shape (*batch, s).
        n: samples per generation, >= 1 (static).
        num_gens: last generation, >= 1 (static).

    Returns:
        Shape (*batch, num_gens), entry m-1 for generation m (entry 0 is zero). Cost O(n^3) a generation.

    Raises:
        ValueError: p is not a distribution, n or num_gens is not a positive integer.

    Example:
        >>> import jax.numpy as jnp
        >>> replace_drift(jnp.array([0.5, 0.5]), n=2, num_gens=3)
        Array([0.   , 0.25 , 0.375], dtype=float64)
    """
    p, n, num_gens = probabilities(p, "p"), positive_int(n, "n"), positive_int(num_gens, "num_gens")
    return _replace_drift(p, n, num_gens)


@partial(jax.jit, static_argnames=("n", "num_gens"))
def _replace_drift(p: Array, n: int, num_gens: int) -> Array:
    x = jnp.arange(n + 1, dtype=p.dtype) / n
    chain = binomial_pmf(n, x)
    distance = jnp.abs(x[:, None] - x[None, :])
    by_start = _iterate(partial(matmul, chain), distance, num_gens, jnp.diagonal)
    return matmul(binomial_pmf(n, p).sum(-2), by_start.T)


def count_stationary_law(q: ArrayLike, n: int, weight: ArrayLike) -> Float[Array, "*batch n_plus_1"]:
    """Stationary law of one token's synthetic count when real data or label noise keeps pulling it to q.

    The chain is X' ~ Bin(n, (1-w) q + w X/n). It describes `mixed` training with q = p_i^(1), w = n / (N +
    n), and fully synthetic training with mutation u towards the uniform law with q = 1/s, w = 1 - u.

    Args:
        q: where the token is pulled to, in [0, 1], shape (*batch,).
        n: samples per generation, >= 1 (static).
        weight: weight w of the synthetic data in [0, 1), broadcast against q. At w = 1 the chain is absorbed
            and has no unique stationary law.

    Returns:
        Probabilities of k = 0..n, shape (*batch, n+1); the mean is n q. Smooth in q and w (through the linear
        solve). Cost O(n^3), memory O(n^2) each.

    Raises:
        ValueError: q outside [0, 1], weight outside [0, 1), n is not a positive integer.

    Example:
        >>> import jax.numpy as jnp
        >>> law = count_stationary_law(jnp.array(0.3), n=10, weight=0.5)
        >>> print(f"{(law * jnp.arange(11)).sum():.12f}")
        3.000000000000
    """
    n = positive_int(n, "n")
    q = floating(real(q, "q", low=0, high=1))
    weight = jnp.asarray(real(weight, "weight", low=0, high=1, high_open=True), q.dtype)
    return _stationary(*jnp.broadcast_arrays(q, weight), n)


@partial(jax.jit, static_argnames="n")
def _stationary(q: Array, weight: Array, n: int) -> Array:
    x = jnp.arange(n + 1, dtype=q.dtype) / n
    x = x.reshape((1,) * q.ndim + (-1,))
    chain = binomial_pmf(n, _pull(x, q[..., None], 1 - weight[..., None]))
    # pi (K - I) = 0 with one equation replaced by sum(pi) = 1.
    equations = jnp.swapaxes(chain, -1, -2) - jnp.eye(n + 1, dtype=q.dtype).reshape(
        (1,) * q.ndim + (n + 1, n + 1)
    )
    equations = equations.at[..., -1, :].set(1)
    target = jnp.zeros((*q.shape, n + 1, 1), q.dtype).at[..., -1, :].set(1)
    return jnp.linalg.solve(equations, target)[..., 0]


def _pull(x: Array, target: ArrayLike, strength: Array) -> Array:
    """(1 - strength) x + strength target, in a form that rounding cannot lift out of [0, 1]."""
    return x + strength * (target - x)


def _iterate(apply: Callable, start: Array, count: int, observe: Callable = lambda x: x) -> Array:
    """observe(start), observe(apply(start)), ... stacked: `count` entries."""
    return lax.scan(lambda x, _: (apply(x), observe(x)), start, length=count)[1]
