"""Parts of the audit of leakage: records of any framework, the fit, tiles, and a check that can fail."""

import jax.numpy as jnp
import numpy as np
import pytest

from tests.advisors.leakage.problems import rbf_gram, two_classes
from theorysim.advisors.leakage import audit_leakage, evidence
from theorysim.advisors.leakage.evidence import fit_model
from theorysim.advisors.leakage.exposure import Exposure, Grams, exposures, ranking_of
from theorysim.advisors.leakage.label_errors import likely_label_errors
from theorysim.advisors.leakage.problem import read_problem
from theorysim.advisors.leakage.retraining import retrained
from theorysim.advisors.leakage.tiles import gram_in_tiles
from theorysim.lood import gaussian_pair_auc, log_marginal_likelihood, ntk_leave_one_out, rbf


class OnDevice:
    """An array that, like those of other frameworks, must be detached and fetched before it is an array."""

    def __init__(self, values, attached=True, remote=True):
        self.values, self.attached, self.remote = values, attached, remote

    def detach(self):
        return OnDevice(self.values, False, self.remote)

    def cpu(self):
        return OnDevice(self.values, self.attached, False)

    def __array__(self, dtype=None, copy=None):
        if self.attached or self.remote:
            raise RuntimeError("call detach() and cpu() first")
        return np.asarray(self.values, dtype)


def test_arrays_of_any_framework_are_read():
    x, y = two_classes()
    plain = read_problem(x, y)
    for features, labels in (
        (OnDevice(x.astype(np.float64)), OnDevice(y)),
        (jnp.asarray(x), jnp.asarray(y)),
        (x.tolist(), y.tolist()),
        (x, y.astype(bool)),
        (x, np.where(y == 1, "yes", "no")),
        (x, y[:, None]),
    ):
        other = read_problem(features, labels)
        np.testing.assert_array_equal(other.x, plain.x)
        np.testing.assert_array_equal(other.targets, plain.targets)


def test_features_are_standardized_and_constant_ones_left_out():
    x, y = two_classes()
    problem = read_problem(np.insert(1e200 * x, 1, 0.1, axis=1), y)
    assert problem.data.features == 3 and problem.data.constant == 1
    np.testing.assert_allclose(problem.x, (x - x.mean(0)) / x.std(0), rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(read_problem(x, y, standardize=False).x, x)


def test_targets_have_mean_square_one():
    x = np.random.default_rng(0).normal(size=(30, 2))
    for labels in (np.arange(30) % 2, np.arange(30) % 5, np.linspace(3, 9, 30)):
        targets = read_problem(x, labels).targets
        assert (targets**2).mean() == pytest.approx(1)
    numbers = read_problem(x, np.arange(30) % 2, task="regression")
    assert numbers.data.task == "regression" and numbers.scale == 0.5
    assert read_problem(x, (np.arange(30) % 2).astype(float), task="classes").data.classes == (0.0, 1.0)


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (
            np.where(np.eye(6) > 0, np.nan, 1.0),
            np.arange(6) % 2,
            r"features must be finite, got nan at \[0, 0\]",
        ),
        (np.ones((6, 3)), np.arange(6) % 2, "features must hold one that varies, got 3 constant ones"),
        (np.ones(6), np.arange(6) % 2, r"features must have shape \(n, d\), .* got \(6,\)"),
        (np.eye(3), [0, 1, 0], r"at least 4 records of one feature, got \(3, 3\)"),
        (np.full((6, 2), "a"), np.arange(6) % 2, "features must be real numbers, got dtype <U1"),
        ([[1.0], [2.0, 3.0], [1.0], [1.0]], [0, 1, 0, 1], "features must be an array of one shape, got list"),
        (np.eye(6), np.ones(6, int), r"labels must hold at least two classes, got 1: \[1\]"),
        (np.eye(6), np.arange(6), r"labels must hold at most 3 classes, .* got 6: \[0, 1, 2, 3, 4, 5\]"),
        (np.eye(6), np.arange(5), r"labels must have shape \(6,\), one for each record, got \(5,\)"),
        (np.eye(6), [0.0, 1.0, np.inf, 0.0, 1.0, 0.0], "labels must be finite, got inf for record 2"),
        (np.eye(6), np.full(6, 2.5), "labels must vary, got 2.5 for every record"),
        (np.eye(6), np.arange(6) * 1j, "labels must be numbers or words, got dtype complex128"),
    ],
)
def test_bad_records_are_named(features, labels, message):
    with pytest.raises(ValueError, match=message):
        read_problem(features, labels)


def test_the_fit_is_a_maximum_of_the_likelihood_above_the_truth():
    rng = np.random.default_rng(3)
    x = rng.uniform(0, 10, (120, 1))
    gram = rbf_gram(x, x, length=0.7, variance=1.0) + 0.1 * np.eye(120)
    problem = read_problem(x, np.linalg.cholesky(gram) @ rng.normal(size=120), standardize=False)
    fit = fit_model(problem, kernel="rbf")
    assert fit.converged and not fit.at_bound

    def value(length, variance, noise):
        kernel = rbf(length_scale=length, variance=variance)
        return (
            float(log_marginal_likelihood(kernel(problem.x, problem.x), problem.targets, noise=noise)) / 120
        )

    best = [fit.model.length, fit.model.variance, fit.model.noise]
    assert value(*best) == pytest.approx(fit.log_likelihood)
    scale = problem.scale**2
    assert fit.log_likelihood > value(0.7, 1 / scale, 0.1 / scale)
    for i in range(3):
        for factor in (0.9, 1.1):
            assert value(*(p * factor if i == j else p for j, p in enumerate(best))) < fit.log_likelihood
    # 2 (difference of the summed log-likelihoods) is chi-square of 3 degrees: 16 at the 99.9 % quantile.
    assert 2 * 120 * (fit.log_likelihood - value(0.7, 1 / scale, 0.1 / scale)) < 16.3


