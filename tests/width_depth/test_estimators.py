import math
import tracemalloc
import warnings
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct, WhiteKernel
from sklearn.utils.estimator_checks import check_estimator

from theorysim.data import digits
from theorysim.width_depth import (
    InfiniteResNetClassifier,
    InfiniteResNetRegressor,
    estimators,
    kernels,
    schedule,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))
Y = np.abs(X[:, 0]) - X[:, 1] + 0.1 * RNG.normal(size=40)
NEW = RNG.normal(size=(7, 3))


@pytest.mark.parametrize("estimator", [InfiniteResNetRegressor(), InfiniteResNetClassifier(depth=2)])
def test_scikit_learn_accepts_the_estimators(estimator):
    with warnings.catch_warnings():
        # What scikit-learn skips, it says by a warning; what it provokes, the estimator warns of.
        warnings.simplefilter("ignore")
        results = check_estimator(estimator, on_fail=None)
    failed = [r["check_name"] for r in results if r["status"] not in ("passed", "skipped")]
    assert not failed
    assert sum(r["status"] == "passed" for r in results) > 45


def joint_law(depth, kernel, wide=1e6):
    """Covariance of the targets at X and of the function at NEW, with an offset of a wide prior."""
    both = jnp.asarray(np.concatenate([X, NEW]))
    scales: dict[str, Any] = (
        {"tau": 0.7} if math.isinf(depth) else {"alpha2": schedule("uniform", depth, tau=0.7)}
    )
    K = 1.5 * np.asarray(getattr(kernels(both, phi="relu", get=kernel, **scales), kernel)) + wide
    return K[:40, :40] + 0.2 * np.eye(40), K[40:, :40], K[40:, 40:]


@pytest.mark.parametrize("depth", [0, 3, math.inf])
@pytest.mark.parametrize("kernel", ["nngp", "ntk"])
def test_predictions_are_the_posterior_given_an_offset_of_wide_prior(depth, kernel):
    model = InfiniteResNetRegressor(depth=depth, kernel=kernel, tau=0.7, noise=0.2, signal=1.5).fit(X, Y)
    mean, std = model.predict(NEW, return_std=True)
    K, cross, own = joint_law(depth, kernel)
    np.testing.assert_allclose(mean, cross @ np.linalg.solve(K, Y), rtol=1e-5)
    np.testing.assert_allclose(std**2, np.diag(own - cross @ np.linalg.solve(K, cross.T)), rtol=1e-4)
    # The flat prior of the offset stands for a normal one, but for the height of that one.
    wide = -(Y @ np.linalg.solve(K, Y) + np.linalg.slogdet(K)[1] + 40 * math.log(2 * math.pi)) / 2
    likelihood = wide + math.log(2 * math.pi * 1e6) / 2
    np.testing.assert_allclose(model.log_marginal_likelihood(), likelihood, rtol=1e-6)


def test_probabilities_rest_on_the_error_of_each_target_predicted_from_all_others():
    y = (Y > Y.mean()).astype(int)
    model = InfiniteResNetClassifier(noise=0.2).fit(X, y)
    others = [np.delete(np.arange(40), i) for i in range(40)]
    refits = [
        InfiniteResNetClassifier(noise=0.2).fit(X[keep], y[keep]).decision_function(X[i : i + 1])
        for i, keep in enumerate(others)
    ]
    left_out = (np.ravel(refits) - (2 * y - 1)) / 2
    gap = model.decision_function(NEW) / np.sqrt((left_out**2).mean()) / math.sqrt(2)
    np.testing.assert_allclose(model.predict_proba(NEW)[:, 1], norm.cdf(gap), rtol=1e-6)


def test_a_linear_network_is_scikit_learns_process_with_a_linear_kernel():
    growth = math.exp(0.5)
    ours = InfiniteResNetRegressor(activation="linear", tau=0.5, noise=0.1).fit(X, Y)
    kernel = ConstantKernel(growth / 3, "fixed") * DotProduct(0.0, "fixed")
    kernel = kernel + ConstantKernel(1e6, "fixed") + WhiteKernel(0.1, "fixed")
    theirs = GaussianProcessRegressor(kernel).set_params(optimizer=None).fit(X, Y)
    np.testing.assert_allclose(ours.predict(NEW), theirs.predict(NEW), rtol=1e-5)


