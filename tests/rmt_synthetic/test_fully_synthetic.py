"""Synthetic data alone: reference values, the transition, its slope and collapse, the peak, float32."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.check_kernel import check_kernel
from theorysim.rmt_synthetic.fully_synthetic import (
    critical_noise,
    critical_slope,
    fully_synthetic_moments,
    many_samples_accuracy,
    transition_coordinate,
    transition_profile,
)
from theorysim.rmt_synthetic.isotropic import isotropic_moments
from theorysim.rmt_synthetic.moments import decision_moments
from theorysim.rmt_synthetic.problem import paper_means, real_plus_synthetic
from theorysim.rmt_synthetic.score import test_accuracy as accuracy

VERIFIER = {"rho": 0.3, "phi": 0.8}
EPS = jnp.array([0, 0.2, 0.4, 0.6, 0.7, 0.8, 1])
POINT = tuple(map(jnp.asarray, (0.5, 1.3, 0.3, 0.2, 0.4, 0.05)))
OTHER = tuple(map(jnp.asarray, (3.0, 0.0, 0.9, 1.0, 0.0, 2.0)))
BAD = (
    {"aspect": 0.0},
    {"aspect": -1.0},
    {"aspect": jnp.inf},
    {"mu": -1.0},
    {"eps": 1.5},
    {"rho": -0.1},
    {"phi": 1.1},
    {"phi": jnp.nan},
    {"gamma": 0.0},
)

probability = st.floats(0.02, 0.98)


def same(a, b, rtol=1e-11):
    np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-15)


def right(*args, **kwargs):
    return accuracy(*fully_synthetic_moments(*args, **kwargs))


@pytest.mark.parametrize(
    ("point", "mean", "var", "acc"),
    [
        ((0.5, 1, 0.3, 0.2, 0.4, 0.01), 0.2534335521, 1.314227073, 0.5874808562),
        ((0.1, 1, 0.4, 0.3, 0.8, 1), 0.1590147425, 0.04432996268, 0.7749494465),
        ((0.5, 1.5, 0.2, 0.3, 0.55, 1e-4), 0.5238581403, 21.04131768, 0.5454615337),
    ],
)
def test_reference_values(point, mean, var, acc):
    moments = fully_synthetic_moments(*point)
    same([*moments, accuracy(*moments)], [mean, var, acc], rtol=1e-9)


@pytest.mark.parametrize(
    ("aspect", "curve"),
    [
        (1, [0.732926, 0.691532, 0.636214, 0.561327, 0.514188, 0.459091, 0.321073]),
        (0.1, [0.824282, 0.809805, 0.774949, 0.666536, 0.542809, 0.382326, 0.195126]),
        (0.001, [0.841164, 0.840986, 0.840440, 0.836134, 0.768466, 0.170385, 0.159079]),
    ],
)
def test_curves_of_the_phase_transition(aspect, curve):
    np.testing.assert_allclose(right(aspect, 1, EPS, **VERIFIER, gamma=1), curve, atol=5.1e-7)


@settings(deadline=None, max_examples=60)
@given(st.floats(0.01, 20), st.floats(0.1, 3), probability, probability, probability, st.floats(1e-4, 10))
def test_agrees_with_the_isotropic_form_and_passes_through_a_half(aspect, mu, eps, rho, phi, gamma):
    closed = fully_synthetic_moments(aspect, mu, eps, rho, phi, gamma)
    general = isotropic_moments(0, 100, 100 * aspect, mu, 1, 0, 1, eps, rho, phi, gamma)
    # Both are differences of probabilities near the critical noise, hence the scale.
    np.testing.assert_allclose(closed.mean, general.mean, rtol=1e-10, atol=1e-13)
    same(closed.var, general.var, rtol=1e-9)
    assert abs(right(aspect, mu, critical_noise(rho, phi), rho, phi, gamma) - 0.5) < 1e-13


@settings(deadline=None, max_examples=30)
@given(st.floats(0.01, 20), st.floats(0.1, 3), probability, probability, probability, st.floats(1e-4, 10))
def test_swapping_right_and_wrong_labels_swaps_accuracy_and_error(aspect, mu, eps, rho, phi, gamma):
    there = right(aspect, mu, eps, rho, phi, gamma)
    same(right(aspect, mu, 1 - eps, phi, rho, gamma), 1 - there, rtol=1e-9)


@pytest.mark.parametrize("setting", [(0.5, 1.5, 0.2, 0.3, 0.55, 1e-6), (3.0, 0.7, 0.6, 0.9, 0.2, 1e-3)])
def test_all_digits_of_a_40_digit_computation(setting):
    with mpmath.workdps(40):
        aspect, mu, eps, rho, phi, gamma = map(mpmath.mpf, setting)
        alpha, lam = phi * (1 - eps) + rho * eps, phi * (1 - eps) - rho * eps
        B = gamma + alpha - aspect
        delta = (mpmath.sqrt(B**2 + 4 * gamma * aspect) - B) / (2 * gamma)
        mean = lam * mu**2 / (gamma * (1 + delta) + alpha * (1 + mu**2))
        r = aspect * alpha / (gamma * (1 + delta) + alpha) ** 2
        bracket = mean**2 * (1 + 1 / mu**2) - 2 * lam / alpha * mean + 1
        var = mean**2 / mu**2 + r / (1 - r) * bracket
    moments = fully_synthetic_moments(*setting)
    same(moments.mean, float(mean), rtol=1e-14)
    # alpha - aspect = 0.5 - 0.5 is rounded at 1e-16, and the peak has width sqrt(gamma).
    same(moments.var, float(var), rtol=1e-12)


def test_peak_is_at_the_number_of_kept_samples():
    aspect = jnp.linspace(0.02, 1.5, 1481)
    kept = 0.8 * 0.7 + 0.2 * 0.3
    var = fully_synthetic_moments(aspect, 1.0, 0.3, 0.2, 0.8, 1e-6).var
    assert abs(aspect[jnp.argmax(var)] - kept) < 2e-3


@pytest.mark.parametrize(("aspect", "slope"), [(0.1, -1.613444353), (1, -0.5313859896)])
def test_slope_at_the_critical_noise(aspect, slope):
    found = critical_slope(aspect, 1, **VERIFIER, gamma=1)
    same(found, slope, rtol=1e-9)
    middle, h = critical_noise(**VERIFIER), 1e-4
    ends = right(aspect, 1, jnp.array([middle - h, middle + h]), **VERIFIER, gamma=1)
    same((ends[1] - ends[0]) / (2 * h), found, rtol=1e-6)
    gradient = jax.grad(lambda eps: right(aspect, 1.0, eps, **VERIFIER, gamma=1.0))(middle)
    same(gradient, found, rtol=1e-12)


def test_slope_grows_as_the_root_of_the_samples():
    slopes = critical_slope(jnp.array([1e-6, 1e-8]), 1, **VERIFIER, gamma=1)
    same(slopes[1] / slopes[0], 10, rtol=1e-4)
    assert critical_slope(0.1, 1, rho=0, phi=0.8, gamma=1) == -jnp.inf


@pytest.mark.parametrize(
    ("aspect", "error"), [(1e-2, 7.8e-3), (1e-3, 2.2e-3), (1e-4, 6.8e-4), (1e-5, 2.1e-4)]
)
def test_curves_collapse_as_samples_abound(aspect, error):
    middle = critical_noise(**VERIFIER)
    per_noise = jax.grad(lambda eps: transition_coordinate(eps, aspect, 1.0, **VERIFIER, gamma=1.0))(0.5)
    eps = jnp.linspace(middle - 4 / abs(per_noise), jnp.minimum(middle + 4 / abs(per_noise), 1), 401)
    u = transition_coordinate(eps, aspect, 1, **VERIFIER, gamma=1)
    same(u[0], 4, rtol=1e-6)
    gap = jnp.max(jnp.abs(right(aspect, 1, eps, **VERIFIER, gamma=1) - transition_profile(u, 1)))
    same(gap, error, rtol=0.03)


def test_many_samples_make_a_step():
    eps = jnp.array([0.1, 0.5, 0.7, 0.75, 0.9])
    step = many_samples_accuracy(1.3, eps, **VERIFIER)
    np.testing.assert_allclose(right(1e-9, 1.3, eps, **VERIFIER, gamma=0.7), step, atol=1e-5)
    assert critical_noise(rho=0.25, phi=0.75) == 0.75
    assert many_samples_accuracy(1.3, 0.75, rho=0.25, phi=0.75) == 0.5


@pytest.mark.parametrize(("eps", "sign"), [(0.2, 1), (0.9, -1)])
def test_many_samples_of_another_law_make_a_step_of_another_height(eps, sign):
    p, gamma = 40, 0.3
    mu, mu_s = paper_means(p, 1.2, beta=0.7, perp=0.8)
    cov_r, cov_s = jnp.linspace(0.5, 2, p), jnp.linspace(3, 0.2, p)
    labels = {"eps": eps, **VERIFIER}
    problem = real_plus_synthetic(0, 1e11, mu, mu_s, cov_r=cov_r, cov_s=cov_s, **labels)
    alpha = 0.8 * (1 - eps) + 0.3 * eps
    R = 1 / (gamma + alpha * cov_s)
    height = jnp.sum(mu * R * mu_s) / jnp.sqrt(jnp.sum(cov_r * (R * mu_s) ** 2))
    limit = jax.scipy.special.ndtr(sign * height)
    np.testing.assert_allclose(accuracy(*decision_moments(problem, gamma)), limit, atol=1e-7)


def test_nothing_kept_gives_a_coin_with_finite_derivatives():
    for nothing in (
        (0.5, 1.0, 0.3, 0.0, 0.0, 0.1),
        (0.5, 1.0, 1.0, 0.0, 0.7, 0.1),
        (2.0, 0.0, 0.0, 0.5, 0.0, 1.0),
    ):
        assert fully_synthetic_moments(*nothing) == (0, 0)
        assert right(*nothing) == 0.5
        for gradient in jax.grad(lambda *args: fully_synthetic_moments(*args).var, argnums=tuple(range(6)))(
            *nothing
        ):
            assert jnp.isfinite(gradient)
        for gradient in jax.grad(right, argnums=tuple(range(6)))(*nothing):
            assert jnp.isfinite(gradient)


def test_float32_keeps_the_accuracy_to_the_last_digits():
    u, size = np.random.default_rng(0).uniform, 100_000
    columns = (10 ** u(-1, 1, size), u(0.5, 2, size), u(0, 1, size), u(0, 1, size), u(0, 1, size))
    points = [jnp.asarray(x, jnp.float32) for x in (*columns, 10 ** u(-3, 1, size))]
    wide = [x.astype(jnp.float64) for x in points]
    assert jnp.max(jnp.abs(right(*points) - right(*wide))) < 1.9e-7


def test_float32_keeps_the_variance_at_the_peak_with_a_tiny_ridge():
    u, size = np.random.default_rng(0).uniform, 100_000
    mu, eps, rho, phi = (jnp.asarray(x, jnp.float32) for x in (u(0.5, 2, size), *u(0, 1, (3, size))))
    points = (phi * (1 - eps) + rho * eps, mu, eps, rho, phi, jnp.float32(1e-5))
    wide = [x.astype(jnp.float64) for x in points]
    narrow, exact = fully_synthetic_moments(*points).var, fully_synthetic_moments(*wide).var
    assert jnp.max(jnp.abs(narrow / exact - 1)) < 5e-7


def test_moments_are_a_kernel():
    check_kernel(fully_synthetic_moments, *POINT, points=[OTHER], bad=BAD)


def test_transition_functions_are_kernels():
    aspect, mu, eps, rho, phi, gamma = POINT
    keeps_nothing = {"rho": 0.0, "phi": 0.0}
    check_kernel(
        critical_noise, rho, phi, points=[(0.9, 0.3)], bad=({"rho": 1.1}, {"phi": -0.1}, keeps_nothing)
    )
    check_kernel(
        critical_slope,
        *(aspect, mu, rho, phi, gamma),
        points=[(2.0, 1.0, 0.4, 0.9, 1.0)],
        bad=({"aspect": 0.0}, {"gamma": 0.0}, keeps_nothing),
    )
    check_kernel(
        transition_coordinate,
        *(eps, aspect, mu, rho, phi, gamma),
        points=[(0.9, 2.0, 1.0, 0.4, 0.9, 1.0)],
        bad=({"eps": 2.0}, {"rho": 0.0}, {"phi": 0.0}),
    )
    check_kernel(transition_profile, mu, gamma, points=[(-3.0, 2.0)], bad=({"u": jnp.nan}, {"mu": -1.0}))
    check_kernel(
        many_samples_accuracy,
        mu,
        eps,
        rho,
        phi,
        points=[(1.0, 0.9, 0.5, 0.5)],
        bad=({"eps": 1.2}, {"mu": -1.0}),
    )
