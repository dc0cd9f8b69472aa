"""How well scores separate two groups, and how closely two measurements go together, with errors.

The AUC is the chance that a positive score exceeds a negative one, ties counting half. With the placements
p_i = mean_j [x_i > y_j] of the m positive scores and q_j = mean_i [x_i > y_j] of the n negative ones, its
variance is var(p)/m + var(q)/n (E. R. DeLong et al., Biometrics 44, 837, 1988). The correlation r of k pairs
has, for normal ones, atanh(r) of standard error 1/sqrt(k - 3) (R. A. Fisher, Biometrika 10, 507, 1915).

Example:
    >>> found = auc_and_error([1.0, 2.0, 3.0], [0.0, 1.5, 0.5])
    >>> round(float(found.mean), 6), round(float(found.standard_error), 6)
    (0.888889, 0.157135)
"""

import math

import numpy as np
from scipy.stats import rankdata

from theorysim.numerics.stats._arrays import Numbers, float_array
from theorysim.numerics.stats.estimates import Estimate, Interval, critical_value

__all__ = ["auc_and_error", "correlation"]


def auc_and_error(positive: Numbers, negative: Numbers, axis: int = 0) -> Estimate:
    """Area under the curve of true against false positives, with DeLong's standard error.

    Args:
        positive: scores of the positive group, independent of each other and of the others along `axis`.
        negative: scores of the negative group, likewise; the other axes are those of `positive`.
        axis: runs over the members of each group, at least two of each.

    Returns:
        Estimate over the remaining axes; `count` is the smaller group's. NaN where a score is NaN. Groups
        that do not overlap have an AUC of 0 or 1 and an error of 0, which says that few scores were seen.

    Raises:
        ValueError: fewer than two members, or axes that do not match.

    Example:
        >>> float(auc_and_error([0.0, 1.0], [0.0, 1.0]).mean)
        0.5
    """
    x = np.moveaxis(float_array(positive, "positive"), axis, -1)
    y = np.moveaxis(float_array(negative, "negative"), axis, -1)
    if x.shape[:-1] != y.shape[:-1]:
        raise ValueError(f"negative must have the axes of positive, got {y.shape[:-1]} for {x.shape[:-1]}")
    m, n = x.shape[-1], y.shape[-1]
    if min(m, n) < 2:
        raise ValueError(f"positive and negative must have at least 2 members, got {m} and {n}")
    void = np.isnan(x).any(-1) | np.isnan(y).any(-1)
    ranks = rankdata(np.concatenate([x, y], axis=-1), axis=-1)
    # A rank among all, less the rank in the own group, counts the others below.
    p = (ranks[..., :m] - rankdata(x, axis=-1)) / n
    q = 1 - (ranks[..., m:] - rankdata(y, axis=-1)) / m
    variance = p.var(-1, ddof=1) / m + q.var(-1, ddof=1) / n
    mean = np.where(void, np.nan, p.mean(-1))
    error = np.where(void, np.nan, np.sqrt(variance))
    return Estimate(mean, error, np.full(mean.shape, min(m, n)))


def correlation(x: Numbers, y: Numbers, level: float = 0.95) -> Interval:
    """Correlation of two measurements of the same k >= 4 things, with Fisher's interval.

    Args:
        x: real numbers, (k,).
        y: likewise.
        level: confidence in (0, 1); exact for normal pairs.

    Raises:
        ValueError: shapes that differ, or fewer than four pairs.

    Example:
        >>> r = correlation([1, 2, 3, 4, 5], [1, 2, 3, 4, 6])
        >>> [round(float(value), 4) for value in r]
        [0.9864, 0.8026, 0.9991]
    """
    a, b = float_array(x, "x"), float_array(y, "y")
    if a.ndim != 1 or a.shape != b.shape or len(a) < 4:
        raise ValueError(f"x and y must have one shape (k,), k >= 4, got {a.shape} and {b.shape}")
    a, b = a - a.mean(), b - b.mean()
    half = critical_value(level) / math.sqrt(len(a) - 3)
    with np.errstate(invalid="ignore", divide="ignore"):
        # A constant goes with nothing: 0/0.
        r = np.clip(np.divide(a @ b, np.sqrt((a @ a) * (b @ b))), -1, 1)
        return Interval(r, np.tanh(np.arctanh(r) - half), np.tanh(np.arctanh(r) + half))
