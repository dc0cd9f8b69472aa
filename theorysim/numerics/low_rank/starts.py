r"""The law of the two factors at the start of training, in the order parameters alone.

    A ~ N(0, var_a):  rows of P0 = A X are N(0, var_a K_in),
    B ~ N(0, var_b):  columns of Q0 = W_out B are N(0, var_b K_out).

Exact, whatever the widths: no array of their size is made.

Example:
    >>> start = sample_start(jax.random.key(0), 1e9 * jnp.eye(3), jnp.eye(2), rank=4, init="a", var_a=1e-9)
    >>> print(start.P0.shape, start.Q0.any())
    (4, 3) False
"""

from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.numerics.gram import semidefinite
from theorysim.numerics.low_rank.arguments import one_dtype, rates
from theorysim.numerics.low_rank.records import AdapterStart
from theorysim.numerics.products import matmul
from theorysim.numerics.symmetric import eigh
from theorysim.numerics.validation import choice, positive_int

__all__ = ["INITS", "Init", "gram_factor", "sample_start"]

Init = Literal["a", "b", "both"]
INITS = ("a", "b", "both")


def sample_start(
    key: Array,
    input_gram: ArrayLike,
    output_gram: ArrayLike,
    *,
    rank: int,
    init: Init,
    var_a: ArrayLike | None = None,
    var_b: ArrayLike | None = None,
) -> AdapterStart:
    """Draw P0 and Q0 as a layer of any width would have them.

    Args:
        key: PRNG key.
        input_gram: K_in, (N, N).
        output_gram: K_out, (k, k).
        rank: r >= 1 (static).
        init: which factor is random: "a" (B = 0), "b" (A = 0), or "both", where the base is to absorb the
            output at the start: train towards Y + s Q0 P0 (static).
        var_a: variance of the entries of A, > 0, a scalar; usually 1/n_in. Needed unless init is "b".
        var_b: variance of the entries of B, > 0, a scalar; 1/r by default.

    Returns:
        AdapterStart. No derivative in a Gram that is singular.

    Raises:
        ValueError: an argument out of its range, or no var_a where A is random.

    Example:
        >>> start = sample_start(jax.random.key(1), jnp.eye(3), jnp.eye(2), rank=1, init="b")
        >>> print(start.P0, start.Q0.shape)
        [[0. 0. 0.]] (2, 1)
    """
    K_in, K_out = one_dtype(semidefinite(input_gram, "input_gram"), semidefinite(output_gram, "output_gram"))
    rank, init = positive_int(rank, "rank"), choice(init, "init", INITS)
    if var_a is None and init != "b":
        raise ValueError("var_a must be given where A is random (usually 1/n_in), got None")
    var_a, var_b = rates(
        K_in.dtype, var_a=0.0 if var_a is None else var_a, var_b=1 / rank if var_b is None else var_b
    )
    return _sample_start(key, K_in, K_out, var_a, var_b, rank=rank, init=init)


def gram_factor(K: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """The symmetric F with F F' = K: it exists for singular matrices, and no basis had to be chosen.

    Example:
        >>> print(gram_factor(jnp.array([[4.0, 0.0], [0.0, 0.0]])))
        [[2. 0.]
         [0. 0.]]
    """
    values, vectors = eigh(K)
    return matmul(vectors * jnp.sqrt(jnp.maximum(values, 0))[None], vectors.T)


@partial(jax.jit, static_argnames=("rank", "init"))
def _sample_start(key, K_in, K_out, var_a, var_b, *, rank, init):
    key_a, key_b = jax.random.split(key)
    n, k = len(K_in), len(K_out)
    P0, Q0 = jnp.zeros((rank, n), K_in.dtype), jnp.zeros((k, rank), K_in.dtype)
    if init != "b":
        P0 = jnp.sqrt(var_a) * matmul(jax.random.normal(key_a, (rank, n), K_in.dtype), gram_factor(K_in).T)
    if init != "a":
        Q0 = jnp.sqrt(var_b) * matmul(gram_factor(K_out), jax.random.normal(key_b, (k, rank), K_in.dtype))
    return AdapterStart(P0, Q0)
