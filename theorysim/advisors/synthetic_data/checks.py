r"""Does the theory's picture of two classes fit these features? One check for each assumption.

The theory wants two classes whose features differ by their mean only, of one covariance, such that the score
of a linear classifier is Gaussian; that holds for Gaussian features, and for many others in high dimension. A
check fails if a deviation is both significant, by three standard errors, and large enough to matter.

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
from jaxtyping import Float64, Int64
from scipy.special import ndtr

__all__ = ["Check", "assumption_checks"]


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
    spread = x.std(axis=0)
    varying = spread > 1e-12 * (1 + np.abs(x.mean(axis=0)))
    z = (x[:, varying] - x[:, varying].mean(axis=0)) / spread[varying]
    residuals = np.empty_like(z)
    for label in (1, -1):
        residuals[y == label] = z[y == label] - z[y == label].mean(axis=0)
    labels = y[rows]
    return (
        _balance(y),
        _one_covariance(residuals, scores, y, labels),
        _one_mean(scores, labels),
        _gaussian_scores(scores),
        _concentration(residuals),
        _sizes(n, int(varying.sum())),
        _duplicates(x),
        _constants(varying),
    )


def _balance(y) -> Check:
    share = min((y == 1).mean(), (y == -1).mean())
    said = f"{100 * share:.0f} % of the samples are in the smaller class"
    return Check("balanced classes", bool(share >= 0.35), said)


def _one_covariance(residuals, scores, y, labels) -> Check:
    """Compare the classes' total variance, and the variance of their held-out scores."""
    norms = (residuals**2).mean(axis=1) if residuals.size else np.zeros(len(y))
    total, total_z = _log_ratio(norms[y == 1], norms[y == -1])
    squares = [(scores[labels == label] - scores[labels == label].mean()) ** 2 for label in (1, -1)]
    score, score_z = _log_ratio(*squares)
    fails = [abs(size) > np.log(1.3) and abs(z) > 3 for size, z in ((total, total_z), (score, score_z))]
    said = f"variance + over -: {np.exp(total):.2f} of features, {np.exp(score):.2f} of scores"
    return Check("one covariance for both classes", not any(fails), said)


def _log_ratio(a, b) -> tuple[float, float]:
    """Log of the ratio of two means of numbers >= 0, and its distance from 0 in standard errors."""
    if min(len(a), len(b)) < 2 or min(a.mean(), b.mean()) <= 0:
        return 0.0, 0.0
    error = np.sqrt(sum(x.var(ddof=1) / x.size / x.mean() ** 2 for x in (a, b)))
    ratio = float(np.log(a.mean() / b.mean()))
    return ratio, ratio / float(error) if error else 0.0


def _one_mean(scores, labels) -> Check:
    """The two classes should lie at equal distances from the threshold."""
    plus, minus = scores[labels == 1], scores[labels == -1]
    difference = float(plus.mean() - minus.mean())
    error = np.sqrt(sum(x.var() / x.size for x in (plus, minus)))
    passed = abs(difference) < 0.3 or abs(difference) < 3 * error
    return Check(
        "threshold between the classes",
        bool(passed),
        f"mean score {plus.mean():.2f} sd in class +, {minus.mean():.2f} sd in class -",
    )


def _gaussian_scores(scores) -> Check:
    """Compare the accuracy with Phi(mean / sd); the error from each score's influence on the difference."""
    mean, sd = scores.mean(), scores.std()
    if sd == 0:
        return Check("Gaussian scores", False, "all held-out scores are equal")
    z, u = mean / sd, (scores - mean) / sd
    right = (np.sign(scores) + 1) / 2
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    influence = right - density * (u - z / 2 * (u**2 - 1))
    difference, error = right.mean() - ndtr(z), influence.std() / np.sqrt(scores.size)
    kurtosis = (u**4).mean() - 3
    fails = (abs(difference) > 0.01 and abs(difference) > 3 * error) or abs(kurtosis) > 2
    said = f"{100 * right.mean():.1f} % right, Phi(mean/sd) = {100 * ndtr(z):.1f} %; kurtosis {kurtosis:.1f}"
    return Check("Gaussian scores", not fails, said)


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
