"""Two-point functions: closed forms against quadrature, limits, derivatives of every order, the one suite."""

import itertools
import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from tests.check_kernel import check_kernel
from theorysim.numerics.gaussian import (
    NAMES,
    activation,
    angle,
    angle_of_correlation,
    checked_activation,
    derivative,
    determinant,
    leaky_correlation,
    leaky_moments,
    sine_less_theta_cosine,
    two_point,
)
from theorysim.numerics.gaussian.angles import _ARCSINE, _ARCSINE_NARROW

ACTIVATIONS = (*NAMES, 0.2, -0.5)
SMOOTH = ("linear", "erf", "sin", "cos", "gelu", "tanh")
VARIANCES = jnp.array([1.3, 0.4, 2.0, 1.0])
OTHERS = jnp.array([0.7, 1.7, 2.0, 0.5])
COVARIANCES = jnp.array([0.5, -0.6, 1.9, 0.0])


@partial(jax.jit, static_argnums=0)
def tensor_rule(f, q11, q22, q12):
    """E f(u) f(v) by the trapezoidal rule in two independent normals: an independent route for smooth f."""
    z = jnp.linspace(-11.0, 11.0, 300)
    w = jnp.exp(-(z**2) / 2) / jnp.sqrt(2 * jnp.pi) * (z[1] - z[0])
    c = q12 / jnp.sqrt(q11 * q22)
    u = jnp.sqrt(q11) * z
    v = jnp.sqrt(q22) * (c * z[:, None] + jnp.sqrt(1 - c**2) * z[None])
    return jnp.einsum("i,j,i,ij->", w, w, f(u), f(v))


@pytest.mark.parametrize("phi", SMOOTH)
def test_smooth_closed_forms_equal_a_tensor_rule(phi):
    pair = two_point(phi, VARIANCES, OTHERS, COVARIANCES)
    f = activation(phi)
    for i, q in enumerate(zip(VARIANCES, OTHERS, COVARIANCES, strict=True)):
        np.testing.assert_allclose(pair.F[i], tensor_rule(f, *q), rtol=0, atol=2e-10)
        np.testing.assert_allclose(pair.Fd[i], tensor_rule(derivative(f), *q), rtol=0, atol=2e-8)


@pytest.mark.parametrize("phi", ["relu", "abs", 0.2, -0.5])
def test_the_leaky_family_equals_the_split_rule(phi):
    exact = two_point(phi, VARIANCES, OTHERS, COVARIANCES)
    ruled = two_point(activation(phi), VARIANCES, OTHERS, COVARIANCES, kinks=(0.0,))
    np.testing.assert_allclose(ruled.F, exact.F, rtol=0, atol=1e-13)
    np.testing.assert_allclose(ruled.Fd, exact.Fd, rtol=0, atol=1e-13)


@pytest.mark.parametrize("phi", ["erf", "sin", "cos", "gelu"])
def test_hermite_coefficients_reproduce_the_closed_forms(phi):
    exact = two_point(phi, VARIANCES, OTHERS, COVARIANCES)
    series = two_point(activation(phi), VARIANCES, OTHERS, COVARIANCES)
    np.testing.assert_allclose(series.F, exact.F, rtol=0, atol=1e-13)
    np.testing.assert_allclose(series.Fd, exact.Fd, rtol=0, atol=1e-10)


def test_values_published_for_one_pair():
    q = (1.3, 0.7, 0.5)
    gelu = two_point("gelu", *q)
    values = (gelu.F, gelu.Fd, two_point("erf", *q).F, two_point("cos", *q).F)
    expected = (0.22152597254372347, 0.34460398039752443, 0.22099422849465422, 0.4148304099305316)
    np.testing.assert_allclose(values, expected, rtol=1e-13)


