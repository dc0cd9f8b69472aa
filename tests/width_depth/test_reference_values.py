"""Values that were computed independently, at all their digits."""

import jax.numpy as jnp
import numpy as np
import pytest

from theorysim.width_depth import (
    correlation_flow,
    covariance_recursion,
    depth_limit,
    fluctuation_coefficient,
    mlp_log_moments,
    pair_kernels,
    schedule,
    width_variance,
)

HALF = jnp.array([1.0, 1.0, 0.5])


def test_relu_at_depth_64():
    q = covariance_recursion(jnp.array([1.0, 2.0, 2**0.5 / 5]), schedule("uniform", 64), "relu")
    np.testing.assert_allclose(q, (1.64552089616, 3.29104179231, 0.699687382651), rtol=1e-11)


def test_relu_with_one_layer():
    pair = pair_kernels(HALF, schedule("uniform", 1), "relu")
    values = (pair.nngp[2], pair.ntk, pair.grad)
    np.testing.assert_allclose(values, (0.804498890522, 1.77566444771, 4 / 3), rtol=1e-11)


@pytest.mark.parametrize(
    ("phi", "expected"),
    [
        ("erf", (1.5031655025, 0.727280401892, 1.73992221806)),
        ("gelu", (1.54383439808, 0.797570513126, 1.8518072043)),
        ("abs", (2.67699012938, 1.76620119099, 4.01569041299)),
        ("sin", (1.45462191279, 0.684841867589, 1.61261691567)),
        ("tanh", (1.42680555431, 0.697489044813, 1.63569545998)),
    ],
)
def test_other_activations_at_depth_32(phi, expected):
    pair = pair_kernels(HALF, schedule("uniform", 32), phi)
    np.testing.assert_allclose((pair.nngp[0], pair.nngp[2], pair.ntk), expected, rtol=1e-11)


def test_relu_flow():
    c = correlation_flow(jnp.array([0.2, 0.0, 0.5, -1.0]), 1.0)
    expected = (0.30122651921506, 0.14134767705005, 0.550277399573, -0.59156208077955)
    np.testing.assert_allclose(c, expected, rtol=1e-12)
    np.testing.assert_allclose(correlation_flow(-0.5, 3.0), 0.10686943232575, rtol=1e-12)


@pytest.mark.parametrize(
    ("c0", "train_input", "expected"),
    [
        (0.5, True, (0.907254053462, 2.085872944765, 1.402328988085)),
        (0.0, False, (0.233042921716, 0.495862677002, 1.299155930409)),
    ],
)
def test_relu_at_infinite_depth(c0, train_input, expected):
    limit = depth_limit(jnp.array([1.0, 1.0, c0]), 1.0, "relu", train_input=train_input)
    np.testing.assert_allclose((limit.nngp[2], limit.ntk, limit.grad), expected, rtol=3e-12)


def test_width_variance_of_relu():
    V = width_variance(jnp.array([0.25, 0.5, 1.0, 2.0]), "relu")
    np.testing.assert_allclose(V, (2.5456108368, 3.1776648653, 4.6753340784, 8.4566312325), rtol=2e-11)


def test_second_moment_of_the_linear_network_is_exact_at_every_width():
    """E q^2 / q_0^2 = (1 + 2/n) prod [(1 + x)^2 + 4 x/n + 2 x^2/n], whose 1/n term is the coefficient."""

    def excess(n):
        return n * ((1 + 2 / n) * ((1 + 1 / 8) ** 2 + (4 / 8 + 2 / 64) / n) ** 8 / (1 + 1 / 8) ** 16 - 1)

    assert (excess(16) / 16 + 1) * (9 / 8) ** 16 == pytest.approx(9.110998960028908, rel=1e-14)
    coefficient = fluctuation_coefficient(1.0, schedule("uniform", 8), "linear").cov / (9 / 8) ** 16
    assert coefficient == pytest.approx(2 * excess(2e6) - excess(1e6), rel=1e-8)


@pytest.mark.parametrize(
    ("n", "expected"), [(100, (-0.0254208856, 0.0519399921)), (10, (-0.3074610107, 0.8667342531))]
)
def test_log_moments_of_a_relu_mlp_layer(n, expected):
    np.testing.assert_allclose(mlp_log_moments(n), expected, rtol=0, atol=1e-10)


def test_relu_series():
    q = covariance_recursion(jnp.array([1.0, 1.0, 0.2]), schedule("series", 1000, p=1.0), "relu")
    np.testing.assert_allclose((q[0], q[2]), (2.04993183843, 0.677665648954), rtol=1e-11)
