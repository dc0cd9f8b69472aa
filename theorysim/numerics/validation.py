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
from jax.tree import leaves
from jax.typing import ArrayLike

__all__ = [
    "broadcast",
    "choice",
    "floating",
    "is_traced",
    "positive_int",
    "probabilities",
    "real",
    "scalar",
]

T = TypeVar("T")

_INT32_MAX = 2**31 - 1
# How far a sum of probabilities may miss one; what is narrower than float32 has two to three digits.
_SUM_TOLERANCE = {"float64": 1e-6, "float32": 1e-4}


def is_traced(x: Any) -> bool:
    """True if `x` is, or holds, an abstract value inside `jit`, `vmap` or `grad`: its number is unknown.

    Example:
        >>> is_traced([1.0, 2.0])
        False
    """
    return any(isinstance(leaf, Tracer) for leaf in leaves(x))


def positive_int(value: Any, name: str, *, minimum: int = 1, maximum: int = _INT32_MAX) -> int:
    """Return `value` as an int, or raise ValueError if it is not a whole number in [minimum, maximum].

    Python and NumPy integers pass, and so do integer arrays without an axis; booleans and floats do not.

    Raises:
        ValueError: not an integer, or out of range; the default maximum is what an int32 count can hold.
        TypeError: the value is traced, although it sets the size of an array.

    Example:
        >>> positive_int(np.int32(5), "n")
        5
    """
    if is_traced(value):
        raise TypeError(f"{name} sets array sizes and must be a Python int, got a traced value {value}")
    allowed = f"an integer >= {minimum}" if maximum == _INT32_MAX else f"an integer in [{minimum}, {maximum}]"
    scalar_array = isinstance(value, np.ndarray | Array) and value.ndim == 0
    integral = (
        jnp.issubdtype(value.dtype, jnp.integer) if scalar_array else isinstance(value, numbers.Integral)
    )
    if isinstance(value, bool) or not integral:
        raise ValueError(f"{name} must be {allowed}, got {value!r}")
    number = int(value)
    if number > maximum == _INT32_MAX:
        raise ValueError(f"{name} must be at most {maximum} (counts are int32), got {number}")
    if not minimum <= number <= maximum:
        raise ValueError(f"{name} must be {allowed}, got {number}")
    return number


def real(
    value: Any,
    name: str,
    *,
    low: float | int = -math.inf,
    high: float | int = math.inf,
    low_open: bool = False,
    high_open: bool = False,
) -> Any:
    """Return `value` unchanged, or raise ValueError if any concrete entry lies outside the interval.

    NaN is outside every interval. `low_open` and `high_open` exclude the ends; infinite ends exclude nothing
    but NaN. Text, complex numbers and None are no real numbers.

    Example:
        >>> real(0.5, "ratio", low=0, high=1)
        0.5
        >>> real(1.3, "ratio", low=0, high=1, low_open=True, high_open=True)
        Traceback (most recent call last):
        ValueError: ratio must be in (0, 1), got 1.3
    """
    if is_traced(value):
        return value
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "fiub":
            # What is left converts, like bfloat16, or is no real number.
            array = array.astype(np.float64, casting="safe")
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a real number or an array of them, got {value!r}") from None
    array = array.astype(np.float64)
    above = array > low if low_open else array >= low
    below = array < high if high_open else array <= high
    good = above & below
    if not np.all(good):
        bracket = f"{'(' if low_open else '['}{low:g}, {high:g}{')' if high_open else ']'}"
        first = array[~good].flat[0] if array.ndim else array[()]
        # Enough digits to tell 1.0000001 from the end of the interval.
        raise ValueError(f"{name} must be in {bracket}, got {first:.10g}")
    return value


def scalar(value: Any, name: str) -> Any:
    """Return `value` unchanged, or raise ValueError if it has an axis; traced values are checked too.

    For numbers that are combined with an axis of the function's own, against which a batch of them would be
    broadcast in silence.

    Example:
        >>> scalar(np.ones(3), "n")
        Traceback (most recent call last):
        ValueError: n must be a scalar (batch by jax.vmap), got shape (3,)
    """
    if np.shape(value):
        raise ValueError(f"{name} must be a scalar (batch by jax.vmap), got shape {np.shape(value)}")
    return value


def choice(value: T, name: str, allowed: Iterable[T]) -> T:
    """Return `value`, or raise ValueError listing what is allowed.

    Example:
        >>> choice("median", "kind", ("mean", "mode"))
        Traceback (most recent call last):
        ValueError: kind must be one of 'mean', 'mode', got 'median'
    """
    options = tuple(allowed)
    if value not in options:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, options))}, got {value!r}")
    return value


def floating(value: Any) -> Array:
    """Return `value` as a JAX array of its own floating dtype; integers and lists get the default float.

    Example:
        >>> floating(np.array([1, 0])).tolist()
        [1.0, 0.0]
    """
    array = jnp.asarray(value)
    return array if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(jnp.result_type(float))


def broadcast(*values: ArrayLike) -> tuple[Array, ...]:
    """The values as floating arrays of their common dtype and shape; whole numbers get the default float.

    Example:
        >>> broadcast(1, jnp.zeros(2, jnp.float32))[0]
        Array([1., 1.], dtype=float32)
    """
    dtype = jnp.result_type(*values)
    dtype = dtype if jnp.issubdtype(dtype, jnp.floating) else jnp.result_type(float)
    shape = jnp.broadcast_shapes(*(jnp.shape(value) for value in values))
    return tuple(jnp.broadcast_to(jnp.asarray(value, dtype), shape) for value in values)


def probabilities(value: Any, name: str, *, axis: int = -1) -> Array:
    """Return `value` as a floating array that is a distribution along `axis`, or raise ValueError.

    The sum may miss one by 1e-6 in float64, 1e-4 in float32 and 1e-2 in narrower types; it is not
    renormalised.

    Example:
        >>> probabilities([0.5, 0.6], "p")
        Traceback (most recent call last):
        ValueError: p must sum to 1 along axis -1, got a sum of 1.1
    """
    if not is_traced(value):
        try:
            array = np.asarray(value)
        except ValueError:
            raise ValueError(
                f"{name} must be an array of probabilities, got rows of unequal length"
            ) from None
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
        total = np.atleast_1d(array64.sum(axis=axis))
        miss = np.abs(total - 1)
        if np.any(miss > _SUM_TOLERANCE.get(array.dtype.name, 1e-2)):
            worst = total.flat[np.argmax(miss)]
            raise ValueError(f"{name} must sum to 1 along axis {axis}, got a sum of {worst:.8g}")
    return floating(value)
