"""What an audit of features is given: arrays of any framework as plain ones, refused by name if unusable.

Features stay where they are (a file that is mapped into memory is read in blocks) and in float32 or float64;
other types are cast. Whole numbers, booleans and words are classes, floats are the targets of a regression.

Example:
    >>> x = np.array([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0], [5.0, 1.0]])
    >>> problem = read_problem(x, ["cat", "dog", "dog", "cat"])
    >>> problem.data.classes, problem.data.constant, problem.labels.tolist()
    (('cat', 'dog'), 1, [0, 1, 1, 0])
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from theorysim.numerics.arrays import plain_array
from theorysim.numerics.memory import require_memory
from theorysim.numerics.validation import choice

__all__ = ["FEW", "Data", "Problem", "blocks", "read_problem"]

FEW = 10
"""Examples for each feature below which the spectrum is partly that of noise."""

# Rows that are read at once.
_BLOCK = 4096
# Classes that an error lists.
_LISTED = 6


class Data(NamedTuple):
    """What was audited.

    Attributes:
        examples: n.
        features: p.
        constant: features that do not vary, such as dead units.
        task: "classes" or "regression".
        classes: their labels, in the order of the outputs; empty in regression.
        target_dimension: K*: classes less one, or the number of targets.
        test_examples: held-out examples, 0 without.
        cast: what the features were, if neither float32 nor float64.
    """

    examples: int
    features: int
    constant: int
    task: str
    classes: tuple[Any, ...]
    target_dimension: int
    test_examples: int
    cast: str | None


class Problem(NamedTuple):
    """Features and labels as the theory takes them.

    Attributes:
        data: what they are.
        x: features, (n, p).
        labels: ranks of the classes (n,), or targets (n, t).
        readout: (C, p).
        outputs: (n, C).
        test_x: held-out features, (n', p).
        test_labels: like `labels`.
        inputs: of the network, (n, d).
    """

    data: Data
    x: np.ndarray
    labels: np.ndarray
    readout: np.ndarray | None
    outputs: np.ndarray | None
    test_x: np.ndarray | None
    test_labels: np.ndarray | None
    inputs: np.ndarray | None

    @property
    def classes(self) -> int | None:
        """C; None in regression."""
        return len(self.data.classes) or None


def read_problem(
    features: Any,
    labels: Any,
    *,
    readout: Any = None,
    outputs: Any = None,
    test_features: Any = None,
    test_labels: Any = None,
    inputs: Any = None,
    task: str = "auto",
) -> Problem:
    """Check and convert; the arguments are those of `audit_features`.

    Raises:
        ValueError: an array of a wrong shape or type, or not finite; lengths that differ; features that do
            not vary; one class, or fewer examples than classes; half of a held-out set, or one without some
            class.

    Example:
        >>> read_problem(np.eye(4), np.ones(4, int))
        Traceback (most recent call last):
        ValueError: labels must name at least two classes, got only [1]
    """
    choice(task, "task", ("auto", "classes", "regression"))
    x, cast, constant = _features(features, "features")
    n, p = x.shape
    if constant == p:
        raise ValueError(f"features must hold one that varies between examples, got {p} constant ones")
    y = _labels(labels, "labels", n)
    discrete = task == "classes" or (task == "auto" and y.dtype.kind != "f")
    names: tuple[Any, ...] = ()
    if discrete:
        y, names = _coded(y)
    else:
        y = _targets(y, "labels")
    if (test_features is None) != (test_labels is None):
        missing, given = ("test_labels", "test_features")[:: 1 if test_labels is None else -1]
        raise ValueError(f"{missing} must be given with {given}, got None")
    test_x = test_y = None
    if test_features is not None:
        test_x, _, _ = _features(test_features, "test_features", p)
        test_y = _test_labels(test_labels, len(test_x), y, names)
    dimension = len(names) - 1 if discrete else y.shape[1]
    for name, count in (("features", n), ("test_features", n if test_x is None else len(test_x))):
        if count < dimension + 2:
            raise ValueError(
                f"{name} must have at least {dimension + 2} examples, two more than the target space has "
                f"dimensions, got {count}"
            )
    held = min(n, p) ** 2 * 8 * x.dtype.itemsize + x.nbytes
    require_memory(held, f"features of shape ({n:,}, {p:,})", "fewer examples, or fewer features")
    data = Data(
        examples=n,
        features=p,
        constant=constant,
        task="classes" if discrete else "regression",
        classes=names,
        target_dimension=dimension,
        test_examples=0 if test_x is None else len(test_x),
        cast=cast,
    )
    readout = None if readout is None else _readout(readout, p, len(names))
    outputs = None if outputs is None else _outputs(outputs, n, len(names))
    inputs = None if inputs is None else _inputs(inputs, n)
    return Problem(data, x, y, readout, outputs, test_x, test_y, inputs)


def blocks(x: np.ndarray) -> Iterator[slice]:
    """Rows of an array, so many at once that little memory is needed.

    Example:
        >>> list(blocks(np.zeros((5000, 2))))
        [slice(0, 4096, None), slice(4096, 5000, None)]
    """
    for start in range(0, len(x), _BLOCK):
        yield slice(start, min(start + _BLOCK, len(x)))


def _features(value, name, width=None) -> tuple[np.ndarray, str | None, int]:
    """The features, what they were if they had to be cast, and how many are constant."""
    x = plain_array(value, name)
    given = x.dtype
    if given.kind not in "fiub" and given.name != "bfloat16":
        raise ValueError(f"{name} must be real numbers, got dtype {given}")
    if x.ndim != 2 or len(x) < 2 or not x.shape[1]:
        hint = ": flatten all axes but the first" if x.ndim > 2 else ""
        raise ValueError(
            f"{name} must have shape (n, p), at least 2 examples of one feature, got {x.shape}{hint}"
        )
    if width is not None and x.shape[1] != width:
        raise ValueError(f"{name} must have {width} columns, like features, got shape {x.shape}")
    cast = None
    if given not in (np.float32, np.float64):
        x = x.astype(np.float32 if given.itemsize <= 2 and given.kind not in "iub" else np.float64)
        cast = str(given)
    low = high = x[0]
    for rows in blocks(x):
        block = x[rows]
        good = np.isfinite(block)
        if not good.all():
            row, column = np.argwhere(~good)[0]
            raise ValueError(
                f"{name} must be finite, got {block[row, column]} at [{rows.start + row}, {column}]"
            )
        low, high = np.minimum(low, block.min(0)), np.maximum(high, block.max(0))
    return x, cast, int((low == high).sum())


def _labels(value, name, n) -> np.ndarray:
    y = plain_array(value, name)
    if y.ndim not in (1, 2) or len(y) != n or (y.ndim == 2 and not y.shape[1]):
        raise ValueError(
            f"{name} must have shape ({n},), one for each row of features, or ({n}, t) for targets, got "
            f"{y.shape}"
        )
    if y.dtype.kind not in "fiubUS" and y.dtype.name != "bfloat16":
        raise ValueError(f"{name} must be numbers or words, got dtype {y.dtype}")
    return y


def _coded(y: np.ndarray) -> tuple[np.ndarray, tuple[Any, ...]]:
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        raise ValueError(
            f"labels must have shape ({len(y)},) where they are classes, got {y.shape}: take the argmax of "
            "one-hot ones, or give targets as floats"
        )
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise ValueError(f"labels must be finite, got {y[~np.isfinite(y)][0]}")
    names, codes = np.unique(y, return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"labels must name at least two classes, got only {names.tolist()}")
    if len(names) >= len(y):
        raise ValueError(
            f"labels must name fewer classes than there are examples, got {len(names)} classes in {len(y)} "
            "examples: give targets of a regression as floats, or with task = regression"
        )
    return codes.ravel(), tuple(names.tolist())


def _targets(y: np.ndarray, name: str) -> np.ndarray:
    if y.dtype.kind in "US":
        raise ValueError(f"{name} must be numbers with task = regression, got {y.flat[0]!r}")
    y = y.reshape(len(y), -1).astype(np.float64)
    if not np.isfinite(y).all():
        row, column = np.argwhere(~np.isfinite(y))[0]
        raise ValueError(f"{name} must be finite, got {y[row, column]} at [{row}, {column}]")
    if (y == y[:1]).all(0).any():
        column = int((y == y[:1]).all(0).argmax())
        raise ValueError(f"{name} must vary, got {y[0, column]:g} for every example in column {column}")
    return y


def _test_labels(value, n, labels, names) -> np.ndarray:
    y = _labels(value, "test_labels", n)
    if not names:
        y = _targets(y, "test_labels")
        if y.shape[1] != labels.shape[1]:
            raise ValueError(
                f"test_labels must hold {labels.shape[1]} targets, like labels, got {y.shape[1]}"
            )
        return y
    y = y[:, 0] if y.shape == (n, 1) else y
    known = {name: code for code, name in enumerate(names)}
    unknown = [label for label in np.unique(y).tolist() if label not in known]
    if y.ndim != 1 or unknown:
        said = f"shape {y.shape}" if y.ndim != 1 else repr(unknown[0])
        raise ValueError(f"test_labels must name the classes of labels, {_shown(names)}, got {said}")
    codes = np.array([known[label] for label in y.tolist()])
    missing = sorted(set(range(len(names))) - set(codes.tolist()))
    if missing:
        raise ValueError(
            f"test_labels must name all {len(names)} classes of labels, got no example of "
            f"{names[missing[0]]!r}"
        )
    return codes


def _readout(value, p, classes) -> np.ndarray:
    w = plain_array(value, "readout")
    if w.ndim == 1:
        w = w[None]
    if w.ndim != 2 or w.shape[1] != p or not len(w) or w.dtype.kind not in "fiub":
        hint = ": transpose it" if w.ndim == 2 and len(w) == p else ""
        raise ValueError(
            f"readout must have shape (outputs, {p}), a weight for each feature, got {w.shape}{hint}"
        )
    return _two_sided(_finite(w, "readout"), classes, axis=0)


def _outputs(value, n, classes) -> np.ndarray:
    o = plain_array(value, "outputs")
    if o.ndim == 1:
        o = o[:, None]
    if o.ndim != 2 or len(o) != n or not o.shape[1] or o.dtype.kind not in "fiub":
        raise ValueError(f"outputs must have shape ({n}, outputs), a row for each of features, got {o.shape}")
    return _two_sided(_finite(o, "outputs"), classes, axis=1)


def _two_sided(values, classes, axis):
    """One logit for two classes is minus that of the other."""
    return np.concatenate([-values, values], axis) if classes == 2 and values.shape[axis] == 1 else values


def _inputs(value, n) -> np.ndarray:
    x = plain_array(value, "inputs")
    if x.ndim < 2 or len(x) != n or x.dtype.kind not in "fiub":
        raise ValueError(
            f"inputs must have shape ({n}, ...), real numbers for each row of features, got {x.shape}"
        )
    return _finite(x.reshape(n, -1), "inputs")


def _finite(x, name):
    x = x if x.dtype in (np.float32, np.float64) else x.astype(np.float64)
    good = np.isfinite(x)
    if not good.all():
        row, column = np.argwhere(~good)[0]
        raise ValueError(f"{name} must be finite, got {x[row, column]} at [{row}, {column}]")
    return x


def _shown(names) -> str:
    return ", ".join(map(str, names[:_LISTED])) + (", ..." if len(names) > _LISTED else "")
