"""What would change the leakage: more noise, or fewer records.

More noise makes every record matter less, at the price of accuracy. Removing the most exposed records
protects them and may expose others, for which they spoke: the onion effect (N. Carlini et al. 2022,
"The Privacy Onion Effect", arXiv 2206.10469). Neither trains anything: noise is a factorisation each, removal
an exact update of one.

Example:
    >>> x = np.linspace(0, 3, 20)[:, None]
    >>> from theorysim.advisors.leakage.problem import read_problem
    >>> from theorysim.lood import rbf
    >>> problem = read_problem(x, np.sin(3 * x[:, 0]), standardize=False)
    >>> grams = Grams(rbf()(x, x), None)
    >>> rows = [noise_level(problem, exposures(grams, problem.targets, noise=s2), s2) for s2 in (0.01, 0.1)]
    >>> rows[0].mean_kl > rows[1].mean_kl, rows[0].score < rows[1].score
    (True, True)
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from theorysim.advisors.leakage.exposure import EXPOSED, Exposure, Grams, exposures, ranking_of
from theorysim.advisors.leakage.problem import Problem

__all__ = ["NoiseLevel", "Removal", "leave_one_out_score", "noise_level", "removal_of"]


class NoiseLevel(NamedTuple):
    """Leakage and accuracy at a noise variance.

    Attributes:
        noise: s2.
        above: records with an AUC above 0.9.
        mean_kl: of all records, in nats.
        mean_auc: of all records.
        score: leave-one-out accuracy; in regression the root mean square error, in units of the labels.
    """

    noise: float
    above: int
    mean_kl: float
    mean_auc: float
    score: float


class Removal(NamedTuple):
    """The records that are left when the most exposed ones are removed.

    Attributes:
        removed: the most exposed records.
        above_before: records with an AUC above 0.9, of all.
        above: of those left.
        newly_above: of those left that were not above before.
        mean_kl: of those left, in nats.
        score: their leave-one-out accuracy, or root mean square error.
        ranking: the most exposed of those left, and their AUC then.
        auc: in the order of `ranking`.
    """

    removed: tuple[int, ...]
    above_before: int
    above: int
    newly_above: int
    mean_kl: float
    score: float
    ranking: tuple[int, ...]
    auc: tuple[float, ...]


def noise_level(problem: Problem, exposure: Exposure, noise: float | int) -> NoiseLevel:
    """Summarise an exposure.

    Example:
        >>> from theorysim.advisors.leakage.problem import read_problem
        >>> problem, zero = read_problem(np.eye(4), [0, 1, 1, 1]), np.zeros(4)
        >>> noise_level(problem, Exposure(zero, zero, zero, zero, zero, np.ones((4, 1))), 0.1).score
        0.75
    """
    return NoiseLevel(
        noise=float(noise),
        above=int((exposure.auc > EXPOSED).sum()),
        mean_kl=float(exposure.kl.mean()),
        mean_auc=float(exposure.auc.mean()),
        score=leave_one_out_score(problem, exposure, np.arange(problem.data.records)),
    )


def removal_of(
    problem: Problem,
    grams: Grams,
    exposure: Exposure,
    *,
    noise: float | int,
    count: int,
    top: int,
    block: int | None = None,
) -> Removal:
    """Remove the `count` most exposed records and audit those that are left.

    Args:
        problem: the records.
        grams: kernels between them.
        exposure: of all of them.
        noise: s2 > 0.
        count: >= 1, fewer than the records.
        top: length of the new list.
        block: as in `exposures`.

    Example:
        >>> from theorysim.advisors.leakage.problem import read_problem
        >>> problem, one = read_problem(np.eye(4), [0, 1, 1, 1]), Grams(np.eye(4), None)
        >>> before = exposures(one, problem.targets, noise=0.5)
        >>> removal_of(problem, one, before, noise=0.5, count=1, top=2).removed
        (0,)
    """
    removed = ranking_of(exposure)[:count]
    left: Int64[np.ndarray, " l"] = np.delete(np.arange(problem.data.records), removed)
    after = exposures(grams, problem.targets, noise=noise, without=removed, block=block)
    order = ranking_of(after)[:top]
    above = after.auc > EXPOSED
    return Removal(
        removed=tuple(removed.tolist()),
        above_before=int((exposure.auc > EXPOSED).sum()),
        above=int(above.sum()),
        newly_above=int((above & (exposure.auc[left] <= EXPOSED)).sum()),
        mean_kl=float(after.kl.mean()),
        score=leave_one_out_score(problem, after, left),
        ranking=tuple(left[order].tolist()),
        auc=tuple(after.auc[order].tolist()),
    )


def leave_one_out_score(problem: Problem, exposure: Exposure, rows: Int64[np.ndarray, " r"]) -> float:
    """Accuracy, or root mean square error in units of the labels, of the predictions without each record.

    Args:
        problem: the records.
        exposure: of some of them.
        rows: which.

    Example:
        >>> from theorysim.advisors.leakage.problem import read_problem
        >>> problem, zero = read_problem(np.eye(4), [0.0, 0.0, 2.0, 2.0]), np.zeros(4)
        >>> exposure = Exposure(zero, zero, zero, zero, zero, np.zeros((4, 1)))
        >>> leave_one_out_score(problem, exposure, np.arange(4))
        1.0
    """
    targets, predicted = problem.targets[rows], exposure.predicted
    if problem.data.task == "regression":
        return float(problem.scale * np.sqrt(np.mean((targets - predicted) ** 2)))
    if predicted.shape[1] == 1:
        return float((np.sign(predicted) == targets).mean())
    return float((predicted.argmax(axis=1) == targets.argmax(axis=1)).mean())
