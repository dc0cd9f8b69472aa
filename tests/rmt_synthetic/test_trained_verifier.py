"""Verifiers fitted on clean samples: against scikit-learn, and against the theory of linear verifiers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import ndtr
from sklearn.linear_model import LogisticRegression, Ridge

from tests.check_kernel import check_kernel
from theorysim.numerics import stats
from theorysim.rmt_synthetic.trained_verifier import (
    agrees,
    least_squares_verifier,
    logistic_verifier,
    measured_rates,
)
from theorysim.rmt_synthetic.verifier import verifier_rates

MU = np.array([1.0, 0.5, 0, 0, 0])


def mixture(m, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.choice([-1.0, 1.0], m)
    return jnp.asarray(y[:, None] * MU + rng.normal(size=(m, 5))), jnp.asarray(y)


@pytest.mark.parametrize("k", [4, 40, 400])
@pytest.mark.parametrize("ridge", [1e-6, 0.01, 3.0])
def test_logistic_regression_is_that_of_scikit_learn(k, ridge):
    """Four samples are separable in five dimensions: there the ridge alone keeps w finite."""
    x, y = mixture(400, seed=2)
    assert len(set(y[:4].tolist())) == 2
    w = logistic_verifier(x, y, jnp.arange(400) < k, ridge)
    peer = LogisticRegression(C=1 / (ridge * k), fit_intercept=False, tol=1e-12, solver="newton-cholesky")
    np.testing.assert_allclose(w, peer.fit(x[:k], y[:k]).coef_[0], rtol=1e-6, atol=1e-8)


def test_least_squares_is_that_of_scikit_learn():
    x, y = mixture(400)
    targets = jnp.stack([y, y**2 - y], axis=1)
    w = least_squares_verifier(x, targets, jnp.arange(400) < 50, 0.2)
    peer = Ridge(alpha=0.2 * 50, fit_intercept=False).fit(x[:50], targets[:50])
    np.testing.assert_allclose(w, peer.coef_.T, rtol=1e-9)


def test_a_verifier_that_saw_nothing_knows_nothing():
    x, y = mixture(20)
    np.testing.assert_array_equal(logistic_verifier(x, y, jnp.zeros(20), 0.1), 0)
    np.testing.assert_array_equal(least_squares_verifier(x, y, jnp.zeros(20), 0.1), 0)


@pytest.mark.parametrize("theta", [0.0, 0.6])
def test_measured_rates_are_those_of_the_linear_verifier(theta):
    x, y = mixture(40_000)
    labels = jnp.where(jax.random.uniform(jax.random.key(0), y.shape) < 0.3, -y, y)
    w = logistic_verifier(*mixture(60, seed=1), jnp.ones(60), 0.1)
    w = w / jnp.linalg.norm(w)
    rates = measured_rates(agrees(w, x, labels, theta), labels, y)
    exact = verifier_rates(MU, w, theta)
    counts = np.array([(labels == y).sum(), (labels != y).sum()])
    error = np.sqrt(np.array(exact) * (1 - np.array(exact)) / counts)
    verdict = stats.within(np.array(rates), np.array(exact), error, resolution=0.05)
    assert verdict.status == "confirmed", verdict


def test_more_clean_samples_make_a_stronger_verifier():
    """phi - rho = 2 Phi(r'mu) - 1 grows with the alignment of r, on average over samples."""

    def strength(seed):
        x, y = mixture(400, seed)
        ws = [logistic_verifier(x, y, jnp.arange(400) < k, 0.1) for k in (4, 16, 100)]
        rates = [verifier_rates(MU, w) for w in ws]
        return [float(rate.phi - rate.rho) for rate in rates]

    mean = np.mean([strength(seed) for seed in range(40)], axis=0)
    assert (np.diff(mean) > 0.02).all()
    assert mean[-1] < 2 * ndtr(np.linalg.norm(MU)) - 1


def test_the_oracle_and_no_verifier_have_their_rates():
    labels, truth = jnp.array([1, -1, 1, 2]), jnp.array([1, 1, 1, 2])
    assert measured_rates(labels == truth, labels, truth) == (1, 0)
    assert measured_rates(jnp.ones(4), labels, truth) == (1, 1)
    assert jnp.isnan(measured_rates(jnp.ones(4), truth, truth).rho)


def test_several_classes_agree_with_the_largest_logit():
    rng = np.random.default_rng(0)
    w, x, labels = rng.normal(size=(5, 3)), rng.normal(size=(200, 5)), rng.integers(0, 3, 200)
    np.testing.assert_array_equal(agrees(w, x, labels), (x @ w).argmax(axis=1) == labels)
    ordered = np.sort(x @ w, axis=1)
    np.testing.assert_array_equal(
        agrees(w, x, labels, 0.7),
        ((x @ w).argmax(axis=1) == labels) & (ordered[:, -1] - ordered[:, -2] > 0.7),
    )


# --- contracts --------------------------------------------------------------------------------------------

USED = jnp.array([1.0, 1.0, 0.0, 1.0, 1.0, 1.0])


def test_logistic_verifier_is_a_kernel():
    x, y = mixture(6)
    bad = [
        {"x": jnp.ones(3)},
        {"labels": jnp.zeros(6)},
        {"labels": jnp.ones((6, 2))},
        {"used": jnp.ones(2)},
        {"used": -USED},
        {"ridge": 0.0},
    ]
    # Labels are whole, and moving them changes what is fitted in no way that was promised.
    check_kernel(logistic_verifier, x, y, USED, 0.3, wrt=(0, 2, 3), bad=bad)


def test_least_squares_verifier_is_a_kernel():
    x, y = mixture(6)
    bad = [{"x": jnp.ones(3)}, {"targets": jnp.ones(2)}, {"used": -USED}, {"ridge": 0.0}]
    check_kernel(least_squares_verifier, x, y, USED, 0.3, bad=bad)


def test_decisions_are_a_kernel():
    x, y = mixture(6)
    bad = [{"w": jnp.ones(3)}, {"labels": jnp.ones(2)}, {"theta": np.nan}]
    check_kernel(agrees, MU, x, y, 0.2, smooth=False, bad=bad)


def test_rates_are_a_kernel():
    labels, truth = jnp.array([1, -1, 1, -1]), jnp.array([1, 1, 1, -1])
    check_kernel(
        measured_rates,
        jnp.array([True, True, False, False]),
        labels,
        truth,
        points=[(jnp.array([True, False, False, True]), labels, -truth)],
        smooth=False,
        bad=[{"kept": jnp.ones(2)}],
    )