@pytest.mark.parametrize("q", [1.0, 2.0])
def test_tanh_on_the_diagonal_equals_high_precision(q):
    with mpmath.workdps(25):
        parts = mpmath.linspace(-12, 12, 25)
        root = mpmath.sqrt(q)
        F: Any = mpmath.quad(lambda z: mpmath.tanh(root * z) ** 2 * mpmath.npdf(z), parts)
        Fd: Any = mpmath.quad(lambda z: mpmath.sech(root * z) ** 4 * mpmath.npdf(z), parts)
    pair = two_point("tanh", q, q, q)
    assert abs(pair.F - float(F)) < (1e-14 if q == 1 else 1e-10)
    assert abs(pair.Fd - float(Fd)) < (1e-12 if q == 1 else 1e-8)
    many = two_point("tanh", q, q, q, order=256)
    assert max(abs(many.F - float(F)), abs(many.Fd - float(Fd))) < 1e-12


@pytest.mark.parametrize("phi", ACTIVATIONS)
def test_price_theorem_ties_the_pair(phi):
    slope = jax.vmap(jax.grad(lambda *q: two_point(phi, *q).F, argnums=2))(VARIANCES, OTHERS, COVARIANCES)
    np.testing.assert_allclose(slope, two_point(phi, VARIANCES, OTHERS, COVARIANCES).Fd, 1e-9, 1e-15)


@pytest.mark.parametrize("phi", SMOOTH)
@pytest.mark.parametrize("q", [(1.2, 0.8, 0.3), (1.2, 1.2, 1.2), (1.2, 1.2, -1.2), (0.0, 0.0, 0.0)])
def test_derivatives_are_averages_of_derivatives_even_on_the_diagonal(phi, q):
    """dF/dq11 = E phi'' phi / 2 and dFd/dq12 = E phi'' phi'', each another average."""
    f = activation(phi)
    second = derivative(derivative(f))
    d11 = jax.jit(jax.grad(lambda *q: two_point(phi, *q).F, argnums=0))(*q)
    d12 = jax.jit(jax.grad(lambda *q: two_point(phi, *q).Fd, argnums=2))(*q)
    z = jnp.linspace(-11.0, 11.0, 200)
    w = jnp.exp(-(z**2) / 2) / jnp.sqrt(2 * jnp.pi) * (z[1] - z[0])
    c = q[2] / q[0] if q[0] else 0.0
    s = jnp.sqrt(max(1 - (c * np.sqrt(q[0] / q[1])) ** 2, 0.0)) if q[0] else 0.0
    u = jnp.sqrt(q[0]) * z[:, None] + 0 * z[None]
    v = c * u + jnp.sqrt(q[1]) * s * z[None]
    np.testing.assert_allclose(d11, jnp.einsum("i,j,ij->", w, w, second(u) * f(v)) / 2, rtol=0, atol=1e-7)
    np.testing.assert_allclose(d12, jnp.einsum("i,j,ij->", w, w, second(u) * second(v)), rtol=0, atol=1e-5)


EDGES = jnp.array(
    [(1.0, 1.0, 1.0), (1.0, 4.0, 2.0), (1.0, 1.0, -1.0), (0.0, 2.0, 0.0), (2.0, 0.0, 0.0), (0.0, 0.0, 0.0)]
)


@pytest.mark.parametrize("phi", ACTIVATIONS)
def test_values_and_two_derivatives_are_finite_at_every_edge(phi):
    def values(q):
        return jnp.stack(two_point(phi, *q, order=32))

    for function in (values, jax.jacrev(values), jax.jacfwd(jax.jacfwd(values))):
        assert jnp.isfinite(jax.jit(jax.vmap(function))(EDGES)).all()


@pytest.mark.parametrize("k", [0.0, -1.0, 0.3])
def test_kinked_gradients_on_the_diagonal_are_the_exact_limits(k):
    even, odd, m = leaky_moments(k)
    along = jax.grad(lambda q: two_point(k, q, q, q).F)(1.7)
    np.testing.assert_allclose(along, m, rtol=1e-14)
    for c, Fd in ((1.0, even + odd), (-1.0, even - odd)):
        gradient = jax.grad(lambda *q: two_point(k, *q).F, argnums=(0, 1, 2))(1.7, 1.7, 1.7 * c)
        np.testing.assert_allclose(gradient, (0, 0, Fd), rtol=1e-14, atol=1e-15)


