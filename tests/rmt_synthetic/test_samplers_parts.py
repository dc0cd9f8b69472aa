"""What the samplers are made of: counts, chi variables, small matrices; and generators fitted anew."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats as scipy_stats

from theorysim.rmt_synthetic.generator import estimated_generator_moments, reused_generator_moments
from theorysim.rmt_synthetic.problem import real_plus_synthetic
from theorysim.rmt_synthetic.samplers import (
    sample_estimated_generator,
    sample_reused_generator,
    sample_scores,
)
from theorysim.rmt_synthetic.samplers.chi import chi
from theorysim.rmt_synthetic.samplers.counts import atom_counts
from theorysim.rmt_synthetic.samplers.small_matrices import (
    cholesky,
    plus_diagonal,
    product,
    products,
    solve_lower,
    solve_upper,
    stack,
    transpose,
    triangular_factor,
    unstack,
)

stats: Any = scipy_stats  # whose annotations know no p-values


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_chi_variables_have_their_law(dtype):
    dof, draws = np.array([1, 2, 3, 5, 12, 100, 2000]), 20_000
    table = jnp.broadcast_to(jnp.asarray(dof, dtype)[:, None], (len(dof), draws))
    x = chi(jax.random.split(jax.random.key(2), draws), table)
    assert x.dtype == dtype
    x = np.asarray(x, float)
    for row, k in zip(x, dof, strict=True):
        assert stats.kstest(row, stats.chi(k).cdf).pvalue > 1e-3
        assert (row**2).mean() == pytest.approx(k, abs=4 * np.sqrt(2 * k / draws))
    assert abs(np.corrcoef(x) - np.eye(len(dof))).max() < 4 / np.sqrt(draws)


def test_a_chi_variable_depends_on_its_column_and_row_alone():
    keys, dof = jax.random.split(jax.random.key(0), 300), jnp.full((40, 300), 2.0)
    whole = chi(keys, dof)
    np.testing.assert_array_equal(whole[:, :7], chi(keys[:7], dof[:, :7]))
    assert len(np.unique(whole)) == whole.size
    assert (chi(keys[:2], jnp.array([[0.0, -3.0]])) == 0).all()


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_counts_are_multinomial(dtype):
    draws, probability = 20_000, np.array([[1.0, 0.0, 0.0], [0.3, 0.02, 0.68], [0.0, 0.4, 0.6]])
    size = np.array([7, 60, 5])
    sample = jax.vmap(atom_counts, (0, None, None))
    counts = sample(
        jax.random.split(jax.random.key(0), draws), jnp.asarray(size, dtype), jnp.asarray(probability, dtype)
    )
    counts = np.asarray(counts)
    assert counts.dtype == dtype
    assert (counts.sum(axis=2) == size).all() and (counts == np.round(counts)).all() and counts.min() >= 0
    for k, j in np.ndindex(3, 3):
        law = stats.binom(size[k], probability[k, j])
        values = np.arange(int(size[k]) + 1)
        expected = law.pmf(values) * draws
        common = expected > 5
        observed = np.bincount(counts[:, k, j].astype(int), minlength=len(values))
        rest = max(draws - observed[common].sum(), 0), max(draws - expected[common].sum(), 0)
        if common.sum() == 1:
            assert observed[common] == draws
            continue
        statistic = ((observed[common] - expected[common]) ** 2 / expected[common]).sum()
        assert stats.chi2(common.sum() - 1).sf(statistic) > 1e-4
        assert rest[0] < rest[1] + 5 * np.sqrt(rest[1] + 1)
    covariance = np.cov(counts[:, 1, 0], counts[:, 1, 1])[0, 1]
    assert covariance == pytest.approx(-60 * 0.3 * 0.02, abs=0.15)


def test_small_matrices_agree_with_numpy():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(5, 4, 7))
    gram = np.einsum("ijr,ikr->jkr", a, a)
    b = rng.normal(size=(4, 2, 7))
    factor = cholesky(unstack(jnp.asarray(gram)))
    np.testing.assert_allclose(stack(product(factor.lower, transpose(factor.lower))), gram, rtol=1e-12)
    x = stack(solve_upper(factor, solve_lower(factor, unstack(jnp.asarray(b)))))
    expected = np.linalg.solve(np.moveaxis(gram, 2, 0), np.moveaxis(b, 2, 0))
    np.testing.assert_allclose(np.moveaxis(np.asarray(x), 2, 0), expected, rtol=1e-9)
    np.testing.assert_allclose(
        products(jnp.asarray(gram), jnp.asarray(b)), np.einsum("ijr,jkr->ikr", gram, b)
    )
    R = triangular_factor(jnp.asarray(a))
    np.testing.assert_allclose(products(R.swapaxes(0, 1), R), gram, rtol=1e-12)
    assert (np.asarray(R)[np.tril_indices(4, -1)] == 0).all()
    np.testing.assert_allclose(
        stack(plus_diagonal(unstack(jnp.asarray(gram)), 2.0)), gram + 2 * np.eye(4)[:, :, None]
    )


def test_known_zeros_of_small_matrices_are_zeros():
    rng = np.random.default_rng(1)
    lower = np.tril(rng.normal(size=(4, 4))) + 3 * np.eye(4)
    sparse = [[jnp.asarray(lower[i, j])[None] if j <= i else None for j in range(4)] for i in range(4)]
    full = unstack(jnp.asarray(lower)[..., None])
    np.testing.assert_allclose(
        stack(product(sparse, transpose(sparse))), stack(product(full, transpose(full)))
    )
    factor = cholesky(product(full, transpose(full)))
    for a, b in ((sparse, full), (transpose(sparse), transpose(full))):
        np.testing.assert_allclose(stack(solve_lower(factor, a)), stack(solve_lower(factor, b)), atol=1e-14)
        np.testing.assert_allclose(stack(solve_upper(factor, a)), stack(solve_upper(factor, b)), atol=1e-14)
    with pytest.raises(ValueError, match="no zero on its diagonal"):
        cholesky([[None]])


VERIFIER: dict[str, Any] = dict(eps=0.3, rho=0.2, phi=0.8)


def check_against_limit(moments, limit, p, draws):
    """Means within four standard errors, and the O(1/p) that a limit leaves."""
    for x, value in zip(moments, limit, strict=True):
        assert abs(x.mean() - value) < 4 * x.std() / np.sqrt(draws) + 3 * abs(value) / p


@pytest.mark.parametrize("estimate_mean", [True, False])
@pytest.mark.parametrize(("n_hat", "omega"), [(45, 1.0), (90, 0.4)])
def test_estimated_generators_scatter_around_the_theory(estimate_mean, n_hat, omega):
    sizes: dict[str, Any] = dict(n=60, n_hat=n_hat, m=120, p=60, mu=1.2, estimate_mean=estimate_mean)
    rest: dict[str, Any] = VERIFIER | dict(gamma=0.05, omega=omega)
    moments = sample_estimated_generator(jax.random.key(0), 600, **sizes, **rest)
    check_against_limit(moments, estimated_generator_moments(**sizes, **rest), 60, 600)


@pytest.mark.parametrize(("n", "m"), [(45, 180), (90, 120), (60, 0), (20, 15)])
def test_reused_generators_scatter_around_the_theory(n, m):
    sizes: dict[str, Any] = dict(n=n, m=m, p=60, mu=1.2)
    rest: dict[str, Any] = VERIFIER | dict(gamma=0.1, omega=0.5)
    moments = sample_reused_generator(jax.random.key(1), 600, **sizes, **rest)
    check_against_limit(moments, reused_generator_moments(**sizes, **rest), 60, 600)


def test_a_generator_from_very_many_samples_is_exact():
    p, draws = 6, 3000
    verifier: dict[str, Any] = VERIFIER | dict(omega=0.5)
    problem = real_plus_synthetic(10, 20, jnp.eye(p)[0], **verifier)
    exact = sample_scores(jax.random.key(0), draws, problem, 0.1)
    sizes: dict[str, Any] = dict(n=10, n_hat=2000, m=20, p=p, mu=1.0, estimate_mean=True)
    fitted = sample_estimated_generator(jax.random.key(1), draws, **sizes, **verifier, gamma=0.1)
    for a, b in zip(exact, fitted, strict=True):
        assert stats.ks_2samp(np.asarray(a), np.asarray(b)).pvalue > 1e-3


def test_generators_work_in_single_precision_and_in_sweeps():
    def mean_of(gamma):
        sizes = dict(n=8, m=10, p=6, mu=gamma.dtype.type(1.0))
        quality = {name: gamma.dtype.type(x) for name, x in VERIFIER.items()} | dict(
            omega=gamma.dtype.type(1)
        )
        return sample_reused_generator(jax.random.key(0), 3, **sizes, **quality, gamma=gamma).mean

    gammas = jnp.array([0.1, 1.0], jnp.float32)
    swept = jax.jit(jax.vmap(mean_of))(gammas)
    assert swept.dtype == jnp.float32
    np.testing.assert_allclose(swept, [mean_of(gamma) for gamma in gammas], rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(n_hat=0), "n_hat must be an integer >= 1, got 0"),
        (dict(n=0, m=0), "n \\+ m must be >= 1"),
        (dict(n=-1), "n must be an integer >= 0, got -1"),
        (dict(m=-2), "m must be an integer >= 0, got -2"),
        (dict(p=0), "p must be an integer >= 1, got 0"),
        (dict(mu=-1.0), "mu must be in"),
        (dict(gamma=0.0), "gamma must be in"),
        (dict(eps=1.5), "eps must be in"),
        (dict(draws=0), "draws must be an integer >= 1, got 0"),
    ],
)
def test_bad_generators_are_refused(changes, message):
    good = dict(draws=1, n=2, n_hat=3, m=4, p=3, mu=1.0, estimate_mean=True, **VERIFIER, gamma=0.1)
    with pytest.raises(ValueError, match=message):
        sample_estimated_generator(jax.random.key(0), **good | changes)