def test_a_fit_on_a_part_of_the_records_says_so_and_given_parameters_stay():
    problem = read_problem(*two_classes())
    fit = fit_model(problem, kernel="rbf", length=2.0, fit_records=60)
    assert (
        fit.records == 60 and fit.fitted == ("variance", "noise") and fit.model.length == pytest.approx(2.0)
    )


def test_a_search_that_is_cut_short_is_told(monkeypatch):
    monkeypatch.setattr(evidence, "_STEPS", 1)
    fit = fit_model(read_problem(*two_classes()), kernel="rbf")
    assert not fit.converged and "ITERATIONS" in fit.message.upper()


def test_labels_without_noise_end_at_the_bound():
    x = np.concatenate([np.linspace(0, 1, 60), np.linspace(10, 11, 60)])[:, None]
    fit = fit_model(read_problem(x, x[:, 0] > 5, standardize=False), kernel="rbf")
    assert "noise" in fit.at_bound and fit.model.noise == pytest.approx(0.01)
    audit = audit_leakage(x, x[:, 0] > 5, standardize=False, noise_factors=(1,), remove=0, retrain=0)
    warning = audit.verdict[1]
    assert warning.startswith("WARNING: the labels look free of noise to this kernel, and 0.01 is the least")
    assert warning.endswith("(ridge, weight decay) with --noise.")


@pytest.mark.slow
def test_the_kernel_of_networks_is_fitted():
    fit = fit_model(read_problem(*two_classes(60)), kernel="relu", depth=1, variance=1.0)
    assert fit.converged and fit.fitted == ("bias_variance", "noise") and fit.model.depth == 1


def test_tiles_make_the_same_matrix():
    x = np.random.default_rng(0).normal(size=(50, 3))
    covariance = rbf(length_scale=2.0)
    whole, tiled = (gram_in_tiles(covariance, x, jnp.float64, tile=tile) for tile in (50, 20))
    np.testing.assert_allclose(tiled, whole, atol=1e-14)
    np.testing.assert_array_equal(tiled, tiled.T)
    np.testing.assert_array_equal(np.diag(tiled), 1)


def test_the_check_fails_where_the_prediction_is_wrong():
    """A leverage that is a tenth off is found out; the right one passes."""
    x, y = two_classes(60)
    targets = 2.0 * y[:, None] - 1
    grams = Grams(jnp.asarray(rbf_gram(x, x, length=1.5, variance=1.0)), None)
    right = exposures(grams, targets, noise=0.1)
    records = ranking_of(right)[20:30]
    options = {"noise": 0.1, "records": records, "networks": 1000, "seed": 0}
    assert retrained(grams, targets, right, **options).held
    off = exposures(grams, targets, noise=0.2)
    wrong = right._replace(auc=off.auc, leverage=off.leverage, surprise=off.surprise)
    check = retrained(grams, targets, wrong, **options)
    assert not check.held and np.abs(check.distance).max() > 4


def test_an_ensemble_has_the_attack_of_its_two_normal_laws_and_holds_when_trained_again():
    """Any two covariances will do: one of the training, one of the start."""
    x, y = two_classes(60)
    targets = 2.0 * y[:, None] - 1
    T, K = (jnp.asarray(rbf_gram(x, x, length=length, variance=1.0)) for length in (1.5, 1.0))
    found = exposures(Grams(T, K), targets, noise=0.5)
    law = ntk_leave_one_out(K, T, targets, noise=0.5)
    pair = gaussian_pair_auc(law.mean_out[:, 0], law.var_out, law.mean_in[:, 0], law.var_in)
    np.testing.assert_allclose(found.auc, pair, atol=1e-10)
    ratio, shift = law.var_in / law.var_out, (law.mean_in - law.mean_out)[:, 0]
    kl = (ratio - 1 - jnp.log(ratio) + shift**2 / law.var_out) / 2
    np.testing.assert_allclose(found.kl, kl, rtol=1e-8)
    records = ranking_of(found)[:20:4]
    check = retrained(Grams(T, K), targets, found, noise=0.5, records=records, networks=500, seed=0)
    assert check.held and check.largest_difference < 1e-10 and (np.abs(check.distance) < 4).all()


def test_errors_of_the_measured_auc_are_honest():
    """Over records and seeds the distances are standard normal."""
    x, y = two_classes(60)
    targets = 2.0 * y[:, None] - 1
    grams = Grams(jnp.asarray(rbf_gram(x, x, length=1.5, variance=1.0)), None)
    exposure = exposures(grams, targets, noise=0.1)
    records = ranking_of(exposure)[::6]
    distances = np.array(
        [
            retrained(grams, targets, exposure, noise=0.1, records=records, networks=100, seed=seed).distance
            for seed in range(30)
        ]
    )
    # Records of one seed share their networks; 300 numbers scatter at least like 60 independent ones.
    assert abs((distances**2).mean() - 1) < 4 * np.sqrt(2 / 60)
    assert (np.abs(distances.mean(0)) < 4 / np.sqrt(30)).all()


def test_a_model_that_is_wrong_about_most_accuses_few():
    problem = read_problem(np.arange(40.0)[:, None], np.arange(40) % 2)
    zero = np.zeros(40)
    exposure = Exposure(zero + 0.5, np.full(40, 9.0), zero, zero, zero, -problem.targets)
    assert likely_label_errors(problem, exposure) == ()
