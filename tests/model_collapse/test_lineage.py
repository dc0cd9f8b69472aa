"""Ancestors and the collapse time, against rational arithmetic, dense linear algebra and enumeration."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from tests.model_collapse.laws import HALVES, ZIPF_52
from theorysim import model_collapse as mc
from theorysim.model_collapse.lineage import _band


def exact_lineage_matrix(n):
    """A[k, l] = S2(k, l) n! / ((n-l)! n^k) in rational arithmetic."""
    falling = [Fraction(1)]
    for j in range(n):
        falling.append(falling[-1] * (n - j))
    return [
        [Fraction(int(mpmath.stirling2(k, j))) * falling[j] / n**k for j in range(n + 1)]
        for k in range(n + 1)
    ]


def dense_collapse_time(p, n):
    """E[T] = sum_i [p_i + b(p_i)^T g] with (I - Q) g = x on the interior counts of one token."""
    x = np.arange(1, n) / n
    chain = binom.pmf(np.arange(1, n)[None, :], n, x[:, None])
    g = np.linalg.solve(np.eye(n - 1) - chain, x)
    start = binom.pmf(np.arange(1, n)[None, :], n, np.asarray(p)[:, None])
    return (np.asarray(p) + start @ g).sum()


@pytest.mark.parametrize("n", [1, 2, 3, 7, 12])
def test_lineage_matrix_equals_stirling_numbers(n):
    exact = np.array([[float(a) for a in row] for row in exact_lineage_matrix(n)])
    np.testing.assert_allclose(mc.lineage_matrix(n), exact, rtol=1e-14, atol=0)


def test_lineage_matrix_eigenvalues_are_its_diagonal():
    n = 30
    eigenvalues = np.cumprod(1 - np.arange(n) / n)
    np.testing.assert_allclose(jnp.diagonal(mc.lineage_matrix(n))[1:], eigenvalues, rtol=1e-13)


@pytest.mark.parametrize("n", [2, 9, 40])
def test_visits_solve_the_linear_system_in_rational_arithmetic(n):
    if n <= 9:
        A = exact_lineage_matrix(n)
        v = [Fraction(0)] * (n + 1)
        for j in range(n, 1, -1):
            v[j] = (Fraction(j == n) + sum(v[k] * A[k][j] for k in range(j + 1, n + 1))) / (1 - A[j][j])
        expected = np.array([float(x) for x in v])
    else:
        A = np.asarray(mc.lineage_matrix(n))[2:, 2:]
        expected = np.concatenate([[0, 0], np.linalg.solve((np.eye(n - 1) - A).T, np.eye(n - 1)[-1])])
    np.testing.assert_allclose(mc.lineage_visits(n), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("n", "total"),
    [(1, 1), (2, 3), (3, 4.857142857142857), (10, 18.495620), (50, 97.971198), (1000, 1996.975556)],
)
def test_most_diverse_start(n, total):
    np.testing.assert_allclose(1 + mc.lineage_visits(n).sum(), total, atol=5e-7)


def test_most_diverse_start_follows_its_asymptote():
    for n in (1000, 4000, 20000):
        asymptote = 2 * n - np.log(n) / 3 - 0.7219
        assert abs(1 + mc.lineage_visits(n).sum() - asymptote) < 1e-3


@pytest.mark.parametrize("p", [HALVES, np.array([0.9, 0.06, 0.04]), np.full(20, 0.05)])
@pytest.mark.parametrize("n", [2, 15, 200])
def test_collapse_time_equals_the_dense_solve(p, n):
    np.testing.assert_allclose(mc.collapse_time_mean(p, n), dense_collapse_time(p, n), rtol=1e-10)


def test_collapse_time_of_one_sample_is_one():
    assert mc.collapse_time_mean(ZIPF_52, 1) == 1
    moments = mc.collapse_time_moments(ZIPF_52, 1)
    assert (moments.mean, moments.var) == (1, 0)


def test_collapse_time_of_two_samples():
    np.testing.assert_allclose(mc.collapse_time_mean(ZIPF_52, 2), 1 + 2 * 0.9, rtol=1e-12)


def test_dirac_truth_collapses_at_once():
    assert mc.collapse_time_mean(np.array([1.0, 0.0]), 50) == 1
    np.testing.assert_allclose(mc.collapse_cdf(np.array([1.0, 0.0]), 5, 3), [0, 1, 1, 1], rtol=2e-15)


def test_unused_tokens_change_nothing():
    np.testing.assert_allclose(
        mc.collapse_time_mean(ZIPF_52[:52], 30), mc.collapse_time_mean(ZIPF_52, 30), rtol=1e-14
    )


def test_uniform_vocabulary_collapses_in_2n_generations():
    n = 300
    p = np.full(10**5, 1e-5)
    assert abs(mc.collapse_time_mean(p, n) / (2 * n) - 1) < 0.01


def test_diffusion_limit_is_reached_as_one_over_n():
    errors = [
        abs(mc.collapse_time_diffusion(HALVES, n) / mc.collapse_time_mean(HALVES, n) - 1) for n in (10, 1000)
    ]
    assert 0.09 < errors[0] < 0.11
    assert errors[1] < 0.0025


def test_moments_equal_the_sums_over_the_law():
    p, n, last = np.array([0.5, 0.3, 0.2]), 12, 1500
    alive = 1 - np.asarray(mc.collapse_cdf(p, n, last))
    mean, second = alive.sum(), ((2 * np.arange(last + 1) + 1) * alive).sum()
    moments = mc.collapse_time_moments(p, n)
    np.testing.assert_allclose(moments, [mean, second - mean**2], rtol=1e-10)


def test_variance_keeps_its_digits_near_a_dirac_law():
    # To first order in the share e of the rare token P(T > m) is e q_m, so that Var T / e has a limit.
    shares = 0.5 ** np.array([30, 40, 50])  # 1 - e is exact
    ratios = [mc.collapse_time_moments(np.array([1 - e, e]), 40).var / e for e in shares]
    np.testing.assert_allclose(ratios, ratios[2], rtol=1e-6)


@pytest.mark.parametrize("n", [3, 60, 700])
def test_the_band_holds_every_row(n):
    # Bernstein's bound needs a bound on the variance of the number of distinct parents.
    A, parents = np.asarray(mc.lineage_matrix(n)), np.arange(n + 1)
    mean = A @ parents
    assert (A @ parents**2 - mean**2 <= 0.102 * n + 1).all()
    first, width = _band(n)
    inside = (parents >= first[:, None]) & (parents < first[:, None] + width)
    assert np.where(inside, 0, A).sum(1).max() < 1e-18


@pytest.mark.parametrize("n", [1, 2, 12])
@pytest.mark.parametrize("level", [0.01, 0.5, 0.9, 0.999])
def test_quantiles_invert_the_law(n, level):
    laws = np.array([[0.5, 0.3, 0.2], [0.98, 0.02, 0.0], [1.0, 0.0, 0.0]])
    expected = (np.asarray(mc.collapse_cdf(laws, n, 400)) < level).sum(-1)
    np.testing.assert_array_equal(mc.collapse_time_quantile(laws, n, level), expected)


def test_a_quantile_beyond_rounding_ends_where_the_bound_does():
    latest = 1 + np.log(0.5**53 / 5) / np.log(0.8)
    assert 100 < mc.collapse_time_quantile(HALVES, 5, 1 - 0.5**53) <= latest + 1


def brute_force_models(p, n, num_gens):
    """Law of the count vector after each generation, by enumeration."""
    from itertools import product
    from math import factorial

    states = [c for c in product(range(n + 1), repeat=len(p)) if sum(c) == n]

    def multinomial(c, q):
        return factorial(n) * np.prod([x**k / factorial(k) for x, k in zip(q, c, strict=True)])

    law = {c: multinomial(c, p) for c in states}
    for _ in range(num_gens):
        yield law
        law = {c: sum(w * multinomial(c, np.array(b) / n) for b, w in law.items()) for c in states}


def test_every_functional_equals_enumeration():
    p, n, num_gens = np.array([0.5, 0.3, 0.2]), 4, 4
    cdf = mc.collapse_cdf(p, n, num_gens)
    extinct = mc.extinction_probability(p, n, num_gens)
    cubes = mc.power_sum_mean(p, n, 3, num_gens)
    sixth = mc.power_sum_mean(p, n, 6, num_gens)  # more samples than a generation has
    support, entropy = mc.expected_support(p, n, num_gens), mc.expected_entropy(p, n, num_gens)
    moments = mc.sumsq_moments(p, n, num_gens)
    for m, law in enumerate(brute_force_models(p, n, num_gens), start=1):
        counts, weights = np.array(list(law)), np.array(list(law.values()))
        x = counts / n
        sigma = (x**2).sum(1)
        np.testing.assert_allclose(cdf[m], weights @ (x.max(1) == 1), rtol=1e-12)
        np.testing.assert_allclose(extinct[m], weights @ (counts == 0), rtol=1e-12)
        np.testing.assert_allclose(cubes[m], weights @ (x**3).sum(1), rtol=1e-12)
        np.testing.assert_allclose(sixth[m], weights @ (x**6).sum(1), rtol=1e-12)
        np.testing.assert_allclose(support[m], weights @ (counts > 0).sum(1), rtol=1e-12)
        terms = np.where(counts > 0, -x * np.log(np.maximum(x, 1e-300)), 0)
        np.testing.assert_allclose(entropy[m], weights @ terms.sum(1), rtol=1e-12)
        np.testing.assert_allclose(moments.mean[m], weights @ sigma, rtol=1e-12)
        np.testing.assert_allclose(moments.var[m], weights @ sigma**2 - (weights @ sigma) ** 2, atol=1e-14)


def law_of(weights):
    """Padded to one size, so that every example runs the same compiled code."""
    return np.pad(np.array(weights) / np.sum(weights), (0, 6 - len(weights)))


laws = st.lists(st.floats(0.01, 1), min_size=2, max_size=6).map(law_of)
sizes = st.sampled_from([2, 5, 25])


@settings(max_examples=25, deadline=None)
@given(laws, sizes)
def test_the_papers_bounds_hold(p, n):
    mean = mc.collapse_time_mean(p, n)
    bounds = mc.collapse_time_bounds(p, n)
    assert bounds.lower <= mean * (1 + 1e-12)
    assert mean <= bounds.upper * (1 + 1e-12)
    assert 1 <= mean <= 2 * n - 1
    cdf, cdf_bounds = mc.collapse_cdf(p, n, 30), mc.collapse_cdf_bounds(p, n, 30)
    assert (cdf_bounds.lower[1:] <= cdf[1:] + 1e-12).all()
    assert (cdf[1:] <= cdf_bounds.upper[1:] + 1e-12).all()


@settings(max_examples=25, deadline=None)
@given(laws, sizes, st.randoms(use_true_random=False))
def test_tokens_are_exchangeable_and_merging_them_hastens_collapse(p, n, random):
    order = list(range(len(p)))
    random.shuffle(order)
    np.testing.assert_allclose(mc.collapse_time_mean(p[order], n), mc.collapse_time_mean(p, n), rtol=1e-12)
    merged = np.concatenate([[p[0] + p[1], 0], p[2:]])
    assert mc.collapse_time_mean(merged, n) < mc.collapse_time_mean(p, n)


def test_float32_keeps_seven_digits_of_the_collapse_time():
    p = jnp.asarray(HALVES, jnp.float32)
    assert abs(mc.collapse_time_mean(p, 1000) / mc.collapse_time_mean(HALVES, 1000) - 1) < 1e-6


def test_the_gradient_uses_the_chain_of_the_tokens():
    gradient = jax.grad(mc.collapse_time_mean)(jnp.array([0.7, 0.3, 0.0]), 10)
    assert jnp.isfinite(gradient).all()
    assert gradient[2] > gradient[1] > gradient[0]  # a new token prolongs, the largest one shortens