def test_gradients_close_to_the_diagonal_lose_no_digits():
    q12 = 1 - 1e-10
    with mpmath.workdps(40):
        D = 1 - mpmath.mpf(q12) ** 2
        expected = float(mpmath.sqrt(D) / (4 * mpmath.pi))
    gradient = jax.grad(lambda q: two_point("relu", q, 1.0, q12).F)(1.0)
    np.testing.assert_allclose(gradient, expected, rtol=1e-9)


@pytest.mark.parametrize("phi", ACTIVATIONS)
def test_a_variable_without_variance_is_the_constant_phi_of_zero(phi):
    f = activation(phi)
    mean = two_point(phi, 0.0, 1.5, 0.0).F
    z = jnp.linspace(-11.0, 11.0, 2001)
    w = jnp.exp(-(z**2) / 2) / jnp.sqrt(2 * jnp.pi) * (z[1] - z[0])
    np.testing.assert_allclose(mean, f(jnp.zeros(())) * (w * f(jnp.sqrt(1.5) * z)).sum(), atol=1e-12)
    np.testing.assert_allclose(two_point(phi, 0.0, 0.0, 0.0).F, f(jnp.zeros(())) ** 2, atol=1e-15)


def test_homogeneous_functions_scale_and_antipodes_split():
    pair, scaled = two_point("relu", 1.0, 2.0, 0.7), two_point("relu", 9.0, 8.0, 0.7 * 6)
    np.testing.assert_allclose([scaled.F, scaled.Fd], [6 * pair.F, pair.Fd], rtol=1e-14)
    assert two_point("relu", 1.0, 1.0, -1.0).F == pytest.approx(0, abs=1e-16)
    assert two_point("relu", 1.0, 1.0, -1.0).Fd == 0


@pytest.mark.parametrize("k", [0.0, -1.0, 0.3])
def test_angles_and_covariances_say_the_same(k):
    theta = jnp.linspace(0, jnp.pi, 9)
    by_angle, by_covariance = leaky_correlation(k, theta), two_point(k, 1.0, 1.0, jnp.cos(theta))
    np.testing.assert_allclose(by_angle.F, by_covariance.F, atol=1e-15)
    np.testing.assert_allclose(by_angle.Fd, by_covariance.Fd, atol=1e-15)


def test_large_variances_neither_overflow_nor_turn_nan():
    for phi, dtype in itertools.product(ACTIVATIONS, (jnp.float32, jnp.float64)):
        q = jnp.array([1e6, 1e12], dtype)
        for q12 in (q, -q, q * (1 - 1e-7)):
            pair = two_point(phi, q, q, q12)
            assert jnp.isfinite(pair.F).all() and jnp.isfinite(pair.Fd).all()


@pytest.mark.parametrize("phi", ACTIVATIONS)
def test_single_precision_is_accurate_close_to_the_diagonal(phi):
    q11 = np.array([1.0, 1.0, 2.0, 1.0], np.float32)
    q12 = np.array([1 - 2**-24, 1 - 2**-18, 2 - 2**-10, 0.5], np.float32)
    narrow = two_point(phi, jnp.asarray(q11), jnp.asarray(q11), jnp.asarray(q12))
    wide = two_point(phi, *(jnp.asarray(x, jnp.float64) for x in (q11, q11, q12)))
    np.testing.assert_allclose(narrow.F, wide.F, rtol=2e-6, atol=2e-7)
    np.testing.assert_allclose(narrow.Fd, wide.Fd, rtol=3e-6, atol=2e-7)


