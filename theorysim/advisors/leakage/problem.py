"""The records of an audit: features and labels of any framework as plain arrays, refused by name if unusable.

Features are scaled to mean 0 and variance 1 each, constant ones left out, unless they are to be taken as they
are. Labels become targets of mean square 1, so that a noise variance is always a share of that of the labels:
+1 and -1 for two classes, centred one-hot vectors for more, standardized numbers in regression.

Example:
    >>> x = np.array([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0], [5.0, 1.0]])
    >>> problem = read_problem(x, ["cat", "dog", "dog", "cat"])
    >>> problem.data, problem.targets.ravel().tolist()
    (Data(records=4, features=1, constant=1, repeated=0, task='classes', classes=('cat', 'dog')),
     [-1.0, 1.0, 1.0, -1.0])
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64

from theorysim.numerics.arrays import plain_array
from theorysim.numerics.validation import choice

__all__ = ["Data", "Problem", "equal_records", "read_problem"]

_LEAST = 4


class Data(NamedTuple):
    """What was audited.

    Attributes:
        records: n.
        features: those that vary.
        constant: features that do not, and are left out.
        repeated: records whose features equal an earlier one's; what each leaks, its copy still tells.
        task: "classes" or "regression".
        classes: the labels of the classes, in the order of the outputs; empty in regression.
    """

    records: int
    features: int
    constant: int
    repeated: int
    task: str
    classes: tuple[Any, ...]


class Problem(NamedTuple):
    """Records as the kernels take them.

    Attributes:
        data: what they are.
        x: features, (n, d).
        targets: (n, k); k = 1 for two classes and in regression.
        labels: as given, (n,).
        scale: units of the label in one of the targets; 1 for classes.
        centre: label at target 0; 0 for classes.
    """

    data: Data
    x: Float64[np.ndarray, "n d"]
    targets: Float64[np.ndarray, "n k"]
    labels: np.ndarray
    scale: float
    centre: float


def read_problem(features: Any, labels: Any, *, task: str = "auto", standardize: bool = True) -> Problem:
    """Check and convert features and labels.

    Args:
        features: (n, d), n >= 4: real and finite, of NumPy, JAX, PyTorch or anything that NumPy converts.
        labels: (n,): whole numbers, booleans or words are classes, floats are numbers to predict.
        task: "classes" or "regression" where the type of the labels says otherwise.
        standardize: whether each feature is scaled to mean 0 and variance 1.

    Raises:
        ValueError: wrong shapes or types, numbers that are not finite, features or labels that do not vary,
            or more classes than half the records.

    Example:
        >>> read_problem(np.eye(4), np.ones(4, int))
        Traceback (most recent call last):
        ValueError: labels must hold at least two classes, got 1: [1]
    """
    choice(task, "task", ("auto", "classes", "regression"))
    x = _features(plain_array(features, "features"))
    y = plain_array(labels, "labels")
    if y.shape == (len(x), 1):
        y = y[:, 0]
    if y.shape != (len(x),):
        raise ValueError(f"labels must have shape ({len(x)},), one for each record, got {y.shape}")
    if y.dtype.kind not in "fiubUS":
        raise ValueError(f"labels must be numbers or words, got dtype {y.dtype}")
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        where = int(np.argmin(np.isfinite(y)))
        raise ValueError(f"labels must be finite, got {y[where]} for record {where}")
    # Equal entries, not a zero variance: the mean of equal numbers may miss them by its rounding.
    varies = x.min(axis=0) < x.max(axis=0)
    if not varies.any():
        raise ValueError(f"features must hold one that varies, got {x.shape[1]} constant ones")
    repeated = len(x) - len(np.unique(x, axis=0))
    kept = x[:, varies]
    if standardize:
        kept = _standardized(kept)
    classes = task == "classes" or (task == "auto" and y.dtype.kind != "f")
    targets, names, scale, centre = _class_targets(y) if classes else _real_targets(y)
    data = Data(
        records=len(x),
        features=kept.shape[1],
        constant=int((~varies).sum()),
        repeated=repeated,
        task="classes" if classes else "regression",
        classes=names,
    )
    return Problem(data, np.ascontiguousarray(kept), targets, y, scale, centre)


def equal_records(x: Float64[np.ndarray, "n d"]) -> tuple[int, int] | None:
    """The first record that repeats an earlier one, after that one; None if all differ.

    Example:
        >>> equal_records(np.array([[0.0], [1.0], [2.0], [1.0]]))
        (1, 3)
    """
    _, first, inverse = np.unique(x, axis=0, return_index=True, return_inverse=True)
    earlier = first[inverse.ravel()]
    later = np.flatnonzero(earlier != np.arange(len(x)))
    return (int(earlier[later[0]]), int(later[0])) if later.size else None


def _features(x: np.ndarray) -> Float64[np.ndarray, "n d"]:
    if x.dtype.kind not in "fiub":
        raise ValueError(f"features must be real numbers, got dtype {x.dtype}")
    if x.ndim != 2 or len(x) < _LEAST or not x.size:
        raise ValueError(
            f"features must have shape (n, d), at least {_LEAST} records of one feature, got {x.shape}"
        )
    good = np.isfinite(x)
    if not good.all():
        row, column = np.argwhere(~good)[0]
        raise ValueError(f"features must be finite, got {x[row, column]} at [{row}, {column}]")
    return x.astype(np.float64)


def _standardized(x: np.ndarray) -> np.ndarray:
    centred = x - x.mean(axis=0)
    # Squares of very large or very small numbers would leave the range of floats.
    size = np.abs(centred).max(axis=0)
    return centred / size / np.sqrt(np.mean((centred / size) ** 2, axis=0))


def _class_targets(y: np.ndarray) -> tuple[np.ndarray, tuple[Any, ...], float, float]:
    classes, index = np.unique(y, return_inverse=True)
    count = len(classes)
    shown = ", ".join(map(str, classes[:6])) + (", ..." if count > 6 else "")
    if count < 2:
        raise ValueError(f"labels must hold at least two classes, got 1: [{shown}]")
    if count > len(y) // 2:
        raise ValueError(
            f"labels must hold at most {len(y) // 2} classes, half the records, got {count}: [{shown}]; give "
            f"numbers to predict as floats, or with task = regression"
        )
    if count == 2:
        targets = np.where(index == 1, 1.0, -1.0).reshape(-1, 1)
    else:
        # The mean square of a centred one-hot vector's entries is (1/k)(1 - 1/k).
        targets = (np.eye(count)[index.ravel()] - 1 / count) * count / np.sqrt(count - 1)
    return targets, tuple(classes.tolist()), 1.0, 0.0


def _real_targets(y: np.ndarray) -> tuple[np.ndarray, tuple[Any, ...], float, float]:
    if y.dtype.kind in "US":
        raise ValueError(f"labels must be numbers with task = regression, got {y[0]!r}")
    y = y.astype(np.float64)
    if y.min() == y.max():
        raise ValueError(f"labels must vary, got {y[0]:g} for every record")
    centre = float(y.mean())
    scale = float(y.std())
    if not np.isfinite(scale) or scale == 0:
        raise ValueError(f"labels must have a variance within the range of floats, got {scale:g}")
    return ((y - centre) / scale).reshape(-1, 1), (), scale, centre
