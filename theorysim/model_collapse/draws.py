"""Random draws of the samplers: tokens from the truth, and uniform indices into a buffer of earlier draws.

A model of generation m is the empirical law of a buffer of token ids, so that drawing a token from it is
drawing a uniform index into the buffer. That costs O(1) a draw whatever the vocabulary, and needs no
multinomial sampler. What costs is the random bits, hence the care about them here.

Example:
    >>> import jax
    >>> uniform_indices(jax.random.key(0), 6, 10, max_size=10)
    Array([9, 9, 3, 4, 7, 3], dtype=int32)
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Int

__all__ = ["token_sampler", "uniform_indices"]

# Largest buffer for which one 32-bit word gives two indices; see `uniform_indices`.
_MAX_PAIRED = 2**10


def token_sampler(p: Float[Array, " s"]) -> Callable[[Array, int], Int[Array, " count"]]:
    """Return `draw(key, count)`: i.i.d. tokens from p, by inversion of its cumulative sum.

    Tokens with p_i = 0 are never drawn. A draw costs O(log s). The uniform variates have the dtype of p, so
    that in float32 the probability of a token is met to 1e-7 absolute.
    """
    # A cumulative sum in floating point need not be monotone, nor flat where p_i = 0, nor end at one.
    cdf = lax.cummax(jnp.where(p > 0, jnp.cumsum(p), 0))

    def draw(key: Array, count: int) -> Array:
        level = jax.random.uniform(key, (count,), p.dtype) * cdf[-1]
        token = jnp.searchsorted(cdf, level, side="right", method="scan_unrolled")
        return token.astype(jnp.int32)

    return draw


def uniform_indices(
    key: Array, count: int, size: int | Int[Array, ""], *, max_size: int
) -> Int[Array, " count"]:
    """Draw `count` independent uniform integers in [0, size), as int32.

    An index is the high half of the product of a 32-bit word and `size`, so that two indices agree with
    probability (1 + e) / size, 0 <= e <= (size / 2^33)^2. Where no size exceeds 2^10 the low half, again a
    uniform word, gives a second index at half the price; the two agree with probability (1 + e) / size,
    |e| <= size^2 / 2^31 <= 5e-4, and are one pair among all. No Monte Carlo average resolves either.

    Args:
        key: random key of any implementation.
        count: number of indices (static).
        size: how many values there are, in [1, 2^31); may be traced.
        max_size: what `size` never exceeds (static).
    """
    size = jnp.asarray(size).astype(jnp.uint32)
    if max_size > _MAX_PAIRED:
        return _high_product(jax.random.bits(key, (count,), jnp.uint32), size).astype(jnp.int32)
    words = jax.random.bits(key, ((count + 1) // 2,), jnp.uint32)
    indices = jnp.concatenate([_high_product(words, size), _high_product(words * size, size)])
    return indices[:count].astype(jnp.int32)


def _high_product(a: Array, b: Array) -> Array:
    """Upper 32 bits of the 64-bit product of two uint32: 64-bit integers exist in x64 mode only."""
    a_high, a_low, b_high, b_low = a >> 16, a & 0xFFFF, b >> 16, b & 0xFFFF
    middle = a_high * b_low + (a_low * b_low >> 16)
    carry = a_low * b_high + (middle & 0xFFFF)
    return a_high * b_high + (middle >> 16) + (carry >> 16)
