"""The public reference table: values from independent code, to the digits printed there."""

import jax.numpy as jnp
import numpy as np
import pytest

from tests.model_collapse.laws import HALVES, ZIPF_52
from theorysim import model_collapse as mc
from theorysim.model_collapse import Scenario

UNIFORM_600 = np.full(600, 1 / 600)
THREE = np.array([0.5, 0.3, 0.2])


@pytest.mark.parametrize(
    ("p", "n", "expected"),
    [
        (HALVES, 10, 12.5905181977),
        (HALVES, 1000, 1383.50097720),
        (THREE, 20, 29.4288475671),
        (UNIFORM_600, 400, 796.614271419),
        (ZIPF_52, 10, 17.4562422431),
        (ZIPF_52, 100, 187.011526624),
    ],
)
def test_collapse_time_mean(p, n, expected):
    np.testing.assert_allclose(mc.collapse_time_mean(p, n), expected, rtol=1e-11)


def test_collapse_time_variance():
    moments = mc.collapse_time_moments(THREE, 20)
    np.testing.assert_allclose(moments.mean, 29.4288475671, rtol=1e-11)
    # The table says 420.881871882; rational arithmetic says 420.8818718764294.
    np.testing.assert_allclose(moments.var, 420.881871882, rtol=2e-11)
    np.testing.assert_allclose(moments.var, 420.8818718764294, rtol=1e-14)


@pytest.mark.parametrize(
    ("p", "n", "m", "expected"), [(HALVES, 10, 10, 0.53489725741), (ZIPF_52, 100, 150, 0.45036395745)]
)
def test_collapse_cdf(p, n, m, expected):
    np.testing.assert_allclose(mc.collapse_cdf(p, n, m)[m], expected, atol=1e-11)


def test_support_and_entropy():
    np.testing.assert_allclose(mc.expected_support(ZIPF_52, 100, 10)[10], 10.6670097054, rtol=1e-11)
    entropy = mc.expected_entropy(ZIPF_52, 100, 10)
    np.testing.assert_allclose(entropy[jnp.array([0, 10])], [3.05395284337, 1.97247147357], rtol=1e-11)


def test_sumsq_moments():
    moments = mc.sumsq_moments(ZIPF_52, 100, 10)
    np.testing.assert_allclose(moments.mean[10], 0.186056132492, atol=1e-12)
    np.testing.assert_allclose(moments.var[10], 0.00431409218134, atol=1e-14)


@pytest.mark.parametrize(
    ("n", "sumsq", "factor"),
    [(10, 0.109741881765, 8.32639467111e-4), (1000, 0.112709678905, 4.1635004542e-3)],
)
def test_mixed_sumsq(n, sumsq, factor):
    np.testing.assert_allclose(mc.mixed_sumsq(0.1, n, 100, 12)[11], sumsq, atol=1e-12)
    np.testing.assert_allclose(mc.mixed_variance_factor(n, 100, 12)[11], factor, rtol=1e-11)


@pytest.mark.parametrize(("n", "N", "expected"), [(10, 100, 0.0967358524334), (50, 20, 0.342853380696)])
def test_mixed_l1_drift(n, N, expected):
    np.testing.assert_allclose(mc.mixed_drift_mean(ZIPF_52, n, N, 12)[11], expected, rtol=2e-12)


def test_largest_admissible_synthetic_sample():
    np.testing.assert_allclose(mc.max_synthetic(0.05, 100, 0.1), 62.893081761, rtol=1e-11)
    assert mc.max_synthetic(0.07, 100, 0.1) == np.inf


def test_accumulation():
    even = Scenario("accumulate", n=10, N=10)
    np.testing.assert_allclose(mc.diversity_factor(even, 40)[40], 0.845520903228, atol=1e-12)
    np.testing.assert_allclose(mc.diversity_limit(even), 0.843435857216, atol=1e-12)
    np.testing.assert_allclose(
        mc.diversity_limit(Scenario("accumulate", n=5, N=20)), 0.908800586656, atol=1e-12
    )


@pytest.mark.parametrize(
    ("resample", "sumsq", "rate"),
    [("fresh", 0.729954643906, 0.956599581921), ("pooled", 0.925268860304, 0.909008023090)],
)
def test_window(resample, sumsq, rate):
    window = Scenario("window", n=10, K=2, resample=resample)
    np.testing.assert_allclose(mc.expected_sumsq(ZIPF_52, window, 25)[25], sumsq, atol=1e-12)
    np.testing.assert_allclose(mc.window_decay_rate(window), rate, atol=1e-12)


def test_optimal_weight_of_synthetic_data():
    np.testing.assert_allclose(mc.optimal_synthetic_weight(100, 100), 0.383023350573, atol=1e-12)


def test_gaussian_recursion():
    unbiased = mc.gaussian_recursion(10, 1, 15, "unbiased")
    np.testing.assert_allclose(unbiased.log_variance_mean[15], -1.72809705625, rtol=1e-11)
    np.testing.assert_allclose(unbiased.w2_squared[15], 2.180404042, rtol=1e-9)
    np.testing.assert_allclose(
        mc.gaussian_recursion(10, 1, 15, "mle").w2_squared[15], 1.40123032467, rtol=1e-11
    )
    np.testing.assert_allclose(
        mc.gaussian_recursion(12, 4, 6, "unbiased").log_det_mean[6], -6.34075774289, rtol=1e-11
    )
