r"""A whole language model trained on its own text: many contexts, each with a random number of samples.

A model with one next-token law per context is trained on `num_samples` pairs (context, token): contexts come
from a fixed law f, tokens from the model. Context j gets n_j ~ Bin(num_samples, f_j) samples, and a context
without samples falls back to the uniform law over s tokens (a softmax trained from zero stays there). The
diversity H_{m,j} = 1 - E sum_i (p_{j,i}^(m))^2 of each context then obeys a linear recursion of its own,

    H_{m+1,j} = E[(1 - 1/n_j) 1(n_j > 0)] H_{m,j} + P(n_j = 0) (1 - 1/s).

Derived, see docs/model_collapse.md.

Example:
    >>> import jax.numpy as jnp
    >>> laws = jnp.full((2, 4), 0.25)
    >>> print(jnp.round(context_sumsq(jnp.array([0.9, 0.1]), laws, num_samples=100, num_gens=2), 4))
    [[0.25   0.25  ]
     [0.2583 0.3336]
     [0.2666 0.408 ]]
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float

from theorysim.numerics.binomial import binomial_pmf
from theorysim.numerics.validation import positive_int, probabilities

__all__ = ["context_sumsq"]


def context_sumsq(
    context_law: ArrayLike, laws: ArrayLike, num_samples: int, num_gens: int
) -> Float[Array, "num_gens_plus_1 c"]:
    """Expected sum of squares of each context's next-token law, fully synthetic training.

    Args:
        context_law: how often each context occurs, shape (c,).
        laws: true next-token laws, shape (c, s).
        num_samples: pairs (context, token) per generation, >= 1 (static).
        num_gens: last generation, >= 1 (static).

    Returns:
        E sum_i (p_{j,i}^(m))^2, shape (num_gens + 1, c), index m = 0..num_gens. Cost O(c (num_samples + s)).

    Raises:
        ValueError: context_law or a row of laws is not a distribution, their shapes disagree, or a size is
            not a positive integer.

    Example:
        >>> import jax.numpy as jnp
        >>> S = context_sumsq(jnp.ones(1), jnp.full((1, 2), 0.5), num_samples=4, num_gens=2)
        >>> print(S[:, 0])
        [0.5     0.625   0.71875]
    """
    context_law, laws = probabilities(context_law, "context_law"), probabilities(laws, "laws")
    num_samples = positive_int(num_samples, "num_samples")
    num_gens = positive_int(num_gens, "num_gens")
    if laws.shape[:-1] != context_law.shape or context_law.ndim != 1:
        shapes = f"got {laws.shape} with context_law of shape {context_law.shape}"
        raise ValueError(f"laws must have shape (c, s) with c = len(context_law), {shapes}")
    return _context_sumsq(context_law, laws, num_samples, num_gens)


@partial(jax.jit, static_argnames=("num_samples", "num_gens"))
def _context_sumsq(context_law: Array, laws: Array, num_samples: int, num_gens: int) -> Array:
    count_law = binomial_pmf(num_samples, context_law)
    counts = jnp.arange(1, num_samples + 1, dtype=laws.dtype)
    keep = (count_law[:, 1:] * (1 - 1 / counts)[None, :]).sum(-1)
    reborn = count_law[:, 0] * (1 - 1 / laws.shape[-1])

    def generation(diversity: Array, _: None) -> tuple[Array, Array]:
        return keep * diversity + reborn, diversity

    start = (laws * (1 - laws)).sum(-1)
    return 1 - lax.scan(generation, start, length=num_gens + 1)[1]
