r"""Does the theory's picture of two classes fit these features? One check for each assumption.

The theory wants two classes whose features differ by their mean only, of one covariance, such that the score
of a linear classifier is Gaussian; that holds for Gaussian features, and for many others in high dimension. A
check fails if a deviation is both significant, by three standard errors, and large enough to matter; or if it
is no number. Scores of one sample in several splits are not independent: errors are those over samples.

Example:
    >>> rng = np.random.default_rng(0)
    >>> y = np.tile([1, -1], 200)
    >>> x = 0.2 * y[:, None] + rng.normal(size=(400, 30))
    >>> held_out = y * (x @ np.ones(30))
    >>> checks = assumption_checks(x, y, held_out / held_out.std(), np.arange(400), n=320)
    >>> [check.name for check in checks if not check.passed]
    []
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy.special import ndtr

__all__ = ["Check", "assumption_checks", "clustered_mean", "varying_features"]


class Check(NamedTuple):
    """An assumption, whether the data agree with it, and the numbers in words."""

    name: str
    passed: bool
    detail: str


def assumption_checks(
    x: Float64[np.ndarray, "k p"],
    y: Int64[np.ndarray, " k"],
    scores: Float64[np.ndarray, " s"],
    rows: Int64[np.ndarray, " s"],
    n: int,
) -> tuple[Check, ...]:
    """Check every assumption of the prediction.

    Args:
        x: features.
        y: labels, 1 or -1.
        scores: held-out scores of a classifier trained on other samples, times the label, in units of their
            standard deviation.
        rows: the sample that each score belongs to.
        n: samples that train.

    Example:
        >>> x, y = np.ones((8, 2)), np.array([1, 1, 1, 1, 1, 1, 1, -1])
        >>> print(assumption_checks(x, y, np.linspace(0, 1, 8), np.arange(8), 6)[0].detail)
        12 % of the samples are in the smaller class
    """
    varying = varying_features(x)
    z = x[:, varying] / x[:, varying].std(axis=0)
    residuals = np.empty_like(z)
    for label in (1, -1):
        residuals[y == label] = z[y == label] - z[y == label].mean(axis=0)
    return (
        _balance(y),
        _one_covariance(residuals, scores, y, rows),
        _one_mean(scores, y, rows),
        _gaussian_scores(scores, rows),
        _concentration(residuals),
        _sizes(n, int(varying.sum())),
        _duplicates(x),
        _constants(varying),
    )


def clustered_mean(values: Float64[np.ndarray, " s"], rows: Int64[np.ndarray, " s"]) -> tuple[float, float]:
    """Mean, and its standard error if values of one row are dependent and those of different rows are not.

    Infinite for fewer than two rows.

    Example:
        >>> clustered_mean(np.array([1.0, 1.0, 3.0, 3.0]), np.array([0, 0, 1, 1]))
        (2.0, 1.0)
        >>> clustered_mean(np.array([1.0, 3.0]), np.array([0, 1]))
        (2.0, 1.0)
    """
    mean = values.mean()
    _, place = np.unique(rows, return_inverse=True)
    sums = np.bincount(place, values - mean)
    if sums.size < 2:
        return float(mean), np.inf
    variance = (sums**2).sum() * sums.size / (sums.size - 1) / values.size**2
    return float(mean), float(np.sqrt(variance))


def varying_features(x: Float64[np.ndarray, "k p"]) -> Bool[np.ndarray, " p"]:
    """Return which features are not the same, up to rounding, in all samples.

    Example:
        >>> varying_features(np.array([[1.0, 0.1], [2.0, 0.1]])).tolist()
        [True, False]
    """
    return np.ptp(x, axis=0) > 1e-12 * np.abs(x).max(axis=0)


def _balance(y) -> Check:
    share = min((y == 1).mean(), (y == -1).mean())
    said = f"{100 * share:.0f} % of the samples are in the smaller class"
    return Check("balanced classes", bool(share >= 0.35), said)


def _one_covariance(residuals, scores, y, rows) -> Check:
    """Compare the classes' total variance, and the variance of their held-out scores."""
    norms = (residuals**2).mean(axis=1) if residuals.size else np.zeros(len(y))
    squares = np.empty_like(scores)
    for label in (1, -1):
        own = y[rows] == label
        squares[own] = (scores[own] - scores[own].mean()) ** 2
    ratios = [_log_ratio(norms, y, np.arange(len(y))), _log_ratio(squares, y[rows], rows)]
    passed = all(abs(ratio) <= np.log(1.3) or abs(ratio) <= 3 * error for ratio, error in ratios)
    total, score = (np.exp(ratio) for ratio, _ in ratios)
    said = f"variance + over -: {total:.2f} of features, {score:.2f} of scores"
    return Check("one covariance for both classes", bool(passed), said)


