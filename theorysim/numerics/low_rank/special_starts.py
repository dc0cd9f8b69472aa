r"""Other starts of the two factors: orthonormal rows, a larger A, the leading part of the map itself.

orthogonal    The rows of A are orthonormal times sqrt(n var_a), so that its entries have variance var_a. With
              K_in = F F', P0 = A X has the law of sqrt(n var_a) O F', where O is the corner of r rows and N
              columns of a Haar matrix of order n:

                  O = (G G' + W)^(-1/2) G,   G (r, N) Gaussian,   W ~ Wishart of n - N degrees of freedom,

              and W = T T' with Bartlett's T of min(n - N, r) columns. Exact for every n >= max(r, N), at a
              cost that no width enters. The other factor likewise, by transposition.
scaled_a      var_a = n^(-1/2) (gradient descent) or 1 (Adam), with one rate: the twin of two rates whose
              ratio is n.
svd           s B A is the best map of rank r below the given one, split evenly, and taken off it.

References: F. Meng, Z. Wang, M. Zhang, "PiSSA" (2024), arXiv 2404.02948; M. S. Bartlett (1933); the corner of
a Haar matrix from it is derived here.

Example:
    >>> gram = 1e9 * jnp.eye(2)
    >>> P0, _ = orthogonal_start(jax.random.key(0), gram, jnp.eye(1), rank=2, init="a", width_in=10**9)
    >>> print(P0.shape)
    (2, 2)
    >>> P0, _ = orthogonal_start(jax.random.key(0), jnp.eye(2), jnp.eye(1), rank=2, init="a", width_in=2)
    >>> print((P0 @ P0.T).round(6))  # all of an orthogonal matrix
    [[1. 0.]
     [0. 1.]]
"""

from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.numerics.gram import semidefinite
from theorysim.numerics.low_rank.arguments import matrix, one_dtype, rates
from theorysim.numerics.low_rank.records import AdapterStart
from theorysim.numerics.low_rank.starts import INITS, Init, gram_factor
from theorysim.numerics.products import matmul
from theorysim.numerics.symmetric import eigh
from theorysim.numerics.validation import broadcast, choice, is_traced, positive_int, real, scalar

__all__ = ["SplitMap", "orthogonal_start", "scaled_variance", "svd_start"]


class SplitMap(NamedTuple):
    """A map of which a part has moved into the two factors.

    Attributes:
        P0: adapter features A X, (r, N).
        Q0: readout of the other factor, W_out B, (k, r).
        base: what is left, the map less s B A, (n_out, n_in).
        A: (r, n_in).
        B: (n_out, r).
    """

    P0: Float[Array, "r N"]
    Q0: Float[Array, "k r"]
    base: Float[Array, "n_out n_in"]
    A: Float[Array, "r n_in"]
    B: Float[Array, "n_out r"]


def orthogonal_start(
    key: Array,
    input_gram: ArrayLike,
    output_gram: ArrayLike,
    *,
    rank: int,
    init: Init,
    width_in: ArrayLike | None = None,
    width_out: ArrayLike | None = None,
    var_a: ArrayLike | None = None,
    var_b: ArrayLike | None = None,
) -> AdapterStart:
    """Draw P0 and Q0 of factors with orthonormal rows (of A) or columns (of B), times a number.

    Args:
        key: PRNG key.
        input_gram: K_in, (N, N).
        output_gram: K_out, (k, k).
        rank: r >= 1 (static).
        init: which factor is random, "a", "b" or "both", as in `sample_start` (static).
        width_in: n_in, a whole number >= max(r, N), a scalar; needed where A is random.
        width_out: n_out, >= max(r, k), a scalar; needed where B is random.
        var_a: variance of the entries of A, >= 0, a scalar; 1/n_in by default: rows of length 1.
        var_b: variance of the entries of B, >= 0, a scalar; 1/r by default.

    Returns:
        AdapterStart: exactly the law of weights drawn uniformly among such matrices. As the width grows it is
        that of `sample_start`.

    Raises:
        ValueError: an argument out of its range, or no width of a factor that is random.

    Example:
        >>> start = orthogonal_start(jax.random.key(1), jnp.eye(2), jnp.eye(3), rank=1, init="b", width_out=3)
        >>> print(f"{(start.Q0**2).sum():.4f}")  # as long as a column of 3 entries of variance 1
        3.0000
    """
    K_in, K_out = one_dtype(semidefinite(input_gram, "input_gram"), semidefinite(output_gram, "output_gram"))
    rank, init = positive_int(rank, "rank"), choice(init, "init", INITS)
    n_in = _width(width_in, "width_in", max(rank, len(K_in)), init != "b", K_in.dtype)
    n_out = _width(width_out, "width_out", max(rank, len(K_out)), init != "a", K_in.dtype)
    var_a, var_b = rates(
        K_in.dtype, var_a=1 / n_in if var_a is None else var_a, var_b=1 / rank if var_b is None else var_b
    )
    return _orthogonal_start(key, K_in, K_out, n_in, n_out, var_a, var_b, rank=rank, init=init)


