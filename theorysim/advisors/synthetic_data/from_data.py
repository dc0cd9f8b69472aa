r"""Should these synthetic samples be trained on? An answer from features and labels, put to the test on them.

The user has n real samples, the training part of the data, and m synthetic ones from a Gaussian generator
that is fitted to them; a generator of another kind cannot be known here. The prediction needs the training
part only: p/n, and the covariance spectrum and the signal as `spectrum` corrects them. It is compared with
classifiers that are really trained on drawn and pruned samples, and tested on held-out ones. Errors:

- of the prediction: the root mean square of its error on Gaussian samples of the estimated spectrum and
  signal, drawn and trained on in the same way, whose accuracy is known exactly; that is its error if the
  assumptions hold (`prediction_error`);
- of the measurement: the standard error over held-out samples; of a gain, over their differences;
- of signal, effective dimension and covariance: by leaving out one part of the samples after another.

The prediction holds if accuracies and gains agree within three errors. Labels are two integers; features are
centred half way between the classes and scaled to variance 1, by the training part; constant ones are left
out.

Example:
    >>> rng = np.random.default_rng(0)
    >>> y = np.tile([0, 1], 300)
    >>> x = rng.normal(size=(600, 60)) + 0.3 * (y[:, None] - 0.5)
    >>> report = advise_from_data(x, y, 1000, label_noise=0.2, keep_right=0.9, keep_wrong=0.3)
    >>> report.held, report.n, report.verdict[0][:19]
    (True, 480, 'The prediction held')
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64, Int64
from numpy.typing import ArrayLike

from theorysim.advisors.synthetic_data.checks import Check, assumption_checks, varying_features
from theorysim.advisors.synthetic_data.held_out import Plan, Trial, held_out_trial, split_indices
from theorysim.advisors.synthetic_data.mixture import Fit, Situation, best_fit
from theorysim.advisors.synthetic_data.prediction_error import PredictionErrors, prediction_errors
from theorysim.advisors.synthetic_data.verdict import data_verdict
from theorysim.numerics.validation import positive_int, real

__all__ = ["Comparison", "DataCurve", "DataReport", "Estimate", "Gain", "advise_from_data", "data_curve"]

_HELD = 3.0  # errors within which a prediction holds
_NUMBERS = 10**8  # most numbers that one draw of the synthetic samples may hold


class Estimate(NamedTuple):
    """An estimate with its standard error."""

    value: float
    error: float


class Comparison(NamedTuple):
    """Predicted and measured accuracy of one kind of training set.

    `gamma` and `weight` are medians over the splits. `distance` is the difference of the two accuracies in
    errors, measured minus predicted. `isotropic` is what the model of `advise_from_numbers` says with the
    estimated signal.
    """

    predicted: Estimate
    measured: Estimate
    distance: float
    held: bool
    isotropic: float
    gamma: float
    weight: float


class Gain(NamedTuple):
    """Predicted and measured accuracy with synthetic samples minus that of the real samples alone.

    Measured on the same held-out samples, predicted from the same training sets: what the two accuracies of
    a difference share is in neither error. `distance` as in `Comparison`.
    """

    predicted: Estimate
    measured: Estimate
    distance: float
    held: bool


class DataReport(NamedTuple):
    """The answer, its test on held-out samples, and what of the assumptions looks violated.

    `dim` features vary and are used, `n` samples train in each split and `tested` samples were held out in
    one of them. `signal` is the length
    of the class mean in units of the noise per feature, `effective_dim` = (tr C)^2 / tr C^2,
    `covariance_error` the error of the covariance that the training part gives, relative to it (Frobenius
    norm). `held` tells whether all accuracies and gains were as predicted.
    """

    plan: Plan
    dim: int
    n: int
    tested: int
    dim_per_sample: float
    signal: Estimate
    effective_dim: Estimate
    covariance_error: float
    real_only: Comparison
    unit: Comparison
    best: Comparison
    unit_gain: Gain
    best_gain: Gain
    held: bool
    checks: tuple[Check, ...]
    verdict: tuple[str, ...]


class DataCurve(NamedTuple):
    """Accuracies (3, M), predicted and measured with errors, against the number of synthetic samples m (M,).

    Rows: the real samples alone, weight 1, the best weight.
    """

    m: Float64[np.ndarray, " M"]
    predicted: Float64[np.ndarray, "3 M"]
    measured: Float64[np.ndarray, "3 M"]
    error: Float64[np.ndarray, "3 M"]


def advise_from_data(
    x: ArrayLike,
    y: ArrayLike,
    m: int,
    *,
    label_noise: float | int,
    keep_right: float | int,
    keep_wrong: float | int,
    gamma: float | int | None = None,
    n: int | None = None,
    splits: int = 5,
    draws: int = 2,
    seed: int = 0,
) -> DataReport:
    """Advise on m synthetic samples from a Gaussian generator fitted to these real ones.

    Args:
        x: features (k, p), finite, k >= 20, p >= 3; those that are the same in all samples are left out.
        y: labels (k,), two different integers; class + is the larger one.
        m: synthetic samples before pruning, >= 1; m p at most 10^8.
        label_noise: probability in [0, 1] that a synthetic label is wrong.
        keep_right: probability in [0, 1] that the verifier keeps a sample with a right label.
        keep_wrong: probability in [0, 1] that it keeps one with a wrong label.
        gamma: ridge on features of variance 1, > 0 and finite; by default that with the best predicted
            accuracy, chosen on each training part.
        n: samples that train in each split, in [10, k - 5]; k (1 - 1/splits) by default, which is
            cross-validation.
        splits: splits into a training and a test part, >= 2.
        draws: synthetic sets drawn in each split, >= 1.
        seed: >= 0.

    Returns:
        DataReport. 2000 samples of 400 features with m = 4000 take about half a minute on two cores; p should
        be at most a few thousand, as the cost is O(p^3). float64 is needed.

    Raises:
        ValueError: an argument out of its range or of the wrong shape, other than two classes, fewer than 5
            samples of one of them, or features that do not vary within a class.

    Example:
        >>> advise_from_data(np.eye(30), np.ones(30), 10, label_noise=0, keep_right=1, keep_wrong=1)
        Traceback (most recent call last):
        ValueError: y must hold two classes, got 1: [1]
    """
    numbers = (m, label_noise, keep_right, keep_wrong, gamma, n, splits, draws, seed)
    features, labels, plan = _checked(x, y, *numbers)
    used = features[:, varying_features(features)]
    dim = used.shape[1]
    rng = np.random.default_rng(seed)
    trial = held_out_trial(used, labels, plan, rng)
    signal, effective, covariance = _estimates(used, labels, plan, rng)
    errors = prediction_errors(trial.first.spectrum, trial.fits[0], plan, rng)
    isotropic = _isotropic(plan, dim, signal.value)
    kinds = [_comparison(trial, i, errors, isotropic[i]) for i in range(3)]
    gains = [_gain(trial, i, errors) for i in (1, 2)]
    checks = assumption_checks(features, labels, trial.scores, trial.rows, plan.n)
    report = DataReport(
        plan=plan,
        dim=dim,
        n=plan.n,
        tested=int((~np.isnan(trial.right[0])).sum()),
        dim_per_sample=dim / plan.n,
        signal=signal,
        effective_dim=effective,
        covariance_error=covariance,
        real_only=kinds[0],
        unit=kinds[1],
        best=kinds[2],
        unit_gain=gains[0],
        best_gain=gains[1],
        held=all(kind.held for kind in (*kinds, *gains)),
        checks=(*checks, _gain_check(gains)),
        verdict=(),
    )
    return report._replace(verdict=data_verdict(report))


def data_curve(
    x: ArrayLike, y: ArrayLike, report: DataReport, *, points: int = 6, seed: int = 1
) -> DataCurve:
    """Predict and measure as the number of synthetic samples goes up to that of the report.

    Args:
        x: the features of the report.
        y: its labels.
        report: whose plan holds, but for m, with one draw in at most three splits.
        points: numbers of synthetic samples, from m/100 or 1 to m, >= 2.
        seed: >= 0.

    Example:
        >>> y = np.tile([0, 1], 60)
        >>> x = np.random.default_rng(0).normal(size=(120, 20)) + 0.5 * y[:, None]
        >>> report = advise_from_data(x, y, 100, label_noise=0.2, keep_right=0.9, keep_wrong=0.3, gamma=1.0)
        >>> data_curve(x, y, report, points=3).measured.shape
        (3, 3)
    """
    positive_int(points, "points", minimum=2)
    plan = report.plan
    features, labels, _ = _checked(x, y, *plan, seed)
    features = features[:, varying_features(features)]
    plan = plan._replace(splits=min(plan.splits, 3), draws=1)
    grid = np.unique(np.round(np.geomspace(max(plan.m / 100, 1), plan.m, points))).astype(int)
    # The same splits at every m.
    trials = [
        held_out_trial(features, labels, plan._replace(m=int(m)), np.random.default_rng(seed)) for m in grid
    ]
    predicted = np.array([[np.mean([fit[i].accuracy for fit in t.fits]) for t in trials] for i in range(3)])
    measured = [[_measured(t.right[i]) for t in trials] for i in range(3)]
    values, errors = (np.array([[entry[j] for entry in row] for row in measured]) for j in range(2))
    return DataCurve(grid.astype(np.float64), predicted, values, errors)


def _checked(
    x: Any, y: Any, m, label_noise, keep_right, keep_wrong, gamma, n, splits, draws, seed
) -> tuple[Float64[np.ndarray, "k p"], Int64[np.ndarray, " k"], Plan]:
    """Features, labels 1 and -1, and the plan."""
    real(x, "x", low_open=True, high_open=True)
    x = np.asarray(x, np.float64)
    if x.ndim != 2 or len(x) < 20 or x.shape[1] < 3:
        raise ValueError(f"x must have at least 20 samples of at least 3 features, got shape {x.shape}")
    k, p = x.shape
    real(y, "y", low_open=True, high_open=True)
    y = np.asarray(y)
    if y.shape != (k,):
        raise ValueError(f"y must have shape ({k},), got {y.shape}")
    classes, counts = np.unique(y, return_counts=True)
    if (y % 1).any():
        raise ValueError(f"y must be integers, got {y[y % 1 != 0][0]:g}")
    if len(classes) != 2:
        shown = ", ".join(f"{c:g}" for c in classes[:6]) + (", ..." if len(classes) > 6 else "")
        raise ValueError(f"y must hold two classes, got {len(classes)}: [{shown}]")
    if counts.min() < 5:
        raise ValueError(f"y must hold at least 5 samples of each class, got {counts.min()}")
    positive_int(m, "m", maximum=_NUMBERS // p)
    for name, value in (("label_noise", label_noise), ("keep_right", keep_right), ("keep_wrong", keep_wrong)):
        real(value, name, low=0, high=1)
    if gamma is not None:
        real(gamma, "gamma", low=0, low_open=True, high_open=True)
        gamma = float(gamma)
    splits = positive_int(splits, "splits", minimum=2, maximum=k // 5)
    n = k - k // splits if n is None else positive_int(n, "n", minimum=10, maximum=k - 5)
    draws, _ = positive_int(draws, "draws"), positive_int(seed, "seed", minimum=0)
    rates = (float(label_noise), float(keep_right), float(keep_wrong))
    labels = np.where(y == classes[1], 1, -1).astype(np.int64)
    for train, test in split_indices(labels, n, splits, np.random.default_rng(seed)):
        if any(abs(labels[part].sum()) == len(part) for part in (train, test)):
            raise ValueError(f"n must leave samples of both classes in every part, got {n} of {k}")
        for part in (train, test):
            if not any(varying_features(x[part][labels[part] == label]).any() for label in (1, -1)):
                where = f"in {len(part)} of the {k} samples"
                raise ValueError(f"x must vary within the classes, got no feature that does {where}")
    return x, labels, Plan(m, *rates, gamma, n, splits, draws)


def _estimates(x, y, plan, rng) -> tuple[Estimate, Estimate, float]:
    """Signal, effective dimension and the error of the covariance that n samples give."""
    z = x / x.std(axis=0)
    k = len(z)

    def moments(part):
        plus, minus = z[part][y[part] == 1], z[part][y[part] == -1]
        centred = np.concatenate([plus - plus.mean(axis=0), minus - minus.mean(axis=0)])
        balanced = 4 * len(plus) * len(minus) / len(part)
        return (plus.mean(axis=0) - minus.mean(axis=0)) / 2, centred.T @ centred / (len(part) - 2), balanced

    def unbiased(part):
        """|mu|^2 in units of the noise per feature, and (tr C)^2 / tr C^2."""
        mean, cov, balanced = moments(part)
        trace, freedom = np.trace(cov), len(part) - 2
        squares = ((cov**2).sum() - trace**2 / freedom) / (1 + 1 / freedom)
        return (mean @ mean - trace / balanced) / (trace / z.shape[1]), trace**2 / squares

    # Leave out one group of samples after another: the spread of what the others say is the error.
    groups = min(20, k // 5)
    left = split_indices(y, k - k // groups, groups, rng)
    found = np.array([unbiased(train) for train, _ in left])
    power_error, dim_error = np.sqrt((groups - 1) * found.var(axis=0))
    power, effective = unbiased(np.arange(k))
    signal = np.sqrt(max(power, 0.0))
    signal_error = power_error / (2 * signal) if signal**2 > power_error else np.sqrt(power_error)

    # The covariance of the training part against that of the test part, whose errors are independent.
    relative = []
    for train, test in split_indices(y, plan.n, plan.splits, rng):
        if any(abs(y[part].sum()) == len(part) or len(part) < 3 for part in (train, test)):
            continue  # of one class: possible only if there are hardly any of the other
        (_, cov, _), (_, other, _) = moments(train), moments(test)
        product = (cov * other).sum()
        relative.append(max((cov**2).sum() - product, 0.0) / product)
    estimates = Estimate(float(signal), float(signal_error)), Estimate(float(effective), float(dim_error))
    return *estimates, float(np.sqrt(np.mean(relative))) if relative else np.nan


def _isotropic(plan: Plan, p: int, signal: float) -> list[float]:
    if not 0 < signal <= 37:
        return [0.5, 0.5, 0.5]
    rates = (plan.label_noise, plan.keep_right, plan.keep_wrong)
    s = Situation(plan.n, plan.m, p, *rates, signal, reused=True)
    fits = (best_fit(s._replace(m=0), plan.gamma, 1.0), best_fit(s, plan.gamma, 1.0), best_fit(s, plan.gamma))
    return [fit.accuracy for fit in fits]


def _measured(right) -> tuple[float, float]:
    """Mean and standard error over the samples that tested."""
    tested = right[~np.isnan(right)]
    return float(tested.mean()), float(tested.std(ddof=1) / np.sqrt(tested.size))


def _comparison(trial: Trial, kind: int, errors: PredictionErrors, isotropic: float) -> Comparison:
    fits: list[Fit] = [split[kind] for split in trial.fits]
    predicted = Estimate(_predicted(trial, kind), float(errors.accuracies[kind]))
    return Comparison(
        *_compared(predicted, trial.right[kind]),
        isotropic=isotropic,
        gamma=float(np.median([fit.gamma for fit in fits])),
        weight=float(np.median([fit.weight for fit in fits])),
    )


def _gain(trial: Trial, kind: int, errors: PredictionErrors) -> Gain:
    predicted = _predicted(trial, kind) - _predicted(trial, 0)
    error = float(errors.gains[kind - 1])
    return Gain(*_compared(Estimate(predicted, error), trial.right[kind] - trial.right[0]))


def _predicted(trial: Trial, kind: int) -> float:
    return float(np.mean([split[kind].accuracy for split in trial.fits]))


def _compared(predicted: Estimate, right) -> tuple[Estimate, Estimate, float, bool]:
    """Prediction, measurement, their distance in errors, and whether the prediction held."""
    measured = Estimate(*_measured(right))
    # With every sample classified alike the standard error is 0; one more or less would be 1/k.
    total = float(np.hypot(predicted.error, max(measured.error, 1 / right.size)))
    distance = (measured.value - predicted.value) / total
    return predicted, measured, distance, abs(distance) <= _HELD


def _gain_check(gains: list[Gain]) -> Check:
    unit, best = (f"{100 * x.measured.value:+.1f} ({100 * x.predicted.value:+.1f} predicted)" for x in gains)
    said = f"{unit} points at weight 1, {best} at the best"
    return Check("gains as predicted", all(gain.held for gain in gains), said)
