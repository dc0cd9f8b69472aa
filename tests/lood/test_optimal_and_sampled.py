"""Query search finds the records, on any domain; sampled networks follow their laws; memorization."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.check_kernel import check_kernel
from tests.lood.problem import NOISE, random_problem
from theorysim.lood import (
    class_memorization,
    class_probabilities,
    edge_of_chaos_kernel,
    leave_one_out,
    memorization,
    optimal_query,
    posterior,
    random_features,
    rbf,
    sample_then_optimize,
    total_variation,
)

# Minutes of compilation in all; the reference values and channels run always.
pytestmark = pytest.mark.slow

X, Y = random_problem(7, n=14)
KEY = jax.random.key(0)


def test_mapped_over_records_the_search_reconstructs_most_of_them():
    records = jnp.arange(6)
    keys = jax.random.split(KEY, 6)

    def search(key, record):
        return optimal_query(key, rbf(), X, Y, record[None], noise=0.01, starts=6, steps=150)

    found = jax.vmap(search)(keys, records)
    # Theorem: nothing sees more than the record.
    assert (jnp.log(found.value) <= jnp.log(found.value_at_record) + 1e-9).all()
    distance = jnp.linalg.norm(found.query[:, 0] - X[:6], axis=1)
    assert (distance < 1e-3).sum() >= 5
    alone = search(keys[2], records[2])
    np.testing.assert_allclose(found.value[2], alone.value, rtol=1e-7)
    assert found.all_starts.query.shape == (6, 6, 1, 2)
    np.testing.assert_allclose(found.all_starts.value.max(1), found.value)


def test_a_group_is_found_by_as_many_queries():
    found = optimal_query(KEY, rbf(), X, Y, [2, 5], noise=0.01, queries=2, starts=6, steps=200)
    assert found.value <= found.value_at_record * (1 + 1e-9)
    assert found.value > 0.5 * found.value_at_record


def test_domains_are_kept():
    on_sphere = X / jnp.linalg.norm(X, axis=1, keepdims=True)
    kernel = edge_of_chaos_kernel("gelu", depth=2, bias_variance=0.1)
    found = optimal_query(KEY, kernel, on_sphere, Y, [3], noise=0.01, starts=4, steps=100, domain="sphere")
    np.testing.assert_allclose(jnp.linalg.norm(found.query), 1, rtol=1e-12)
    assert found.value <= found.value_at_record * (1 + 1e-9)
    boxed = optimal_query(KEY, rbf(), X, Y, [3], noise=0.01, starts=4, steps=100, domain=(-0.5, 0.5))
    assert (jnp.abs(boxed.all_starts.query) <= 0.5).all()


@pytest.mark.parametrize(
    ("changes", "culprit"),
    [
        ({"S": []}, "S"),
        ({"S": [99]}, "S"),
        ({"noise": 0.0}, "noise"),
        ({"queries": 0}, "queries"),
        ({"starts": 0}, "starts"),
        ({"steps": 0}, "steps"),
        ({"start_noise": -1.0}, "start_noise"),
        ({"domain": (1.0, 0.0)}, "domain"),
        ({"y": Y[:3]}, "y"),
    ],
)
def test_the_search_names_bad_input(changes, culprit):
    arguments = {"S": [0], "noise": 0.1, "y": Y} | changes
    with pytest.raises(ValueError, match=rf"\b{culprit}\b"):
        optimal_query(KEY, rbf(), X, **arguments)


# --- sampled networks ---------------------------------------------------------------------------------------


def test_sampled_networks_follow_the_posterior_and_all_leave_one_out_laws():
    """4,000 networks: means within 4.5 standard errors, variances within 4.5 of theirs."""
    networks = 4000
    phi = random_features(KEY, X, "erf", width=64)
    gram = phi @ phi.T
    draws = sample_then_optimize(jax.random.key(1), phi, Y[:, 0], noise=NOISE, networks=networks)
    one, whole = leave_one_out(gram, Y, noise=NOISE), posterior(gram, gram, gram, Y, noise=NOISE)
    for sample, mean, variance in (
        (draws.inside, whole.mean[:, 0], jnp.diag(whole.cov)),
        (draws.outside, one.mean[:, 0], one.variance),
    ):
        assert (jnp.abs(sample.mean(0) - mean) < 4.5 * jnp.sqrt(variance / networks)).all()
        assert (jnp.abs(sample.var(0) - variance) < 4.5 * variance * jnp.sqrt(2 / networks)).all()
    covariance = jnp.cov(draws.inside.T)
    error = jnp.sqrt((whole.cov**2 + jnp.outer(jnp.diag(whole.cov), jnp.diag(whole.cov))) / networks)
    assert (jnp.abs(covariance - whole.cov) < 5 * error).all()


def test_a_network_without_a_record_is_trained_without_it():
    """The same start and label noise, by ridge regression on the others."""
    phi = random_features(KEY, X, "relu", width=30)
    key = jax.random.key(3)
    drawn = sample_then_optimize(key, phi, Y[:, 0], noise=NOISE, networks=1)
    start, error = jax.random.split(key)
    w0 = jax.random.normal(start, (31, 1))[:, 0]
    target = Y[:, 0] + jnp.sqrt(NOISE) * jax.random.normal(error, (14, 1))[:, 0]
    keep = np.arange(14) != 4
    features = phi[keep]
    ridge = features.T @ features + NOISE * jnp.eye(31)
    w = w0 + jnp.linalg.solve(ridge, features.T @ (target[keep] - features @ w0))
    np.testing.assert_allclose(drawn.outside[0, 4], phi[4] @ w, rtol=1e-9)


def test_outputs_of_several_labels_have_an_axis():
    draws = sample_then_optimize(KEY, X, jnp.tile(Y, (1, 3)), noise=NOISE, networks=5)
    assert draws.inside.shape == draws.outside.shape == (5, 14, 3)


def test_sample_then_optimize_is_a_kernel():
    check_kernel(
        sample_then_optimize,
        X,
        Y[:, 0],
        jnp.array(NOISE),
        static={"networks": 3},
        key=KEY,
        points=[(2 * X, Y[::-1, 0], jnp.array(0.2))],
        bad=[{"noise": 0.0}, {"networks": 0}, {"y": Y[:3]}, {"features": X[0]}],
        rtol=1e-10,
    )


# --- memorization -------------------------------------------------------------------------------------------


def test_class_probabilities_agree_with_simulation_and_sum_to_one():
    mean, variance, draws = jnp.array([0.3, -0.2, 1.0, 0.0]), 0.6, 200_000
    p = class_probabilities(mean, variance)
    np.testing.assert_allclose(p.sum(), 1, atol=1e-9)
    rng = np.random.default_rng(0)
    wins = (np.asarray(mean) + np.sqrt(variance) * rng.normal(size=(draws, 4))).argmax(1)
    share = np.bincount(wins, minlength=4) / draws
    assert (np.abs(share - p) < 4 * np.sqrt(p * (1 - p) / draws)).all()


def test_two_classes_are_one_sign():
    """The difference of two outputs of variance v has variance 2 v."""
    m0, m1 = jnp.array([0.2, -0.5]), jnp.array([0.9, 0.1])
    two = class_memorization(m0, 0.4, m1, 0.1, jnp.array(1))
    gap0, gap1 = m0[1] - m0[0], m1[1] - m1[0]
    np.testing.assert_allclose(two, memorization(gap0, 0.8, gap1, 0.2, 1), atol=1e-9)


def test_memorization_is_at_most_the_total_variation():
    one = leave_one_out(rbf()(X, X), jnp.sign(Y), noise=NOISE)
    h, y = one.leverage, jnp.sign(Y[:, 0])
    mean_in = one.mean[:, 0] + h * one.residual[:, 0]
    value = memorization(one.mean[:, 0], one.variance, mean_in, one.variance * (1 - h), y)
    assert (value <= total_variation(h, one.surprise) + 1e-12).all()
    assert value.max() > 0.1


def test_memorization_is_a_kernel():
    args = tuple(jnp.array(x) for x in (-0.2, 0.5, 0.8, 0.1, 1.0))
    points = [tuple(jnp.array(x) for x in (0.3, 0.7, 0.1, 0.6, -1.0))]
    bad = [{"var_out": 0.0}, {"var_in": -1.0}, {"label": 0.5}, {"mean_out": float("nan")}, {"label": 2.0}]
    check_kernel(memorization, *args, points=points, bad=bad, wrt=(0, 1, 2, 3))


def test_class_functions_are_kernels():
    mean, v = jnp.array([0.3, -0.2, 1.0]), jnp.array(0.6)
    points = [(mean[::-1], jnp.array(1.1))]
    bad = [{"variance": 0.0}, {"mean": jnp.ones(1)}, {"mean": jnp.full(3, jnp.nan)}]
    check_kernel(class_probabilities, mean, v, points=points, bad=bad)
    args, label = (mean, v, 2 * mean, v / 2), {"label": jnp.array(2)}
    bad = [{"label": jnp.array(3)}, {"label": jnp.array(0.5)}, {"var_in": 0.0}, {"mean_in": jnp.ones(2)}]
    check_kernel(class_memorization, *args, static=label, points=[(2 * mean, v, mean, 2 * v)], bad=bad)
