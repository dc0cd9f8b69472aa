"""Partially synthetic training: closed forms against recursions, Monte Carlo and the paper's bounds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from tests.model_collapse.laws import ZIPF_52
from theorysim import model_collapse as mc
from theorysim.numerics import stats

P1 = np.array([0.5, 0.3, 0.15, 0.05])


def simulate_given_corpus(rng, p1, n, N, num_gens, runs):
    p = np.tile(p1, (runs, 1))
    for _ in range(num_gens - 1):
        p = (N * p1 + rng.multinomial(n, p)) / (N + n)
    return p


def test_drift_given_the_corpus_agrees_with_simulation():
    n, N, num_gens = 30, 20, 6
    p = simulate_given_corpus(np.random.default_rng(1), P1, n, N, num_gens, 20_000)
    squared, absolute = ((p - P1) ** 2).sum(1), np.abs(p - P1).sum(1)
    exact_squared = mc.mixed_drift(P1, n, N, num_gens, norm="l2")[-1]
    exact_absolute = mc.mixed_drift(P1, n, N, num_gens, norm="l1")[-1]
    for drift, expected in ((squared, exact_squared), (absolute, exact_absolute)):
        run = stats.mean_and_error(drift)
        assert abs(stats.z_scores(run.mean, expected, run.standard_error)) < 4


def test_l1_drift_equals_the_chain_of_each_token():
    n, N, num_gens = 8, 5, 5
    alpha, j = n / (N + n), np.arange(n + 1)
    expected = np.zeros(num_gens)
    for q in P1:
        law = binom.pmf(j, n, q)
        chain = binom.pmf(j[None, :], n, ((1 - alpha) * q + alpha * j / n)[:, None])
        for m in range(1, num_gens):
            expected[m] += law @ np.abs(alpha * (j / n - q))
            law = law @ chain
    np.testing.assert_allclose(mc.mixed_drift(P1, n, N, num_gens, norm="l1"), expected, rtol=1e-11)


def test_mean_drift_averages_over_the_corpus():
    n, N, num_gens, p = 6, 4, 4, np.array([0.7, 0.3])
    corpora = [np.array([k, N - k]) / N for k in range(N + 1)]
    weights = binom.pmf(np.arange(N + 1), N, 0.7)
    each = [mc.mixed_drift(c, n, N, num_gens, norm="l1") for c in corpora]
    np.testing.assert_allclose(mc.mixed_drift_mean(p, n, N, num_gens), weights @ np.array(each), rtol=1e-12)


@settings(max_examples=50, deadline=None)
@given(st.floats(0.01, 1), st.integers(1, 10**6), st.integers(1, 10**6))
def test_drift_variance_is_bounded_for_every_amount_of_synthetic_data(S0, n, N):
    factor = np.asarray(mc.mixed_variance_factor(n, N, 20))
    assert factor[0] == 0
    assert (factor <= 1 / (2 * N + 1) * (1 + 1e-12)).all()
    sumsq = np.asarray(mc.mixed_sumsq(S0, n, N, 20))
    S1 = 1 / N + (1 - 1 / N) * S0
    np.testing.assert_allclose(sumsq, S1 + factor * (1 - S1), rtol=1e-9)


def test_the_printed_sign_breaks_the_first_generation():
    corrected, printed = (mc.mixed_sumsq(0.1, 1000, 100, 1, variant=v)[0] for v in ("corrected", "printed"))
    assert abs(corrected - 0.109) < 1e-15
    assert abs(printed - 0.109) > 9e-4


def test_largest_admissible_n_reaches_eps_exactly():
    eps, N, sigma1 = 0.05, 100, 0.1
    n = mc.max_synthetic(eps, N, sigma1)
    limit = mc.mixed_variance_factor(n, N, 10_000)[-1] * (1 - sigma1)
    np.testing.assert_allclose(np.sqrt(limit), eps, rtol=1e-10)


def test_no_amount_is_too_much_when_eps_exceeds_the_universal_bound():
    eps = np.sqrt(0.9 / 201)
    assert np.isinf(mc.max_synthetic(eps * 1.0001, 100, 0.1))
    assert np.isfinite(mc.max_synthetic(eps * 0.9999, 100, 0.1))


@pytest.mark.parametrize(("n", "bound"), [(1, 39.65), (10, 2.5e4)])
def test_the_papers_bound_exceeds_the_largest_possible_distance(n, bound):
    np.testing.assert_allclose(np.exp(mc.log_drift_bound(n, 100, 600)), bound, rtol=0.01)
    assert mc.mixed_drift_mean(ZIPF_52, n, 100, 3)[-1] < 2 < bound


def test_the_papers_bound_has_its_three_branches():
    c0 = np.exp(3) / (2 * np.pi)
    for n in (5.0, 50.0):
        low, high = c0 * n / 4 + 2, c0 * n / np.e + 2
        few = np.log(np.sqrt(np.pi * n / 2) / 10 * (2 ** (low - 1) - 2))
        np.testing.assert_allclose(mc.log_drift_bound(n, 10, low - 1), few, rtol=1e-10)
        for s in (0.5 * (low + high), high + 1):
            assert np.isfinite(mc.log_drift_bound(n, 10, s))


def test_the_papers_cap_is_logarithmic_in_the_real_data():
    caps = mc.max_synthetic_bound(0.05, np.array([1e9, 1e18]), 600)
    np.testing.assert_array_equal(caps, [8, 26])
