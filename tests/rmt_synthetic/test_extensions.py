"""Linear verifiers, several classes, given real features, and the best design."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from theorysim.rmt_synthetic.conditional import conditional_accuracy, conditional_scores, fit_generator
from theorysim.rmt_synthetic.design import optimal_design, reweighted
from theorysim.rmt_synthetic.moments import decision_moments
from theorysim.rmt_synthetic.multiclass import (
    LogitMoments,
    multiclass_accuracy,
    multiclass_moments,
    multiclass_problem,
)
from theorysim.rmt_synthetic.problem import paper_means, real_plus_synthetic
from theorysim.rmt_synthetic.response_function import response_moments
from theorysim.rmt_synthetic.score import test_accuracy as accuracy
from theorysim.rmt_synthetic.verifier import linear_verifier, verifier_rates


def a_verifier(p, theta=0.0, n=100, m=600):
    mu, _ = paper_means(p, 1.5)
    _, off = paper_means(p, 1.5, beta=0.0, perp=0.6)
    r = 0.8 * mu / 1.5 + off
    return mu, r, linear_verifier(n, m, mu, r, theta, eps=0.3)


class TestLinearVerifier:
    def test_reference_values(self):
        mu, r, problem = a_verifier(200)
        np.testing.assert_allclose(verifier_rates(mu, r), [0.8849303298, 0.1150696702], rtol=3e-10)
        moments = decision_moments(problem, 0.1)
        np.testing.assert_allclose(
            [*moments, accuracy(*moments)], [0.6466308172, 0.3000403578, 0.8810996025], rtol=2e-10
        )

    def test_response_gives_the_same_variance(self):
        problem = a_verifier(40, theta=0.4, n=20, m=60)[2]
        np.testing.assert_allclose(response_moments(problem, 0.1), decision_moments(problem, 0.1), rtol=1e-11)

    def test_a_verifier_that_accepts_all_prunes_nothing(self):
        mu, r, _ = a_verifier(30)
        everything = linear_verifier(20, 60, mu, r, -40.0, eps=0.3)
        blind = real_plus_synthetic(20, 60, mu, eps=0.3, rho=1.0, phi=1.0)
        np.testing.assert_allclose(
            decision_moments(everything, 0.1), decision_moments(blind, 0.1), rtol=1e-11
        )

    def test_monte_carlo(self):
        p, n, m, theta, gamma = 50, 25, 150, 0.3, 0.1
        mu, r, problem = a_verifier(p, theta, n, m)
        mu, r = np.asarray(mu), np.asarray(r)
        rng, found = np.random.default_rng(1), []
        for _ in range(1500):
            v = mu + rng.normal(size=(n, p))
            u = mu + rng.normal(size=(m, p))
            b = np.where(rng.random(m) < 0.3, -1.0, 1.0)
            keep = b * (u @ r) > theta
            S = (v.T @ v + u[keep].T @ u[keep]) / (n + m) + gamma * np.eye(p)
            w = np.linalg.solve(S, (v.sum(0) + u[keep].T @ b[keep]) / (n + m))
            found.append([mu @ w, w @ w])
        mean, error = np.mean(found, 0), np.std(found, 0, ddof=1) / np.sqrt(len(found))
        assert (abs(mean - np.array(decision_moments(problem, gamma))) < 4 * error + 0.5 / p).all()

    @pytest.mark.parametrize(
        ("r", "theta", "message"),
        [
            (np.zeros(4), 0.0, "direction must be a finite vector other than zero"),
            (np.ones(3), 0.0, r"direction must have the shape \(4,\) of the mean"),
            (np.ones(4), np.nan, "theta must be in"),
        ],
    )
    def test_bad_input(self, r, theta, message):
        with pytest.raises(ValueError, match=message):
            linear_verifier(10, 10, np.ones(4), r, theta, eps=0.1)


class TestSeveralClasses:
    def problem(self):
        means = 1.5 * jnp.eye(3, 120)
        shifted = means + 0.5 * jnp.roll(jnp.eye(3, 120), 3, axis=1)
        counts = jnp.full(3, 40.0)
        return multiclass_problem(counts, 2 * counts, means, shifted, eps=0.3, rho=0.2, phi=0.9)

    def test_reference_values(self):
        logits = multiclass_moments(self.problem(), 0.1)
        found = [*logits.mean[0, :2], *logits.cov[0, :2]]
        expected = [0.2346940417, -0.1173470209, 0.0963677231, -0.0481838615]
        np.testing.assert_allclose(found, expected, rtol=2e-9)

    def test_accuracy_is_that_of_sampled_logits(self):
        logits = multiclass_moments(self.problem(), 0.1)
        root = np.linalg.svd(np.asarray(logits.cov))
        noise = np.random.default_rng(0).normal(size=(400_000, 3)) * np.sqrt(root.S) @ root.U.T
        right = [(noise + np.asarray(mean)).argmax(1) == c for c, mean in enumerate(logits.mean)]
        found = multiclass_accuracy(jax.random.key(0), logits)
        assert abs(found - np.mean(right)) < 0.002

    def test_two_classes_are_the_binary_problem(self):
        """Centred one-hot targets of two classes are +-1/2 of the label, so logits differ by the score."""
        mu, mu_s = paper_means(30, 1.2, beta=0.8, perp=0.4)
        labels: dict[str, Any] = {"eps": 0.3, "rho": 0.2, "phi": 0.9}
        binary = decision_moments(real_plus_synthetic(20, 60, mu, mu_s, **labels), 0.1)
        pair = multiclass_problem(
            jnp.full(2, 10), jnp.full(2, 30), jnp.stack([mu, -mu]), jnp.stack([mu_s, -mu_s]), **labels
        )
        logits = multiclass_moments(pair, 0.1)
        assert logits.mean[0, 0] - logits.mean[0, 1] == pytest.approx(float(binary.mean), rel=1e-11)
        found = multiclass_accuracy(jax.random.key(0), logits)
        assert found == pytest.approx(float(accuracy(*binary)), rel=1e-11)

    def test_equal_logits_are_guessed(self):
        logits = LogitMoments(jnp.zeros((5, 5)), jnp.eye(5) - 0.2)
        found = multiclass_accuracy(jax.random.key(1), logits)
        assert abs(found - 0.2) < 0.003

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"means": jnp.ones((1, 4))}, r"means must have shape \(L, p\) with L >= 2"),
            ({"n": jnp.ones(3)}, r"n must have shape \(2,\)"),
            ({"eps": 1.2}, r"eps must be in \[0, 1\]"),
        ],
    )
    def test_bad_input(self, change, message):
        fine = dict(n=jnp.ones(2), m=jnp.ones(2), means=jnp.eye(2, 4), eps=0.1, rho=0.1, phi=0.9)
        with pytest.raises(ValueError, match=message):
            multiclass_problem(**(fine | change))


class TestGivenFeatures:
    def features(self, n=60, p=20):
        rng = np.random.default_rng(2)
        return 0.3 + rng.normal(size=(n, p)), 0.3 + rng.normal(size=(400, p))

    def test_monte_carlo(self):
        v, test = self.features()
        generator = fit_generator(v[:30])
        m, eps, rho, phi, gamma, omega = 80, 0.3, 0.2, 0.9, 0.05, 0.7
        rng, scores = np.random.default_rng(3), []
        for _ in range(3000):
            u = rng.multivariate_normal(generator.mean, generator.cov, size=m, method="eigh")
            b = np.where(rng.random(m) < eps, -1.0, 1.0)
            k = (rng.random(m) < np.where(b > 0, phi, rho)) * omega
            S = (v.T @ v + (u.T * k) @ u) / (60 + m) + gamma * np.eye(20)
            scores.append(test @ np.linalg.solve(S, (v.sum(0) + u.T @ (k * b)) / (60 + m)))
        mean, sd = conditional_scores(v, generator, test, m, eps, rho, phi, gamma, omega)
        sampled = np.mean(np.array(scores) > 0)
        assert abs(conditional_accuracy(v, generator, test, m, eps, rho, phi, gamma, omega) - sampled) < 0.003
        # Both have a bias of order 1/p beside the sampling error: at p = 80 that of sd is a third on average.
        np.testing.assert_allclose(mean, np.mean(scores, 0), atol=0.02)
        off = np.asarray(sd) / np.std(scores, 0) - 1
        assert abs(off.mean()) < 0.02
        assert off.std() < 0.04

    def test_without_synthetic_samples_it_is_the_ridge_itself(self):
        v, test = self.features()
        w = np.linalg.solve(v.T @ v / 60 + 0.1 * np.eye(20), v.mean(0))
        found = conditional_scores(v, fit_generator(v), test, 0, 0.3, 0.2, 0.9, 0.1)
        np.testing.assert_allclose(found.mean, test @ w, rtol=1e-10)
        np.testing.assert_array_equal(found.sd, 0)
        exact = conditional_accuracy(v, fit_generator(v), test, 0, 0.3, 0.2, 0.9, 0.1)
        assert exact == pytest.approx(np.mean(test @ w > 0))

    def test_singular_generator_is_allowed(self):
        v, test = self.features()
        found = conditional_accuracy(v, fit_generator(v[:3]), test, 100, 0.1, 0.0, 1.0, 0.1)
        assert 0.5 < found < 1

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"m": -1}, "m must be in"),
            ({"gamma": 0}, "gamma must be in"),
            ({"eps": 2}, "eps must be in"),
            ({"v_test": np.ones((3, 7))}, "generator and v_real must have the 7 features"),
            ({"v_test": np.full((3, 20), np.nan)}, "v_test must be in"),
            ({"v_real": np.ones((0, 20)), "m": 0}, "m must be in"),
        ],
    )
    def test_bad_input(self, change, message):
        v, test = self.features()
        fine = dict(
            v_real=v, generator=fit_generator(v), v_test=test, m=5, eps=0.1, rho=0.1, phi=1, gamma=1.0
        )
        with pytest.raises(ValueError, match=message):
            conditional_accuracy(**(fine | change))


class TestOptimalDesign:
    def few_real(self):
        p, i = 150, np.arange(150)
        mu, mu_s = paper_means(p, 1.5, beta=0.8, perp=0.6)
        decay = 0.4 ** abs(i[:, None] - i)
        return real_plus_synthetic(
            80, 400, mu, mu_s, eps=0.3, rho=0.2, phi=0.9, cov_r=decay, cov_s=np.linspace(0.5, 2, p)
        )

    def test_reference_value(self):
        best = optimal_design(self.few_real())
        assert best.accuracy == pytest.approx(0.8480815661, abs=1e-9)
        assert (best.gamma, best.omega) == (pytest.approx(2.636, abs=5e-4), pytest.approx(0.6168, abs=5e-5))
        assert best.at_bound == ()

    def test_it_is_a_maximum(self):
        problem = self.few_real()
        best = optimal_design(problem)
        for factor in (0.9, 1.1):
            for gamma, omega in ((best.gamma * factor, best.omega), (best.gamma, best.omega * factor)):
                assert accuracy(*decision_moments(reweighted(problem, omega), gamma)) < best.accuracy

    def test_isotropic_data_want_the_averaging_classifier(self):
        mu, _ = paper_means(60, 1.2)
        best = optimal_design(real_plus_synthetic(40, 80, mu, eps=0.2, rho=0.1, phi=0.9), free=("gamma",))
        assert best.at_bound == ("gamma",)

    @pytest.mark.parametrize(("free", "message"), [((), "free must name"), (("eps",), "free must be one of")])
    def test_bad_input(self, free, message):
        with pytest.raises(ValueError, match=message):
            optimal_design(self.few_real(), free)
