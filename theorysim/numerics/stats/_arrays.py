"""What the statistics accept, and how it becomes float64 arrays of one shape."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64

from theorysim.numerics.validation import real

__all__ = ["Floats", "Numbers", "broadcast", "float_array", "non_negative"]

Floats = Float64[np.ndarray, "..."]


@runtime_checkable
class _SupportsArray(Protocol):
    """What NumPy can convert: its own arrays, JAX arrays, xarray variables."""

    def __array__(self, *args: Any, **kwargs: Any) -> Any: ...


Numbers = float | int | Sequence[Any] | _SupportsArray


def float_array(value: Numbers, name: str) -> Floats:
    """Return `value` as a float64 array; NaN and ±inf pass, what is no number raises ValueError."""
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a real number or an array of them, got {value!r}") from None


def broadcast(**arrays: Numbers) -> tuple[Floats, ...]:
    """Return the named arguments as float64 arrays of one shape, or raise ValueError naming their shapes."""
    converted = {name: float_array(value, name) for name, value in arrays.items()}
    try:
        return tuple(np.broadcast_arrays(*converted.values()))
    except ValueError:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in converted.items())
        raise ValueError(f"shapes must broadcast against each other, got {shapes}") from None


def non_negative(value: Floats, name: str) -> Floats:
    """Return `value`, or raise ValueError if an entry is negative; NaN passes."""
    real(value[~np.isnan(value)], name, low=0.0)
    return value
