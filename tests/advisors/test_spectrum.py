"""Accuracy from training features alone: against the theory, against exact laws, and as a kernel."""

import jax.numpy as jnp
import numpy as np
import pytest

from tests.check_kernel import check_kernel
from theorysim.advisors.synthetic_data.spectrum import Spectrum, features_spectrum, predicted_moments
from theorysim.numerics import stats
from theorysim.rmt_synthetic.conditional import conditional_scores, fit_generator
from theorysim.rmt_synthetic.generator import reused_generator_moments

QUALITY = {"eps": 0.2, "rho": 0.3, "phi": 0.9}
NUMBERS = tuple(map(jnp.asarray, (400.0, 0.2, 0.3, 0.9, 0.5, 0.7)))


def gaussian(n, p, mu, seed, scales: float | np.ndarray = 1.0):
    v = np.random.default_rng(seed).normal(size=(n, p)) * scales
    v[:, 0] += mu
    return v


def moments_of(v, m, **fit):
    return np.array(predicted_moments(features_spectrum(v), m, **QUALITY, **fit))


@pytest.mark.parametrize(
    ("n", "p", "m", "gamma"), [(240, 120, 400, 0.05), (100, 140, 300, 0.1), (60, 140, 100, 0.5)]
)
def test_isotropic_features_give_the_moments_of_a_reused_generator(n, p, m, gamma):
    """More, and fewer, samples than dimensions; the bias is O(1/p)."""
    draws = np.array([moments_of(gaussian(n, p, 1.2, seed), m, gamma=gamma) for seed in range(40)])
    expected = np.array(reused_generator_moments(n, m, p, 1.2, **QUALITY, gamma=gamma))
    found = stats.mean_and_error(draws)
    assert (abs(found.mean - expected) < 4 * found.standard_error + 0.5 / p).all()


@pytest.mark.parametrize(("n", "omega"), [(80, 0.7), (30, 0.7), (80, 0.0)])
def test_the_moments_are_those_of_a_known_test_law(n, omega):
    """The theory averages over test points; here the same numbers come from the training part alone."""
    p, m, gamma = 40, 200, 0.3
    scales = np.linspace(0.5, 1.6, p)
    test = gaussian(3000, p, 1.5, 10_000, scales)
    differences = []
    for seed in range(12):
        v = gaussian(n, p, 1.5, seed, scales)
        scores = conditional_scores(v, fit_generator(v), test, m, **QUALITY, gamma=gamma, omega=omega)
        known = np.array([scores.mean.mean(), (scores.sd**2).mean() + scores.mean.var()])
        differences.append(moments_of(v, m, gamma=gamma, omega=omega) - known)
    found = stats.mean_and_error(np.array(differences))
    assert (abs(found.mean) < 4 * found.standard_error + 0.5 / p).all()


def test_without_synthetic_samples_their_quality_does_not_matter():
    spectrum = features_spectrum(gaussian(50, 20, 1.0, 0))
    a = predicted_moments(spectrum, 0, eps=0.1, rho=0.2, phi=0.9, gamma=0.3)
    b = predicted_moments(spectrum, 0, eps=0.9, rho=1.0, phi=0.2, gamma=0.3, omega=3.0)
    np.testing.assert_allclose(a, b, rtol=1e-12)


def test_weight_zero_is_a_larger_ridge_on_the_real_samples_alone():
    spectrum = features_spectrum(gaussian(50, 20, 1.0, 0))
    a = predicted_moments(spectrum, 150, **QUALITY, gamma=0.1, omega=0.0)
    b = predicted_moments(spectrum, 0, **QUALITY, gamma=0.4)
    np.testing.assert_allclose(a.mean / jnp.sqrt(a.var), b.mean / jnp.sqrt(b.var), rtol=1e-10)


@pytest.mark.parametrize("n", [6, 30])
def test_the_spectrum_holds_the_whole_covariance_and_the_whole_mean(n):
    v = gaussian(n, 12, 1.0, 3)
    spectrum = features_spectrum(v)
    np.testing.assert_allclose(spectrum.eigenvalues.sum(), np.trace(np.cov(v.T, bias=True)), rtol=1e-12)
    np.testing.assert_allclose(spectrum.powers.sum(), (v.mean(0) ** 2).sum(), rtol=1e-12)
    assert spectrum.freedom == n - 1 and features_spectrum(v, centres=1).freedom == n - 2


def test_fewer_samples_than_features_give_the_same_as_the_full_covariance():
    v = gaussian(8, 12, 1.0, 3)
    mean = v.mean(0)
    values, vectors = np.linalg.eigh(np.cov(v.T, bias=True))
    full = Spectrum(*map(jnp.asarray, (np.maximum(values, 0), (vectors.T @ mean) ** 2, 8.0, 8.0, 7.0)))
    np.testing.assert_allclose(
        predicted_moments(full, 50, **QUALITY, gamma=0.2), moments_of(v, 50, gamma=0.2), rtol=1e-9
    )


def test_the_prediction_is_a_kernel():
    spectrum = features_spectrum(gaussian(60, 12, 1.2, 5))
    bad = [{"m": -1.0}, {"eps": 1.2}, {"rho": -0.1}, {"phi": 2.0}, {"gamma": 0.0}, {"omega": -1.0}]
    other = tuple(map(jnp.asarray, (50.0, 0.4, 0.6, 0.8, 0.1, 1.5)))
    check_kernel(predicted_moments, spectrum, *NUMBERS, points=[(spectrum, *other)], bad=bad)


@pytest.mark.parametrize(
    ("v", "message"),
    [
        (np.ones((2, 3)), "v must be a matrix of at least 3 rows"),
        (np.full((4, 3), np.nan), "v must be in"),
        (np.ones(3), "v must be a matrix"),
    ],
)
def test_features_must_be_a_matrix_of_numbers(v, message):
    with pytest.raises(ValueError, match=message):
        features_spectrum(v)
