"""The general theorem: reference values, exact identities, two routes to the variance, Monte Carlo."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from theorysim.rmt_synthetic.group_statistics import Variant
from theorysim.rmt_synthetic.moments import decision_moments, limit
from theorysim.rmt_synthetic.newton import fixed_point, fixed_point_dense
from theorysim.rmt_synthetic.problem import paper_means, real_plus_synthetic
from theorysim.rmt_synthetic.response_function import response, response_moments
from theorysim.rmt_synthetic.score import test_accuracy as accuracy

P = 150
INDEX = np.arange(P)
TOEPLITZ = 0.4 ** abs(INDEX[:, None] - INDEX)
LABELS = {"eps": 0.3, "rho": 0.2, "phi": 0.9}


def two_covariances(cov_r, n=200.0):
    means = paper_means(P, 1.5, beta=0.8, perp=0.6)
    return real_plus_synthetic(n, 400, *means, cov_r=cov_r, cov_s=np.linspace(0.5, 2, P), **LABELS)


def figure_one(cov_s=0.49):
    means = paper_means(500, 1.5, beta=0.7, perp=1.0)
    return real_plus_synthetic(1000, 2000, *means, eps=0.3, rho=0.1, phi=0.8, cov_s=cov_s)


def random_problem(rng, p=12, *, dense):
    def cov():
        root = rng.normal(size=(p, p + 3)) / np.sqrt(p)
        return root @ root.T if dense else rng.uniform(0.1, 2, p)

    mu, mu_s = rng.normal(size=(2, p)) / 2
    rates = dict(zip(("eps", "rho", "phi"), rng.uniform(0.1, 0.9, 3), strict=True))
    n, m = rng.uniform(5, 40, 2)
    return real_plus_synthetic(n, m, mu, mu_s, omega=rng.uniform(0.2, 2), cov_r=cov(), cov_s=cov(), **rates)


@pytest.mark.parametrize(
    ("problem", "gamma", "variant", "expected"),
    [
        (two_covariances(TOEPLITZ), 0.05, "exact", (0.6157902657, 0.3971798585, 0.8357402862)),
        (two_covariances(1.0), 0.05, "exact", (0.6805948284, 0.3509617064, 0.8746885989)),
        (two_covariances(1.0), 0.05, "released", (0.6820936758, 0.3575110215, 0.8730178396)),
        (figure_one(), 1e-6, "exact", (0.6973700906, 0.3999606096, 0.8649197950)),
        (figure_one(), 0.1, "exact", (0.6536694500, 0.3078699349, 0.8806175157)),
        (figure_one(), 10.0, "exact", (0.1088668787, 0.006757939472, 0.9072994203)),
    ],
)
def test_reference_values(problem, gamma, variant, expected):
    moments = decision_moments(problem, gamma, variant=variant)
    np.testing.assert_allclose([*moments, accuracy(*moments)], expected, rtol=1.2e-10, atol=6e-11)


def test_fixed_point_of_two_covariances():
    problem = two_covariances(TOEPLITZ)
    delta = fixed_point_dense(np.array([1 / 3, 2 / 3]), problem.cov, problem.atoms, 0.05, 600)
    np.testing.assert_allclose(delta, [0.3475040260, 0.4567039013], rtol=2e-10)


def test_released_variance_is_negative_where_monte_carlo_is_not():
    mu, _ = paper_means(100, 1.0)
    problem = real_plus_synthetic(0, 200, mu, eps=0.3, rho=0.2, phi=0.4)
    assert accuracy(*decision_moments(problem, 0.01)) == pytest.approx(0.5874808562, abs=1e-10)
    released = decision_moments(problem, 0.01, variant="released")
    assert released.var < 0
    assert np.isnan(accuracy(*released))


@pytest.mark.parametrize("dense", [False, True])
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), log_gamma=st.floats(-3, 2))
def test_two_routes_to_the_variance_agree(dense, seed, log_gamma):
    problem, gamma = random_problem(np.random.default_rng(seed), dense=dense), 10.0**log_gamma
    A = np.cov(np.random.default_rng(seed + 1).normal(size=(12, 30)))
    for test_cov in (None, A):
        one = decision_moments(problem, gamma, test_cov=test_cov)
        np.testing.assert_allclose(one, response_moments(problem, gamma, test_cov=test_cov), rtol=1e-10)


def test_with_white_test_points_the_ridge_gives_the_variance():
    problem = random_problem(np.random.default_rng(3), dense=True)
    one = decision_moments(problem, 0.2, test_cov=np.ones(12)).var
    assert one == pytest.approx(float(-jax.grad(lambda gamma: response(problem, gamma))(0.2)), rel=1e-11)


def test_dense_and_commuting_paths_agree():
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.normal(size=(30, 30)))[0]
    spectra, (mu, mu_s) = rng.uniform(0.1, 2, (2, 30)), rng.normal(size=(2, 30)) / 3
    flat = real_plus_synthetic(20, 50, mu, mu_s, cov_r=spectra[0], cov_s=spectra[1], **LABELS)
    covs = [(rotation * spectrum) @ rotation.T for spectrum in spectra]
    dense = real_plus_synthetic(
        20, 50, rotation @ mu, rotation @ mu_s, cov_r=covs[0], cov_s=covs[1], **LABELS
    )
    np.testing.assert_allclose(decision_moments(flat, 0.05), decision_moments(dense, 0.05), rtol=1e-11)
    pi = flat.counts / flat.counts.sum()
    np.testing.assert_allclose(
        fixed_point(pi, flat.cov, flat.atoms, 0.05, 70),
        fixed_point_dense(pi, dense.cov, dense.atoms, 0.05, 70),
        rtol=1e-12,
    )


def test_isotropic_test_covariance_may_be_scalar_eigenvalues_or_matrix():
    problem = random_problem(np.random.default_rng(1), dense=False)
    eye = decision_moments(problem, 0.1, test_cov=np.eye(12))
    np.testing.assert_allclose(decision_moments(problem, 0.1, test_cov=np.ones(12)), eye, rtol=1e-12)


@pytest.mark.parametrize("gamma", [1e-8, 1e-6, 1e-3, 1.0])
@pytest.mark.parametrize("ratio", [0.1, 0.9, 1.0, 1.1, 10.0])
def test_newton_has_converged(gamma, ratio):
    """delta solves the fixed-point equation to rounding, on spectra over three decades."""
    p, n = 200, 200 / ratio
    rng = np.random.default_rng(int(10 * ratio))
    spectra = 10 ** rng.uniform(-2, 1, (2, p))
    problem = real_plus_synthetic(n / 3, 2 * n / 3, np.zeros(p), cov_r=spectra[0], cov_s=spectra[1], **LABELS)
    found = limit(problem, jnp.array(gamma))
    again = (spectra * np.asarray(found.Q0)).sum(1) / n
    np.testing.assert_allclose(found.delta, again, rtol=1e-11)


class TestExactIdentities:
    """What holds at every size, whatever the covariances."""

    problem = random_problem(np.random.default_rng(7), dense=True)
    mu = problem.means[0]

    def moments(self, n, m, gamma, variant: Variant = "exact", **changes):
        settings = LABELS | dict(
            mu_s=self.problem.means[1], cov_r=self.problem.cov[0], cov_s=self.problem.cov[1]
        )
        problem = real_plus_synthetic(n, m, self.mu, **(settings | changes))
        return np.array(decision_moments(problem, gamma, variant=variant))

    def test_blind_pruning_is_fewer_samples_at_a_larger_ridge(self):
        n, m, phi, gamma = 20.0, 60.0, 0.4, 0.1
        pruned = self.moments(n, m, gamma, rho=phi, phi=phi)
        fewer = self.moments(n, phi * m, gamma * (n + m) / (n + phi * m), rho=1.0, phi=1.0)
        np.testing.assert_allclose(pruned, fewer, rtol=1e-11)

    def test_the_released_variant_breaks_that_identity(self):
        pruned = self.moments(20.0, 60.0, 0.1, "released", rho=0.4, phi=0.4)
        fewer = self.moments(20.0, 24.0, 0.1 * 80 / 44, "released", rho=1.0, phi=1.0)
        assert abs(pruned / fewer - 1).max() > 0.01

    def test_swapping_right_and_wrong_mirrors_the_accuracy(self):
        # Kept with a right label: phi (1 - eps); with a wrong one: rho eps.
        one = self.moments(0, 60, 0.1, eps=0.3, rho=0.1, phi=0.45)
        other = self.moments(0, 60, 0.1, eps=0.5, rho=2 * 0.45 * 0.7, phi=2 * 0.1 * 0.3)
        np.testing.assert_allclose(other, [-one[0], one[1]], rtol=1e-11)
        assert accuracy(*one) + accuracy(*other) == pytest.approx(1, abs=1e-12)

    def test_without_synthetic_samples_their_labels_do_not_matter(self):
        clean = self.moments(20, 0, 0.1, eps=0.0, rho=0.0, phi=1.0)
        np.testing.assert_array_equal(clean, self.moments(20, 0, 0.1, eps=0.9, rho=1.0, phi=0.2))

    def test_weight_zero_is_no_synthetic_data(self):
        ignored = self.moments(20, 60, 0.1, omega=0.0)
        np.testing.assert_allclose(ignored, self.moments(20, 0, 0.1 * 80 / 20), rtol=1e-11)

    def test_a_perfect_generator_is_real_data(self):
        same: dict[str, Any] = dict(cov_s=self.problem.cov[0], eps=0.0, phi=1.0, mu_s=self.mu)
        np.testing.assert_allclose(self.moments(20, 60, 0.1, **same), self.moments(80, 0, 0.1), rtol=1e-11)


def test_no_kept_sample_is_a_coin_flip():
    problem = real_plus_synthetic(0, 50, np.ones(10), eps=1.0, rho=0.0, phi=1.0)
    assert accuracy(*decision_moments(problem, 0.1)) == 0.5


@pytest.mark.parametrize("omega", [1.0, 0.3])
def test_monte_carlo_with_covariances_that_do_not_commute(omega):
    """150 dimensions, 200 draws: moments within 4 standard errors plus the 1/p bias."""
    base = two_covariances(TOEPLITZ)
    problem = base._replace(atoms=base.atoms.at[1, :, 0].multiply(omega))
    rng, gamma, N = np.random.default_rng(0), 0.05, 600
    mu, mu_s = np.asarray(problem.means)
    roots = [np.linalg.cholesky(np.asarray(cov)) for cov in problem.cov]
    found = []
    for _ in range(200):
        real = mu + rng.normal(size=(200, P)) @ roots[0].T
        made = mu_s + rng.normal(size=(400, P)) @ roots[1].T
        b = np.where(rng.random(400) < LABELS["eps"], -1.0, 1.0)
        kept = (rng.random(400) < np.where(b > 0, LABELS["phi"], LABELS["rho"])) * omega
        S = (real.T @ real + (made.T * kept) @ made) / N + gamma * np.eye(P)
        w = np.linalg.solve(S, (real.sum(0) + made.T @ (kept * b)) / N)
        found.append([mu @ w, w @ np.asarray(problem.cov[0]) @ w])
    mean, error = np.mean(found, 0), np.std(found, 0, ddof=1) / np.sqrt(200)
    assert (abs(mean - np.array(decision_moments(problem, gamma))) < 4 * error + 0.3 / P).all()
