"""All samplers of the accuracy have one law: that of the literal simulation."""

import functools
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats as scipy_stats

from tests.check_kernel import check_kernel
from theorysim.rmt_synthetic.problem import Problem, paper_means, real_plus_synthetic
from theorysim.rmt_synthetic.samplers import Method, sample_accuracy, sample_scores
from theorysim.rmt_synthetic.samplers.draws import map_draws
from theorysim.rmt_synthetic.samplers.plain import (
    draw_training_set,
    dual_classifier,
    ridge_classifier,
    square_roots,
)
from theorysim.rmt_synthetic.score import Moments
from theorysim.rmt_synthetic.score import test_accuracy as accuracy_of

stats: Any = scipy_stats  # whose annotations know no p-values
DRAWS = 6000


def mixture(n, m, p, *, mu: Any = 1.3, beta: Any = 0.6, perp: Any = 0.8, **options) -> Problem:
    options = dict(eps=0.3, rho=0.2, phi=0.7) | options
    return real_plus_synthetic(n, m, *paper_means(p, mu, beta, perp), **options)


def several_groups() -> Problem:
    """Three groups with targets that are no signs, one of the groups empty, one kept fraction zero."""
    p = 12
    means = jnp.stack([jnp.ones(p) / 4, jnp.linspace(-0.3, 0.5, p), jnp.zeros(p)])
    atoms = [
        [[1, 1, 0.5], [1, 0.3, 0.5], [0, 0, 0]],
        [[1, 2, 0.25], [1, -0.5, 0.5], [0, 0, 0.25]],
        [[1, 1, 1], [0, 0, 0], [0, 0, 0]],
    ]
    empty = jnp.zeros((3, 0, p)), jnp.zeros((3, 0))
    return Problem(means, jnp.ones((3, p)), jnp.array([20.0, 30.0, 0.0]), jnp.array(atoms), *empty)


# Problems that the banded sampler can do, and a ridge for each.
ISOTROPIC = {
    "real and synthetic": (mixture(30, 50, 20), 0.1),
    "fewer kept samples than dimensions": (mixture(6, 12, 31), 0.02),
    "synthetic only": (mixture(0, 40, 20, eps=0.5, perp=0.0), 0.05),
    "real only": (mixture(25, 0, 22), 0.3),
    "one mean": (mixture(10, 30, 21, beta=1, perp=0), 0.05),
    "no signal": (mixture(10, 30, 20, mu=0), 0.05),
    "hardly any sample": (mixture(1, 2, 5, rho=0.5, phi=0.5), 0.02),
    "four dimensions": (mixture(20, 20, 4), 0.1),
    "a covariance and a weight": (mixture(20, 40, 20, cov_r=0.5, cov_s=0.5, omega=1), 0.1),
    "a weight of synthetic data alone": (mixture(0, 40, 20, cov_r=0.5, cov_s=2.0, omega=0.4), 0.1),
    "dense but round": (mixture(20, 30, 8, cov_s=jnp.eye(8)), 0.1),
    "real targets and three groups": (several_groups(), 0.1),
}


def toeplitz(p, r):
    return jnp.asarray(r ** np.abs(np.subtract.outer(np.arange(p), np.arange(p))))


GENERAL = ISOTROPIC | {
    "commuting covariances and a weight": (
        mixture(20, 40, 12, cov_s=jnp.linspace(0.2, 2, 12), omega=0.3),
        0.1,
    ),
    "covariances that do not commute": (
        mixture(20, 40, 10, cov_r=toeplitz(10, 0.6), cov_s=jnp.linspace(0.2, 2, 10), omega=2.0),
        0.05,
    ),
    "a singular covariance": (mixture(10, 60, 12, cov_s=jnp.repeat(jnp.array([0.0, 2.0]), 6)), 0.05),
    "two dimensions": (mixture(5, 5, 2), 0.1),
}


@functools.cache
def scores_of(name, method) -> Moments:
    problem, gamma = GENERAL[name]
    # Three keys that have nothing in common.
    key = jax.random.fold_in(jax.random.key(17), ("plain", "bartlett", "banded").index(method))
    return sample_scores(key, DRAWS, problem, gamma, method)


# Every program takes ten seconds to compile: of each kind those that differ most run always, the others on
# demand.
ALWAYS = {
    ("real and synthetic", "banded"),
    ("hardly any sample", "banded"),
    ("real targets and three groups", "banded"),
    ("a singular covariance", "bartlett"),
}
CASES = [(name, "banded") for name in ISOTROPIC] + [(name, "bartlett") for name in GENERAL]
assert set(CASES) >= ALWAYS
CASES = [pytest.param(*case, marks=() if case in ALWAYS else pytest.mark.slow) for case in CASES]


