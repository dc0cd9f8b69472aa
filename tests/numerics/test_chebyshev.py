"""Chebyshev interpolation: exact on polynomials, exponentially accurate on analytic functions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.check_kernel import check_kernel
from theorysim.numerics.chebyshev import chebyshev_fit, chebyshev_nodes, clenshaw


def test_polynomials_below_the_order_are_exact():
    x = chebyshev_nodes(8, -2.0, 5.0)
    at = jnp.linspace(-2.0, 5.0, 11)
    coefficients = np.random.default_rng(0).normal(size=8)
    values = clenshaw(chebyshev_fit(jnp.polyval(jnp.asarray(coefficients), x)), at, -2.0, 5.0)
    expected = np.polyval(coefficients, at)
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-14 * np.abs(expected).max())


def test_clenshaw_and_fit_agree_with_numpy():
    coefficients = np.random.default_rng(1).normal(size=9)
    at = np.linspace(-1, 1, 7)
    expected = np.polynomial.chebyshev.chebval(at, coefficients)
    for unroll in (True, False):
        values = clenshaw(jnp.asarray(coefficients), at, -1.0, 1.0, unroll=unroll)
        np.testing.assert_allclose(values, expected, atol=1e-14)
    values = np.polynomial.chebyshev.chebval(np.asarray(chebyshev_nodes(9, -1.0, 1.0)), coefficients)
    np.testing.assert_allclose(chebyshev_fit(jnp.asarray(values)), coefficients, atol=1e-14)


def test_the_error_of_an_analytic_function_falls_at_the_rate_of_its_ellipse():
    """1/(x + 1.25) on [-1, 1]: rho = 1.25 + sqrt(1.25^2 - 1) = 2."""
    at = jnp.linspace(-1.0, 1.0, 101)

    def error(order):
        coefficients = chebyshev_fit(1 / (chebyshev_nodes(order, -1.0, 1.0) + 1.25))
        return float(jnp.abs(clenshaw(coefficients, at, -1.0, 1.0) - 1 / (at + 1.25)).max())

    rate = (error(20) / error(40)) ** (1 / 20)
    assert rate == pytest.approx(2, rel=0.02)
    assert error(60) < 5e-14


def test_several_functions_are_fitted_at_once():
    x = chebyshev_nodes(20, 0.0, 2.0)
    both = chebyshev_fit(jnp.stack([jnp.sin(x), jnp.exp(x)], axis=1))
    at = jnp.array([0.3, 1.7])
    np.testing.assert_allclose(clenshaw(both, at, 0.0, 2.0), [jnp.sin(0.3), jnp.exp(1.7)], rtol=1e-14)


def test_order_one_is_the_constant():
    assert clenshaw(chebyshev_fit(jnp.array([3.0])), 0.7, 0.0, 1.0) == 3


def test_clenshaw_is_a_kernel():
    check_kernel(
        clenshaw,
        jnp.array([0.3, -0.2, 0.5, 0.1]),
        jnp.array(0.4),
        static={"low": 0.0, "high": 1.0},
        points=[(jnp.array([1.0, 0.2, 0.3, 0.4]), jnp.array(0.9))],
        bad=[{"coefficients": []}, {"high": 0.0}],
    )


def test_fit_is_a_kernel():
    check_kernel(chebyshev_fit, jnp.array([0.3, -0.2, 0.5, 0.1]), bad=[{"values": []}])


def test_nodes_follow_the_dtype_asked_for_and_refuse_bad_input():
    assert chebyshev_nodes(3, 0.0, 1.0, jnp.float32).dtype == jnp.float32
    with pytest.raises(ValueError, match="order must be an integer >= 1, got 0"):
        chebyshev_nodes(0, 0.0, 1.0)
    with pytest.raises(ValueError, match="high must be larger than low"):
        chebyshev_nodes(3, 1.0, 1.0)


def test_the_derivative_of_the_polynomial_is_that_of_the_function():
    coefficients = chebyshev_fit(jnp.sin(chebyshev_nodes(24, 0.0, 3.0)))
    slope = jax.grad(lambda x: clenshaw(coefficients, x, 0.0, 3.0))(1.2)
    assert slope == pytest.approx(float(jnp.cos(1.2)), abs=1e-12)
