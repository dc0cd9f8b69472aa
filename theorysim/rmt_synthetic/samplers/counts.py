r"""How many samples of each group are kept with each weight and target.

The N_k samples of group k fall on its atoms (weight, target, probability) independently, so the counts are
multinomial. They are drawn by the chain of binomials

    M_1 ~ Bin(N, p_1),   M_2 ~ Bin(N - M_1, p_2 / (p_2 + ... + p_J)),   ...

Example:
    >>> import jax, jax.numpy as jnp
    >>> counts = atom_counts(jax.random.key(0), jnp.array([1000.0]), jnp.array([[0.56, 0.03, 0.41]]))
    >>> print(counts, counts.sum())
    [[552.  33. 415.]] 1000.0
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from theorysim.numerics.validation import is_traced

__all__ = ["atom_counts", "whole_counts"]


def atom_counts(
    key: Array, counts: Float[Array, " K"], probabilities: Float[Array, "K J"]
) -> Float[Array, "K J"]:
    """One multinomial draw for each group.

    Args:
        key: random key.
        counts: samples N_k of each group, whole numbers >= 0 below 2^24 in float32.
        probabilities: of the atoms; rows sum to 1.

    Returns:
        Whole numbers whose rows sum to N_k.

    Example:
        >>> print(atom_counts(jax.random.key(1), jnp.array([0.0, 3.0]), jnp.eye(2)))
        [[0. 0.]
         [0. 3.]]
    """
    # Summed from the last atom on, the probability that is left loses no digit.
    tails = jnp.cumsum(probabilities[:, ::-1], axis=1)[:, ::-1]
    share = jnp.where(tails > 0, probabilities / jnp.where(tails > 0, tails, 1), 0)
    share = jnp.clip(share, 0, 1)
    left = jnp.round(counts)
    columns = []
    for j, subkey in enumerate(jax.random.split(key, probabilities.shape[1])[:-1]):
        columns.append(jax.random.binomial(subkey, left, share[:, j], dtype=counts.dtype))
        left = left - columns[-1]
    return jnp.stack([*columns, left], axis=1)


def whole_counts(counts: Float[Array, " K"]) -> tuple[int, ...] | None:
    """The counts as Python ints, None if they are traced.

    Raises:
        ValueError: a count that is not a whole number: no such training set can be drawn.

    Example:
        >>> whole_counts(jnp.array([10.0, 2.5]))
        Traceback (most recent call last):
        ValueError: counts must be whole numbers to be sampled, got [10.0, 2.5]
    """
    if is_traced(counts):
        return None
    values = np.asarray(counts, np.float64)
    if (values != np.round(values)).any():
        raise ValueError(f"counts must be whole numbers to be sampled, got {values.tolist()}")
    return tuple(int(value) for value in values)
