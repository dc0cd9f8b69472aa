r"""Labels that look wrong: those that the model memorises against what all other records say.

A wrong label surprises (zeta is beyond what k normal deviations give) and leaves a mark on the output at its
record, of size h zeta in squared deviations of the output without it. Candidates are the records whose zeta
is above a quantile of its law: of classes the 95 % one, if the others predict another class; in regression
the 99.9 % one. They are ordered by h zeta. If half the records surprise more than the model allows, the law
is widened to their median: then the model is wrong about most of them, not their labels.

Example:
    >>> from theorysim.advisors.leakage.problem import read_problem
    >>> problem = read_problem(np.arange(4.0)[:, None], [0, 0, 1, 1])
    >>> h, zeta, zero = np.full(4, 0.3), np.array([0.1, 20.0, 0.1, 0.1]), np.zeros(4)
    >>> exposure = Exposure(h, zeta, zero, zero, zero, np.array([[-1.0], [1.0], [1.0], [1.0]]))
    >>> [(error.record, error.label, error.predicted) for error in likely_label_errors(problem, exposure)]
    [(1, 0, 1)]
"""

from typing import Any, NamedTuple

import numpy as np
from scipy.stats import chi2

from theorysim.advisors.leakage.exposure import Exposure
from theorysim.advisors.leakage.problem import Problem

__all__ = ["LabelError", "likely_label_errors", "predicted_labels"]

_LEVELS = {"classes": 0.05, "regression": 1e-3}


class LabelError(NamedTuple):
    """A record whose label looks wrong.

    Attributes:
        record: which.
        label: as given.
        predicted: class or number that the other records predict.
        leverage: h.
        surprise: zeta.
    """

    record: int
    label: Any
    predicted: Any
    leverage: float
    surprise: float


def likely_label_errors(problem: Problem, exposure: Exposure) -> tuple[LabelError, ...]:
    """Records whose label looks wrong, the most suspicious first.

    Args:
        problem: the records.
        exposure: of all of them.

    Example:
        >>> from theorysim.advisors.leakage.problem import read_problem
        >>> problem, zero = read_problem(np.eye(4), [0.0, 1.0, 2.0, 3.0]), np.zeros(4)
        >>> likely_label_errors(problem, Exposure(zero, zero, zero, zero, zero, zero[:, None]))
        ()
    """
    h, zeta = exposure.leverage, exposure.surprise
    k = problem.targets.shape[1]
    widened = max(1.0, float(np.median(zeta)) / chi2.median(k))
    suspect = zeta > widened * chi2.isf(_LEVELS[problem.data.task], k)
    said = predicted_labels(problem, exposure)
    if problem.data.task == "classes":
        suspect &= said != problem.labels
    found = np.flatnonzero(suspect)
    found = found[np.argsort(-(h * zeta)[found], kind="stable")]
    return tuple(
        LabelError(int(i), problem.labels[i].item(), said[i].item(), float(h[i]), float(zeta[i]))
        for i in found
    )


def predicted_labels(problem: Problem, exposure: Exposure) -> np.ndarray:
    """The class, or the number, that the others predict for each record, (n,).

    Args:
        problem: the records.
        exposure: of all of them.

    Example:
        >>> from theorysim.advisors.leakage.problem import read_problem
        >>> problem, zero = read_problem(np.eye(4), ["a", "b", "b", "a"]), np.zeros(4)
        >>> predicted_labels(problem, Exposure(zero, zero, zero, zero, zero, np.ones((4, 1)))).tolist()
        ['b', 'b', 'b', 'b']
    """
    output = exposure.predicted
    if problem.data.task == "regression":
        return problem.centre + problem.scale * output[:, 0]
    index = (output[:, 0] > 0).astype(int) if output.shape[1] == 1 else output.argmax(axis=1)
    return np.asarray(problem.data.classes)[index]
