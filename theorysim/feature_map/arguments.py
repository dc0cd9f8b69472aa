r"""What the arguments of several functions must be: features, labels or targets, readouts.

Labels are whole numbers and name classes; floating numbers are the targets of a regression.

Example:
    >>> feature_matrix(jnp.zeros((1, 3)))
    Traceback (most recent call last):
    ValueError: features must have at least 2 rows, got shape (1, 3)
"""

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.numerics.gram import check_finite
from theorysim.numerics.validation import floating, is_traced, positive_int

__all__ = [
    "check_independent",
    "class_codes_or_targets",
    "feature_array",
    "feature_matrix",
    "readout_matrix",
    "supervision",
    "varying_features",
]


def feature_matrix(value: ArrayLike, name: str = "features", *, minimum: int = 2) -> Float[Array, "n p"]:
    """Finite features in rows, (n, p), or ValueError; whole numbers are cast, with a warning.

    Example:
        >>> feature_matrix(jnp.array([[1.0], [jnp.nan]]))
        Traceback (most recent call last):
        ValueError: features must be finite, got nan
    """
    x = floating(feature_array(value, name, minimum=minimum))
    check_finite(x, name)
    return x


def feature_array(value: ArrayLike, name: str = "features", *, minimum: int = 2) -> Array | np.ndarray:
    """Features of shape (n, p) where they are, on the host or a device, or ValueError; no entry is read.

    Example:
        >>> feature_array(np.zeros((1, 3)))
        Traceback (most recent call last):
        ValueError: features must have at least 2 rows, got shape (1, 3)
    """
    x = value if isinstance(value, jax.Array) else np.asarray(value)
    real_dtype = jnp.issubdtype(x.dtype, jnp.floating)
    if x.dtype.kind not in "fiub" and not real_dtype:
        raise ValueError(f"{name} must be real numbers, got dtype {x.dtype}")
    if not real_dtype:
        warnings.warn(f"{name} are {x.dtype} and were cast to {jnp.result_type(float)}", stacklevel=4)
    if x.ndim != 2 or not x.shape[1]:
        raise ValueError(f"{name} must have shape (n, p) with p >= 1, got {x.shape}")
    if len(x) < minimum:
        rows = f"{minimum} row{'s' if minimum > 1 else ''}"
        raise ValueError(f"{name} must have at least {rows}, got shape {x.shape}")
    return x


def varying_features(value: ArrayLike, *, centred: bool) -> Float[Array, "n p"]:
    """Features with at least one eigenfunction, or ValueError: not all rows equal, or not all zero.

    Example:
        >>> varying_features(jnp.ones((3, 2)), centred=True)
        Traceback (most recent call last):
        ValueError: features must differ between examples, got 3 equal rows: no eigenfunction is left
    """
    x = feature_matrix(value)
    if not is_traced(x):
        rows = np.asarray(x)
        if centred and (rows == rows[:1]).all():
            raise ValueError(
                f"features must differ between examples, got {len(rows)} equal rows: no eigenfunction is left"
            )
        if not rows.any():
            raise ValueError("features must not all be 0: no eigenfunction is left")
    return x


def supervision(
    labels: Any, n: int, dtype: Any, *, classes: int | None = None, centred: bool | None = None
) -> tuple[Array, bool]:
    """One-hot classes (n, C), or targets (n, t), with whether they are classes.

    Args:
        labels: whole numbers (n,), the classes; or floating numbers (n,) or (n, t), the targets.
        n: number of examples.
        dtype: of the result.
        classes: C; labels are then 0 ... C - 1 and a class may be absent. Without it, what occurs is coded
            by its rank, with a warning if that changes it. Needed for traced labels.
        centred: check that targets are linearly independent, about their mean or not; without it they may be
            dependent, as in a block of a stream.

    Raises:
        ValueError: dependent targets, a wrong length, fewer than two classes, fewer examples than classes,
            labels out of range.

    Example:
        >>> supervision([0, 1, 1], 3, jnp.float32)[0]
        Array([[1., 0.],
               [0., 1.],
               [0., 1.]], dtype=float32)
    """
    array, classes = class_codes_or_targets(labels, n, classes=classes)
    if classes is not None:
        return jax.nn.one_hot(array, classes, dtype=dtype), True
    targets = jnp.asarray(array, dtype)
    check_finite(targets, "labels")
    if centred is not None:
        about = targets - targets.mean(0, keepdims=True) if centred else targets
        check_independent(about.T @ about / n)
    return targets, False


