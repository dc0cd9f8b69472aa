"""The samplers have the law of dense networks, at every width, and never make a NaN."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from tests.width_depth.dense import dense_kernels
from theorysim.numerics.gaussian import activation
from theorysim.numerics.stats import mean_and_error, variance_and_error
from theorysim.width_depth import (
    fluctuation_coefficient,
    pair_kernels,
    sample_forward,
    sample_ntk,
    schedule,
    width_variance,
)
from theorysim.width_depth.factors import psd_factor, tall_factor

INPUTS = jnp.array([[1.0, 0.0], [0.6, 1.2]]) * 2**0.5
K0 = INPUTS @ INPUTS.T / 2
KEY = jax.random.key(0)
# For families of about ten comparisons at fixed seeds.
LEVEL = 1e-3


def same_law(a, b) -> bool:
    result: Any = stats.ks_2samp(np.asarray(a), np.asarray(b))
    return result.pvalue > LEVEL


@pytest.mark.parametrize(("phi", "n"), [("relu", 6), ("erf", 3)])
def test_samplers_have_the_law_of_dense_networks(phi, n):
    alpha2, num = jnp.array([0.5, 1.0, 0.7]), 4000
    q, ntk, grad = dense_kernels(jax.random.key(1), INPUTS, n, alpha2, activation(phi), num)
    ours = sample_forward(KEY, K0, n, alpha2, phi, num)
    draws = sample_ntk(jax.random.key(2), K0, n, alpha2, phi, num)
    pairs = [(ours[:, -1], q[:, -1]), (ours[:, 1], q[:, 1]), (draws.nngp, q[:, -1])]
    pairs += [(draws.ntk, ntk), (draws.grad, grad)]
    for a, b in pairs:
        for i, j in ((0, 0), (0, 1), (1, 1)):
            assert same_law(a[:, i, j], b[:, i, j])
    # Jointly too: the correlation of two inputs, and the NTK given the NNGP.
    for first, second in ((ours[:, -1], q[:, -1]), (draws.ntk, ntk)):
        c, expected = (np.asarray(m[:, 0, 1] / jnp.sqrt(m[:, 0, 0] * m[:, 1, 1])) for m in (first, second))
        assert same_law(c[np.isfinite(c)], expected[np.isfinite(expected)])
    ratio, other = (
        np.asarray(draws.ntk[:, 0, 0] / draws.nngp[:, 0, 0]),
        np.asarray(ntk[:, 0, 0] / q[:, -1, 0, 0]),
    )
    assert same_law(ratio, other)


def test_wide_networks_have_the_kernels_of_infinite_width():
    alpha2 = schedule("uniform", 16)
    draws = sample_ntk(KEY, K0, 1000, alpha2, "relu", 200)
    limit = pair_kernels(jnp.array([K0[0, 0], K0[1, 1], K0[0, 1]]), alpha2, "relu")
    cases = ((draws.nngp, limit.nngp[2]), (draws.ntk, limit.ntk), (draws.grad, limit.grad))
    for values, expected in cases:
        mean, error, _ = mean_and_error(values[:, 0, 1])
        assert abs(mean - expected) < 4 * error
        assert error < 0.03 * expected


def test_the_spread_of_networks_is_the_fluctuation_coefficient():
    alpha2, n = schedule("uniform", 32), 256
    pair = fluctuation_coefficient(
        jnp.array([K0[0, 0], K0[1, 1], K0[0, 1]]), alpha2, "relu", KEY, particles=40_000
    )
    q = sample_forward(jax.random.key(1), K0, n, alpha2, "relu", 1500)[:, -1]
    for entry, (i, j) in enumerate(((0, 0), (1, 1), (0, 1))):
        var, error, _ = variance_and_error(q[:, i, j])
        expected, noise = pair.cov[entry, entry], pair.standard_error[entry, entry]
        # The next order is O(1/n) of it.
        assert abs(n * var - expected) < 3.5 * np.hypot(n * error, noise) + 8 / n * expected


def test_the_particles_agree_with_the_closed_forms():
    alpha2 = schedule("uniform", 8)
    for q0, phi in ((jnp.array(1.0), 0.3), (jnp.array([1.0, 2.0, 0.3]), "linear")):
        exact = fluctuation_coefficient(q0, alpha2, phi)
        # The same function without its name has no closed form.
        estimate = fluctuation_coefficient(q0, alpha2, activation(phi), KEY, kinks=(0.0,), particles=20_000)
        assert (jnp.abs(estimate.cov - exact.cov) < 4 * estimate.standard_error).all()
        assert (exact.standard_error == 0).all()


def test_the_layer_sum_tends_to_the_integral():
    sums = [
        fluctuation_coefficient(1.0, schedule("uniform", L), "relu").cov * jnp.exp(-1.0) for L in (100, 200)
    ]
    np.testing.assert_allclose(2 * sums[1] - sums[0], width_variance(1.0, "relu"), rtol=2e-4)
    np.testing.assert_allclose(width_variance(jnp.array([0.0, 0.7]), "linear"), [2.0, 4.8], rtol=1e-14)


def test_the_linear_network_is_log_normal_at_large_depth():
    """log(q_t/q_0) ~ N((1 - 2/n) t, 4 t/n) at every width."""
    n, t = 10, 1.5
    q = sample_forward(KEY, jnp.eye(1), n, schedule("uniform", 300, tau=t), "linear", 3000)[:, :, 0, 0]
    growth = np.log(np.asarray(q[:, -1] / q[:, 0]))
    assert abs(growth.mean() - (1 - 2 / n) * t) < 4 * growth.std() / 3000**0.5 + 0.01
    var, error, _ = variance_and_error(growth)
    assert abs(var - 4 * t / n) < 4 * error + 0.01


def test_a_single_neuron_freezes_or_is_a_geometric_brownian_motion():
    q = sample_forward(KEY, jnp.eye(1), 1, schedule("uniform", 200), "relu", 4000)[:, :, 0, 0]
    frozen = np.asarray(q[:, -1] == q[:, 0])
    assert abs(frozen.mean() - 0.5) < 4 * 0.5 / 4000**0.5 + 0.01


@pytest.mark.parametrize("n", [1, 2])
def test_degenerate_networks_are_finite_and_equal_inputs_stay_equal(n):
    """Fewer neurons than inputs, two inputs alike, one of norm 0, rectifiers that are all dead."""
    K = jnp.array([[1.0, 1.0, 0.3, 0.0], [1.0, 1.0, 0.3, 0.0], [0.3, 0.3, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    alpha2 = jnp.ones(4)
    q = sample_forward(KEY, K, n, alpha2, "relu", 200)
    assert jnp.isfinite(q).all()
    np.testing.assert_array_equal(q[:, :, 0], q[:, :, 1])
    assert (q[:, :, 3] == 0).all()
    draws = sample_ntk(KEY, K, n, alpha2, "relu", 200)
    for values in draws:
        assert jnp.isfinite(values).all()
        np.testing.assert_allclose(values[:, 0], values[:, 1], rtol=1e-12, atol=1e-9)


def test_depth_zero_and_the_keys_of_single_networks():
    q = sample_forward(KEY, K0, 5, jnp.zeros(0), "relu", 3)
    assert q.shape == (3, 1, 2, 2)
    draws = sample_ntk(KEY, K0, 5, jnp.zeros(0), "relu", 3, train_input=False)
    np.testing.assert_array_equal(draws.ntk, draws.nngp)
    np.testing.assert_allclose(draws.grad[:, 0, 1], draws.grad[:, 0, 0], rtol=1e-14)
    # A network depends on its own index alone.
    np.testing.assert_array_equal(sample_forward(KEY, K0, 5, jnp.ones(2), "relu", 2), _first(5, 2))


def _first(num, kept):
    return sample_forward(KEY, K0, 5, jnp.ones(2), "relu", num)[:kept]


def test_factors_reproduce_singular_matrices():
    rng = np.random.default_rng(0)
    A = jnp.asarray(rng.normal(size=(5, 2)))
    S = A @ A.T
    R = psd_factor(S)
    np.testing.assert_allclose(R @ R.T, S, atol=1e-13)
    assert (R[:, 2:] == 0).all()
    Q, triangle = tall_factor(S)
    np.testing.assert_allclose(Q @ triangle, S, atol=1e-13)
    np.testing.assert_allclose(Q.T @ Q, jnp.diag(jnp.array([1.0, 1.0, 0.0, 0.0, 0.0])), atol=1e-13)
    near = jnp.asarray(rng.normal(size=(50, 1))) + 1e-7 * jnp.asarray(rng.normal(size=(50, 3)))
    Q = tall_factor(near).Q
    np.testing.assert_allclose(Q.T @ Q, jnp.eye(3), atol=1e-14)
