"""Estimates with standard errors, confidence intervals, and corrections for many comparisons.

With n samples x_1..x_n of mean m and variance s²: the mean has the standard error s/√n, and the variance has
√[(μ4 - s⁴ (n-3)/(n-1)) / n], μ4 the fourth central moment. A family of k two-sided normal tests at the level
L uses the critical value of the level L^(1/k) each; by Šidák's inequality (Z. Šidák, J. Amer. Stat. Assoc.
62, 626, 1967) the family then keeps the level L whatever the correlation between the tests.

Example:
    >>> est = mean_and_error([[1.0, 5.0], [3.0, float("nan")]])
    >>> est.mean.tolist(), est.standard_error.tolist(), est.count.tolist()
    ([2.0, 5.0], [1.0, nan], [2, 1])
"""

import math
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int64
from scipy import stats as _distributions

from theorysim.numerics.stats._arrays import Floats, Numbers, broadcast, float_array, non_negative
from theorysim.numerics.validation import positive_int, real

__all__ = [
    "Estimate",
    "Interval",
    "critical_value",
    "holm",
    "interval",
    "mean_and_error",
    "proportion",
    "variance_and_error",
    "z_scores",
]

Axis = int | tuple[int, ...]


class Estimate(NamedTuple):
    """An estimated quantity, its standard error, and how many samples that were not NaN it rests on."""

    mean: Floats
    standard_error: Floats
    count: Int64[np.ndarray, "..."]


class Interval(NamedTuple):
    """A point estimate with the ends of its confidence interval."""

    estimate: Floats
    low: Floats
    high: Floats


def mean_and_error(samples: Numbers, axis: Axis = 0) -> Estimate:
    """Sample mean and its standard error along `axis`, leaving NaN samples out.

    A diverged run is NaN in a sweep: it does not enter the mean, and `count` says how many samples did.

    Args:
        samples: real array; `axis` (an axis or several) runs over independent repetitions.
        axis: the axis or axes to average over.

    Returns:
        Estimate with the remaining axes. The standard error of a single sample, and everything where no
        sample is left, is NaN.

    Example:
        >>> est = mean_and_error([1.0, 2.0, 3.0])
        >>> float(est.mean), round(float(est.standard_error), 6), int(est.count)
        (2.0, 0.57735, 3)
    """
    count, mean, second, _ = _central_moments(samples, axis)
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.where(count > 1, np.sqrt(second / (count - 1)), np.nan)
    return Estimate(mean, error, count)


def variance_and_error(samples: Numbers, axis: Axis = 0) -> Estimate:
    """Unbiased sample variance and its standard error along `axis`, leaving NaN samples out.

    The standard error plugs the sample's own moments into Var(s²) = [μ4 - σ⁴ (n-3)/(n-1)] / n, so no
    normality is assumed; it is itself reliable from about a hundred samples on.

    Returns:
        Estimate whose `mean` is the variance; NaN where fewer than two samples are left.

    Example:
        >>> est = variance_and_error([1.0, 2.0, 3.0, 4.0])
        >>> round(float(est.mean), 6), round(float(est.standard_error), 6)
        (1.666667, 0.639643)
    """
    count, _, second, fourth = _central_moments(samples, axis)
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = np.where(count > 1, second * count / (count - 1), np.nan)
        spread = (fourth - variance**2 * (count - 3) / (count - 1)) / count
    # The two terms cancel to rounding for constant samples; exactly they never go below zero.
    return Estimate(variance, np.sqrt(np.maximum(spread, 0.0)), count)


def proportion(successes: Numbers, trials: Numbers, level: float = 0.95) -> Interval:
    """Share of successes with its Wilson score interval.

    The ends solve |k/n - p| = z √(p(1-p)/n) for p (E. B. Wilson, J. Amer. Stat. Assoc. 22, 209, 1927), so the
    interval keeps its level at shares near 0 and 1, where the normal one fails.

    Args:
        successes: counts k, 0 <= k <= n.
        trials: counts n >= 0; n = 0 gives the interval [0, 1] around NaN.
        level: confidence in (0, 1).

    Example:
        >>> share = proportion(0, 20)
        >>> float(share.estimate), float(share.low), round(float(share.high), 4)
        (0.0, 0.0, 0.1611)
    """
    k, n = broadcast(successes=successes, trials=trials)
    non_negative(n, "trials")
    non_negative(k, "successes")
    if np.any(k > n):
        raise ValueError(f"successes must be at most trials, got {k[k > n][0]:g} of {n[k > n][0]:g}")
    z2 = critical_value(level) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        share = k / n
    centre = (k + z2 / 2) / (n + z2)
    half = np.sqrt(z2) * np.sqrt(k * (1 - np.nan_to_num(share)) + z2 / 4) / (n + z2)
    # At k = 0 and k = n one end is 0 or 1 exactly; rounding must not move it.
    low = np.where(k == 0, 0.0, np.maximum(centre - half, 0.0))
    high = np.where(k == n, 1.0, np.minimum(centre + half, 1.0))
    return Interval(np.asarray(share), low, high)