def _log_ratio(values, labels, rows) -> tuple[float, float]:
    """Log of the ratio of the classes' means of numbers >= 0, with its standard error; NaN if both are 0."""
    (a, a_error), (b, b_error) = (clustered_mean(values[labels == x], rows[labels == x]) for x in (1, -1))
    if min(a, b) <= 0:
        return (np.nan if a == b else np.inf if b <= 0 else -np.inf), 0.0
    return float(np.log(a / b)), float(np.hypot(a_error / a, b_error / b))


def _one_mean(scores, y, rows) -> Check:
    """The two classes should lie at equal distances from the threshold."""
    own = [y[rows] == label for label in (1, -1)]
    (plus, plus_error), (minus, minus_error) = (clustered_mean(scores[x], rows[x]) for x in own)
    difference, error = abs(plus - minus), float(np.hypot(plus_error, minus_error))
    said = f"mean score {plus:.2f} sd in class +, {minus:.2f} sd in class -"
    return Check("threshold between the classes", difference < 0.3 or difference < 3 * error, said)


def _gaussian_scores(scores, rows) -> Check:
    """Compare the accuracy with Phi(mean / sd); the error from each score's influence on the difference."""
    mean, sd = scores.mean(), scores.std()
    if sd == 0:
        return Check("Gaussian scores", False, "all held-out scores are equal")
    z, u = mean / sd, (scores - mean) / sd
    right = (np.sign(scores) + 1) / 2
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    influence = right - density * (u - z / 2 * (u**2 - 1))
    difference, (_, error) = abs(right.mean() - ndtr(z)), clustered_mean(influence, rows)
    kurtosis = (u**4).mean() - 3
    passed = (difference <= 0.01 or difference <= 3 * error) and abs(kurtosis) <= 2
    said = f"{100 * right.mean():.1f} % right, Phi(mean/sd) = {100 * ndtr(z):.1f} %; kurtosis {kurtosis:.1f}"
    return Check("Gaussian scores", bool(passed), said)


def _concentration(residuals) -> Check:
    """Gaussian vectors vary little in length, Var |z|^2 = 2 tr C^2; heavy tails and mixed scales, more."""
    k, p = residuals.shape
    if not p or k < 4:
        return Check("no heavy tails", False, "no feature varies")
    gram = residuals @ residuals.T if k < p else residuals.T @ residuals
    trace, squares = np.trace(gram) / k, (gram**2).sum() / k**2
    squares = max(squares - trace**2 / k, trace**2 / p)
    norms = (residuals**2).sum(axis=1)
    ratio = norms.var() / (2 * squares)
    kurtosis = (residuals**4).mean(axis=0) / np.maximum((residuals**2).mean(axis=0), 1e-300) ** 2 - 3
    median = float(np.median(kurtosis))
    said = f"lengths vary {ratio:.1f} times as much as Gaussian ones; median kurtosis {median:.1f}"
    return Check("no heavy tails", bool(ratio < 4), said)


def _sizes(n, p) -> Check:
    said = f"p = {p}, n = {n}, p/n = {p / n:.2g}; wanted: p, n >= 20, p/n in [0.01, 20]"
    return Check("large, comparable p and n", bool(min(p, n) >= 20 and 0.01 <= p / n <= 20), said)


def _duplicates(x) -> Check:
    repeated = len(x) - len(np.unique(x, axis=0))
    said = f"{repeated} of {len(x)} samples repeat another one"
    return Check("no duplicates", bool(repeated <= 0.01 * len(x)), said)


def _constants(varying) -> Check:
    constant = int((~varying).sum())
    said = f"{constant} of {varying.size} features are constant and unused"
    return Check("few constant features", bool(constant <= 0.1 * varying.size), said)
