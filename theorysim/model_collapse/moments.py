r"""Fully synthetic training: mean and run-to-run variance of sigma_m = sum_i (p_i^(m))^2.

Three moments close on themselves: with s = E sigma, c = E sum p^3, q = E sigma^2 and falling factorials
(n)_k,

    s' = 1/n + (1-1/n) s
    c' = [(n)_3 c + 3 (n)_2 s + n] / n^3
    q' = [(n)_4 q + (n)_3 (2 s + 4 c) + (n)_2 (1 + 6 s) + n] / n^4,      Var sigma_m = q - s^2.

The first line is Seddik et al. (2024), S_m = 1 - (1-1/n)^m (1-S_0); the others are derived, see
docs/model_collapse.md.

Example:
    >>> import jax.numpy as jnp
    >>> p = 0.5 ** jnp.arange(1, 9); p = p / p.sum()
    >>> print(f"{sumsq_moments(p, n=20, num_gens=9).var[9]:.4f}")
    0.0390
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float

from theorysim.numerics.validation import positive_int, probabilities, real

__all__ = ["SumsqMoments", "sumsq_moments"]


class SumsqMoments(NamedTuple):
    """Mean S_m and variance over runs of sigma_m, index m = 0..num_gens."""

    mean: Float[Array, "*batch num_gens_plus_1"]
    var: Float[Array, "*batch num_gens_plus_1"]


def sumsq_moments(p: ArrayLike, n: ArrayLike, num_gens: int) -> SumsqMoments:
    """Mean and variance over runs of the sum of squares sigma_m, fully synthetic training.

    Args:
        p: next-token law(s), shape (*batch, s).
        n: samples per generation, >= 1, broadcast against the batch; may be traced, and need not be whole
            (the recursion is polynomial).
        num_gens: last generation, >= 1 (static).

    Returns:
        SumsqMoments, each of shape (*batch, num_gens + 1). var[0] = 0. Absolute error of var about 1e-15
        (float64) or 1e-6 (float32), since it is a difference; rounding below zero is cut off. Cost O(s +
        num_gens).

    Raises:
        ValueError: p is not a distribution, n < 1, or num_gens is not a positive integer.

    Example:
        >>> import jax.numpy as jnp
        >>> sumsq_moments(jnp.array([0.5, 0.5]), n=4, num_gens=2).mean
        Array([0.5    , 0.625  , 0.71875], dtype=float64)
    """
    p, num_gens = probabilities(p, "p"), positive_int(num_gens, "num_gens")
    n = jnp.asarray(real(n, "n", low=1), p.dtype)
    batch = jnp.broadcast_shapes(p.shape[:-1], n.shape)
    return _sumsq_moments(jnp.broadcast_to(p, (*batch, p.shape[-1])), n, num_gens)


@partial(jax.jit, static_argnames="num_gens")
def _sumsq_moments(p: Array, n: Array, num_gens: int) -> SumsqMoments:
    # Falling factorials over powers of n, as products of numbers below one: n^4 would overflow float32 early.
    two = 1 - 1 / n
    three = two * (1 - 2 / n)
    four = three * (1 - 3 / n)

    def next_generation(moments: tuple[Array, ...], _: None) -> tuple[tuple[Array, ...], tuple[Array, Array]]:
        s, c, q = moments
        new_s = 1 / n + two * s
        new_c = three * c + 3 * two * s / n + 1 / n**2
        new_q = four * q + three * (2 * s + 4 * c) / n + two * (1 + 6 * s) / n**2 + 1 / n**3
        return (new_s, new_c, new_q), (s, jnp.maximum(q - s * s, 0))

    s = (p**2).sum(-1)
    _, (mean, var) = lax.scan(next_generation, (s, (p**3).sum(-1), s * s), length=num_gens + 1)
    return SumsqMoments(jnp.moveaxis(mean, 0, -1), jnp.moveaxis(var, 0, -1))
