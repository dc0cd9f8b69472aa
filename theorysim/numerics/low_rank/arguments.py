r"""What the arguments of several functions must be: targets, starts, rates.

Example:
    >>> record_steps(10, 3)
    Traceback (most recent call last):
    ValueError: record_every must divide steps = 10, got 3
"""

from typing import Any

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.numerics.gram import check_finite
from theorysim.numerics.validation import floating, positive_int, real, scalar

__all__ = ["added", "clip", "matrix", "one_dtype", "rates", "record_steps", "start_and_target"]


def matrix(value: ArrayLike, name: str, axes: str) -> Float[Array, "i j"]:
    """A finite matrix of at least one row and column, or ValueError.

    Example:
        >>> matrix(jnp.ones(3), "target", "(k, N)")
        Traceback (most recent call last):
        ValueError: target must have shape (k, N), got (3,)
    """
    x = floating(value)
    if x.ndim != 2 or not x.size:
        raise ValueError(f"{name} must have shape {axes}, got {x.shape}")
    check_finite(x, name)
    return x


def one_dtype(*arrays: Array) -> tuple[Array, ...]:
    """The arrays in their common dtype.

    Example:
        >>> one_dtype(jnp.ones(1, jnp.float32), jnp.ones(1))[0].dtype
        dtype('float64')
    """
    dtype = jnp.result_type(*arrays)
    return tuple(array.astype(dtype) for array in arrays)


def start_and_target(
    target: ArrayLike, P0: ArrayLike, Q0: ArrayLike, *, inputs: int | None = None, outputs: int | None = None
) -> tuple[Array, Array, Array]:
    """Y (k, N), P0 (r, N) and Q0 (k, r) of one N, k and r, or ValueError.

    Example:
        >>> start_and_target(jnp.ones((1, 2)), jnp.ones((3, 2)), jnp.ones((1, 4)))
        Traceback (most recent call last):
        ValueError: Q0 must have shape (1, 3): outputs of target, rows of P0; got (1, 4)
    """
    Y, P, Q = matrix(target, "target", "(k, N)"), matrix(P0, "P0", "(r, N)"), matrix(Q0, "Q0", "(k, r)")
    k, n = Y.shape
    if inputs not in (None, n) or outputs not in (None, k):
        raise ValueError(f"target must have shape ({outputs}, {inputs}), like the Grams, got {Y.shape}")
    if P.shape[1] != n:
        raise ValueError(f"P0 must have {n} columns, like target, got shape {P.shape}")
    if Q.shape != (k, len(P)):
        raise ValueError(f"Q0 must have shape ({k}, {len(P)}): outputs of target, rows of P0; got {Q.shape}")
    return Y, P, Q


def added(value: ArrayLike | None, name: str, like: Float[Array, "k N"]) -> Float[Array, "k N"] | None:
    """What is added to outputs, of the shape and dtype of the targets, None for nothing, or ValueError.

    Example:
        >>> added(jnp.ones((1, 2)), "base", jnp.ones((2, 2)))
        Traceback (most recent call last):
        ValueError: base must have shape (2, 2), like its targets, got (1, 2)
    """
    if value is None:
        return None
    x = matrix(value, name, "(k, N)")
    if x.shape != like.shape:
        raise ValueError(f"{name} must have shape {like.shape}, like its targets, got {x.shape}")
    return x.astype(like.dtype)


def clip(value: ArrayLike | None, dtype: Any) -> Array | None:
    """A length > 0, None for any, or ValueError.

    Example:
        >>> clip(0.0, jnp.float32)
        Traceback (most recent call last):
        ValueError: clip_norm must be in (0, inf], got 0
    """
    if value is None:
        return None
    return jnp.asarray(real(scalar(value, "clip_norm"), "clip_norm", low=0, low_open=True), dtype)


def rates(dtype: Any, **values: ArrayLike) -> tuple[Array, ...]:
    """Finite scalars >= 0 in this dtype, or ValueError.

    Example:
        >>> rates(jnp.float32, lr_a=-0.1)
        Traceback (most recent call last):
        ValueError: lr_a must be in [0, inf), got -0.1
    """
    for name, value in values.items():
        real(scalar(value, name), name, low=0, high_open=True)
    return tuple(jnp.asarray(value, dtype) for value in values.values())


def record_steps(steps: int, record_every: int) -> tuple[int, int]:
    """The two counts, both >= 1, if the second divides the first, or ValueError.

    Example:
        >>> record_steps(10, 3)
        Traceback (most recent call last):
        ValueError: record_every must divide steps = 10, got 3
    """
    steps, record_every = positive_int(steps, "steps"), positive_int(record_every, "record_every")
    if steps % record_every:
        raise ValueError(f"record_every must divide steps = {steps}, got {record_every}")
    return steps, record_every
