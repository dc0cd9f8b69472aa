"""Gaussian processes: against a dense inverse, against n refits, derivatives, errors that name the remedy."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from tests.check_kernel import check_kernel
from theorysim.numerics import memory
from theorysim.numerics.gp import (
    factor,
    inverse_diagonal,
    leave_one_out,
    leave_one_out_at,
    log_marginal_likelihood,
    posterior,
)

NOISE = 0.05
_RNG = np.random.default_rng(0)
X, Q = _RNG.normal(size=(9, 2)), _RNG.normal(size=(3, 2))
Y = jnp.asarray(_RNG.normal(size=(9, 2)))


def rbf(a, b):
    return jnp.asarray(np.exp(-((a[:, None] - b[None]) ** 2).sum(-1) / 2))


GRAM, CROSS, QUERY_GRAM = rbf(X, X), rbf(Q, X), rbf(Q, Q)
# Well conditioned, for finite differences.
EASY, S2 = GRAM + jnp.eye(9), jnp.array(0.5)
BAD = [
    {"noise": 0.0},
    {"noise": -1.0},
    {"noise": float("nan")},
    {"noise": np.ones(2)},
    {"gram": [[1.0, 0.5]]},
    {"gram": [1.0]},
    {"gram": GRAM.at[0, 1].set(jnp.nan)},
    {"gram": GRAM.at[0, 1].add(0.1)},
    {"y": Y[:4]},
    {"y": Y.at[1, 0].set(jnp.inf)},
    {"gram": -jnp.eye(9)},
]
BAD_QUERIES = [
    {"cross": CROSS[:, :4]},
    {"cross": CROSS.at[0, 0].set(jnp.nan)},
    {"query_gram": QUERY_GRAM[:2, :2]},
]


def refit(i, cross=CROSS):
    keep = np.arange(len(X)) != i
    return posterior(GRAM[keep][:, keep], cross[:, keep], rbf(Q, Q), Y[keep], noise=NOISE)


def test_the_posterior_is_that_of_a_dense_inverse():
    law, B = posterior(GRAM, CROSS, QUERY_GRAM, Y, noise=NOISE), np.linalg.inv(GRAM + NOISE * np.eye(9))
    np.testing.assert_allclose(law.mean, CROSS @ B @ Y, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(law.cov, QUERY_GRAM - CROSS @ B @ CROSS.T, rtol=1e-11, atol=1e-13)


def test_leaving_one_out_equals_fitting_without_it():
    one, at = leave_one_out(GRAM, Y, noise=NOISE), leave_one_out_at(GRAM, CROSS, QUERY_GRAM, Y, noise=NOISE)
    for i in range(len(X)):
        law = refit(i)
        np.testing.assert_allclose(at.mean[i], law.mean, rtol=0, atol=1e-12)
        np.testing.assert_allclose(at.cov[i], law.cov, rtol=0, atol=1e-12)
        keep = np.arange(len(X)) != i
        own = posterior(
            GRAM[keep][:, keep], GRAM[i][None, keep], GRAM[i, i][None, None], Y[keep], noise=NOISE
        )
        np.testing.assert_allclose(one.mean[i], own.mean[0], rtol=0, atol=1e-12)
        np.testing.assert_allclose(one.variance[i], own.cov[0, 0], rtol=0, atol=1e-13)
        np.testing.assert_allclose(one.residual[i], Y[i] - own.mean[0], rtol=0, atol=1e-12)
        v = own.cov[0, 0] + NOISE
        np.testing.assert_allclose(one.leverage[i], own.cov[0, 0] / v, rtol=1e-11)
        np.testing.assert_allclose(one.surprise[i], ((Y[i] - own.mean[0]) ** 2).sum() / v, rtol=1e-11)


def test_leverages_sum_to_the_degrees_of_freedom():
    total = np.trace(np.linalg.solve(GRAM + NOISE * np.eye(9), GRAM))
    np.testing.assert_allclose(leave_one_out(GRAM, Y, noise=NOISE).leverage.sum(), total, rtol=1e-12)


@pytest.mark.parametrize("block", [1, 2, 4, 9, 1000])
def test_blocks_of_columns_change_nothing(block):
    cholesky = factor(GRAM, noise=NOISE)
    np.testing.assert_allclose(
        inverse_diagonal(cholesky, block=block), np.diag(np.linalg.inv(cholesky @ cholesky.T)), rtol=1e-11
    )
    whole, blocks = (leave_one_out(GRAM, Y, noise=NOISE, block=b) for b in (None, block))
    np.testing.assert_allclose(blocks.surprise, whole.surprise, rtol=1e-12)


def test_one_output_is_a_column():
    np.testing.assert_array_equal(
        leave_one_out(GRAM, Y[:, 0], noise=NOISE).mean, leave_one_out(GRAM, Y[:, :1], noise=NOISE).mean
    )


def test_the_likelihood_is_that_of_a_normal_law():
    cov: Any = GRAM + NOISE * np.eye(9)
    law = multivariate_normal(np.zeros(9), cov)
    np.testing.assert_allclose(
        log_marginal_likelihood(GRAM, Y, noise=NOISE), law.logpdf(np.asarray(Y.T)).sum(), rtol=1e-12
    )


def test_the_conditional_likelihoods_of_leave_one_out_add_up_for_two_records():
    """log p(y1) + log p(y2 | y1) is the likelihood: the second factor is a leave-one-out law."""
    two, y = GRAM[:2, :2], Y[:2, 0]
    out = leave_one_out(two, y, noise=NOISE)
    logs = [
        -0.5 * ((y[i] - m) ** 2 / v + np.log(2 * np.pi * v))
        for i, m, v in ((0, 0.0, two[0, 0] + NOISE), (1, out.mean[1, 0], out.variance[1] + NOISE))
    ]
    np.testing.assert_allclose(sum(logs), log_marginal_likelihood(two, y, noise=NOISE), rtol=1e-12)


def test_posterior_is_a_kernel():
    check_kernel(
        posterior,
        EASY,
        CROSS,
        QUERY_GRAM,
        Y,
        S2,
        points=[(2 * EASY, CROSS, 2 * QUERY_GRAM, 3 * Y, jnp.array(0.1))],
        bad=BAD + BAD_QUERIES,
        rtol=1e-10,
    )


def test_leave_one_out_is_a_kernel():
    points = [(2 * EASY, 3 * Y, jnp.array(0.1))]
    bad = [*BAD, {"block": 0}, {"block": 2.5}]
    check_kernel(leave_one_out, EASY, Y, S2, points=points, bad=bad, rtol=1e-10)


def test_leave_one_out_at_is_a_kernel():
    check_kernel(
        leave_one_out_at,
        EASY,
        CROSS,
        QUERY_GRAM,
        Y,
        S2,
        points=[(2 * EASY, CROSS, 2 * QUERY_GRAM, 3 * Y, jnp.array(0.1))],
        bad=BAD + BAD_QUERIES,
        rtol=1e-10,
    )


def test_log_marginal_likelihood_is_a_kernel():
    check_kernel(
        log_marginal_likelihood,
        EASY,
        Y,
        S2,
        points=[(2 * EASY, 3 * Y, jnp.array(0.1))],
        bad=BAD,
        rtol=1e-10,
    )


def test_equal_records_without_noise_are_named():
    twice = np.vstack([X, X[4:5]])
    with pytest.raises(ValueError, match=r"noise must be at least 1e-10.* records 4 and 9: raise noise"):
        factor(rbf(twice, twice), noise=1e-12)
    assert jnp.isfinite(factor(rbf(twice, twice), noise=1e-6)).all()


def test_a_gram_matrix_that_is_singular_is_never_mended_in_silence():
    line = np.linspace(0, 1, 40)[:, None]
    gram = rbf(line, line)
    with pytest.raises(ValueError, match=r"gram must be positive definite.* at noise = 1e-18.*raise noise"):
        factor(gram, noise=1e-18)
    with pytest.raises(ValueError, match="in float32"):
        factor(gram.astype(jnp.float32), noise=1e-9)
    assert jnp.isnan(jax.jit(lambda s2: factor(gram, noise=s2))(1e-18)).any()


def test_what_does_not_fit_into_memory_says_so_before_any_work(monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda: 2**20)
    with pytest.raises(ValueError, match=r"gram of n = 3,000 records in float64.*use float32, or fewer"):
        factor(jnp.eye(3000), noise=1.0)
    with pytest.raises(ValueError, match=r"n = 3,000 records in float32 with block = 800.*use block = 100"):
        leave_one_out(jnp.eye(3000, dtype=jnp.float32), jnp.ones(3000), noise=1.0, block=800)
    with pytest.raises(ValueError, match=r"query_gram of 2,000 queries.*blocks of 250 queries"):
        leave_one_out_at(jnp.eye(9), jnp.ones((2000, 9)), jnp.eye(2000), jnp.ones(9), noise=1.0)


def test_float32_stays_float32_and_close():
    narrow = leave_one_out(GRAM.astype(jnp.float32), Y, noise=0.1)
    wide = leave_one_out(GRAM, Y, noise=0.1)
    assert narrow.leverage.dtype == jnp.float32
    np.testing.assert_allclose(narrow.leverage, wide.leverage, rtol=0, atol=1e-5)
