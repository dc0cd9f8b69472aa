"""Line fits against scipy, and the coverage of their errors."""

import numpy as np
import pytest
import scipy.optimize
import scipy.stats as sps
from hypothesis import given
from hypothesis import strategies as st

from theorysim.numerics import stats

X = np.array([0.0, 1.0, 2.5, 4.0, 7.0])


def test_unweighted_fit_is_linregress():
    y = np.random.default_rng(0).normal(size=5) + 2 * X
    fit, other = stats.slope(X, y), sps.linregress(X, y)
    names = ("slope", "intercept", "stderr", "intercept_stderr")
    np.testing.assert_allclose(fit[:4], [getattr(other, name) for name in names], rtol=1e-12)
    assert np.isnan(fit.p_value)


def test_weighted_fit_is_that_of_curve_fit():
    rng = np.random.default_rng(1)
    sigma = rng.uniform(0.1, 1.0, size=5)
    y = 1 - X / 2 + sigma * rng.normal(size=5)
    fit = stats.slope(X, y, sigma)
    best, covariance = scipy.optimize.curve_fit(
        lambda x, b, a: a + b * x, X, y, sigma=sigma, absolute_sigma=True
    )
    np.testing.assert_allclose(fit[:2], best, rtol=1e-6)
    np.testing.assert_allclose(fit[2:4], np.sqrt(np.diag(covariance)), rtol=1e-6)
    chi2 = np.sum(((y - fit.intercept - fit.slope * X) / sigma) ** 2)
    np.testing.assert_allclose(fit.p_value, sps.chi2.sf(chi2, 3), rtol=1e-9)


def test_errors_cover_and_p_values_are_uniform_when_the_line_is_true():
    rng = np.random.default_rng(2)
    sigma = np.array([0.3, 0.1, 0.5, 0.2, 0.1])
    fits = [stats.slope(X, 3 - 2 * X + sigma * rng.normal(size=5), sigma) for _ in range(2000)]
    slope, intercept, slope_error, intercept_error, p = np.array(fits).T
    for z in ((slope + 2) / slope_error, (intercept - 3) / intercept_error):
        assert sps.kstest(z, "norm").pvalue > 1e-3
    assert sps.kstest(p, "uniform").pvalue > 1e-3


def test_a_curve_is_no_line():
    assert stats.slope(X, X**2, 0.1).p_value < 1e-6


def test_log_log_slope_is_the_exponent_with_its_error():
    rng = np.random.default_rng(3)
    x = np.geomspace(1, 1000, 7)
    truth = 5 * x**-1.5
    sigma = 0.02 * truth
    fits = [stats.log_log_slope(x, truth + sigma * rng.normal(size=7), sigma) for _ in range(1000)]
    z = np.array([(fit.slope + 1.5) / fit.slope_error for fit in fits])
    assert abs(z.mean()) < 4 / np.sqrt(1000)
    np.testing.assert_allclose(z.std(), 1, atol=4 / np.sqrt(2000))
    exact = stats.log_log_slope(x, truth)
    np.testing.assert_allclose([exact.slope, exact.intercept], [-1.5, np.log(5)], rtol=1e-12)


@given(st.floats(-50, 50), st.floats(0.1, 10), st.permutations(range(5)))
def test_a_fit_follows_shifts_and_units_and_not_the_order(shift, scale, order):
    y, sigma = np.array([1.0, 3.0, 2.0, 5.0, 4.0]), np.array([0.5, 0.4, 0.3, 0.2, 0.1])
    old = stats.slope(X, y, sigma)
    new = stats.slope((scale * X)[order], (shift + y)[order], sigma[order])
    expected = [old.slope / scale, old.intercept + shift, old.slope_error / scale, old.intercept_error]
    np.testing.assert_allclose(new[:4], expected, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(new.p_value, old.p_value, rtol=1e-6)


def test_two_points_leave_no_freedom_and_a_nan_leaves_nothing():
    fit = stats.slope([0, 1], [1, 3], [1, 1])
    np.testing.assert_allclose(fit, [2, 1, np.sqrt(2), 1, np.nan])
    assert np.isnan(stats.slope([0, 1], [1, 3]).slope_error)
    assert np.isnan(stats.slope(X, [1, 2, np.nan, 4, 5])).all()
    assert np.isnan(stats.log_log_slope(X + 1, [1, 2, np.nan, 4, 5], 0.1)).all()
    assert stats.within(np.nan, 1.0, np.nan, resolution=0.1).status == "undecided"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stats.slope([1.0], [1.0]), r"one length >= 2, got shapes \(1,\) and \(1,\)"),
        (lambda: stats.slope(X, X[:3]), r"got shapes \(5,\) and \(3,\)"),
        (lambda: stats.slope([2, 2], [1, 3]), "x must hold at least two different values, got 2 everywhere"),
        (lambda: stats.slope(X, X, 0.0), r"standard_error must be in \(0, inf\], got 0"),
        (lambda: stats.slope(X, X, [1.0, 2.0]), r"standard_error must be a scalar or have shape \(5,\)"),
        (lambda: stats.log_log_slope(X, X + 1), r"x must be in \(0, inf\], got 0"),
        (lambda: stats.log_log_slope(X + 1, -X - 1), r"y must be in \(0, inf\], got -1"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
