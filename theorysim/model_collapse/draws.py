"""Random draws of the samplers: tokens from the truth, and uniform indices into a buffer of earlier draws.

A model of generation m is the empirical law of a buffer of token ids, so that drawing a token from it is
drawing a uniform index into the buffer. That costs O(1) a draw whatever the vocabulary, and needs no
multinomial sampler. What costs is the random bits, hence the care about them here.

Everything is made of 32-bit words, so that a generation can draw all of its words at once: one call of a
counter-based generator costs a tenth of a second to compile.

Example:
    >>> import jax
    >>> uniform_indices(jax.random.key(0), 6, 10, max_size=10)
    Array([9, 9, 3, 4, 7, 3], dtype=int32)
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike
from jaxtyping import Float, Int, UInt32

__all__ = ["random_words", "scale", "token_sampler", "uniform_indices", "unit"]

# Largest buffer for which one 32-bit word gives two indices; see `uniform_indices`.
_MAX_PAIRED = 2**10


def random_words(key: Array, count: int) -> UInt32[Array, " count"]:
    """Draw `count` uniform 32-bit words, with a key of any implementation."""
    return jax.random.bits(key, (count,), jnp.uint32)


def unit(words: UInt32[Array, "*n"], dtype: DTypeLike) -> Float[Array, "*n"]:
    """Uniform numbers in [0, 1), never 1: multiples of 2^-32 in float64, of 2^-23 in float32."""
    if jnp.dtype(dtype) == jnp.float64:
        return words.astype(dtype) * 2.0**-32
    return (words >> 9).astype(dtype) * jnp.asarray(2.0**-23, dtype)


def scale(words: UInt32[Array, "*n"], size: int | Int[Array, "..."]) -> Int[Array, "*n"]:
    """Uniform integers in [0, size), size in [1, 2^31), from words: the high half of their product.

    Two of them agree with probability (1 + e) / size, 0 <= e <= (size / 2^33)^2.
    """
    return _high_product(words, jnp.asarray(size).astype(jnp.uint32)).astype(jnp.int32)


def token_sampler(p: Float[Array, " s"]) -> Callable[[Array], Int[Array, " count"]]:
    """Return `draw(words)`: i.i.d. tokens from p, one per word, by inversion of its cumulative sum.

    Tokens with p_i = 0 are never drawn. A draw costs O(log s). Probabilities are met to 2e-10 absolute, in
    float32 to 1e-7.
    """
    # A cumulative sum in floating point need not be monotone, nor flat where p_i = 0, nor end at one.
    cdf = lax.cummax(jnp.where(p > 0, jnp.cumsum(p), 0))

    def draw(words: Array) -> Array:
        level = unit(words, p.dtype) * cdf[-1]
        token = jnp.searchsorted(cdf, level, side="right", method="scan_unrolled")
        return token.astype(jnp.int32)

    return draw


def uniform_indices(
    key: Array, count: int, size: int | Int[Array, ""], *, max_size: int
) -> Int[Array, " count"]:
    """Draw `count` independent uniform integers in [0, size), as `scale` makes them.

    Where no size exceeds 2^10 the low half of the product, again a uniform word, gives a second index at half
    the price. The two agree with probability (1 + e) / size, |e| <= size^2 / 2^31 <= 5e-4, and are one pair
    among all. No Monte Carlo average resolves that.

    Args:
        key: random key of any implementation.
        count: number of indices (static).
        size: how many values there are, in [1, 2^31); may be traced.
        max_size: what `size` never exceeds (static).
    """
    if max_size > _MAX_PAIRED:
        return scale(random_words(key, count), size)
    words = random_words(key, (count + 1) // 2)
    low = words * jnp.asarray(size).astype(jnp.uint32)
    return jnp.concatenate([scale(words, size), scale(low, size)])[:count]


def _high_product(a: Array, b: Array) -> Array:
    """Upper 32 bits of the 64-bit product of two uint32: 64-bit integers exist in x64 mode only."""
    a_high, a_low, b_high, b_low = a >> 16, a & 0xFFFF, b >> 16, b & 0xFFFF
    middle = a_high * b_low + (a_low * b_low >> 16)
    carry = a_low * b_high + (middle & 0xFFFF)
    return a_high * b_high + (middle >> 16) + (carry >> 16)