@pytest.mark.parametrize(
    ("depth", "activation", "kernel"),
    [(4, "relu", "nngp"), (math.inf, "relu", "ntk"), (3, "erf", "ntk"), (math.inf, 0.3, "nngp")],
)
def test_the_gradient_of_the_likelihood_is_its_slope(depth, activation, kernel):
    model = InfiniteResNetRegressor(depth, activation, kernel).fit(X, np.stack([Y, Y**2], axis=1))
    theta = np.array([0.2, -0.1, -1.0])
    _, gradient = model.log_marginal_likelihood(theta, eval_gradient=True)
    for i in range(3):
        step = 1e-5 * np.eye(3)[i]
        up, down = (model.log_marginal_likelihood(theta + s * step) for s in (1, -1))
        np.testing.assert_allclose(gradient[i], (up - down) / 2e-5, rtol=1e-5, atol=1e-6)


def test_optimizing_finds_the_noise_and_the_signal_of_targets_from_the_process():
    x = RNG.normal(size=(120, 3))
    K = 4.0 * np.asarray(kernels(jnp.asarray(x), phi="relu", tau=1.0, get="nngp").nngp) + 0.01 * np.eye(120)
    y = np.linalg.cholesky(K) @ RNG.normal(size=120)
    true = InfiniteResNetRegressor(signal=4.0, noise=0.01).fit(x, y)
    for noise in (1.0, 1e-3):
        best = InfiniteResNetRegressor(noise=noise, optimize=True).fit(x, y)
        value, gradient = best.log_marginal_likelihood(eval_gradient=True)
        # Three parameters gain 3/2 in the mean.
        assert 0 < value - true.log_marginal_likelihood() < 6
        assert np.abs(gradient).max() < 0.02
    # The error of a logarithm of a variance from 120 samples is 0.13 at best; tau and signal share theirs.
    assert abs(np.log(best.noise_ / 0.01)) < 0.6
    assert abs(np.log(best.signal_ / 4.0) + 0.5 * (best.tau_ - 1)) < 1.0


def test_depth_converges_to_infinity_and_columns_are_fitted_alone():
    deep = InfiniteResNetRegressor(depth=2000).fit(X, Y).predict(NEW)
    both = InfiniteResNetRegressor().fit(X, np.stack([Y, -2 * Y], axis=1)).predict(NEW)
    np.testing.assert_allclose(deep, both[:, 0], atol=1e-3)
    np.testing.assert_allclose(both[:, 1], -2 * both[:, 0], rtol=1e-9)


def test_float32_inputs_are_fitted_in_float64():
    single = InfiniteResNetRegressor().fit(X.astype(np.float32), Y).predict(NEW.astype(np.float32))
    np.testing.assert_allclose(single, InfiniteResNetRegressor().fit(X, Y).predict(NEW), atol=2e-3)


def test_a_search_that_fails_is_told():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(estimators._SEARCH, "maxiter", 1)
        with pytest.warns(ConvergenceWarning, match="did not converge in 1 steps"):
            InfiniteResNetRegressor(depth=2, optimize=True).fit(X, Y)
    with pytest.raises(ValueError, match="noise must be large enough"):
        rows = np.repeat(X, 3, axis=0)
        InfiniteResNetRegressor(tau=30.0, signal=1e4, noise=1e-6, optimize=True).fit(rows, np.repeat(Y, 3))


def test_inputs_that_overflow_are_named_when_predicting():
    model = InfiniteResNetRegressor().fit(X, Y)
    with pytest.raises(ValueError, match=r"entries of X up to 1e\+200"):
        model.predict(np.full((1, 3), 1e200))
    # Where an equation is solved, it is the solver that gives up.
    with pytest.raises(ValueError, match="tau and X must be so small that the kernel does not overflow"):
        InfiniteResNetRegressor(activation="gelu", tau=2000.0).fit(X[:2], Y[:2])


