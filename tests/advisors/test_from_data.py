"""Advice from data: it holds on data that fit the theory, and says so where they do not."""

from typing import Any

import numpy as np
import pytest

from theorysim.advisors.synthetic_data import advise_from_data, data_curve, from_data
from theorysim.advisors.synthetic_data.checks import assumption_checks
from theorysim.advisors.synthetic_data.held_out import Plan, prepare, split_indices, trained
from theorysim.advisors.synthetic_data.mixture import Fit
from theorysim.rmt_synthetic.conditional import conditional_scores, fit_generator

RATES: dict[str, Any] = {"label_noise": 0.2, "keep_right": 0.9, "keep_wrong": 0.3}
K, P = 400, 40


def labels(k=K):
    return np.tile([3, 7], k // 2)


def gaussian(k=K, p=P, signal=1.3, seed=0):
    """Two Gaussian classes of one covariance with eigenvalues from 0.3 to 3, and a random mean."""
    rng = np.random.default_rng(seed)
    sign = np.where(labels(k) == 7, 1, -1)
    mu = rng.normal(size=p)
    return sign[:, None] * mu * signal / np.linalg.norm(mu) + rng.normal(size=(k, p)) * np.sqrt(
        np.linspace(0.3, 3, p)
    )


def failed(report):
    return {check.name for check in report.checks if not check.passed}


@pytest.fixture(scope="module")
def held():
    return advise_from_data(gaussian(), labels(), 600, **RATES)


def test_on_gaussian_data_the_prediction_holds_and_no_check_fails(held):
    assert held.held and not failed(held)
    assert held.verdict[0].startswith("The prediction held")
    assert held.verdict[-1] == "No assumption looks violated."
    assert held.n == 320 and held.tested == K and held.dim_per_sample == P / 320


def test_gains_are_compared_on_the_same_samples(held):
    for gain, kind in ((held.unit_gain, held.unit), (held.best_gain, held.best)):
        for side in ("predicted", "measured"):
            difference = getattr(kind, side).value - getattr(held.real_only, side).value
            assert getattr(gain, side).value == pytest.approx(difference, abs=1e-12)
            assert getattr(gain, side).error < 0.8 * getattr(kind, side).error
    error = np.hypot(held.unit_gain.predicted.error, held.unit_gain.measured.error)
    difference = held.unit_gain.measured.value - held.unit_gain.predicted.value
    assert held.unit_gain.distance == pytest.approx(difference / error)


def test_a_wrong_gain_is_found_where_both_accuracies_agree(monkeypatch):
    """Predictions four points too high at weight 1, within three errors of that accuracy."""

    def shifted(*args):
        trial = held_out_trial(*args)
        fits = [(a, b._replace(accuracy=b.accuracy + 0.04), c) for a, b, c in trial.fits]
        return trial._replace(fits=fits)

    held_out_trial = from_data.held_out_trial
    monkeypatch.setattr(from_data, "held_out_trial", shifted)
    report = advise_from_data(gaussian(), labels(), 600, **RATES, gamma=0.3)
    assert report.real_only.held and report.unit.held and report.best.held
    assert failed(report) == {"gains as predicted"} and not report.held
    assert report.verdict[0].startswith("The prediction did NOT hold: gain measured")
    assert "(by the measurement)" in report.verdict[1]


def test_distances_are_in_errors_of_prediction_and_measurement():
    """Over data sets they scatter as standard normal numbers at most: the errors are stated honestly."""
    reports = [
        advise_from_data(gaussian(seed=seed), labels(), 300, **RATES, gamma=0.3, draws=1) for seed in range(8)
    ]
    kinds = ("real_only", "unit", "best", "unit_gain", "best_gain")
    distances = np.array([[getattr(r, kind).distance for kind in kinds] for r in reports])
    # Those of one data set move together: eight independent numbers.
    assert (abs(distances.mean(axis=0)) < 4 / np.sqrt(8)).all()
    assert (distances**2).mean() < 3
    assert all(report.held for report in reports)


def test_signal_and_effective_dimension_are_estimated_within_their_errors():
    """Features are scaled to variance 1, and theirs is c_j + mu_j^2."""
    k, p = 1000, 50
    mu = np.random.default_rng(0).normal(size=p)
    mu *= 1.3 / np.linalg.norm(mu)
    noise = np.linspace(0.3, 3, p)
    total = noise + mu**2
    true_signal = np.sqrt((mu**2 / total).sum() / (noise / total).mean())
    true_dim = (noise / total).sum() ** 2 / ((noise / total) ** 2).sum()
    report = advise_from_data(gaussian(k, p), labels(k), 20, **RATES, gamma=1.0, splits=2, draws=1)
    assert abs(report.signal.value - true_signal) < 4 * report.signal.error
    assert 0.01 < report.signal.error < 0.2
    assert abs(report.effective_dim.value - true_dim) < 4 * report.effective_dim.error
    # Half of the samples: |S - C|^2 = ((tr C)^2 + tr C^2) / 500.
    assert report.covariance_error == pytest.approx(np.sqrt((true_dim + 1) / 500), rel=0.1)


def test_fewer_training_samples_leave_more_to_test():
    report = advise_from_data(gaussian(), labels(), 100, **RATES, n=40, gamma=1.0, draws=1)
    assert report.n == 40 and report.tested == K and report.dim_per_sample == 1
    # |S - C|^2 = ((tr C)^2 + tr C^2) / 38: hardly anything is known of this covariance.
    assert report.covariance_error == pytest.approx(np.sqrt((report.effective_dim.value + 1) / 38), rel=0.15)
    assert report.held


def test_classes_of_two_covariances_are_flagged():
    rng = np.random.default_rng(0)
    sign = np.where(labels() == 7, 1, -1)
    x = 0.25 * sign[:, None] + rng.normal(size=(K, P)) * np.where(sign > 0, 2, 0.5)[:, None]
    report = advise_from_data(x, labels(), 200, **RATES, gamma=1.0, draws=1)
    assert "one covariance for both classes" in failed(report)
    assert any("Trust the measurement" in said for said in report.verdict)
    assert "(by the measurement)" in report.verdict[1]


def test_bimodal_classes_are_flagged_and_the_prediction_fails():
    """Each class has two clouds along the mean, the smaller one far on the wrong side."""
    k = 1600
    rng, sign = np.random.default_rng(1), np.where(labels(k) == 7, 1, -1)
    x = rng.normal(size=(k, 20))
    x[:, 0] = 0.3 * x[:, 0] + sign * np.where(rng.uniform(size=k) < 0.2, -3.0, 2.0)
    report = advise_from_data(x, labels(k), 100, **RATES, draws=1)
    assert "Gaussian scores" in failed(report)
    assert not report.held and report.verdict[0].startswith("The prediction did NOT hold")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("no heavy tails", lambda x, rng: x * rng.standard_t(3, size=(K, 1))),
        ("no duplicates", lambda x, rng: np.where(np.arange(K)[:, None] % 10 == 8, x[8], x)),
        ("few constant features", lambda x, rng: np.where(np.arange(P)[None] < 8, 5.0, x)),
    ],
)
def test_each_check_fails_where_its_assumption_does(name, change):
    rng = np.random.default_rng(5)
    x, y = gaussian(), np.where(labels() == 7, 1, -1)
    scores = rng.normal(size=K) + 1
    fine = {check.name for check in assumption_checks(x, y, scores, np.arange(K), 320) if not check.passed}
    assert fine == set()
    checks = assumption_checks(change(x, rng), y, scores, np.arange(K), 320)
    assert name in {check.name for check in checks if not check.passed}


