"""Ensembles trained by gradients: against refits, explicit descent, and their own limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.check_kernel import check_kernel
from tests.lood.problem import NOISE, Q, X, labels
from theorysim.lood import (
    early_stopped_leave_one_out,
    early_stopped_posterior,
    leave_one_out,
    mlp,
    ntk_leave_one_out,
    ntk_leave_one_out_at,
    ntk_posterior,
    posterior,
)

# Minutes of compilation in all; the reference values and channels run always.
pytestmark = pytest.mark.slow

NNGP, NTK = (mlp("relu", depth=2, sw2=2.0, sb2=0.1, get=get) for get in ("nngp", "ntk"))
Y = labels(1.0, 8, 2)
K, T = NNGP(X, X), NTK(X, X)
QUERIES = NNGP(Q, X), NTK(Q, X), NNGP(Q, Q)
SN = 0.03
ETA = 0.9 / float(jnp.linalg.eigvalsh(T)[-1])


def refit(i, at, steps=None):
    """Posterior at some inputs without record i."""
    keep = np.arange(8) != i
    k, t = K[keep][:, keep], T[keep][:, keep]
    crosses = NNGP(at, X)[:, keep], NTK(at, X)[:, keep], NNGP(at, at)
    if steps is None:
        return ntk_posterior(k, t, *crosses, Y[keep], noise=NOISE, label_noise=SN)
    return early_stopped_posterior(k, t, *crosses, Y[keep], steps=steps, step_size=ETA, label_noise=SN)


def test_leaving_one_out_equals_training_without_it():
    pair = ntk_leave_one_out(K, T, Y, noise=NOISE, label_noise=SN)
    at = ntk_leave_one_out_at(K, T, *QUERIES, Y, noise=NOISE, label_noise=SN)
    inside = ntk_posterior(K, T, K, T, K, Y, noise=NOISE, label_noise=SN)
    np.testing.assert_allclose(pair.mean_in, inside.mean, atol=1e-11)
    np.testing.assert_allclose(pair.var_in, jnp.diag(inside.cov), atol=1e-11)
    for i in (0, 3, 7):
        own, law = refit(i, X[i : i + 1]), refit(i, Q)
        np.testing.assert_allclose(pair.mean_out[i], own.mean[0], atol=1e-9)
        np.testing.assert_allclose(pair.var_out[i], own.cov[0, 0], atol=1e-9)
        np.testing.assert_allclose(at.mean[i], law.mean, atol=1e-9)
        np.testing.assert_allclose(at.cov[i], law.cov, atol=1e-9)


@pytest.mark.parametrize(("phi", "elsewhere"), [("gelu", True), ("relu", False)])
def test_another_query_tells_more_of_an_ensemble_unless_its_tangent_kernel_has_a_cusp(phi, elsewhere):
    """Of a posterior none would (`query_lood`). KL(in || out) at a record and 1e-3 from it, on a sphere."""
    nngp, ntk = (mlp(phi, depth=2, sw2=2.0, sb2=0.1, get=get) for get in ("nngp", "ntk"))
    for seed in range(3):
        rng = np.random.default_rng(seed)
        moves = np.concatenate([np.zeros((1, 3)), rng.normal(size=(20, 3))])
        x = rng.normal(size=(8, 3))
        q = x[:1] + 1e-3 * np.concatenate([moves, -moves[1:]])
        x, q = (jnp.asarray(np.sqrt(3) * v / np.linalg.norm(v, axis=1, keepdims=True)) for v in (x, q))
        kernels = nngp(x, x), ntk(x, x), nngp(q, x), ntk(q, x), nngp(q, q), rng.choice([-1.0, 1.0], 8)
        inside, outside = (law(*kernels, noise=NOISE) for law in (ntk_posterior, ntk_leave_one_out_at))
        v0, v1 = jnp.diag(outside.cov[0]), jnp.diag(inside.cov)
        gap = (inside.mean - outside.mean[0])[:, 0]
        kl = (v1 / v0 - 1 - jnp.log(v1 / v0) + gap**2 / v0) / 2
        assert bool(kl[1:].max() > kl[0]) == elsewhere


def test_more_records_than_one_block_of_columns():
    x = np.random.default_rng(0).normal(size=(300, 3))
    k, t = x @ x.T + np.eye(300), np.exp(x @ x.T / 4)
    pair = ntk_leave_one_out(k, t, x[:, 0], noise=NOISE, label_noise=SN)
    G = np.linalg.inv(t + NOISE * np.eye(300))
    g, H = np.diag(G), np.diag(G @ (k + SN * np.eye(300)) @ G)
    np.testing.assert_allclose(pair.mean_out[:, 0], x[:, 0] - G @ x[:, 0] / g, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(pair.var_out, H / g**2 - SN, rtol=1e-8)
    np.testing.assert_allclose(pair.var_in, NOISE**2 * H + SN * (1 - 2 * NOISE * g), rtol=1e-8, atol=1e-10)


def test_without_label_noise_the_in_variance_is_the_square_of_what_is_left():
    pair = ntk_leave_one_out(K, T, Y, noise=NOISE)
    less = 1 - leave_one_out(T, Y, noise=NOISE).leverage
    np.testing.assert_allclose(pair.var_in, less**2 * pair.var_out, rtol=1e-10)


def test_label_noise_of_the_ridge_in_one_kernel_is_the_posterior():
    """With T = K and label noise s2, sample-then-optimize: the ensemble is the posterior."""
    law = ntk_posterior(K, K, QUERIES[0], QUERIES[0], QUERIES[2], Y, noise=NOISE, label_noise=NOISE)
    exact = posterior(K, QUERIES[0], QUERIES[2], Y, noise=NOISE)
    np.testing.assert_allclose(law.mean, exact.mean, atol=1e-12)
    np.testing.assert_allclose(law.cov, exact.cov, atol=1e-12)


@pytest.mark.parametrize("steps", [1, 7, 60])
def test_early_stopping_is_explicit_descent(steps):
    """On the outputs at records and queries together, from each of many starting functions."""
    both = jnp.concatenate([X, Q])
    tangent = NTK(both, X)

    def descend(start):
        f = start
        for _ in range(steps):
            f = f - ETA * tangent @ (f[:8] - Y)
        return f

    # Linear in the start: the mean is the run from 0, and the covariance that of the image of the start's.
    zero = jnp.zeros((10, 2))
    mean = descend(zero)
    image = jax.vmap(lambda e: descend(jnp.stack([e, e], 1))[:, 0] - mean[:, 0])(jnp.eye(10)).T
    law = early_stopped_posterior(K, T, *QUERIES, Y, steps=steps, step_size=ETA)
    np.testing.assert_allclose(law.mean, mean[8:], atol=1e-11)
    np.testing.assert_allclose(law.cov, (image @ NNGP(both, both) @ image.T)[8:, 8:], atol=1e-11)


@pytest.mark.parametrize("steps", [1, 25])
def test_leaving_one_out_of_an_early_stopped_ensemble(steps):
    pair = early_stopped_leave_one_out(K, T, Y, steps=steps, step_size=ETA, label_noise=SN)
    inside = early_stopped_posterior(K, T, K, T, K, Y, steps=steps, step_size=ETA, label_noise=SN)
    np.testing.assert_allclose(pair.mean_in, inside.mean, atol=1e-11)
    np.testing.assert_allclose(pair.var_in, jnp.diag(inside.cov), atol=1e-11)
    for i in (1, 6):
        own = refit(i, X[i : i + 1], steps)
        np.testing.assert_allclose(pair.mean_out[i], own.mean[0], atol=1e-11)
        np.testing.assert_allclose(pair.var_out[i], own.cov[0, 0], atol=1e-11)


EASY = K + jnp.eye(8), T + jnp.eye(8)
NUMBERS = jnp.array(0.5), jnp.array(0.2)
BAD = [
    {"nngp": K[:3]},
    {"ntk": T[:3, :3]},
    {"ntk": T.at[0, 0].set(jnp.nan)},
    {"y": Y[:3]},
    {"label_noise": -1.0},
]
BAD_QUERIES = [{"nngp_cross": QUERIES[0][:, :3]}, {"ntk_cross": QUERIES[1][:1]}, {"query_gram": K}]


def test_ntk_leave_one_out_is_a_kernel():
    points = [(2 * EASY[0], 3 * EASY[1], 2 * Y, *NUMBERS)]
    bad = [*BAD, {"noise": 0.0}, {"ntk": -T}]
    check_kernel(ntk_leave_one_out, *EASY, Y, *NUMBERS, points=points, bad=bad, rtol=1e-10)


@pytest.mark.parametrize("fn", [ntk_posterior, ntk_leave_one_out_at])
def test_ensembles_at_queries_are_kernels(fn):
    points = [(2 * EASY[0], 3 * EASY[1], *QUERIES, 2 * Y, *NUMBERS)]
    bad = [*BAD, *BAD_QUERIES, {"noise": 0.0}]
    check_kernel(fn, *EASY, *QUERIES, Y, *NUMBERS, points=points, bad=bad, rtol=1e-10)


BAD_STEPS = [{"steps": 0}, {"step_size": 0.0}, {"step_size": 100.0}]


def test_early_stopped_leave_one_out_is_a_kernel():
    numbers = jnp.array(0.02), jnp.array(0.2)
    check_kernel(
        early_stopped_leave_one_out,
        *EASY,
        Y,
        *numbers,
        static={"steps": 5},
        points=[(2 * EASY[0], EASY[1] / 2, 2 * Y, *numbers)],
        bad=BAD + BAD_STEPS,
        rtol=1e-10,
    )


def test_early_stopped_posterior_is_a_kernel():
    numbers = jnp.array(0.02), jnp.array(0.2)
    check_kernel(
        early_stopped_posterior,
        *EASY,
        *QUERIES,
        Y,
        *numbers,
        static={"steps": 5},
        points=[(2 * EASY[0], EASY[1] / 2, *QUERIES, 2 * Y, *numbers)],
        bad=BAD + BAD_QUERIES + BAD_STEPS,
        wrt=(0, 3, 4, 5, 6),
        rtol=1e-9,
    )
