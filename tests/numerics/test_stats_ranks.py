"""AUCs and correlations, with their errors, against counting and simulation."""

import numpy as np
import pytest

from theorysim.numerics import stats


def test_auc_counts_pairs():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 6, (3, 17)), rng.integers(0, 5, (3, 23))
    found = stats.auc_and_error(x, y, axis=1)
    for row in range(3):
        above = (x[row][:, None] > y[row][None]) + 0.5 * (x[row][:, None] == y[row][None])
        assert found.mean[row] == pytest.approx(above.mean(), abs=1e-14)
        variance = above.mean(1).var(ddof=1) / 17 + above.mean(0).var(ddof=1) / 23
        assert found.standard_error[row] == pytest.approx(variance**0.5, rel=1e-12)


def test_auc_error_is_the_spread_over_repetitions():
    rng = np.random.default_rng(1)
    found = stats.auc_and_error(rng.normal(0.8, 1, (60, 4000)), rng.normal(0, 2, (40, 4000)))
    spread = found.mean.std(ddof=1)
    # The spread of 4000 repetitions has an error of 1 %.
    assert np.sqrt((found.standard_error**2).mean()) == pytest.approx(spread, rel=0.04)


def test_auc_keeps_nan_where_it_is():
    x = np.array([[0.0, np.nan], [1.0, 1.0]])
    found = stats.auc_and_error(x, np.zeros((2, 2)))
    assert np.isnan(found.mean).tolist() == np.isnan(found.standard_error).tolist() == [False, True]


@pytest.mark.parametrize("shapes", [((1,), (5,)), ((5,), (1,)), ((5, 2), (5, 3))])
def test_auc_refuses(shapes):
    with pytest.raises(ValueError, match="must have"):
        stats.auc_and_error(np.zeros(shapes[0]), np.zeros(shapes[1]))


def test_interval_of_a_correlation_keeps_its_level():
    rng = np.random.default_rng(2)
    inside = 0
    for _ in range(2000):
        x, e = rng.normal(size=(2, 20))
        found = stats.correlation(x, 0.6 * x + 0.8 * e, level=0.9)
        assert found.low <= found.estimate <= found.high
        inside += found.low <= 0.6 <= found.high
    assert abs(inside - 1800) < 4 * (2000 * 0.09) ** 0.5


def test_perfect_and_undefined_correlations():
    assert stats.correlation(np.arange(5), -2 * np.arange(5)).estimate == pytest.approx(-1)
    assert np.isnan(stats.correlation(np.arange(5), np.ones(5)).estimate)


@pytest.mark.parametrize(
    "pair", [(np.zeros(3), np.zeros(3)), (np.zeros(5), np.zeros(4)), (np.eye(4), np.eye(4))]
)
def test_correlation_refuses(pair):
    with pytest.raises(ValueError, match="x and y must have one shape"):
        stats.correlation(*pair)
