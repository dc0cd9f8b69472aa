"""Surviving diversity of every scenario, against independent recursions, Monte Carlo, products and limits."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.model_collapse.laws import ZIPF_52
from theorysim import model_collapse as mc
from theorysim.model_collapse import Scenario

EVERY_SCENARIO = [
    Scenario("replace", n=7),
    Scenario("mixed", n=7, N=11),
    Scenario("accumulate", n=7, N=11),
    Scenario("window", n=7, K=3, resample="pooled"),
    Scenario("window", n=7, K=3, resample="fresh"),
    Scenario("random_pool", n=7),
    Scenario("fresh_real", n=7, N=11),
    Scenario("fresh_real", n=7, N=11, a=0.9),
]


def overlap_recursion(scenario, num_gens, S0):
    """S_m from E<p^(t), p^(u)> of all pairs of models, straight from the definition of each scenario."""
    n, N, a = scenario.n, scenario.N, scenario.synthetic_weight
    # Every data set is a batch of draws from one model (or from a mixture); C holds overlaps of models.
    C = np.full((num_gens + 1, num_gens + 1), S0)
    if scenario.kind == "window":
        b, K = n // scenario.K, scenario.K
        B = np.full((num_gens + 1, num_gens + 1), S0)  # overlaps of the batches' empirical laws
        B[0, 0] = S0 + (1 - S0) / b
        sumsq = [S0]
        for m in range(1, num_gens + 1):
            r = list(range(max(0, m - K), m))
            if scenario.resample == "pooled":
                sumsq.append(B[np.ix_(r, r)].mean())
                B[m, :m] = B[:m, m] = B[r, :m].mean(0)
                B[m, m] = sumsq[-1] + (1 - sumsq[-1]) / b
            else:
                C[m, :m] = C[:m, m] = C[r, :m].mean(0)
                C[m, m] = C[np.ix_(r, r)].mean() + sum(1 - C[t, t] for t in r) / (b * len(r) ** 2)
                sumsq.append(C[m, m])
        return np.array(sumsq)
    # The other scenarios mix i.i.d. batches: a batch of k draws from a law with sum of squares s has, in
    # expectation, 1/k + (1-1/k) s, and overlaps what preceded it as its source does.
    sumsq = [S0]
    real = 1 / N + (1 - 1 / N) * S0 if N else None
    pool_size, pool_sq = N, real
    past = S0
    for m in range(1, num_gens + 1):
        before = sumsq[-1]
        if scenario.kind == "replace":
            sumsq.append(1 / n + (1 - 1 / n) * before)
        elif scenario.kind == "fresh_real":
            fresh = 1 / n + (1 - 1 / n) * before
            sumsq.append((1 - a) ** 2 * real + a**2 * fresh + 2 * a * (1 - a) * S0)
        elif scenario.kind == "mixed":
            if m == 1:
                sumsq.append(real)
                continue
            alpha, synthetic = n / (N + n), 1 / n + (1 - 1 / n) * before
            # E<p^(m), p^(1)> = E sigma_1: the drift has mean zero given the corpus.
            sumsq.append((1 - alpha) ** 2 * real + alpha**2 * synthetic + 2 * alpha * (1 - alpha) * real)
        elif scenario.kind == "accumulate":
            if m > 1:
                synthetic, w = 1 / n + (1 - 1 / n) * pool_sq, n / (pool_size + n)
                pool_sq = (1 - w) ** 2 * pool_sq + w**2 * synthetic + 2 * w * (1 - w) * pool_sq
                pool_size += n
            sumsq.append(pool_sq)
        else:
            # random_pool: past = E|mean of models 0..m-1|^2; a draw comes from that mean.
            new = 1 / n + (1 - 1 / n) * past
            sumsq.append(new)
            past = ((m / (m + 1)) ** 2) * past + new / (m + 1) ** 2 + 2 * m / (m + 1) ** 2 * past
    return np.array(sumsq)


@pytest.mark.parametrize("scenario", EVERY_SCENARIO, ids=str)
def test_expected_sumsq_follows_from_the_definition(scenario):
    p = np.array([0.6, 0.3, 0.1])
    expected = overlap_recursion(scenario, 12, (p**2).sum())
    np.testing.assert_allclose(mc.expected_sumsq(p, scenario, 12), expected, rtol=1e-12)


@pytest.mark.parametrize("scenario", EVERY_SCENARIO, ids=str)
def test_limit_is_where_the_factors_go(scenario):
    last = mc.diversity_factor(scenario, 20_000)[-1]
    np.testing.assert_allclose(last, mc.diversity_limit(scenario), atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 10**4), st.integers(1, 10**4))
def test_diversity_only_shrinks_and_stays_in_the_unit_interval(n, N):
    without, with_real = Scenario("replace", n=n), Scenario("mixed", n=n, N=N)
    for scenario in (without, with_real, Scenario("accumulate", n=n, N=N), Scenario("random_pool", n=n)):
        h = np.asarray(mc.diversity_factor(scenario, 30))
        assert h[0] == 1
        assert (h >= 0).all()
        assert (np.diff(h) <= 1e-15).all()


def test_random_pool_has_the_curve_of_accumulation_with_a_real_batch_of_n():
    pool = mc.diversity_factor(Scenario("random_pool", n=13), 50)
    accumulation = mc.diversity_factor(Scenario("accumulate", n=13, N=13), 50)
    np.testing.assert_allclose(pool, accumulation, rtol=1e-13)


@pytest.mark.parametrize("n", [1, 2, 10, 1000])
def test_accumulation_keeps_sinc_of_the_diversity(n):
    limit = mc.diversity_limit(Scenario("accumulate", n=n, N=n))
    np.testing.assert_allclose(limit, np.sinc(1 / np.sqrt(n)), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize(
    ("n", "N"), [(3, 40_000), (1, 10**7), (10, 79), (10, 80), (10, 81), (1, 1), (1, 2), (1, 8), (500, 3)]
)
def test_accumulation_limit_equals_gamma_functions_in_high_precision(n, N):
    with mpmath.workdps(60):
        a, c = mpmath.mpf(N) / n, 1 / mpmath.sqrt(n)
        log_h = 2 * mpmath.loggamma(a + 1) - mpmath.loggamma(a + 1 - c) - mpmath.loggamma(a + 1 + c)
        exact = float((1 - mpmath.mpf(1) / N) * mpmath.exp(log_h))
    # Rounding alone: 3e-15 where the compiler contracts multiply-adds, 4.2e-15 unoptimised, as here.
    np.testing.assert_allclose(
        mc.diversity_limit(Scenario("accumulate", n=n, N=N)), exact, rtol=5e-15, atol=1e-16
    )


def test_polya_urn():
    # One draw a generation, all kept: a Polya urn, whose limit is a Dirichlet law.
    N = 6
    limit = mc.diversity_limit(Scenario("accumulate", n=1, N=N))
    np.testing.assert_allclose(limit, (1 - 1 / N) * N / (N + 1), rtol=1e-13)


def test_a_window_of_one_is_fully_synthetic_training():
    for resample in ("fresh", "pooled"):
        window = mc.diversity_factor(Scenario("window", n=9, K=1, resample=resample), 20)
        np.testing.assert_allclose(window, mc.diversity_factor(Scenario("replace", n=9), 20), rtol=1e-13)


@pytest.mark.parametrize("resample", ["fresh", "pooled"])
@pytest.mark.parametrize("K", [2, 5, 10])
def test_window_decay_rate_is_the_eigenvalue_and_its_large_n_form(resample, K):
    n = 1000 * K
    rate = mc.window_decay_rate(Scenario("window", n=n, K=K, resample=resample))
    h = mc.diversity_factor(Scenario("window", n=n, K=K, resample=resample), 60 * K)
    np.testing.assert_allclose(rate, h[-1] / h[-2], rtol=1e-11)
    gap = 4 * (K if resample == "pooled" else 1) / (n * (K + 1) ** 2)
    np.testing.assert_allclose(1 - rate, gap, rtol=0.02)


def window_map(batch, K, resample):
    """The linear map of one generation on the K x K overlaps of the last K models (newest last), K known."""
    columns = []
    for unit in np.eye(K * K):
        old = unit.reshape(K, K)
        row, h = old.mean(1), old.mean()
        if resample == "fresh":
            h = own = h - np.trace(old) / (batch * K**2)
        else:
            own = h * (1 - 1 / batch)
        new = np.empty((K, K))
        new[:-1, :-1], new[-1, :-1], new[:-1, -1], new[-1, -1] = old[1:, 1:], row[1:], row[1:], own
        columns.append(new.ravel())
    return np.array(columns).T


@pytest.mark.parametrize("resample", ["fresh", "pooled"])
@pytest.mark.parametrize(("batch", "K"), [(1, 1), (1, 2), (1, 5), (2, 3), (30, 4)])
def test_window_decay_rate_is_the_eigenvalue_down_to_one_draw_from_each_model(batch, K, resample):
    rate = mc.window_decay_rate(Scenario("window", n=batch * K, K=K, resample=resample))
    largest = np.abs(np.linalg.eigvals(window_map(batch, K, resample))).max()
    np.testing.assert_allclose(rate, largest, rtol=1e-11, atol=1e-15)


def test_optimal_weight_minimises_the_stationary_error():
    for n, N in ((100, 100), (3, 500), (2000, 10)):
        weight = mc.optimal_synthetic_weight(n, N)
        weights = np.linspace(0, 1, 100_001)
        np.testing.assert_allclose(weight, weights[np.argmin(mc.fresh_real_error(weights, n, N))], atol=1e-5)
        slope = jax.grad(lambda a, n=n, N=N: mc.fresh_real_error(a, n, N))(weight)
        assert abs(slope) < 1e-14


def test_golden_ratio_on_real_data():
    np.testing.assert_allclose(1 - mc.optimal_synthetic_weight(1e9, 1e9), (np.sqrt(5) - 1) / 2, atol=1e-8)


def test_factors_are_differentiable_in_the_sizes_and_the_weight():
    def factor(n, N, a):
        fresh = mc.diversity_factor(Scenario("fresh_real", n=n, N=N, a=a), 6)
        kept = mc.diversity_factor(Scenario("accumulate", n=n, N=N), 6)
        mixed = mc.diversity_factor(Scenario("mixed", n=n, N=N), 6)
        return (fresh + kept + mixed).sum()

    at = (7.0, 11.0, 0.4)
    gradient = jax.grad(factor, argnums=(0, 1, 2))(*at)
    for i, slope in enumerate(gradient):
        up, down = (tuple(v + s * 1e-5 * (j == i) for j, v in enumerate(at)) for s in (1, -1))
        np.testing.assert_allclose(slope, (factor(*up) - factor(*down)) / 2e-5, rtol=1e-7)


@pytest.mark.parametrize(
    ("kind", "N", "slope"),
    [
        ("replace", 0.0, [1, 0, 0, 0]),
        ("mixed", 9.0, None),
        ("random_pool", 0.0, [1, 3 / 4, 2 / 3, 5 / 8]),
    ],
)
def test_factors_are_differentiable_at_one_sample(kind, N, slope):
    gradient = jax.jacobian(lambda n: mc.diversity_factor(Scenario(kind, n, N=N), 4))(1.0)[1:]
    if slope is None:
        base, near, far = (mc.diversity_factor(Scenario(kind, 1 + e, N=N), 4)[1:] for e in (0, 1e-5, 2e-5))
        slope = (4 * near - 3 * base - far) / 2e-5
    np.testing.assert_allclose(gradient, slope, atol=1e-8)


def test_weights_keep_their_digits_in_float32_when_synthetic_data_abounds():
    n, N = jnp.float32(2**24), jnp.float32(3)
    exact = float(mc.optimal_synthetic_weight(2.0**24, 3.0))
    np.testing.assert_allclose(1 - mc.optimal_synthetic_weight(n, N), 1 - exact, rtol=1e-3)
    np.testing.assert_allclose(
        mc.fresh_real_error(jnp.float32(1), n, N), mc.fresh_real_error(1.0, 2.0**24, 3.0), rtol=1e-6
    )


@pytest.mark.parametrize(
    "call",
    [
        lambda n: mc.diversity_factor(Scenario("replace", n), 2),
        lambda n: mc.diversity_limit(Scenario("accumulate", 5, N=n)),
        lambda n: mc.expected_sumsq(np.ones(1), Scenario("mixed", n, N=9), 2),
        lambda n: mc.mixed_variance_factor(n, 9, 3),
        lambda n: mc.mixed_sumsq(0.3, 9, n, 3),
        lambda n: mc.mixed_sumsq(1 / n, 9, 9, 3),
        lambda n: mc.gaussian_mixed(n, 9, 3),
        lambda n: mc.separable_expectation(np.ones(4), np.ones(1), 3, 3, 1 / n),
        lambda n: mc.window_decay_rate(Scenario("window", n, K=2)),
    ],
)
def test_a_batch_of_sizes_is_refused_rather_than_mixed_up_with_the_generations(call):
    with pytest.raises(ValueError, match=r"must be a scalar \(batch by jax.vmap\), got shape \(3,\)"):
        call(np.array([4.0, 5.0, 6.0]))


def test_scenarios_pass_through_jit_and_vmap():
    sizes = jnp.array([5.0, 50.0, 500.0])
    batched = jax.jit(jax.vmap(lambda n: mc.diversity_factor(Scenario("mixed", n=n, N=100.0), 9)))(sizes)
    loop = [mc.diversity_factor(Scenario("mixed", n=float(n), N=100.0), 9) for n in sizes]
    np.testing.assert_allclose(batched, jnp.stack(loop), rtol=1e-14)


def test_sumsq_broadcasts_over_laws():
    both = jnp.stack([jnp.asarray(ZIPF_52), jnp.full(600, 1 / 600)])
    together = mc.expected_sumsq(both, Scenario("window", n=10, K=2), 8)
    np.testing.assert_allclose(
        together[0], mc.expected_sumsq(ZIPF_52, Scenario("window", n=10, K=2), 8), rtol=1e-13
    )