def test_scores_of_one_sample_in_several_splits_count_once():
    """60 samples, each scored nine times nearly alike: honest errors raise few false alarms."""
    k, alarms = 60, 0
    y, rows = np.tile([1, -1], k // 2), np.repeat(np.arange(k), 9)
    for seed in range(40):
        rng = np.random.default_rng(seed)
        scores = 1 + rng.normal(size=k)[rows] + 0.1 * rng.normal(size=rows.size)
        checks = {
            check.name: check for check in assumption_checks(rng.normal(size=(k, 30)), y, scores, rows, 40)
        }
        names = ("threshold between the classes", "one covariance for both classes")
        alarms += sum(not checks[name].passed for name in names)
    assert alarms <= 2


def test_what_is_no_number_fails_a_check():
    x, y = gaussian(), np.where(labels() == 7, 1, -1)
    checks = assumption_checks(x, y, np.full(K, np.nan), np.arange(K), 320)
    assert {check.name for check in checks if not check.passed} == {
        "one covariance for both classes",
        "threshold between the classes",
        "Gaussian scores",
    }


def test_a_class_without_variance_violates_one_covariance():
    x = gaussian()
    x[labels() == 3] = x[labels() == 3].mean(axis=0)
    report = advise_from_data(x, labels(), 100, **RATES, gamma=1.0, draws=1)
    assert "one covariance for both classes" in failed(report)
    for kind in (report.real_only, report.unit, report.best):
        assert np.isfinite([*kind.predicted, *kind.measured, kind.distance]).all()


def test_constant_features_are_left_out_and_said_to_be(held):
    x = np.insert(gaussian(), [0, 7], 5.0, axis=1)
    report = advise_from_data(x, labels(), 600, **RATES)
    assert report.dim == P and "2 of 42 features are constant and unused" in str(report.checks)
    assert (report.real_only, report.unit, report.best) == (held.real_only, held.unit, held.best)


def test_unbalanced_classes_few_features_and_a_wrong_threshold_are_flagged():
    x, y = gaussian()[:, :10], np.where(np.arange(K) % 10 == 0, 1, -1)
    scores = np.random.default_rng(0).normal(size=K) + np.where(y > 0, 0.2, 1.5)
    names = {check.name for check in assumption_checks(x, y, scores, np.arange(K), 320) if not check.passed}
    wanted = {
        "balanced classes",
        "large, comparable p and n",
        "threshold between the classes",
    }
    assert wanted <= names


def test_really_drawn_samples_train_what_the_conditional_theory_says():
    """Mean and spread over synthetic draws of the scores of single test points, with the features fixed."""
    x, y = gaussian(80, 20), np.where(labels(80) == 7, 1, -1)
    data = prepare(x, y, np.arange(60), np.arange(60, 80))
    plan = Plan(150, 0.2, 0.9, 0.3, 0.2, 60, 2, draws=400)
    fits = (Fit(0, 0.2, 0), Fit(0, 0.2, 1.0), Fit(0, 0.2, 0.4))
    w = trained(data.train, fits, plan, np.random.default_rng(0))
    for kind in (1, 2):
        scores = w[:, kind] @ data.test.T
        numbers: dict[str, Any] = {
            "eps": 0.2,
            "rho": 0.3,
            "phi": 0.9,
            "gamma": 0.2,
            "omega": fits[kind].weight,
        }
        theory = conditional_scores(data.train, fit_generator(data.train), data.test, 150, **numbers)
        error = scores.std(axis=0) / 20
        assert (abs(scores.mean(axis=0) - np.asarray(theory.mean)) < 4 * error + 0.5 / 20).all()
        np.testing.assert_allclose(scores.std(axis=0), theory.sd, rtol=0.25)


def test_splits_are_cross_validation_by_default_and_hold_both_classes():
    y = np.where(np.arange(90) % 3 == 0, 1, -1)
    parts = split_indices(y, 72, 5, np.random.default_rng(0))
    assert sorted(i for _, test in parts for i in test) == list(range(90))
    for train, test in parts:
        assert not set(train) & set(test)
        assert abs((y[test] == 1).sum() - 6) <= 1


def test_the_answer_does_not_depend_on_scale_shift_or_names_of_the_classes(held):
    x = gaussian()
    scale = np.geomspace(1e-3, 1e3, P)
    other = advise_from_data(x * scale + 5 * scale, np.where(labels() == 7, 1, 0), 600, **RATES)
    assert other.real_only.measured.value == pytest.approx(held.real_only.measured.value, abs=1e-12)
    assert other.unit.predicted.value == pytest.approx(held.unit.predicted.value, abs=1e-6)


def test_the_curve_ends_at_the_number_asked_for(held):
    curve = data_curve(gaussian(), labels(), held, points=3)
    assert curve.m.tolist() == [6, 60, 600]
    assert np.ptp(curve.measured[0]) < 1e-12, "the real samples alone do not feel m"
    assert np.ptp(curve.predicted[0]) < 1e-12
    assert (abs(curve.predicted - curve.measured) < 4 * curve.error + 0.04).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": np.ones((5, 10))}, "x must have at least 20 samples"),
        ({"x": np.ones(30)}, "x must have at least 20 samples"),
        ({"x": np.where(np.arange(P) == 3, np.inf, gaussian())}, r"x must be in \(-inf, inf\), got inf"),
        (
            {"x": np.ones((K, P))},
            "x must vary within the classes, got no feature that does in 320 of the 400",
        ),
        ({"x": np.tile(labels()[:, None], P)}, "x must vary within the classes, got no feature that does"),
        ({"y": np.ones(K)}, r"y must hold two classes, got 1: \[1\]"),
        ({"y": np.arange(K)}, r"y must hold two classes, got 400: \[0, 1, 2, 3, 4, 5, ...\]"),
        ({"y": labels()[:-1]}, r"y must have shape \(400,\), got \(399,\)"),
        ({"y": labels() / 2}, "y must be integers, got 1.5"),
        ({"y": np.r_[np.ones(4), np.zeros(K - 4)]}, "y must hold at least 5 samples of each class, got 4"),
        ({"m": 0}, r"m must be an integer in \[1, 2500000\], got 0"),
        ({"m": 10**7}, r"m must be an integer in \[1, 2500000\], got 10000000"),
        ({"n": 396}, r"n must be an integer in \[10, 395\], got 396"),
        ({"splits": 1}, r"splits must be an integer in \[2, 80\], got 1"),
        ({"gamma": -1.0}, "gamma must be in"),
        ({"label_noise": 2.0}, "label_noise must be in"),
        ({"keep_right": -1.0}, "keep_right must be in"),
        ({"draws": 0}, "draws must be an integer >= 1"),
        ({"y": np.r_[np.ones(5), np.zeros(K - 5)], "n": 10}, "n must leave samples of both classes"),
    ],
)
def test_bad_data_are_named(changes, message):
    arguments = {"x": gaussian(), "y": labels(), "m": 100, **RATES} | changes
    with pytest.raises(ValueError, match=message):
        advise_from_data(**arguments)
