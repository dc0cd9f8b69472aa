"""Arrays of any framework as arrays of NumPy, without a copy where there need not be one.

What carries gradients is detached and what lies on an accelerator fetched first (PyTorch); then `__array__`,
or else `__dlpack__`, does the rest (JAX, CuPy, TensorFlow). Types that NumPy lacks, such as bfloat16, come
from JAX. A file that is mapped into memory is not read.

Example:
    >>> import jax.numpy as jnp
    >>> plain_array(jnp.ones(2, jnp.bfloat16), "x").dtype, plain_array([[1, 2]], "x").shape
    (dtype(bfloat16), (1, 2))
"""

from typing import Any

import jax
import numpy as np

__all__ = ["plain_array"]


def plain_array(value: Any, name: str) -> np.ndarray:
    """An array of NumPy that holds what `value` holds.

    Args:
        value: an array of any framework, or what NumPy makes one of.
        name: of the argument, for the error.

    Raises:
        ValueError: rows of unequal length, or no array.

    Example:
        >>> plain_array([[1.0], [1.0, 2.0]], "x")
        Traceback (most recent call last):
        ValueError: x must be an array of one shape, got list (setting an array element with a sequence...
    """
    for step in ("detach", "cpu"):
        if callable(method := getattr(value, step, None)):
            value = method()
    try:
        # Objects that NumPy knows nothing about would become one element of dtype object.
        if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
            return _by_dlpack(value)
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError, BufferError) as error:
        try:
            if hasattr(value, "__dlpack__"):
                return _by_dlpack(value)
        except (TypeError, ValueError, RuntimeError, BufferError):
            pass
        said = " ".join(str(error).split())
        raise ValueError(
            f"{name} must be an array of one shape, got {type(value).__name__} ({said})"
        ) from None


def _by_dlpack(value: Any) -> np.ndarray:
    try:
        return np.from_dlpack(value, device="cpu")
    except (TypeError, ValueError, RuntimeError, BufferError):
        return np.asarray(jax.dlpack.from_dlpack(value))
