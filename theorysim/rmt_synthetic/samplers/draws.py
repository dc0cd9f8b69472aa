"""Independent draws of a random result, in chunks of bounded memory.

Draw r uses the key fold_in(key, r) alone, so that it depends neither on how many others there are nor on the
size of a chunk.

Example:
    >>> import jax
    >>> normals = jax.vmap(jax.random.normal)
    >>> x = map_draws(normals, jax.random.key(0), draws=5, chunk=2)
    >>> x.shape, bool((x == map_draws(normals, jax.random.key(0), draws=7, chunk=7)[:5]).all())
    ((5,), True)
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

__all__ = ["chunk_of", "map_draws"]

# Bytes of random numbers a chunk may hold. A CPU wants them to stay in its cache, but enough of them that its
# loops run on all cores; an accelerator wants all the parallel work that it can get.
_CPU_BYTES, _DEVICE_BYTES = 8 * 2**20, 512 * 2**20


def map_draws(sample: Callable[[Array], Any], key: Array, draws: int, chunk: int, multiple: int = 1) -> Any:
    """Apply `sample`, a function of an array of keys (B,), to the keys of all draws, at most `chunk` at once.

    Args:
        sample: returns arrays with the draws as the leading axis.
        key: random key.
        draws: number of draws, >= 1.
        chunk: most draws in one call, >= 1.
        multiple: their number should be a multiple of this where there are more; `chunk` is then rounded.

    Returns:
        The results of all draws, leading axis `draws`.

    Example:
        >>> map_draws(lambda keys: jax.random.key_data(keys)[:, 0], jax.random.key(0), 3, 2).shape
        (3,)
    """
    if chunk > multiple:
        chunk -= chunk % multiple
    turns = -(-draws // chunk)
    # Equal turns: one compilation, and few draws too many.
    size = -(-draws // turns)
    if size > multiple:
        size += -size % multiple
    keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(turns * size))
    if turns == 1:
        results = sample(keys)
    else:
        results = lax.map(sample, keys.reshape(turns, size))
        results = jax.tree.map(lambda x: x.reshape(turns * size, *x.shape[2:]), results)
    return jax.tree.map(lambda x: x[:draws], results)


def chunk_of(bytes_per_draw: int) -> int:
    """How many draws to hold at once, if each takes `bytes_per_draw` bytes.

    Example:
        >>> chunk_of(10**12)
        1
    """
    budget = _CPU_BYTES if jax.default_backend() == "cpu" else _DEVICE_BYTES
    return max(1, budget // bytes_per_draw)
