"""Checks of concrete arguments, with errors that name the argument, its value and the allowed range.

Every public function calls these before any work. A traced value cannot be inspected, so under `jit`, `vmap`
and `grad` the range checks pass silently, and out-of-domain numbers give NaN where the function documents it.

Example:
    >>> positive_int(0, "n")
    Traceback (most recent call last):
    ValueError: n must be an integer >= 1, got 0
"""

import math
import numbers
from collections.abc import Iterable
from typing import Any, TypeVar

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer
from jax.typing import ArrayLike

__all__ = ["choice", "floating", "is_traced", "positive_int", "probabilities", "real"]

T = TypeVar("T")


def is_traced(x: Any) -> bool:
    """True if `x` is an abstract value inside `jit`, `vmap` or `grad`, whose number is not known."""
    return isinstance(x, Tracer)


def positive_int(value: Any, name: str, *, minimum: int = 1, maximum: int = 2**31 - 1) -> int:
    """Return `value` as an int, or raise ValueError if it is not a whole number in [minimum, maximum].

    Raises:
        ValueError: not an integer, or out of range; the default maximum is what an int32 count can hold.
        TypeError: the value is traced, although it sets the size of an array.
    """
    if is_traced(value):
        raise TypeError(f"{name} sets array sizes and must be a Python int, got a traced value {value}")
    allowed = f"an integer >= {minimum}" if maximum == 2**31 - 1 else f"an integer in [{minimum}, {maximum}]"
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        whole = (
            isinstance(value, np.ndarray | Array)
            and value.ndim == 0
            and np.issubdtype(value.dtype, np.integer)
        )
        if not whole:
            raise ValueError(f"{name} must be {allowed}, got {value!r}")
    number = int(value)
    if number < minimum:
        raise ValueError(f"{name} must be {allowed}, got {number}")
    if number > maximum:
        raise ValueError(f"{name} must be at most {maximum} (counts are int32), got {number}")
    return number


def real(
    value: Any,
    name: str,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    low_open: bool = False,
    high_open: bool = False,
) -> Any:
    """Return `value` unchanged, or raise ValueError if any concrete entry lies outside the interval.

    NaN is outside every interval. `low_open` and `high_open` exclude the ends; infinite ends exclude nothing
    but NaN.
    """
    if is_traced(value):
        return value
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a real number or an array of them, got {value!r}") from None
    above = array > low if low_open else array >= low
    below = array < high if high_open else array <= high
    good = above & below
    if not np.all(good):
        bracket = f"{'(' if low_open else '['}{low:g}, {high:g}{')' if high_open else ']'}"
        first = array[~good].flat[0] if array.ndim else array[()]
        raise ValueError(f"{name} must be in {bracket}, got {first:g}")
    return value


def choice(value: T, name: str, allowed: Iterable[T]) -> T:
    """Return `value`, or raise ValueError listing what is allowed."""
    options = tuple(allowed)
    if value not in options:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, options))}, got {value!r}")
    return value


def floating(value: ArrayLike) -> Array:
    """Return `value` as a JAX array of its own floating dtype; integers and lists get the default float."""
    array = jnp.asarray(value)
    return array if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(jnp.result_type(float))


def probabilities(value: ArrayLike, name: str, *, axis: int = -1) -> Array:
    """Return `value` as a floating array that is a distribution along `axis`, or raise ValueError.

    The sum may miss one by 1e-6 in float64 and by 1e-4 in narrower dtypes; it is not renormalised.
    """
    if not is_traced(value):
        array = np.asarray(value)
        if array.dtype.kind not in "fiub" and array.dtype.name != "bfloat16":
            raise ValueError(f"{name} must be an array of probabilities, got dtype {array.dtype}")
        if array.ndim == 0 or array.shape[axis] == 0:
            raise ValueError(
                f"{name} must have at least one axis of at least one probability, got shape {array.shape}"
            )
        array64 = array.astype(np.float64)
        if np.isnan(array64).any():
            raise ValueError(f"{name} must be a distribution (entries >= 0, sum 1), got NaN")
        if (array64 < 0).any():
            raise ValueError(f"{name} must have entries in [0, 1], got {array64.min():g}")
        total = array64.sum(axis=axis)
        worst = total.flat[np.argmax(np.abs(total - 1))] if array64.ndim > 1 else float(total)
        if abs(worst - 1) > (1e-6 if array.dtype == np.float64 else 1e-4):
            raise ValueError(f"{name} must sum to 1 along axis {axis}, got a sum of {worst:.8g}")
    return floating(value)
