"""Advice from numbers: against the theory's functions, in limits; sampled bands against exact samplers."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from theorysim.advisors.synthetic_data import Fit, Situation, accuracy_curve, advise_from_numbers, spread
from theorysim.advisors.synthetic_data.mixture import (
    averaging_weight,
    best_fit,
    effective_size,
    limit_accuracy,
    solved_signal,
    zoom,
)
from theorysim.advisors.synthetic_data.spread import exact_accuracies, paired_accuracies
from theorysim.advisors.synthetic_data.verdict import Decision, decided
from theorysim.numerics import stats
from theorysim.rmt_synthetic.design import optimal_design
from theorysim.rmt_synthetic.exchange import effective_sample_size, exchange_rate, optimal_weight
from theorysim.rmt_synthetic.generator import estimated_generator_moments, reused_generator_moments
from theorysim.rmt_synthetic.isotropic import isotropic_moments
from theorysim.rmt_synthetic.problem import paper_means, real_plus_synthetic
from theorysim.rmt_synthetic.samplers import (
    sample_estimated_generator,
    sample_reused_generator,
    sample_scores,
)
from theorysim.rmt_synthetic.score import test_accuracy as accuracy_of

LABELS: dict[str, Any] = {"eps": 0.25, "rho": 0.3, "phi": 0.9}
RATES: dict[str, Any] = {"label_noise": 0.25, "keep_right": 0.9, "keep_wrong": 0.3}
BASE = Situation(200, 500, 150, **RATES, signal=1.2)
KINDS = {
    "right": {},
    "mean off": {"overlap": 0.7, "offset": 0.8},
    "estimated": {"generator_samples": 300},
    "reused": {"reused": True},
}


def same(a, b, rtol=1e-9):
    np.testing.assert_allclose(a, b, rtol=rtol)


@pytest.fixture(scope="module")
def report():
    return advise_from_numbers(200, 500, 150, **RATES, signal=1.2, draws=200)


def test_reference_values_of_the_exchange_rate():
    """n = 200, m = 500, n_hat = 300, p = 150, |mu| = 1.2, eps = 0.25, rho = 0.3, phi = 0.9."""
    estimated = BASE._replace(generator_samples=300)
    same(effective_size(estimated, 1.0), 285.7142857)
    same(averaging_weight(estimated), 4 / 9)
    same(effective_size(estimated, 4 / 9), 333.3333333)
    same(limit_accuracy(estimated, np.inf, 1.0), 0.8478514400)
    same(limit_accuracy(estimated, np.inf, 4 / 9), 0.8525530081)


@pytest.mark.parametrize("gamma", [0.1, 1e7])
def test_accuracies_are_those_of_the_closed_forms(gamma):
    fit = {"gamma": gamma, "omega": 0.6}
    right = isotropic_moments(200, 500, 150, 1.2, 0.7, 0.8, 1.0, **LABELS, **fit)
    estimated = estimated_generator_moments(200, 300, 500, 150, 1.2, True, **LABELS, **fit)
    reused = reused_generator_moments(200, 500, 150, 1.2, **LABELS, **fit)
    for name, moments in (("mean off", right), ("estimated", estimated), ("reused", reused)):
        situation = BASE._replace(**KINDS[name])
        same(limit_accuracy(situation, gamma, 0.6), accuracy_of(*moments), rtol=1e-12)
        if gamma > 1e6:
            same(limit_accuracy(situation, np.inf, 0.6), accuracy_of(*moments), rtol=1e-6)


@pytest.mark.parametrize("name", KINDS)
def test_the_effective_size_gives_the_averaging_accuracy(name):
    situation = BASE._replace(**KINDS[name])
    n_eff = effective_size(situation, 0.6)
    alone = BASE._replace(n=n_eff, m=0)
    same(limit_accuracy(situation, np.inf, 0.6), limit_accuracy(alone, np.inf, 1.0))


def test_the_closed_form_of_the_weight_maximises_the_effective_size():
    for name in KINDS:
        situation = BASE._replace(**KINDS[name])
        best, sizes = averaging_weight(situation), np.geomspace(0.8, 1.25, 9)
        around = [effective_size(situation, best * factor) for factor in sizes]
        assert max(around) == around[4] == effective_size(situation, best)
    assert averaging_weight(BASE) == pytest.approx(float(optimal_weight(500, np.inf, **LABELS)))


def test_the_best_ridge_and_weight_are_those_of_the_optimal_design():
    situation = BASE._replace(n=100, m=2000, overlap=0.5, offset=1.5, label_noise=0.05)
    problem = real_plus_synthetic(100, 2000, *paper_means(150, 1.2, 0.5, 1.5), eps=0.05, rho=0.3, phi=0.9)
    found, peer = best_fit(situation), optimal_design(problem)
    assert found.accuracy == pytest.approx(peer.accuracy, abs=1e-5)
    one = best_fit(situation, gamma=0.3)
    peer = optimal_design(problem, free=("omega",), gamma=0.3)
    assert one.accuracy == pytest.approx(peer.accuracy, abs=1e-7)
    assert one.weight == pytest.approx(peer.omega, rel=1e-3)


def test_the_search_stays_in_its_range_skips_nan_and_names_nothing_but_nan():
    def value(ridge, weight):
        miss = np.log(ridge / 3) ** 2 + np.log(weight / 0.2) ** 2
        return np.where(weight > 1, np.nan, -miss)

    same(zoom(value, (1e-2, 1e2), (1e-3, 10.0))[1:], (3.0, 0.2), rtol=1e-4)
    same(zoom(value, (5.0, 1e2), None)[1:], (5.0, 1.0), rtol=1e-12)
    with pytest.raises(ValueError, match="value must be a number at some ridge and weight, got NaN"):
        zoom(lambda ridge, weight: ridge * np.nan, (1e-2, 1e2), None)


@pytest.mark.parametrize("gamma", [None, 0.05, 20.0])
@pytest.mark.parametrize("right", [0.55, 0.8, 0.99])
def test_the_solved_signal_reproduces_the_accuracy(gamma, right):
    signal = solved_signal(120, 300, right, gamma)
    alone = Situation(120, 0, 300, 0.0, 1.0, 1.0, signal)
    assert best_fit(alone, gamma, 1.0).accuracy == pytest.approx(right, abs=1e-9)


def test_the_report_collects_what_the_theory_says(report):
    assert report.first_sample_worth == pytest.approx(float(exchange_rate(**LABELS)))
    assert (report.first_break_even_noise, report.critical_noise) == pytest.approx((0.5, 0.75))
    assert report.yours.kept == pytest.approx(0.75) and report.yours.kept_wrong == pytest.approx(0.1)
    assert report.yours.worth + 200 == pytest.approx(float(effective_sample_size(200, 500, np.inf, **LABELS)))
    assert report.averaging_weight == pytest.approx(report.yours.best.weight, rel=1e-3)
    order = [report.real_only, report.yours.best, report.half_mistakes.best, report.oracle.best]
    assert [x.accuracy for x in order] == sorted(x.accuracy for x in order)
    assert report.best_slopes.keep_right > 0 > report.best_slopes.keep_wrong


def test_at_the_break_even_noise_the_synthetic_samples_neither_help_nor_hurt(report):
    there = report.situation._replace(label_noise=report.break_even_noise)
    assert best_fit(there, None, 1.0).accuracy == pytest.approx(report.real_only.accuracy, abs=1e-6)
    # The averaging classifier with a right generator: 2 lam - alpha + lam^2 m/n = 0.
    right, wrong = 0.9 * (1 - report.break_even_noise), 0.3 * report.break_even_noise
    assert 2 * (right - wrong) - right - wrong + (right - wrong) ** 2 * 2.5 == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize(("rates", "limit"), [((0.0, 0.5), 0.0), ((0.0, 0.0), 1.0), ((1.0, 0.0), 1.0)])
def test_break_even_at_no_noise_and_no_harm_at_all_are_told_apart(rates, limit):
    """A verifier that keeps wrong labels only does harm with the first of them, one that keeps none never."""
    quality = {"label_noise": 0.2, "keep_right": rates[0], "keep_wrong": rates[1]}
    report = advise_from_numbers(200, 100, 150, **quality, signal=1.2, gamma=np.inf, draws=20)
    assert report.break_even_noise == limit


def test_slopes_are_differences_of_the_best_accuracy(report):
    up, down = (best_fit(BASE._replace(keep_right=0.9 + h)).accuracy for h in (1e-3, -1e-3))
    assert report.best_slopes.keep_right == pytest.approx((up - down) / 2e-3, rel=1e-3)


def test_a_verifier_that_lets_no_mistake_through_never_hurts_at_the_best_weight():
    for name in KINDS:
        for noise in (0.1, 0.9):
            situation = BASE._replace(**KINDS[name], keep_wrong=0.0, label_noise=noise)
            alone = best_fit(situation._replace(m=0), None, 1.0)
            assert best_fit(situation).accuracy >= alone.accuracy - 1e-7


def test_clean_synthetic_samples_count_as_real_ones():
    report = advise_from_numbers(
        100, 300, 60, label_noise=0, keep_right=1, keep_wrong=1, real_accuracy=0.8, draws=20
    )
    assert report.real_only.accuracy == pytest.approx(0.8, abs=1e-9)
    assert report.yours.worth == pytest.approx(300) and report.first_sample_worth == 1
    assert report.yours.best.weight == pytest.approx(1, rel=1e-3)
    assert report.verdict[0].startswith("Use the synthetic data as they are")
    assert report.verdict[0].endswith("like 300 more real samples.")


def test_the_worth_is_said_to_be_that_of_the_averaging_classifier_where_another_one_is_used():
    report = advise_from_numbers(200, 500, 150, **RATES, signal=1.2, gamma=0.3, draws=20)
    assert report.verdict[0].startswith("Use the synthetic data at weight")
    worth = effective_size(BASE, averaging_weight(BASE)) - 200
    assert report.verdict[0].endswith(f"like {worth:.0f} more real samples to the averaging classifier.")


@pytest.mark.parametrize(
    ("accuracies", "decision"),
    [
        ((0.8, 0.8, 0.801), Decision.INDIFFERENT),
        ((0.8, 0.79, 0.8), Decision.LEAVE),
        ((0.8, 0.79, 0.81), Decision.WEIGH_DOWN),
        ((0.8, 0.82, 0.821), Decision.AS_THEY_ARE),
        ((0.8, 0.8, 0.82), Decision.WEIGH),
    ],
)
def test_the_decision_follows_from_the_three_accuracies(accuracies, decision):
    assert decided(*accuracies) is decision


def test_a_generator_that_reuses_the_data_is_worth_nothing():
    report = advise_from_numbers(200, 500, 150, **RATES, signal=1.2, reused=True, draws=20)
    assert report.yours.best.accuracy == pytest.approx(report.real_only.accuracy, abs=1e-7)
    assert report.first_sample_worth == 0 and report.averaging_weight == 0
    assert report.break_even_noise is None, "at weight 1 it does harm without any label noise"
    assert any("same real samples" in said for said in report.verdict)


@pytest.mark.parametrize(
    ("rates", "start"),
    [
        ((0.9, 0.9, 0.3), "Discard the synthetic data"),
        ((0.2, 0.0, 0.0), "There is nothing to use"),
        ((0.6, 1.0, 1.0), "Discard"),
        ((0.45, 1.0, 1.0), "Do not use them at weight 1"),
    ],
)
def test_the_verdict_says_what_to_do(rates, start):
    noise, keep_right, keep_wrong = rates
    report = advise_from_numbers(
        200,
        200,
        150,
        label_noise=noise,
        keep_right=keep_right,
        keep_wrong=keep_wrong,
        real_accuracy=0.8,
        draws=20,
    )
    assert report.verdict[0].startswith(start)


@pytest.mark.parametrize(
    ("name", "gamma"),
    [
        pytest.param(name, gamma, marks=() if (name, gamma) == ("estimated", 0.1) else pytest.mark.slow)
        for name in KINDS
        for gamma in (np.inf, 0.1)
    ],
)
def test_sampled_training_sets_have_the_law_of_literal_ones(name, gamma):
    situation = Situation(40, 80, 20, 0.3, 0.8, 0.2, 1.3, **(KINDS[name]))
    situation = situation._replace(generator_samples=30) if name == "estimated" else situation
    fit, ridge = Fit(0, gamma, 0.6), min(gamma, 1e7)
    found = paired_accuracies(jax.random.key(1), 1500, situation, fit, fit).both
    numbers = {"eps": 0.3, "rho": 0.2, "phi": 0.8, "gamma": ridge, "omega": 0.6}
    if name == "reused":
        moments = sample_reused_generator(jax.random.key(2), 1500, 40, 80, 20, 1.3, **numbers)
    elif name == "estimated":
        moments = sample_estimated_generator(jax.random.key(2), 1500, 40, 30, 80, 20, 1.3, True, **numbers)
    else:
        del numbers["gamma"]
        means = paper_means(20, 1.3, situation.overlap, situation.offset)
        problem = real_plus_synthetic(40, 80, *means, **numbers)
        moments = sample_scores(jax.random.key(2), 1500, problem, ridge, "bartlett")
    literal = np.asarray(accuracy_of(*moments))
    for estimate in (stats.mean_and_error, stats.variance_and_error):
        a, b = estimate(np.asarray(found)), estimate(literal)
        assert abs(a.mean - b.mean) < 4 * np.hypot(a.standard_error, b.standard_error)


@pytest.mark.slow
def test_beyond_64_dimensions_the_spread_is_that_of_the_exact_sampler():
    situation = Situation(800, 1600, 400, 0.3, 0.8, 0.1, 1.5, overlap=0.7, offset=1.0)
    fit = Fit(0, 0.1, 1.0)
    scaled = np.asarray(paired_accuracies(jax.random.key(0), 400, situation, fit, fit).both)
    exact = np.asarray(exact_accuracies(jax.random.key(1), 400, situation, 0.1))
    assert scaled.mean() == pytest.approx(float(limit_accuracy(situation, 0.1, 1.0)), abs=1e-12)
    # Standard deviations of 400 draws each are known within 3.5 %.
    assert scaled.std() / exact.std() == pytest.approx(1, abs=0.2)
    assert abs(scaled.mean() - exact.mean()) < 4 * exact.std() / 20 + 0.05 / 400


def test_the_documentation_names_the_dimension_from_which_the_draws_are_scaled():
    assert f"Beyond p = {spread._LARGEST}\ndimensions" in (spread.__doc__ or "")


def test_pairs_share_their_real_samples(report):
    pairs = paired_accuracies(jax.random.key(0), 500, BASE, report.real_only, Fit(0, np.inf, 1e-9))
    np.testing.assert_allclose(pairs.real_only, pairs.both, rtol=1e-6)
    small = BASE._replace(dim=50)  # not scaled, and therefore not rounded
    pairs = paired_accuracies(jax.random.key(0), 50, small, Fit(0, 0.2 * 700 / 200, 0), Fit(0, 0.2, 1e-12))
    np.testing.assert_allclose(pairs.real_only, pairs.both, rtol=1e-6)


def test_the_curve_passes_through_the_report(report):
    curve = accuracy_curve(report, points=3, draws=50)
    assert curve.m.tolist() == [5, 500, 50_000]
    assert curve.unit[1] == pytest.approx(report.yours.accuracy)
    assert curve.best[1] == pytest.approx(report.yours.best.accuracy)
    assert (np.diff(curve.oracle) > 0).all() and (curve.oracle >= curve.best - 1e-9).all()
    assert (curve.low < curve.high).all() and curve.band_m.tolist() == [5, 50_000]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n": 0}, "n must be an integer >= 1, got 0"),
        ({"m": 0}, "m must be an integer >= 1, got 0"),
        ({"dim": 2}, "dim must be an integer >= 3, got 2"),
        ({"label_noise": 1.2}, r"label_noise must be in \[0, 1\], got 1.2"),
        ({"keep_right": -0.1}, r"keep_right must be in \[0, 1\], got -0.1"),
        ({"keep_wrong": np.nan}, r"keep_wrong must be in \[0, 1\], got nan"),
        ({"gamma": 0.0}, r"gamma must be in \(0, inf\], got 0"),
        ({"signal": 0.0}, r"signal must be in \(0, 37\], got 0"),
        ({"signal": None}, "signal or real_accuracy must be given, one of them, got neither"),
        ({"real_accuracy": 0.8}, "signal or real_accuracy must be given, one of them, got both"),
        ({"signal": None, "real_accuracy": 0.5}, r"real_accuracy must be in \(0.5, 1\), got 0.5"),
        ({"generator_samples": 1}, r"generator_samples must be in \[2, inf\], got 1"),
        ({"generator_samples": 9, "reused": True}, "generator_samples must be inf"),
        ({"overlap": 0.5, "reused": True}, "overlap must be 1"),
        ({"offset": 0.5, "generator_samples": 10}, "offset must be 0"),
        ({"offset": -1.0}, "offset must be in"),
        ({"draws": 1}, "draws must be an integer >= 20"),
        ({"seed": -1}, "seed must be an integer >= 0"),
    ],
)
def test_bad_numbers_are_named(changes, message):
    numbers = {"n": 200, "m": 100, "dim": 50, "signal": 1.2, **RATES} | changes
    with pytest.raises(ValueError, match=message):
        advise_from_numbers(**numbers)


def test_accuracy_is_differentiable_in_the_verifiers_rates():
    def accuracy(phi):
        return limit_accuracy(BASE._replace(keep_right=phi), 0.3, 0.7)

    h = 1e-5
    slope = jax.jit(jax.grad(accuracy))(jnp.asarray(0.8))
    assert slope == pytest.approx(float(accuracy(0.8 + h) - accuracy(0.8 - h)) / (2 * h), rel=1e-6)
