r"""What the arguments of several functions must be: channels, members, kernels of records.

Example:
    >>> members_of([3, 3], n=8)
    Traceback (most recent call last):
    ValueError: members must not repeat a record, got 3 more than once
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from theorysim.numerics.gram import check_finite
from theorysim.numerics.validation import broadcast, floating, is_traced, real

__all__ = ["channel", "finite", "inputs", "members_of"]


def channel(leverage: ArrayLike, surprise: ArrayLike) -> tuple[Array, Array]:
    """Leverage in [0, 1) and surprise >= 0, broadcast against each other, or ValueError.

    Example:
        >>> channel(1.0, 2.0)
        Traceback (most recent call last):
        ValueError: leverage must be in [0, 1), got 1
    """
    real(leverage, "leverage", low=0, high=1, high_open=True)
    real(surprise, "surprise", low=0, high_open=True)
    leverage, surprise = broadcast(leverage, surprise)
    return leverage, surprise


def finite(value: ArrayLike, name: str) -> Array:
    """The value as a floating array without NaN and infinities, or ValueError.

    Example:
        >>> finite(jnp.array([0.0, jnp.inf]), "X")
        Traceback (most recent call last):
        ValueError: X must be finite, got inf
    """
    x = floating(value)
    check_finite(x, name)
    return x


def inputs(value: ArrayLike, name: str, features: int | None = None) -> Float[Array, "n d"]:
    """Inputs in rows, (n, d), with as many features as asked, or ValueError.

    Example:
        >>> inputs(jnp.zeros((1, 3)), "Q", features=2)
        Traceback (most recent call last):
        ValueError: Q must have rows of 2 features, like the records, got shape (1, 3)
    """
    x = finite(value, name)
    if x.ndim != 2 or 0 in x.shape:
        raise ValueError(f"{name} must have shape (n, d) with n, d >= 1, got {x.shape}")
    if features is not None and x.shape[1] != features:
        raise ValueError(
            f"{name} must have rows of {features} features, like the records, got shape {x.shape}"
        )
    return x


def members_of(members: Any, n: int, name: str = "members") -> Int[Array, " p"]:
    """Indices of records, at least one, each once, or ValueError; traced indices are not checked.

    Example:
        >>> members_of([0, 9], n=8)
        Traceback (most recent call last):
        ValueError: members must be records of the data, in [0, 7], got 9
    """
    if is_traced(members):
        members = jnp.asarray(members)
        if members.ndim != 1 or not len(members):
            raise ValueError(f"{name} must be a vector of at least one index, got shape {members.shape}")
        return members
    indices = np.asarray(members)
    if indices.ndim != 1 or not indices.size:
        raise ValueError(f"{name} must be a vector of at least one index, got shape {indices.shape}")
    if indices.dtype.kind not in "iu":
        raise ValueError(f"{name} must be whole numbers, got dtype {indices.dtype}")
    outside = indices[(indices < 0) | (indices >= n)]
    if outside.size:
        raise ValueError(f"{name} must be records of the data, in [0, {n - 1}], got {outside[0]}")
    values, counts = np.unique(indices, return_counts=True)
    if (counts > 1).any():
        raise ValueError(f"{name} must not repeat a record, got {values[counts > 1][0]} more than once")
    if indices.size >= n:
        raise ValueError(f"{name} must leave at least one record, got all {n}")
    return jnp.asarray(indices)