def interval(
    mean: Numbers, standard_error: Numbers, level: float = 0.95, degrees_of_freedom: float | int = math.inf
) -> Interval:
    """Symmetric confidence interval mean ± z·standard_error of each entry by itself.

    Args:
        mean: estimates.
        standard_error: their standard errors, >= 0, broadcast against `mean`.
        level: confidence in (0, 1).
        degrees_of_freedom: finite for Student's t, such as samples - 1 when samples are few; infinite is the
            normal.

    Example:
        >>> band = interval(1.0, 0.1)
        >>> round(float(band.low), 3), round(float(band.high), 3)
        (0.804, 1.196)
    """
    m, se = broadcast(mean=mean, standard_error=standard_error)
    half = critical_value(level, degrees_of_freedom=degrees_of_freedom) * non_negative(se, "standard_error")
    return Interval(m.copy(), np.asarray(m - half), np.asarray(m + half))


def critical_value(
    level: float = 0.99, comparisons: int = 1, degrees_of_freedom: float | int = math.inf
) -> float:
    """Two-sided critical value z with P(all of `comparisons` |Z| <= z) = level (Šidák).

    Exact for independent tests, and conservative for normal tests with any correlation.

    Args:
        level: probability in (0, 1) that none of the true hypotheses is rejected.
        comparisons: number of tests in the family, >= 1.
        degrees_of_freedom: of the standard errors, > 0; infinite gives the normal distribution, finite
            Student's t. With 32 samples and a thousand comparisons the normal value rejects truths ten times
            too often.

    Example:
        >>> round(critical_value(0.95), 4), round(critical_value(0.95, comparisons=100), 4)
        (1.96, 3.474)
    """
    real(level, "level", low=0.0, high=1.0, low_open=True, high_open=True)
    real(degrees_of_freedom, "degrees_of_freedom", low=0.0, low_open=True)
    positive_int(comparisons, "comparisons")
    tail = -math.expm1(math.log(level) / comparisons) / 2
    return float(_distributions.t.isf(tail, degrees_of_freedom))


def z_scores(measured: Numbers, predicted: Numbers, standard_error: Numbers) -> Floats:
    """(measured - predicted) / standard_error; with no error, 0 for equal numbers and ±inf for others.

    Example:
        >>> z_scores([1.0, 1.0, 2.0], 1.0, [0.5, 0.0, 0.0]).tolist()
        [0.0, 0.0, inf]
    """
    m, p, se = broadcast(measured=measured, predicted=predicted, standard_error=standard_error)
    difference, se = m - p, non_negative(se, "standard_error")
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where((se == 0) & (difference == 0), 0.0, difference / se))


def holm(p_values: Numbers) -> Floats:
    """Holm's step-down adjusted p-values: rejecting those <= a keeps the family-wise error <= a.

    Sorted p_(1) <= … <= p_(k) become max over i <= j of (k - i + 1) p_(i), at most 1 (S. Holm, Scand. J.
    Stat. 6, 65, 1979). Valid under any dependence. The order and shape of the input are kept.

    Example:
        >>> holm([0.01, 0.04, 0.03]).round(4).tolist()
        [0.03, 0.06, 0.06]
    """
    p = float_array(p_values, "p_values")
    real(p, "p_values", low=0.0, high=1.0)
    order = np.argsort(p, axis=None)
    stepped = np.maximum.accumulate(p.ravel()[order] * np.arange(p.size, 0, -1))
    adjusted = np.empty(p.size)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted.reshape(p.shape)


def _central_moments(samples: Numbers, axis: Axis) -> tuple[Any, ...]:
    """Count, mean, second and fourth central moments (divided by the count) of what is not NaN."""
    x = float_array(samples, "samples")
    if x.ndim == 0:
        raise ValueError("samples must have at least one axis, got a scalar")
    present = ~np.isnan(x)
    count = np.asarray(present.sum(axis=axis, keepdims=True), dtype=np.int64)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.sum(x, axis=axis, keepdims=True, where=present) / count
        squared = (x - mean) ** 2
        second = np.sum(squared, axis=axis, keepdims=True, where=present) / count
        fourth = np.sum(squared**2, axis=axis, keepdims=True, where=present) / count
    return tuple(np.asarray(np.squeeze(moment, axis=axis)) for moment in (count, mean, second, fourth))