def test_angle_keeps_relative_precision_down_to_one_part_in_2_24():
    q12 = np.float32(1) - np.float32(2) ** -np.arange(4, 25).astype(np.float32)
    one = np.ones_like(q12)
    with mpmath.workdps(30):
        exact: Any = [mpmath.acos(mpmath.mpf(float(c))) for c in q12]
        expected = np.array([float(value) for value in exact])
    narrow = angle(*(jnp.asarray(x) for x in (one, one, q12)))
    np.testing.assert_allclose(narrow, expected, rtol=3e-7)
    assert determinant(jnp.float32(1), jnp.float32(1), jnp.float32(1)) == 0


@pytest.mark.parametrize(("table", "error"), [(_ARCSINE, 2.1e-17), (_ARCSINE_NARROW, 2.7e-9)])
def test_the_polynomial_of_the_arcsine_interpolates_it_with_the_error_stated(table, error):
    with mpmath.workdps(50):

        def ratio(square) -> Any:
            return mpmath.asin(mpmath.sqrt(square)) / mpmath.sqrt(square) if square else mpmath.mpf(1)

        half = mpmath.mpf(1) / 2
        exact: Any = mpmath.chebyfit(ratio, [0, half], len(table), asc=True)
        for square in mpmath.linspace(0, half, 101):
            assert abs(mpmath.polyval(exact, square, asc=True) / ratio(square) - 1) < error
        np.testing.assert_allclose(table, [float(value) for value in exact], rtol=1e-15)


@pytest.mark.parametrize(("dtype", "digits", "rtol"), [(np.float32, 24, 2.5e-7), (np.float64, 53, 4e-16)])
def test_angle_of_a_correlation_equals_high_precision_up_to_both_ends(dtype, digits, rtol):
    near = 1 - 2.0 ** -np.arange(1, digits)
    c = np.concatenate([near, -near, np.linspace(-1, 1, 301)]).astype(dtype)
    with mpmath.workdps(40):
        exact: Any = [mpmath.acos(mpmath.mpf(float(value))) for value in c]
        expected = np.array([float(value) for value in exact])
        slopes: Any = [-1 / mpmath.sqrt(1 - mpmath.mpf(float(value)) ** 2) for value in c if abs(value) < 1]
    ours = jax.jit(angle_of_correlation)(jnp.asarray(c))
    assert ours.dtype == dtype
    np.testing.assert_allclose(ours, expected, rtol=rtol, atol=0)
    gradient = jax.jit(jax.vmap(jax.grad(angle_of_correlation)))(jnp.asarray(c))
    np.testing.assert_allclose(gradient[np.abs(c) < 1], np.array([float(s) for s in slopes]), rtol=rtol)


def test_angle_of_a_correlation_has_finite_derivatives_at_its_ends_and_keeps_nan():
    c = jnp.array([1.0, -1.0, 1.5, -1.5])
    np.testing.assert_array_equal(angle_of_correlation(c), np.array([0, np.pi, 0, np.pi]))
    first = jax.grad(angle_of_correlation)
    for derivative_of in (first, jax.grad(first)):
        np.testing.assert_array_equal(jax.vmap(derivative_of)(c), 0)
    np.testing.assert_allclose(jax.grad(first)(0.6), -0.6 / 0.64**1.5, rtol=1e-14)
    assert jnp.isnan(angle_of_correlation(jnp.nan))


def test_the_odd_function_of_the_angle_equals_high_precision():
    theta = np.concatenate([10.0 ** np.arange(-8, 0), [0.999, 1.0, 1.001, 2.0, np.pi]])
    with mpmath.workdps(40):
        expected = [float(mpmath.sin(t) - mpmath.mpf(t) * mpmath.cos(t)) for t in theta]
    np.testing.assert_allclose(sine_less_theta_cosine(jnp.asarray(theta)), expected, rtol=2e-15)


