"""Features, labels and outputs where the caller has them, on the host or a device: checked, read by blocks.

An array of NumPy, in memory or mapped from a file, is never copied whole: a block of it at a time goes to the
device. What a block cannot show, such as rows that are all equal, is checked before it; entries that are not
finite are found as their block is read.

Example:
    >>> data = supplied(np.eye(4, 2), [0, 1, 1, 1], None, None, centred=True, classes=None, block=3)
    >>> [(start, size) for start, size in spans(4, data.block)]
    [(0, 2), (2, 2)]
    >>> print(part(data.features, 2, 2, data.dtype))
    [[0. 0.]
     [0. 0.]]
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array

from theorysim.feature_map.arguments import class_codes_or_targets, feature_array, readout_matrix
from theorysim.feature_map.collapse import check_output_shape
from theorysim.numerics.gram import check_finite
from theorysim.numerics.validation import positive_int

__all__ = ["Supplied", "part", "spans", "summing_dtype", "supplied"]

# Entries of the rows that are compared at once.
_COMPARED = 2**20


class Supplied(NamedTuple):
    """What a report is made from; arrays of the host stay there.

    Attributes:
        features: (n, p).
        labels: codes of classes (n,), or targets (n, t).
        classes: C; None for targets.
        readout: (C, p), or None.
        outputs: (n, C), or None.
        centred: about the mean.
        block: examples, or features where those are more, on the device at once.
        dtype: in which they are computed with.
    """

    features: Array | np.ndarray
    labels: Array | np.ndarray
    classes: int | None
    readout: Array | None
    outputs: Array | np.ndarray | None
    centred: bool
    block: int
    dtype: Any

    @property
    def top(self) -> int:
        """K*, the dimension of the target space."""
        return self.labels.shape[1] if self.classes is None else self.classes - self.centred


def supplied(
    features: ArrayLike,
    labels: Any,
    readout: ArrayLike | None,
    outputs: ArrayLike | None,
    *,
    centred: bool,
    classes: int | None,
    block: int,
) -> Supplied:
    """The arguments of a report, checked but for features and outputs that are not finite; or ValueError.

    Example:
        >>> supplied(np.ones((3, 2)), [0, 1, 1], None, None, centred=True, classes=None, block=2)
        Traceback (most recent call last):
        ValueError: features must differ between examples, got 3 equal rows: no eigenfunction is left
    """
    x = feature_array(features)
    block = positive_int(block, "block")
    known = jnp.issubdtype(x.dtype, jnp.floating)
    # No LAPACK for less than single precision.
    dtype = jnp.promote_types(jax.dtypes.canonicalize_dtype(x.dtype if known else float), jnp.float32)
    _check_varying(x, centred)
    coded, number = class_codes_or_targets(labels, len(x), classes=classes)
    if number is None:
        check_finite(jnp.asarray(coded), "labels")
    elif not np.bincount(np.asarray(coded), minlength=number).all():
        raise ValueError("labels must hold every class: leave out classes, and they are coded by rank")
    w = None if readout is None else readout_matrix(readout, x.shape[1], dtype)
    o = None
    if outputs is not None:
        o = outputs if isinstance(outputs, jax.Array) else np.asarray(outputs)
        check_output_shape(o.shape, len(x), None if w is None else len(w))
    return Supplied(x, coded, number, w, o, centred, block, dtype)


def summing_dtype(dtype: Any) -> Any:
    """Of sums over blocks: float64 if JAX has it, whatever the dtype of the blocks."""
    return jnp.promote_types(dtype, jax.dtypes.canonicalize_dtype(float))


def spans(length: int, block: int) -> Iterator[tuple[int, int]]:
    """Start and size of consecutive blocks, of equal size but for the last, which may be smaller."""
    size = -(-length // -(-length // block))
    return ((start, min(size, length - start)) for start in range(0, length, size))


def part(array: Array | np.ndarray, start: int, size: int, dtype: Any, *, axis: int = 0) -> Array:
    """A block of rows, or of columns, on the device."""
    if isinstance(array, jax.Array):
        # The start as an operand: one program for all blocks.
        return lax.dynamic_slice_in_dim(array, np.int32(start), size, axis).astype(dtype)
    rows = array[start : start + size] if axis == 0 else array[:, start : start + size]
    return jnp.asarray(np.asarray(rows, dtype))


def _check_varying(x, centred):
    """Raise ValueError if there is no eigenfunction; reads up to the first row that differs."""
    first, size = x[:1], max(_COMPARED // x.shape[1], 1)
    starts = range(0, len(x), size)
    if centred and not any((x[start : start + size] != first).any() for start in starts):
        raise ValueError(
            f"features must differ between examples, got {len(x)} equal rows: no eigenfunction is left"
        )
    if not any((x[start : start + size] != 0).any() for start in starts):
        raise ValueError("features must not all be 0: no eigenfunction is left")
