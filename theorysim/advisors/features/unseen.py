r"""Do the features in use serve inputs that were not trained on?

The first K* eigenfunctions of the training inputs over the held-out ones (`held_out`): nothing but their span
and that of the readout matters, so that the held-out features are read once, projected on those. The error of
the quality is that of the held-out examples, the features being what they are; what of the quality is chance
is taken off both sides before they are compared.

Example:
    >>> from theorysim.advisors.features.directions import leading_basis
    >>> from theorysim.advisors.features.problem import read_problem
    >>> draw = np.random.default_rng(0)
    >>> y, other = np.arange(600) % 3, draw.integers(0, 3, 600)
    >>> x = draw.normal(size=(600, 5)) + 8 * np.eye(3, 5)[y]
    >>> for labels in (y, other):
    ...     problem = read_problem(x, y, test_features=x, test_labels=labels)
    ...     basis = leading_basis(x, problem.labels, classes=3, top=2)
    ...     found = unseen(problem, basis, np.eye(3, 5), quality=0.96)
    ...     print(f"{found.quality:.2f} +- {found.quality_error:.3f}, carried {found.carried:.2f}")
    0.96 +- 0.002, carried 1.00
    0.01 +- 0.005, carried 0.00
"""

from typing import NamedTuple

import numpy as np

from theorysim.advisors.features.directions import Basis, projected, streamed_moments
from theorysim.advisors.features.problem import Problem, blocks
from theorysim.feature_map import adjusted_quality, held_out, standard_errors

__all__ = ["Unseen", "unseen"]


class Unseen(NamedTuple):
    """The first K* training eigenfunctions over held-out inputs.

    Attributes:
        examples: n'.
        quality: q(K*) there.
        quality_error: its standard error over the held-out examples.
        each: quality of each, of the basis that is orthonormal there, (K*,).
        utility: u(K*) there; NaN without a readout.
        dominance: their share of the variance there.
        carried: quality there over that in training, both less what chance gives.
        carried_error: its standard error, that of training left out.
    """

    examples: int
    quality: float
    quality_error: float
    each: np.ndarray
    utility: float
    dominance: float
    carried: float
    carried_error: float


def unseen(problem: Problem, basis: Basis, readout: np.ndarray | None, *, quality: float) -> Unseen:
    """The held-out side of a problem that has one.

    Args:
        problem: with `test_x` and `test_labels`.
        basis: of the training features.
        readout: (C, p), or None.
        quality: q(K*) in training.

    Raises:
        ValueError: held-out features that do not vary along the first K* directions.

    Example:
        >>> unseen.__doc__ is None
        False
    """
    x, y = problem.test_x, problem.test_labels
    assert x is not None and y is not None
    classes, K = problem.classes, problem.data.target_dimension
    V = basis.directions[:, : min(K, basis.directions.shape[1])]
    top = V.shape[1]
    span = V
    if readout is not None:
        rest = readout.T - V @ (V.T @ readout.T)
        left, sizes, _ = np.linalg.svd(rest, full_matrices=False)
        span = np.concatenate([V, left[:, sizes > 1e-9 * max(np.linalg.norm(readout), 1e-300)]], 1)
    train = streamed_moments(problem.x, problem.labels, classes=classes, directions=span)
    test = streamed_moments(x, y, classes=classes, directions=span)
    law = held_out(train, test, None if readout is None else readout @ span, top=top)
    functions = projected(x, basis, top)
    error = float(standard_errors(functions, y, classes=classes, participation=False).quality)
    found = float(law.cumulative_quality)
    here, there = (
        float(adjusted_quality(q, classes=K + 1, n=n))
        for q, n in ((quality, problem.data.examples), (found, len(x)))
    )
    carried = there / here if here > 0 else np.nan
    slope = (len(x) - 1) / (len(x) - K - 1) / here if here > 0 else np.nan
    return Unseen(
        examples=len(x),
        quality=found,
        quality_error=error,
        each=np.asarray(law.quality),
        utility=np.nan if law.cumulative_utility is None else float(law.cumulative_utility),
        dominance=float(np.asarray(law.eigenvalues).sum()) / _trace(x),
        carried=carried,
        carried_error=error * slope,
    )


def _trace(x: np.ndarray) -> float:
    """Total variance of features, about their mean."""
    mean = np.mean([x[rows].mean(0) * (rows.stop - rows.start) for rows in blocks(x)], 0)
    mean = mean * len(list(blocks(x))) / len(x)
    return float(sum(((x[rows] - mean) ** 2).sum(dtype=np.float64) for rows in blocks(x)) / len(x))
