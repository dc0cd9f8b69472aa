r"""`random_pool` training, exactly: the count of one token in all that was ever generated is a Markov chain.

A draw for generation m comes from a model chosen uniformly among 0..m-1, that is from their mean, whose
weight on token i is (p_i + Y/n)/m when Y of all past synthetic draws were i. So Y' = Y + Bin(n, (p_i +
Y/n)/m), and model m is the Dirac law on i with probability E [(p_i + Y/n)/m]^n. Derived, see
docs/model_collapse.md.

Example:
    >>> import jax.numpy as jnp
    >>> print(jnp.round(pool_dirac_probability(jnp.array([0.5, 0.5]), n=2, num_gens=3), 4))
    [0.     0.5    0.5625 0.5868]
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float

from theorysim.numerics.binomial import binomial_pmf
from theorysim.numerics.validation import positive_int, probabilities

__all__ = ["pool_dirac_probability"]


def pool_dirac_probability(p: ArrayLike, n: int, num_gens: int) -> Float[Array, " num_gens_plus_1"]:
    """Probability that model m of `random_pool` training gives all its weight to one token.

    Args:
        p: the truth, shape (s,).
        n: samples per generation, >= 1 (static).
        num_gens: last generation, >= 1 (static).

    Returns:
        Shape (num_gens + 1,), index m = 0..num_gens; entry 0 is 1 for a Dirac truth, else 0. Not monotone in
        m: a model may recover from a Dirac law. Cost O(s n^2 num_gens^2 / 2), memory O(n^2 num_gens).

    Raises:
        ValueError: p is not a distribution, n or num_gens is not a positive integer.

    Example:
        >>> import jax.numpy as jnp
        >>> print(pool_dirac_probability(jnp.array([0.5, 0.5]), n=1, num_gens=2))
        [0. 1. 1.]
    """
    p, n, num_gens = probabilities(p, "p"), positive_int(n, "n"), positive_int(num_gens, "num_gens")
    if p.ndim != 1:
        raise ValueError(f"p must have one axis, got shape {p.shape}")
    later = _dirac_probability(p, n, num_gens)
    return jnp.concatenate([(p == 1).any().astype(p.dtype)[None], later])


@partial(jax.jit, static_argnames=("n", "num_gens"))
def _dirac_probability(p: Array, n: int, num_gens: int) -> Array:
    return lax.map(lambda p_i: _token_dirac_probability(p_i, n, num_gens), p).sum(0)


def _token_dirac_probability(p_i: Array, n: int, num_gens: int) -> Array:
    """P(model m is the Dirac law on this token) for m = 1..num_gens."""
    size = n * (num_gens - 1) + 1
    count = jnp.arange(size, dtype=p_i.dtype)

    def generation(law: Array, m: Array) -> tuple[Array, Array]:
        reachable = count <= n * (m - 1)
        weight = jnp.where(reachable, (p_i + count / n) / m, 0)
        # At p_i = 1 rounding may lift the largest weight above one.
        step = law[:, None] * binomial_pmf(n, jnp.minimum(weight, 1))

        def shift_add(new: Array, k: Array) -> tuple[Array, None]:
            gained = lax.dynamic_index_in_dim(step, k, axis=1, keepdims=False)
            return lax.dynamic_update_slice_in_dim(
                new, lax.dynamic_slice_in_dim(new, k, size) + gained, k, 0
            ), None

        spread, _ = lax.scan(shift_add, jnp.zeros(size + n, law.dtype), jnp.arange(n + 1))
        return spread[:size], (law * weight**n).sum()

    start = jnp.zeros(size, p_i.dtype).at[0].set(1)
    return lax.scan(generation, start, jnp.arange(1, num_gens + 1, dtype=p_i.dtype))[1]
