"""The count chain of one token: against matrix powers, limits and its stationary law."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import binom

from tests.model_collapse.laws import HALVES, ZIPF_52
from theorysim import model_collapse as mc

P = np.array([0.5, 0.3, 0.15, 0.05, 0.0])


def chain(n, q=0.0, pull=0.0):
    x = np.arange(n + 1) / n
    return binom.pmf(np.arange(n + 1), n, (1 - pull) * x[:, None] + pull * q)


@pytest.mark.parametrize("mutation", [None, 0.0, 0.2, 1.0])
def test_separable_expectation_equals_matrix_powers(mutation):
    n, num_gens, f = 12, 5, np.sin(np.arange(13))
    u = mutation or 0.0
    start = binom.pmf(np.arange(n + 1), n, ((1 - u) * P + u / len(P))[:, None]).sum(0)
    expected = [start @ np.linalg.matrix_power(chain(n, 1 / len(P), u), m) @ f for m in range(num_gens)]
    np.testing.assert_allclose(mc.separable_expectation(f, P, n, num_gens, mutation), expected, rtol=1e-11)


def test_mean_of_the_token_shares_is_conserved():
    x = np.arange(31) / 30
    np.testing.assert_allclose(mc.separable_expectation(x, ZIPF_52, 30, 50), np.ones(50), rtol=1e-12)


def test_two_routes_to_the_sum_of_squares_agree():
    x = np.arange(26) / 25
    np.testing.assert_allclose(
        mc.separable_expectation(x**2, P, 25, 12), mc.sumsq_moments(P, 25, 12).mean[1:], rtol=1e-12
    )


def test_support_and_entropy_end_at_one_token():
    assert abs(mc.expected_support(HALVES, 5, 200)[-1] - 1) < 1e-9
    assert mc.expected_entropy(HALVES, 5, 200)[-1] < 1e-9


def test_replace_drift_equals_the_double_sum():
    n, num_gens = 9, 4
    x = np.arange(n + 1) / n
    distance = np.abs(x[:, None] - x[None, :])
    start = binom.pmf(np.arange(n + 1), n, P[:, None]).sum(0)
    expected = [
        (start[:, None] * np.linalg.matrix_power(chain(n), m) * distance).sum() for m in range(num_gens)
    ]
    np.testing.assert_allclose(mc.replace_drift(P, n, num_gens), expected, rtol=1e-11, atol=1e-14)


def test_replace_drift_tends_to_twice_the_first_models_diversity():
    limit = 2 * (1 - 1 / 8) * (1 - (P**2).sum())
    np.testing.assert_allclose(mc.replace_drift(P, 8, 300)[-1], limit, rtol=1e-9)


def test_stationary_law_is_a_fixed_point_with_the_known_moments():
    n, N, q = 40, 60, 0.3
    weight = n / (N + n)
    law = np.asarray(mc.count_stationary_law(q, n, weight))
    np.testing.assert_allclose(law @ chain(n, q, 1 - weight), law, atol=1e-14)
    share = np.arange(n + 1) / n
    drift_variance = weight**2 * law @ (share - q) ** 2
    limit = mc.mixed_variance_factor(n, N, 5000)[-1] * q * (1 - q)
    np.testing.assert_allclose([law @ share, drift_variance], [q, float(limit)], rtol=1e-11)


def test_stationary_law_approaches_a_beta_law():
    # 1 << N << n: p_i^(m) ~ Beta(2N q, 2N (1-q)), whose third central moment the chain must approach.
    from scipy.stats import beta

    n, N, q = 800, 20, 0.3
    law, share = np.asarray(mc.count_stationary_law(q, n, n / (N + n))), np.arange(n + 1) / n
    limit = beta(2 * N * q, 2 * N * (1 - q))
    variance = law @ (share - q) ** 2
    skewness = (law @ (share - q) ** 3) / variance**1.5
    np.testing.assert_allclose([variance, skewness], [limit.var(), limit.stats("s")], rtol=0.05)
    assert np.abs(np.cumsum(law) - limit.cdf(share)).max() < 0.02


def test_stationary_law_with_mutation_is_the_limit_of_separable_expectation():
    n, s, u = 10, 4, 0.1
    f = np.cos(np.arange(n + 1))
    limit = s * np.asarray(mc.count_stationary_law(1 / s, n, 1 - u)) @ f
    later = mc.separable_expectation(f, np.array([0.7, 0.2, 0.1, 0.0]), n, 300, mutation=u)[-1]
    np.testing.assert_allclose(later, limit, rtol=1e-10)


def test_gradients_exist_at_unused_tokens_and_dirac_laws():
    for p in (P, np.array([1.0, 0.0])):
        gradient = jax.grad(lambda p: mc.expected_support(p, 10, 5)[5])(jnp.asarray(p))
        assert jnp.isfinite(gradient).all()


def test_sumsq_moments_broadcast_over_laws_and_sizes():
    sizes = np.array([1.0, 2.5, 25.0])
    laws = np.stack([P, P[::-1], np.full(5, 0.2)])
    for p, n in ((P, sizes), (laws, sizes), (laws, 4)):
        together = mc.sumsq_moments(p, n, 6)
        assert together.mean.shape == together.var.shape == (3, 7)
        each = [
            mc.sumsq_moments(*pair, 6)
            for pair in zip(np.broadcast_to(p, (3, 5)), np.broadcast_to(n, 3), strict=True)
        ]
        np.testing.assert_allclose(together.mean, [one.mean for one in each], rtol=1e-14)
        np.testing.assert_allclose(together.var, [one.var for one in each], atol=1e-15)
        assert (together.var >= 0).all()
        assert (together.var[:, 0] < 1e-15).all()
