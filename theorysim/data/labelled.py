"""Labelled samples: features and classes as plain arrays, from a file of yours or from a loader.

Sample i has features x_i in R^p and an integer label y_i. A theory of binary classification wants labels
y_i = +1 or -1: `binary_task` makes them from any classes. Features on different scales are brought to one by

    x_ij -> (x_ij - mean_j) / std_j.

Example:
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "mine.npz"
    >>> np.savez(path, x=np.array([[1.0, 5.0], [3.0, 5.0], [5.0, 5.0]]), y=np.array([7, 8, 7]))
    >>> data = binary_task(labelled_file(path), positive=7, negative=8)
    >>> data.x.tolist(), data.y.tolist()
    ([[1.0, 5.0], [3.0, 5.0], [5.0, 5.0]], [1, -1, 1])
    >>> standardized(data.x).ravel().round(3)
    array([-1.225,  0.   ,  1.225])
"""

import numbers
import os
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int64

__all__ = ["Labelled", "binary_task", "labelled_file", "standardized"]


class Labelled(NamedTuple):
    """Samples with integer labels: features `x` (k, p) and labels `y` (k,)."""

    x: Float64[np.ndarray, "k p"]
    y: Int64[np.ndarray, " k"]


def labelled_file(path: str | os.PathLike[str]) -> Labelled:
    """Your own samples: an `.npz` file with arrays `x` and `y`, as `numpy.savez(path, x=x, y=y)` writes it.

    Args:
        path: file with `x` of shape (k, p), real and finite, and `y` of shape (k,): whole numbers of any
            type, booleans included. k and p are at least 1. Other arrays in the file are ignored.

    Returns:
        Labelled, with the samples in the order of the file and no preprocessing.

    Raises:
        ValueError: the file cannot be read, is no `.npz` file, lacks an array, or an array is not as above.
            Arrays of Python objects are refused: reading them would run code from the file.

    Example:
        >>> labelled_file("no/such/file.npz")
        Traceback (most recent call last):
        ValueError: path must be a readable .npz file, got 'no/such/file.npz' (No such file or directory)
    """
    name = os.fspath(path)
    x, y = _read_arrays(Path(path), name, ("x", "y"))
    if x.dtype.kind not in "fiub":
        raise ValueError(f"x must be real numbers, got dtype {x.dtype} in {name!r}")
    if x.ndim != 2 or 0 in x.shape:
        raise ValueError(f"x must have shape (k, p) with k, p >= 1, got {x.shape} in {name!r}")
    if not np.isfinite(x).all():
        row, column = np.argwhere(~np.isfinite(x))[0]
        raise ValueError(f"x must be finite, got {x[row, column]} at [{row}, {column}] in {name!r}")
    if y.shape != x.shape[:1]:
        raise ValueError(
            f"y must have shape ({len(x)},), one label for each row of x, got {y.shape} in {name!r}"
        )
    return Labelled(x.astype(np.float64), _whole_numbers(y, name))


def standardized(
    x: Float[np.ndarray, "k p"], reference: Float[np.ndarray, "r p"] | None = None
) -> Float64[np.ndarray, "k q"]:
    """Features with mean 0 and variance 1; features that are constant are dropped.

    Args:
        x: shape (k, p), finite.
        reference: the rows, shape (r, p) with r >= 2, whose means and variances (divisor r) are used; `x` by
            default. Give the training rows here to transform test rows without looking at them.

    Returns:
        Shape (k, q), q <= p: the features that are not constant in `reference`, in their order.

    Raises:
        ValueError: wrong shapes, entries that are not finite, or no feature that varies.

    Example:
        >>> standardized(np.array([[0.0, 1.0], [2.0, 1.0]]))
        array([[-1.],
               [ 1.]])
    """
    _check_features(x, "x", 1)
    rows = x if reference is None else reference
    _check_features(rows, "x" if reference is None else "reference", 2)
    if rows.shape[1] != x.shape[1]:
        raise ValueError(f"reference must have the {x.shape[1]} features of x, got {rows.shape[1]}")
    # Equal entries, not a zero variance: the mean of equal numbers may miss them by its rounding.
    varies = rows.min(axis=0) < rows.max(axis=0)
    if not varies.any():
        name = "x" if reference is None else "reference"
        raise ValueError(f"{name} must have a feature that varies, got {rows.shape[1]} constant ones")
    rows, x = rows[:, varies].astype(np.float64), x[:, varies].astype(np.float64)
    mean = rows.mean(axis=0)
    centred = rows - mean
    # Squares of very large or very small numbers would leave the range of floats.
    size = np.abs(centred).max(axis=0)
    return (x - mean) / size / np.sqrt(np.mean((centred / size) ** 2, axis=0))


