"""Estimates, intervals and multiplicity against scipy and against simulated coverage."""

import numpy as np
import pytest
import scipy.stats as sps
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from theorysim.numerics import stats

SAMPLES = arrays(np.float64, st.tuples(st.integers(2, 30), st.integers(1, 3)), elements=st.floats(-10, 10))


def within_binomial(hits, trials, probability, standard_errors=4.0):
    return abs(hits - trials * probability) <= standard_errors * np.sqrt(
        trials * probability * (1 - probability)
    )


def test_mean_and_error_is_that_of_scipy():
    samples = np.random.default_rng(0).gamma(2.0, size=(50, 3, 2))
    for axis in (0, 1, -1):
        est = stats.mean_and_error(samples, axis=axis)
        np.testing.assert_allclose(est.mean, samples.mean(axis), rtol=1e-14)
        np.testing.assert_allclose(est.standard_error, sps.sem(samples, axis=axis), rtol=1e-12)
    pooled = stats.mean_and_error(samples, axis=(0, 2))
    np.testing.assert_allclose(
        pooled.standard_error, sps.sem(samples.swapaxes(1, 2).reshape(-1, 3)), rtol=1e-12
    )


def test_diverged_samples_are_left_out_and_counted():
    est = stats.mean_and_error([[1.0, np.nan, 2.0], [3.0, np.nan, np.nan]])
    np.testing.assert_array_equal(est.count, [2, 0, 1])
    np.testing.assert_array_equal(est.mean, [2.0, np.nan, 2.0])
    np.testing.assert_array_equal(est.standard_error, [1.0, np.nan, np.nan])
    np.testing.assert_array_equal(stats.variance_and_error([[1.0], [np.nan]]).mean, [np.nan])
    assert stats.mean_and_error(np.zeros((0, 2))).count.tolist() == [0, 0]


@pytest.mark.parametrize("law", [sps.norm(), sps.expon(), sps.bernoulli(0.3)])
def test_the_error_of_the_variance_is_its_spread_over_repetitions(law):
    draws = np.asarray(law.rvs(size=(400, 4000), random_state=1), float)
    est = stats.variance_and_error(draws)
    np.testing.assert_allclose(est.mean, draws.var(axis=0, ddof=1), rtol=1e-12)
    # Exact spread of s² from the law's own moments.
    n, variance = 400, law.var()
    fourth = float(law.stats("k")) + 3
    exact = np.sqrt(variance**2 * (fourth - (n - 3) / (n - 1)) / n)
    spread = est.mean.std(ddof=1)
    np.testing.assert_allclose(spread, exact, rtol=5 / np.sqrt(4000) + 0.02)
    z = (est.mean.mean() - variance) / (exact / np.sqrt(4000))
    assert abs(z) < 4
    # Squared errors estimate the squared spread; the estimate falls short by O(1/n).
    np.testing.assert_allclose(np.sqrt(np.mean(est.standard_error**2)), exact, rtol=0.1)


def test_constant_samples_have_no_spread():
    est = stats.variance_and_error(np.full(7, 0.1))
    np.testing.assert_allclose([est.mean, est.standard_error], 0.0, atol=1e-30)


@given(SAMPLES, st.floats(-5, 5), st.floats(0.1, 10), st.randoms(use_true_random=False))
def test_estimates_shift_scale_and_do_not_care_for_order(samples, shift, scale, random):
    order = list(range(len(samples)))
    random.shuffle(order)
    for estimator, power in ((stats.mean_and_error, 1), (stats.variance_and_error, 2)):
        old, new = estimator(samples), estimator(shift + scale * samples[order])
        moved = shift + scale * old.mean if power == 1 else scale**2 * old.mean
        tolerance = 1e-12 * (20 * scale + 5) ** power
        np.testing.assert_allclose(new.mean, moved, atol=tolerance, rtol=1e-9)
        # A square root turns a rounding of 1e-16 in the variance into 1e-8.
        np.testing.assert_allclose(
            new.standard_error, scale**power * old.standard_error, atol=1e-6 * scale**power, rtol=1e-6
        )


def test_wilson_interval_is_that_of_scipy():
    for k, n in ((0, 5), (1, 5), (5, 5), (37, 100), (100, 100)):
        for level in (0.9, 0.99):
            mine = stats.proportion(k, n, level)
            other = sps.binomtest(k, n).proportion_ci(level, method="wilson")
            np.testing.assert_allclose([mine.low, mine.high], other, atol=1e-14)
            assert mine.estimate == k / n
    nothing = stats.proportion(0, 0)
    assert np.isnan(nothing.estimate)
    assert (nothing.low, nothing.high) == (0, 1)