def scaled_variance(width: ArrayLike, *, optimizer: Literal["sgd", "adam"]) -> Array:
    """The variance of A at which one rate does what two do whose ratio is the width: `var_a` of a start.

    LoRA+ at rates a/n and b, with var_a = 1/n, is the same training as this one at the single rate
    sqrt(a b/n) for a = b; for others multiply by sqrt(b/a) (gradient descent) or b/a (Adam).

    Args:
        width: n_in, > 0.
        optimizer: "sgd" (with any momentum) or "adam" (static).

    Returns:
        n^(-1/2) for "sgd", 1 for "adam", of the shape of width.

    Raises:
        ValueError: width not positive, or an unknown optimizer.

    Example:
        >>> print(scaled_variance(10_000.0, optimizer="sgd"), scaled_variance(10_000.0, optimizer="adam"))
        0.01 1.0
    """
    (n,) = broadcast(real(width, "width", low=0, low_open=True, high_open=True))
    return jnp.ones_like(n) if choice(optimizer, "optimizer", ("sgd", "adam")) == "adam" else n**-0.5


def svd_start(
    base: ArrayLike, X: ArrayLike, W_out: ArrayLike, *, rank: int, scale: ArrayLike = 1.0
) -> SplitMap:
    """Move the r leading singular directions of a map into the factors: s B A, with |A row i| = |B column i|.

    The outputs stay what they were. To train as `adapter_dynamics` does, whose outputs are s Q P, add s Q0 P0
    to the targets of the change, or give `-s Q0 P0` as its `base`.

    Args:
        base: the map W_0 that adapters are to change, (n_out, n_in).
        X: what enters it, (n_in, N).
        W_out: readout of what leaves it, (k, n_out); the identity without a readout.
        rank: r >= 1, at most n_in and n_out (static).
        scale: s > 0, a scalar.

    Returns:
        SplitMap. The sign of each direction makes the largest entry of its left vector positive; no
        derivative where singular values repeat.

    Raises:
        ValueError: an argument out of its range, or shapes that do not match.

    Example:
        >>> split = svd_start(jnp.diag(jnp.array([4.0, 1.0])), jnp.eye(2), jnp.eye(2), rank=1)
        >>> print(split.base, split.P0, split.Q0.T)
        [[0. 0.]
         [0. 1.]] [[2. 0.]] [[2. 0.]]
    """
    W_0, X = matrix(base, "base", "(n_out, n_in)"), matrix(X, "X", "(n_in, N)")
    W_out = matrix(W_out, "W_out", "(k, n_out)")
    if len(X) != W_0.shape[1]:
        raise ValueError(f"X must have {W_0.shape[1]} rows, like columns of base, got shape {X.shape}")
    if W_out.shape[1] != len(W_0):
        raise ValueError(f"W_out must have {len(W_0)} columns, like rows of base, got shape {W_out.shape}")
    rank = positive_int(rank, "rank", maximum=min(W_0.shape))
    real(scalar(scale, "scale"), "scale", low=0, low_open=True, high_open=True)
    W_0, X, W_out = one_dtype(W_0, X, W_out)
    return _svd_start(W_0, X, W_out, jnp.asarray(scale, X.dtype), rank=rank)


def _width(value, name, least, needed, dtype):
    if value is None:
        if needed:
            raise ValueError(f"{name} must be given where that factor is random, got None")
        return jnp.asarray(least, dtype)
    real(scalar(value, name), name, low=least, high_open=True)
    if not is_traced(value) and float(value) % 1:
        raise ValueError(f"{name} must be a whole number, got {float(value):g}")
    return jnp.asarray(value, dtype)


@partial(jax.jit, static_argnames=("rank", "init"))
def _orthogonal_start(key, K_in, K_out, n_in, n_out, var_a, var_b, *, rank, init):
    key_a, key_b = jax.random.split(key)
    P0, Q0 = jnp.zeros((rank, len(K_in)), K_in.dtype), jnp.zeros((len(K_out), rank), K_in.dtype)
    if init != "b":
        corner = _corner(key_a, rank, len(K_in), n_in)
        P0 = jnp.sqrt(n_in * var_a) * matmul(corner, gram_factor(K_in).T)
    if init != "a":
        corner = _corner(key_b, rank, len(K_out), n_out)
        Q0 = jnp.sqrt(n_out * var_b) * matmul(gram_factor(K_out), corner.T)
    return AdapterStart(P0, Q0)


def _corner(key, rows, columns, order):
    """So many rows and columns of a Haar matrix of this order."""
    key_g, key_t, key_d = jax.random.split(key, 3)
    dtype = order.dtype
    G = jax.random.normal(key_g, (rows, columns), dtype)
    i = jnp.arange(rows)
    # Fewer degrees of freedom than rows: so many columns, and nothing beyond.
    freedom = order - columns
    kept = i < freedom
    squares = jax.random.chisquare(key_d, jnp.where(kept, freedom - i, 1), dtype=dtype)
    below = jnp.tril(jax.random.normal(key_t, (rows, rows), dtype), -1)
    T = jnp.where(kept[None], below + jnp.diag(jnp.sqrt(squares)), 0)
    values, vectors = eigh(matmul(G, G.T) + matmul(T, T.T))
    return matmul(vectors / jnp.sqrt(values)[None], matmul(vectors.T, G))


@partial(jax.jit, static_argnames="rank")
def _svd_start(W_0, X, W_out, scale, *, rank):
    left, values, right = jnp.linalg.svd(W_0, full_matrices=False)
    left, right = left[:, :rank], right[:rank]
    largest = jnp.take_along_axis(left, jnp.abs(left).argmax(0)[None], axis=0)[0]
    sign = jnp.where(largest < 0, -1, 1).astype(left.dtype)
    size = jnp.sqrt(values[:rank] / scale)
    A, B = (size * sign)[:, None] * right, left * (size * sign)[None]
    return SplitMap(matmul(A, X), matmul(W_out, B), W_0 - scale * matmul(B, A), A, B)