def class_codes_or_targets(
    labels: Any, n: int, *, classes: int | None = None
) -> tuple[Array | np.ndarray, int | None]:
    """Codes 0 ... C - 1 (n,) with C, or targets (n, t), which are not read, with None.

    Raises:
        ValueError: as for `supervision`, but for targets that are dependent or not finite.

    Example:
        >>> class_codes_or_targets([0, 1, 1], 3)
        (array([0, 1, 1]), 2)
    """
    array = labels if isinstance(labels, jax.Array) else np.asarray(labels)
    if array.ndim not in (1, 2) or (array.ndim == 2 and not array.shape[1]):
        raise ValueError(f"labels must have shape (n,), or (n, t) for targets, got {array.shape}")
    if len(array) != n:
        raise ValueError(f"labels must have one entry per row of features, {n}, got {len(array)}")
    if jnp.issubdtype(array.dtype, jnp.floating):
        if classes is not None:
            raise ValueError("labels must be whole numbers where classes are counted, got floating targets")
        return array.reshape(n, -1), None
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise ValueError(
            f"labels must be whole numbers of shape (n,), or floating targets, got {array.dtype} of shape "
            f"{array.shape}"
        )
    return _codes(array, n, classes)


def _codes(labels, n, classes):
    if is_traced(labels):
        if classes is None:
            raise ValueError("labels are traced: pass classes, their number")
        return jnp.asarray(labels), positive_int(classes, "classes", minimum=2)
    labels = np.asarray(labels)
    if classes is None:
        values, codes = np.unique(labels, return_inverse=True)
        if len(values) < 2:
            raise ValueError(f"labels must name at least two classes, got only {values.tolist()}")
        if len(values) >= n:
            raise ValueError(f"labels must name fewer classes than there are examples, got {len(values)}")
        if not np.array_equal(codes, labels):
            shown = ", ".join(map(str, values[:5])) + (" ..." if len(values) > 5 else "")
            warnings.warn(f"labels {shown} were coded as 0 ... {len(values) - 1}", stacklevel=5)
        return codes, len(values)
    classes = positive_int(classes, "classes", minimum=2)
    outside = labels[(labels < 0) | (labels >= classes)]
    if outside.size:
        raise ValueError(f"labels must be in [0, {classes - 1}], got {outside[0]}")
    return labels, classes


def check_independent(second_moment: Array) -> None:
    """Raise ValueError if concrete second moments of targets, (t, t), are singular.

    Example:
        >>> check_independent(jnp.ones((2, 2)))
        Traceback (most recent call last):
        ValueError: labels must be linearly independent targets, got 2 of rank 1: drop some, or...
    """
    if is_traced(second_moment):
        return
    values = np.linalg.eigvalsh(np.asarray(second_moment, np.float64))
    least = 1e-12 if second_moment.dtype == jnp.float64 else 1e-6
    rank = int((values > least * values[-1]).sum())
    if rank < len(values):
        raise ValueError(
            f"labels must be linearly independent targets, got {len(values)} of rank {rank}: drop some, or "
            "pass classes as whole numbers"
        )


def readout_matrix(value: ArrayLike, p: int, dtype: Any, name: str = "readout") -> Float[Array, "C p"]:
    """A finite readout with a row of p weights for each output, or ValueError.

    Example:
        >>> readout_matrix(jnp.ones((2, 3)), 5, jnp.float32)
        Traceback (most recent call last):
        ValueError: readout must have shape (outputs, 5), a weight for each feature, got (2, 3)
    """
    w = floating(value).astype(dtype)
    if w.ndim != 2 or w.shape[1] != p or not len(w):
        raise ValueError(f"{name} must have shape (outputs, {p}), a weight for each feature, got {w.shape}")
    check_finite(w, name)
    return w