def binary_task(
    data: Labelled, positive: int | np.integer | Iterable[int], negative: int | np.integer | Iterable[int]
) -> Labelled:
    """The samples of two groups of classes, labelled +1 and -1.

    Args:
        data: samples with any integer labels.
        positive: the class, or the classes, that become +1.
        negative: the class, or the classes, that become -1. Samples of other classes are left out.

    Returns:
        Labelled with y = +1 or -1, the samples in their order.

    Raises:
        ValueError: no class, a class that no sample has, a class on both sides, or one that is no integer.

    Example:
        >>> from theorysim.data import digits
        >>> parity = binary_task(digits(), positive=(0, 2, 4, 6, 8), negative=(1, 3, 5, 7, 9))
        >>> parity.x.shape, int(parity.y.sum())
        ((1797, 64), -15)
        >>> binary_task(digits(), positive=3, negative=5).x.shape
        (365, 64)
    """
    present = np.unique(data.y)
    plus = _classes(positive, "positive", present)
    minus = _classes(negative, "negative", present)
    if both := sorted(set(plus) & set(minus)):
        raise ValueError(f"negative must share no class with positive, got {both[0]} in both")
    is_plus = np.isin(data.y, plus)
    kept = is_plus | np.isin(data.y, minus)
    return Labelled(data.x[kept], np.where(is_plus[kept], 1, -1).astype(np.int64))


def _read_arrays(path: Path, name: str, wanted: tuple[str, ...]) -> list[np.ndarray]:
    """The arrays of an `.npz` file by name, or one line that says what is wrong with it."""
    try:
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):
                raise ValueError(f"path must be an .npz file (written by numpy.savez), got {name!r}")
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                for label in wanted:
                    if label not in archive.files:
                        held = ", ".join(archive.files) or "none"
                        raise ValueError(
                            f"path must be an .npz file with arrays x and y, got {name!r} without {label}"
                            f" (it holds: {held})"
                        )
                return [_array(archive, label, name) for label in wanted]
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ValueError(f"path must be a readable .npz file, got {name!r} ({reason})") from None
    except (zipfile.BadZipFile, zlib.error, EOFError):
        raise ValueError(f"path must be an undamaged .npz file, got {name!r}") from None


def _array(archive: np.lib.npyio.NpzFile, label: str, name: str) -> np.ndarray:
    try:
        array = archive[label]
    except ValueError as error:
        if "pickle" in str(error) or "Object arrays" in str(error):
            raise ValueError(f"{label} must be an array of numbers, got Python objects in {name!r}") from None
        raise ValueError(f"path must be an undamaged .npz file, got {name!r} ({label}: {error})") from None
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{label} must be a NumPy array, got a file of another kind in {name!r}")
    return array


def _whole_numbers(y: np.ndarray, name: str) -> Int64[np.ndarray, " k"]:
    if y.dtype.kind not in "fiub":
        raise ValueError(f"y must be whole numbers, got dtype {y.dtype} in {name!r}")
    if y.dtype.kind == "f":
        bad = ~np.isfinite(y) | (y != np.round(np.where(np.isfinite(y), y, 0))) | (np.abs(y) > 2**53)
        if bad.any():
            raise ValueError(f"y must be whole numbers, got {y[bad][0]} in {name!r}")
    elif y.dtype.kind == "u" and y.max() > np.iinfo(np.int64).max:
        raise ValueError(f"y must be at most 2**63 - 1, got {y.max()} in {name!r}")
    return y.astype(np.int64)


def _check_features(x: np.ndarray, name: str, least: int) -> None:
    if np.ndim(x) != 2 or len(x) < least:
        raise ValueError(f"{name} must have shape (k, p) with k >= {least}, got {np.shape(x)}")
    if not np.isfinite(x).all():
        raise ValueError(f"{name} must be finite, got {x[~np.isfinite(x)][0]}")


def _classes(value: Any, name: str, present: np.ndarray) -> list[int]:
    values = [value] if isinstance(value, numbers.Integral) else list(value)
    if not values:
        raise ValueError(f"{name} must name at least one class, got none")
    for label in values:
        if isinstance(label, bool) or not isinstance(label, numbers.Integral):
            raise ValueError(f"{name} must be an integer class or several, got {label!r}")
        if label not in present:
            known = ", ".join(map(str, present[:20].tolist())) + (", ..." if len(present) > 20 else "")
            raise ValueError(f"{name} must name classes of the data ({known}), got {label}")
    return [int(label) for label in values]