def test_probabilities_of_many_inputs_take_a_block_at_a_time():
    model = InfiniteResNetClassifier().fit(X, np.arange(40) % 10)
    new = np.random.default_rng(1).normal(size=(4000, 3))
    whole = model.predict_proba(new)
    parts = np.concatenate([model.predict_proba(new[i : i + 700]) for i in range(0, 4000, 700)])
    # Kernels of blocks of other sizes differ by rounding, which the dual coefficients multiply.
    rounding = np.finfo(float).eps * np.abs(model.dual_coef_).sum(0).max()
    np.testing.assert_allclose(whole, parts, rtol=0, atol=4 * rounding)
    scores = model.decision_function(new[:1]) / model._leave_one_out_error()
    gaps = np.random.default_rng(2).normal(size=(100_000, 10)) + scores
    share = np.bincount(gaps.argmax(1), minlength=10) / len(gaps)
    np.testing.assert_allclose(whole[0], share, atol=4 * 0.5 / len(gaps) ** 0.5)
    tracemalloc.start()
    model.predict_proba(new)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # All at once the factors of the product alone are 4000 x 10 x 10 x 60 numbers, 190 MB.
    assert peak < 60e6


@pytest.mark.parametrize("kernel", ["nngp", "ntk"])
def test_digits_are_classified(kernel):
    data = digits()
    model = InfiniteResNetClassifier(kernel=kernel, noise=1e-4).fit(data.x[:1000], data.y[:1000])
    assert model.score(data.x[1000:], data.y[1000:]) > 0.95
    proba = model.predict_proba(data.x[1000:1100])
    assert (proba.argmax(1) == model.predict(data.x[1000:1100])).all()
    np.testing.assert_allclose(proba.sum(1), 1)
    np.testing.assert_allclose(model.decision_function(data.x[1000:1100]).sum(1), 1, atol=1e-9)


def test_what_the_caller_does_to_the_data_later_changes_nothing():
    x, y = X.copy(), Y.copy()
    model = InfiniteResNetRegressor().fit(x, y)
    before, likelihood = model.predict(NEW), model.log_marginal_likelihood()
    x *= 3
    y *= 2
    assert (model.predict(NEW) == before).all()
    assert model.log_marginal_likelihood() == likelihood


def test_identical_inputs_and_inputs_of_norm_zero_are_fitted():
    x = np.array([[0.0, 0.0], [1.0, 1.0], [1.0, 1.0]])
    mean, std = InfiniteResNetRegressor(noise=0.1).fit(x, [1.0, 2.0, 4.0]).predict(x, return_std=True)
    assert np.isfinite(mean).all() and np.isfinite(std).all()
    assert mean[1] == mean[2]
    # Only the offset acts on an input of norm 0.
    assert mean[0] < mean[1]
    np.testing.assert_allclose(std[0] ** 2, 0.1, rtol=0.2)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"depth": -1}, "depth must be an integer >= 0, got -1"),
        ({"depth": 1.5}, "depth must be an integer >= 0, got 1.5"),
        ({"depth": math.nan}, "depth must be an integer >= 0, got nan"),
        ({"activation": "swish"}, "activation must be one of"),
        ({"kernel": "rbf"}, "kernel must be"),
        ({"tau": -1.0}, "tau must be in"),
        ({"noise": -1.0}, "noise must be in"),
        ({"noise": 0.0, "optimize": True}, "noise must be in"),
        ({"tau": 31.0, "optimize": True}, r"tau must be in \[0.0001, 30\], got 31"),
        ({"tau": 2000.0}, "tau and X must be so small that the kernel does not overflow, got tau = 2000"),
        ({"signal": 0.0}, "signal must be in"),
    ],
)
def test_bad_parameters_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        InfiniteResNetRegressor(**kwargs).fit(X, Y)


def test_a_singular_kernel_and_a_single_class_are_named():
    with pytest.raises(ValueError, match="noise must be large enough"):
        InfiniteResNetRegressor(noise=0.0).fit(np.ones((3, 2)), np.arange(3.0))
    with pytest.raises(ValueError, match="y must hold at least two classes"):
        InfiniteResNetClassifier().fit(X, np.zeros(40, int))
    with pytest.raises(ValueError, match="theta must hold"):
        InfiniteResNetRegressor().fit(X, Y).log_marginal_likelihood(np.zeros(2))
