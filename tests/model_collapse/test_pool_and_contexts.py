"""Random pools and many contexts: exact laws against enumeration and simulation."""

from itertools import product

import numpy as np
from scipy.stats import multinomial

from theorysim import model_collapse as mc
from theorysim.numerics import stats


def enumerate_pool(p, n, num_gens):
    """P(model m is a Dirac law) of `random_pool`, by enumerating every history of models."""
    models = [np.array(c) / n for c in product(range(n + 1), repeat=len(p)) if sum(c) == n]
    histories = [([np.asarray(p)], 1.0)]
    for _ in range(num_gens):
        histories = [
            ([*past, model], weight * multinomial.pmf(model * n, n, np.mean(past, axis=0)))
            for past, weight in histories
            for model in models
        ]
        yield sum(weight for past, weight in histories if past[-1].max() == 1)


def test_pool_dirac_probability_equals_enumeration():
    p, n = np.array([0.5, 0.3, 0.2]), 2
    got = mc.pool_dirac_probability(p, n, 4)
    np.testing.assert_allclose(got[1:], np.array(list(enumerate_pool(p, n, 4))), rtol=1e-12)
    assert got[0] == 0


def test_pool_of_single_samples_is_always_dirac():
    np.testing.assert_allclose(mc.pool_dirac_probability(np.array([0.6, 0.4]), 1, 6)[1:], 1, rtol=1e-12)


def test_a_pool_hardly_ever_collapses():
    from tests.model_collapse.laws import ZIPF_52

    np.testing.assert_allclose(mc.pool_dirac_probability(ZIPF_52[:52], 10, 10)[10], 8.2e-5, rtol=0.01)


def test_contexts_agree_with_a_simulation_of_all_counts():
    rng, runs, num_samples, num_gens = np.random.default_rng(4), 20_000, 25, 4
    context_law, laws = np.array([0.8, 0.15, 0.05]), rng.dirichlet(np.ones(4), 3)
    models = np.tile(laws, (runs, 1, 1))
    for _ in range(num_gens):
        totals = rng.multinomial(num_samples, context_law, size=runs)
        counts = np.stack([rng.multinomial(totals[:, j], models[:, j]) for j in range(3)], axis=1)
        models = np.where(totals[:, :, None] > 0, counts / np.maximum(totals[:, :, None], 1), 0.25)
    run = stats.mean_and_error((models**2).sum(-1))
    expected = mc.context_sumsq(context_law, laws, num_samples, num_gens)
    assert (np.abs(stats.z_scores(run.mean, expected[num_gens], run.standard_error)) < 4).all()


def test_one_context_is_fully_synthetic_training():
    p = np.array([0.5, 0.3, 0.2])
    one = mc.context_sumsq(np.ones(1), p[None], 12, 7)[:, 0]
    np.testing.assert_allclose(one, mc.sumsq_moments(p, 12, 7).mean, rtol=1e-12)


def test_a_context_without_samples_forgets_everything():
    never = mc.context_sumsq(np.array([1.0, 0.0]), np.array([[0.5, 0.5], [0.9, 0.1]]), 10, 2)
    np.testing.assert_allclose(never[1:, 1], 0.5, rtol=1e-14)
