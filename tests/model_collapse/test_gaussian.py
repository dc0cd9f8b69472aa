"""The Gaussian analogue against simulation and known limits."""

import numpy as np
import pytest

from theorysim import model_collapse as mc
from theorysim.numerics import stats


def simulate(rng, n, d, num_gens, mode, runs):
    """Refit a d-dimensional Gaussian to its own samples: means (runs, d) and covariances (runs, d, d)."""
    mean, cov = np.zeros((runs, d)), np.tile(np.eye(d), (runs, 1, 1))
    for _ in range(num_gens):
        root = np.linalg.cholesky(cov)
        x = mean[:, None] + np.einsum("rij,rnj->rni", root, rng.standard_normal((runs, n, d)))
        mean = x.mean(1)
        centred = x - mean[:, None]
        cov = np.einsum("rni,rnj->rij", centred, centred) / (n - 1 if mode == "unbiased" else n)
    return mean, cov


@pytest.mark.parametrize("mode", ["unbiased", "mle"])
def test_every_curve_agrees_with_simulation(mode):
    n, d, num_gens = 8, 3, 4
    mean, cov = simulate(np.random.default_rng(2), n, d, num_gens, mode, 20_000)
    curves = mc.gaussian_recursion(n, d, num_gens, mode)
    variance = cov[:, 0, 0]
    trace = np.trace(cov, axis1=1, axis2=2)
    samples = {
        "log_variance_mean": np.log(variance),
        "variance_mean": variance,
        "std_mean": np.sqrt(variance),
        "mean_var": mean[:, 0] ** 2,
        "w2_squared": mean[:, 0] ** 2 + (1 - np.sqrt(variance)) ** 2,
        "log_det_mean": np.linalg.slogdet(cov)[1],
        "trace_sq_mean": (cov**2).sum((1, 2)),
        "sq_trace_mean": trace**2,
    }
    for name, values in samples.items():
        run = stats.mean_and_error(values)
        z = stats.z_scores(run.mean, getattr(curves, name)[num_gens], run.standard_error)
        assert abs(z) < 4.5, (name, float(z))
    spread = stats.variance_and_error(np.log(variance))
    assert abs(stats.z_scores(spread.mean, curves.log_variance_var[num_gens], spread.standard_error)) < 4.5


def test_mean_variance_is_conserved_while_the_typical_one_dies():
    curves = mc.gaussian_recursion(10, 1, 100, "unbiased")
    np.testing.assert_array_equal(curves.variance_mean, 1)
    assert np.exp(curves.log_variance_mean[100]) < 1e-4


def test_mixed_training_agrees_with_simulation():
    n, N, num_gens, runs = 30, 20, 25, 20_000
    rng = np.random.default_rng(3)
    real = rng.standard_normal((runs, N))
    mean, var = real.mean(1), real.var(1)
    first = mean
    for _ in range(num_gens - 1):
        x = np.concatenate([real, mean[:, None] + np.sqrt(var)[:, None] * rng.standard_normal((runs, n))], 1)
        mean, var = x.mean(1), x.var(1)
    curves = mc.gaussian_mixed(n, N, num_gens)
    for values, curve in (((mean - first) ** 2, curves.mean_shift), (var, curves.variance_mean)):
        run = stats.mean_and_error(values)
        assert abs(stats.z_scores(run.mean, curve[-1], run.standard_error)) < 4


def test_mixed_variance_shrinks_like_the_diversity_of_tokens():
    # The universal contraction: the same factor as for next-token laws.
    n, N, num_gens = 30, 20, 25
    curves = mc.gaussian_mixed(n, N, num_gens)
    factor = mc.diversity_factor(mc.Scenario("mixed", n=n, N=N), num_gens)
    np.testing.assert_allclose(curves.variance_mean, factor[1:], rtol=1e-12)