def on_demand(method):
    return pytest.param(method, marks=pytest.mark.slow)


@pytest.mark.parametrize(("name", "method"), CASES)
def test_the_law_of_the_scores_is_that_of_the_literal_simulation(name, method):
    ours, literal = scores_of(name, method), scores_of(name, "plain")
    for a, b in [
        (ours.mean, literal.mean),
        (ours.var, literal.var),
        (accuracy_of(*ours), accuracy_of(*literal)),
        (ours.mean * ours.var, literal.mean * literal.var),  # sees how the two depend on each other
    ]:
        a, b = np.asarray(a), np.asarray(b)
        assert stats.ks_2samp(a, b).pvalue > 1e-4
        for power in (1, 2):
            x, y = (a - b.mean()) ** power, (b - b.mean()) ** power
            assert abs(x.mean() - y.mean()) <= 4 * np.sqrt((x.var() + y.var()) / DRAWS)


@pytest.mark.parametrize("name", ["real and synthetic", "covariances that do not commute"])
def test_dual_and_primal_equations_have_one_solution(name):
    problem, gamma = GENERAL[name]
    plain, dual = (sample_scores(jax.random.key(3), 40, problem, gamma, m) for m in ("plain", "dual"))
    np.testing.assert_allclose(dual.mean, plain.mean, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(dual.var, plain.var, rtol=1e-11)


def test_literal_training_sets_follow_their_groups():
    problem = mixture(4000, 8000, 3, cov_s=toeplitz(3, 0.5), omega=0.5)
    data = draw_training_set(jax.random.key(0), problem, square_roots(problem.cov), (4000, 8000))
    real, synthetic = data.features[:4000], data.features[4000:]
    for sample, k in ((real, 0), (synthetic, 1)):
        error = 4 * np.sqrt(np.diag(problem.cov[k]) / len(sample))
        assert (abs(sample.mean(axis=0) - problem.means[k]) < error).all()
        assert abs(jnp.cov(sample.T) - problem.cov[k]).max() < 0.1
    assert (data.weights[:4000] == 1).all() and (data.targets[:4000] == 1).all()
    kept, wrong = data.weights[4000:] > 0, data.targets[4000:] < 0
    assert set(np.unique(data.weights)) == {0, 0.5, 1}
    assert stats.binomtest(int(kept.sum()), 8000, 0.7 * 0.7 + 0.3 * 0.2).pvalue > 1e-3
    assert stats.binomtest(int(wrong.sum()), 8000, 0.3 * 0.2).pvalue > 1e-3
    few = draw_training_set(jax.random.key(1), problem, square_roots(problem.cov), (200, 400))
    w = ridge_classifier(few, jnp.array(0.1))
    np.testing.assert_allclose(w, dual_classifier(few, jnp.array(0.1))[:3], rtol=1e-9)


# Limit, p times the bias and sqrt(p) times the standard deviation, measured once with 4e4 draws a size.
LIMITS = {
    "A": (
        lambda p: (mixture(2 * p, 4 * p, p, mu=1.5, beta=0.7, perp=1.0, rho=0.1, phi=0.8), 0.1),
        0.8764243,
        0.0858,
    ),
    "B": (
        lambda p: (mixture(0, 2 * p, p, mu=1.0, beta=1.0, perp=0.0, eps=0.5, rho=0.2, phi=0.5), 0.05),
        0.5685782,
        0.352,
    ),
}


@pytest.mark.parametrize("method", ["banded", on_demand("bartlett")])
@pytest.mark.parametrize("setting", ["A", on_demand("B")])
def test_accuracy_scatters_around_the_limit_of_the_theory(setting, method):
    build, limit, spread = LIMITS[setting]
    p, draws = 50, 10_000 if method == "banded" else 2000
    accuracy = np.asarray(sample_accuracy(jax.random.key(1), draws, *build(p), method))
    assert abs(accuracy.mean() - limit) < 4 * accuracy.std() / np.sqrt(draws) + 0.15 / p
    kurtosis = stats.kurtosis(accuracy, fisher=False)
    error = np.sqrt((kurtosis - 1) / (4 * draws))
    assert np.sqrt(p) * accuracy.std() == pytest.approx(spread, rel=0.03 + 4 * error)


@pytest.mark.parametrize("method", ["banded", "bartlett", "plain", "dual"])
def test_without_kept_samples_the_accuracy_is_one_half(method):
    problem = mixture(0, 10, 6, rho=0, phi=0)
    assert (sample_accuracy(jax.random.key(0), 5, problem, 0.1, method) == 0.5).all()


@pytest.mark.parametrize("method", ["banded", "bartlett", "plain", "dual"])
def test_accuracy_is_signed(method):
    problem = mixture(0, 400, 8, beta=1, perp=0, eps=1, rho=1, phi=1)
    assert sample_accuracy(jax.random.key(0), 5, problem, 0.1, method).max() < 0.2


@pytest.mark.parametrize("method", [on_demand("banded"), on_demand("bartlett"), "plain"])
def test_a_draw_depends_on_its_own_key_alone(method):
    problem, gamma = ISOTROPIC["real and synthetic"]
    few, many = (sample_scores(jax.random.key(5), draws, problem, gamma, method) for draws in (3, 700))
    # Up to rounding: the order of a sum may change with the size of a batch.
    np.testing.assert_allclose(few.mean, many.mean[:3], rtol=1e-10)
    np.testing.assert_allclose(few.var, many.var[:3], rtol=1e-10)
    assert len(np.unique(many.mean)) == 700
    again = sample_scores(jax.random.key(5), 3, problem, gamma, method)
    other = sample_scores(jax.random.key(6), 3, problem, gamma, method)
    assert (again.mean == few.mean).all() and (other.mean != few.mean).all()


@pytest.mark.parametrize(
    ("draws", "chunk", "multiple"), [(10, 3, 1), (10, 4, 2), (10, 64, 64), (100, 30, 16), (1, 1, 1)]
)
def test_chunks_change_no_draw(draws, chunk, multiple):
    sizes = []

    def sample(keys):
        sizes.append(len(keys))
        return jax.vmap(jax.random.normal)(keys)

    expected = [jax.random.normal(jax.random.fold_in(jax.random.key(2), r)) for r in range(draws)]
    got = map_draws(sample, jax.random.key(2), draws, chunk, multiple)
    np.testing.assert_array_equal(got, expected)
    assert max(sizes) <= chunk and (max(sizes) <= multiple or max(sizes) % multiple == 0)


@pytest.mark.slow
def test_elimination_in_lanes_changes_no_draw(monkeypatch):
    from theorysim.rmt_synthetic.samplers import banded

    problem, gamma = ISOTROPIC["real and synthetic"]
    keys = jax.random.split(jax.random.key(0), 12)
    whole = banded.sample_banded(keys, problem, jnp.asarray(gamma))
    monkeypatch.setattr(banded, "LANES", 4)
    split = banded.sample_banded(keys, problem, jnp.asarray(gamma))
    np.testing.assert_allclose(whole.mean, split.mean, rtol=1e-12)
    np.testing.assert_allclose(whole.var, split.var, rtol=1e-12)


@pytest.mark.slow
def test_auto_takes_the_band_where_it_can_also_under_a_trace():
    key = jax.random.key(0)
    for name, method in (
        ("real and synthetic", "banded"),
        ("commuting covariances and a weight", "bartlett"),
    ):
        problem, gamma = GENERAL[name]
        named = sample_scores(key, 4, problem, gamma, cast(Method, method))
        traced = jax.jit(lambda problem, gamma: sample_scores(key, 4, problem, gamma))
        for got in (sample_scores(key, 4, problem, gamma), traced(problem, gamma)):
            np.testing.assert_allclose(got.mean, named.mean, rtol=1e-11)
            np.testing.assert_allclose(got.var, named.var, rtol=1e-11)


def test_the_band_is_nan_where_it_does_not_apply_and_nothing_is_known():
    draw = jax.jit(lambda problem: sample_scores(jax.random.key(0), 2, problem, 0.1, "banded"))
    assert jnp.isfinite(draw(mixture(10, 20, 8)).mean).all()
    for problem in (mixture(10, 20, 8, cov_s=0.5), mixture(10, 20, 8, omega=0.5)):
        assert jnp.isnan(draw(problem).mean).all() and jnp.isnan(draw(problem).var).all()


@pytest.mark.slow
def test_sweeps_over_everything_but_the_dimension():
    def accuracy(n, m, eps, rho, phi, gamma):
        problem = mixture(n, m, 10, eps=eps, rho=rho, phi=phi)
        return sample_accuracy(jax.random.key(0), 8, problem, gamma, "banded")

    points = np.array(
        [[20, 30, 0.1, 0.2, 0.9, 0.1], [5, 0, 0.0, 0.0, 1.0, 1.0], [0, 60, 0.5, 0.5, 0.5, 0.01]]
    )
    swept = jax.jit(jax.vmap(accuracy))(*points.T)
    np.testing.assert_allclose(swept, [accuracy(*point) for point in points], rtol=1e-10)


@pytest.mark.parametrize("kernel", [sample_accuracy, on_demand(sample_scores)])
@pytest.mark.parametrize("method", ["banded", on_demand("bartlett"), "plain", "dual"])
def test_samplers_are_kernels(method, kernel):
    problem, gamma = mixture(12, 20, 6), jnp.array(0.1)
    if method in ("plain", "dual"):
        # Counts that set sizes cannot be batched with the rest.
        sampler = functools.partial(kernel, jax.random.key(0), 3, problem, method=method)
        batch = jnp.array([0.1, 1.0])
        loop = [sampler(gamma) for gamma in batch]
        expected = jax.tree.map(lambda *leaves: np.stack(leaves), *loop)
        jax.tree.map(
            functools.partial(np.testing.assert_allclose, rtol=1e-11), jax.vmap(sampler)(batch), expected
        )
        return
    static = dict(draws=3, method=method)
    bad = [dict(draws=0), dict(gamma=0.0), dict(gamma=[0.1, 1.0])]
    other = mixture(10, 24, 6, eps=0.1)
    check_kernel(
        kernel,
        problem,
        gamma,
        static=static,
        key=jax.random.key(4),
        points=[(other, jnp.array(0.3))],
        bad=bad,
        smooth=False,
        rtol=1e-9,
    )


@pytest.mark.parametrize("method", [on_demand("banded"), on_demand("bartlett"), "plain", on_demand("dual")])
def test_single_precision_has_the_same_law(method):
    problem, gamma = mixture(40, 80, 30), 0.05
    narrow = Problem(*(field.astype(jnp.float32) for field in problem))
    draws = 3000
    ours = sample_scores(jax.random.key(1), draws, narrow, gamma, method)
    wide = sample_scores(jax.random.key(2), draws, problem, gamma, "banded")
    assert ours.mean.dtype == ours.var.dtype == jnp.float32
    for a, b in zip(ours, wide, strict=True):
        assert stats.ks_2samp(np.asarray(a), np.asarray(b)).pvalue > 1e-3


def test_bad_input_says_what_to_do():
    key, problem = jax.random.key(0), mixture(10, 20, 8)
    with pytest.raises(ValueError, match=r"draws must be an integer >= 1, got 0"):
        sample_accuracy(key, 0, problem, 0.1)
    with pytest.raises(ValueError, match=r"gamma must be in \(0, inf\), got 0"):
        sample_accuracy(key, 1, problem, 0.0)
    with pytest.raises(ValueError, match=r"counts must be whole numbers to be sampled, got \[10.5, 20.0\]"):
        sample_accuracy(key, 1, problem._replace(counts=jnp.array([10.5, 20.0])), 0.1)
    with pytest.raises(ValueError, match="counts must be in"):
        sample_accuracy(key, 1, problem._replace(counts=jnp.array([10.0, -1.0])), 0.1)
    for other in (
        dict(cov_s=0.5),
        dict(cov_s=jnp.linspace(1, 2, 8)),
        dict(cov_r=0, cov_s=0),
        dict(omega=0.5),
    ):
        with pytest.raises(ValueError, match="method must be 'bartlett'"):
            sample_scores(key, 1, mixture(10, 20, 8, **other), 0.1, "banded")
    with pytest.raises(ValueError, match=r"needs p >= 4 dimensions, got 3"):
        sample_scores(key, 1, mixture(10, 20, 3), 0.1, "banded")
    pruned = problem._replace(directions=jnp.zeros((2, 1, 8)), gains=jnp.zeros((2, 1)))
    with pytest.raises(ValueError, match="problem must not be pruned by a linear verifier"):
        sample_scores(key, 1, pruned, 0.1)
    literal: tuple[Method, ...] = ("plain", "dual")
    for method in literal:
        with pytest.raises(TypeError, match="counts set array sizes"):
            jax.jit(lambda problem, method=method: sample_scores(key, 1, problem, 0.1, cast(Method, method)))(
                problem
            )
    with pytest.raises(TypeError, match="draws"):
        jax.jit(lambda draws: sample_scores(key, draws, problem, 0.1))(3)