def test_intervals_cover_at_their_level():
    rng = np.random.default_rng(2)
    trials = 20_000
    draws = rng.normal(3.0, 2.0, size=(12, trials))
    est = stats.mean_and_error(draws)
    band = stats.interval(est.mean, est.standard_error, 0.9, degrees_of_freedom=11)
    assert within_binomial(np.sum((band.low <= 3) & (band.high >= 3)), trials, 0.9)
    # The normal value is too narrow for twelve samples, by the tail of Student's t.
    narrow = stats.interval(est.mean, est.standard_error, 0.9)
    exact = 1 - 2 * sps.t.sf(sps.norm.isf(0.05), 11)
    assert within_binomial(np.sum((narrow.low <= 3) & (narrow.high >= 3)), trials, exact)


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.99])
def test_the_critical_value_keeps_the_family_level_whatever_the_correlation(correlation):
    rng = np.random.default_rng(3)
    trials, comparisons = 20_000, 12
    shared = rng.normal(size=(trials, 1))
    z = np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * rng.normal(size=(trials, comparisons))
    accepted = np.sum(np.abs(z).max(axis=1) <= stats.critical_value(0.9, comparisons))
    if correlation == 0:
        assert within_binomial(accepted, trials, 0.9)
    else:
        assert accepted > 0.9 * trials


def test_critical_value_against_scipy():
    np.testing.assert_allclose(stats.critical_value(0.95), sps.norm.ppf(0.975), rtol=1e-14)
    np.testing.assert_allclose(stats.critical_value(0.95, 1, 7), sps.t.ppf(0.975, 7), rtol=1e-12)
    many = stats.critical_value(0.99, 10**9)
    np.testing.assert_allclose(2 * sps.norm.sf(many) * 1e9, -np.log(0.99), rtol=1e-6)


def test_z_scores_without_an_error_are_zero_or_infinite():
    scores = stats.z_scores([1, 2, 0, 3], [1, 1, 1, np.nan], [0, 0, 0, 1])
    np.testing.assert_array_equal(scores, [0, np.inf, -np.inf, np.nan])
    np.testing.assert_array_equal(stats.z_scores([[1.0], [2.0]], [0.0, 1.0], 0.5), [[2, 0], [4, 2]])


def brute_force_holm(p):
    """Adjusted p = smallest level at which the step-down procedure rejects."""
    order = sorted(range(len(p)), key=lambda i: p[i])
    adjusted = [0.0] * len(p)
    for rank, i in enumerate(order):
        adjusted[i] = min(1.0, max((len(p) - j) * p[order[j]] for j in range(rank + 1)))
    return adjusted


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_the_step_down_procedure(p):
    adjusted = stats.holm(p)
    np.testing.assert_allclose(adjusted, brute_force_holm(p), rtol=1e-14)
    assert np.all(adjusted >= p)
    np.testing.assert_array_equal(stats.holm(p[::-1])[::-1], adjusted)


def test_holm_keeps_the_family_wise_error():
    rng = np.random.default_rng(4)
    p = rng.uniform(size=(4000, 10))
    p[:, 7:] *= 1e-4
    false = sum(bool(np.any(stats.holm(row)[:7] <= 0.05)) for row in p)
    assert false <= 4000 * 0.05 + 4 * np.sqrt(4000 * 0.05 * 0.95)
    assert stats.holm(np.array([[0.01, 0.02]])).shape == (1, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stats.mean_and_error(1.0), "samples must have at least one axis, got a scalar"),
        (lambda: stats.mean_and_error(["a"]), "samples must be a real number or an array of them"),
        (lambda: stats.proportion(3, 2), "successes must be at most trials, got 3 of 2"),
        (lambda: stats.proportion(-1, 2), r"successes must be in \[0, inf\], got -1"),
        (lambda: stats.interval(0.0, -1.0), r"standard_error must be in \[0, inf\], got -1"),
        (lambda: stats.interval([0.0, 1.0], [1.0] * 3), r"shapes must broadcast .* mean \(2,\), standard_e"),
        (lambda: stats.critical_value(1.0), r"level must be in \(0, 1\), got 1"),
        (lambda: stats.critical_value(0.9, 0), "comparisons must be an integer >= 1, got 0"),
        (lambda: stats.critical_value(0.9, 1, 0), r"degrees_of_freedom must be in \(0, inf\], got 0"),
        (lambda: stats.z_scores(1, 1, -2), r"standard_error must be in \[0, inf\], got -2"),
        (lambda: stats.holm([0.1, np.nan]), r"p_values must be in \[0, 1\], got nan"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