def test_kinks_away_from_zero_equal_adaptive_quadrature():
    """Hard tanh, whose Fd is the probability that both variables lie in [-1, 1]."""
    q11, q22, q12 = 2.0, 0.6, 0.9
    hard = two_point(lambda x: jnp.clip(x, -1.0, 1.0), q11, q22, q12, kinks=(-1.0, 1.0))
    with mpmath.workdps(20):
        a, slope = mpmath.sqrt(q11), mpmath.mpf(q12) / q11
        spread = mpmath.sqrt(q22 - mpmath.mpf(q12) ** 2 / q11)

        def both(z):
            low, high = ((e - slope * a * z) / spread for e in (-1, 1))
            return (mpmath.ncdf(high) - mpmath.ncdf(low)) * mpmath.npdf(z)

        def product(z):
            mean = slope * a * z
            low, high = (-1 - mean) / spread, (1 - mean) / spread
            inner = mpmath.ncdf(-high) - mpmath.ncdf(low) + mean * (mpmath.ncdf(high) - mpmath.ncdf(low))
            inner += spread * (mpmath.npdf(low) - mpmath.npdf(high))
            return max(-1, min(1, a * z)) * inner * mpmath.npdf(z)

        Fd: Any = mpmath.quad(both, [-1 / a, 0, 1 / a])
        F: Any = mpmath.quad(product, [-12, -4, -1 / a, 0, 1 / a, 4, 12])
    np.testing.assert_allclose([hard.F, hard.Fd], [float(F), float(Fd)], rtol=0, atol=1e-10)


def test_kinked_functions_are_differentiable_in_the_variances():
    def by_rule(*q):
        return two_point(jax.nn.relu, *q, kinks=(0.0,)).F

    def exact(*q):
        return two_point("relu", *q).F

    for q in ((1.3, 0.7, 0.5), (1.3, 1.3, 1.3), (1.3, 1.3, -1.3)):
        ours, expected = (jax.grad(f, argnums=(0, 1, 2))(*q) for f in (by_rule, exact))
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-12)
    assert jnp.isfinite(jnp.stack(jax.grad(by_rule, argnums=(0, 1, 2))(0.0, 1.0, 0.0))).all()


@pytest.mark.parametrize("phi", ["relu", "erf", "gelu", "sin", "tanh"])
def test_two_point_is_a_kernel(phi):
    check_kernel(
        two_point,
        jnp.array([1.3, 0.4]),
        jnp.array([0.7, 1.7]),
        jnp.array([0.5, -0.6]),
        static={"phi": phi},
        bad=[
            {"phi": "swish"},
            {"phi": float("nan")},
            {"phi": True},
            {"phi": None},
            {"q11": [-1.0, 1.0]},
            {"q22": [-1.0, 1.0]},
            {"q12": [0.5, 1.0]},
            {"q12": [0.5, float("nan")]},
            {"order": 0},
            {"kinks": ("a",)},
        ],
    )


def test_a_function_with_an_undeclared_kink_is_refused():
    with pytest.raises(ValueError, match="kinks must say where phi' jumps, or order must be larger than 128"):
        two_point(jax.nn.relu, 1.0, 1.0, 0.5)
    with pytest.raises(ValueError, match="kinks must"):
        two_point(jax.nn.elu, 1.0, 1.0, 0.5, order=32)


def test_activations_are_checked_and_applied():
    assert checked_activation(1) == 1.0
    x = jnp.array([-1.5, 0.0, 2.0])
    np.testing.assert_allclose(activation(0.1)(x), jnp.where(x > 0, x, 0.1 * x), atol=1e-16)
    np.testing.assert_allclose(activation("abs")(x), jnp.abs(x), atol=1e-16)
    assert derivative(activation("relu"))(jnp.zeros(())) == 0.5
    with pytest.raises(ValueError, match="phi must be one of"):
        activation("RELU")
    with pytest.raises(ValueError, match="activation must be a finite slope, got inf"):
        checked_activation(math.inf, "activation")
