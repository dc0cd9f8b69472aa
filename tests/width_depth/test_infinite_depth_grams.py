"""Gram matrices at infinite depth, and the states behind sampled covariances."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import theorysim.width_depth as wd

ANGLES = np.linspace(0, np.pi, 101)
CIRCLE = np.sqrt(2) * np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)
EVERY = ("nngp", "ntk", "grad")


@pytest.mark.parametrize("tau", [0.0, 0.001, 1.0, 100.0])
def test_the_table_of_angles_agrees_with_the_limit_of_each_pair(tau):
    found = wd.kernels(CIRCLE, CIRCLE[:1], phi="relu", tau=tau, get=EVERY)
    pairs = wd.depth_limit(np.stack([np.ones(101), np.ones(101), np.cos(ANGLES)], axis=1), tau, "relu")
    exact = (pairs.nngp[:, 2], pairs.ntk, pairs.grad)
    for ours, theirs in zip(found, exact, strict=True):
        np.testing.assert_allclose(ours[:, 0], theirs, atol=1e-13 * float(abs(theirs).max()))


@pytest.mark.parametrize("phi", ["relu", "erf", 0.3])
def test_deep_networks_approach_infinite_depth_at_first_order(phi):
    x = CIRCLE[:60:12] * np.linspace(0.5, 1.5, 5)[:, None]
    limit = wd.kernels(x, phi=phi, tau=0.8, get=EVERY)
    errors = []
    for L in (200, 400):
        deep = wd.kernels(x, phi=phi, alpha2=wd.schedule("uniform", L, tau=0.8), get=EVERY)
        errors.append([float(abs(a - b).max()) for a, b in zip(deep, limit, strict=True)])
    np.testing.assert_allclose(np.divide(*errors), 2, rtol=0.02)


def test_sigma_w2_multiplies_the_clock_and_rows_may_be_split():
    whole = wd.kernels(CIRCLE, phi="relu", tau=0.6, sigma_w2=1.5)
    split = wd.kernels(CIRCLE, phi="relu", tau=0.9, rows=7)
    for a, b in zip(whole[:2], split[:2], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13)


def test_the_diagonal_is_exact_and_an_input_of_norm_zero_stays_so():
    x = np.array([[0.0, 0.0], [1.0, 1.0]])
    found = wd.kernels(x, phi="relu", tau=1.0, get=EVERY)
    growth = np.exp(0.5)
    np.testing.assert_allclose(found.nngp, [[0, 0], [0, growth]], rtol=1e-15)
    np.testing.assert_allclose(found.ntk, [[0, 0], [0, 2.5 * growth]], rtol=1e-14)
    np.testing.assert_allclose(found.grad[1, 1], growth, rtol=1e-14)


def test_kernels_are_differentiable_in_the_clock():
    def total(tau):
        return wd.kernels(CIRCLE[:7], phi="relu", tau=tau).ntk.sum()

    slope = jax.jit(jax.grad(total))(0.7)
    np.testing.assert_allclose(slope, (total(0.7 + 1e-6) - total(0.7 - 1e-6)) / 2e-6, rtol=1e-7)


@pytest.mark.parametrize("scales", [{}, {"alpha2": jnp.ones(2), "tau": 1.0}])
def test_exactly_one_of_layers_and_clock_is_given(scales):
    with pytest.raises(ValueError, match=r"alpha2 .* or tau .* must be given"):
        wd.kernels(CIRCLE, phi="relu", **scales)


@pytest.mark.parametrize("tau", [-1.0, jnp.ones(2), float("nan")])
def test_a_clock_that_cannot_be_is_named(tau):
    with pytest.raises(ValueError, match="tau"):
        wd.kernels(CIRCLE, phi="relu", tau=tau)


def test_sampled_states_have_the_sampled_covariances():
    K0, alpha2, key = jnp.array([[1.0, 0.4], [0.4, 2.0]]), jnp.array([0.3, 0.5]), jax.random.key(3)
    Y = wd.sample_states(key, K0, 6, alpha2, "relu", 5)
    q = wd.sample_forward(key, K0, 6, alpha2, "relu", 5)[:, -1]
    np.testing.assert_allclose(jnp.einsum("rni,rnj->rij", Y, Y) / 6, q, rtol=1e-13)


@pytest.mark.parametrize("c", [1.0, -1.0, 0.3])
@pytest.mark.parametrize("tau", [0.5, 2.0])
def test_the_slope_of_the_limit_is_its_gradient_kernel_also_for_parallel_inputs(c, tau):
    q0 = jnp.array([1.0, 1.0, c])
    slope = jax.grad(lambda q0: wd.depth_limit(q0, tau, "relu").nngp[2])(q0)
    np.testing.assert_allclose(slope[2], wd.depth_limit(q0, tau, "relu").grad, rtol=1e-10)
