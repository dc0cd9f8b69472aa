"""Infinite depth: the recursion tends to the limit, at the rate and with the constant of the theory."""

from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from theorysim.width_depth import (
    correlation_flow,
    covariance_recursion,
    depth_limit,
    discretisation_error,
    flow,
    flow_time,
    pair_kernels,
    schedule,
    series_limit,
)

Q0 = jnp.array([1.0, 2.0, 0.4])


def richardson(f, depths=(64, 128, 256)):
    a, b, c = (f(L) for L in depths)
    return jax.tree.map(lambda a, b, c: (8 * c - 6 * b + a) / 3, a, b, c)


@pytest.mark.parametrize("phi", ["relu", "abs", 0.3, "linear", "erf", "gelu"])
def test_the_recursion_extrapolates_to_the_limit(phi):
    found = richardson(lambda L: pair_kernels(Q0, schedule("uniform", L, tau=0.8), phi))
    for a, b in zip(found, depth_limit(Q0, 0.8, phi), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-6)


def test_vanishing_schedules_collapse_on_their_clock():
    """A ramp and a uniform schedule with the same sum have one limit; a steeper power is trivial."""

    def at(**how):
        return covariance_recursion(Q0, schedule(L=4000, **how), "relu")

    limit = depth_limit(Q0, 1.0, "relu").nngp
    np.testing.assert_allclose(at(name="uniform"), limit, rtol=2e-4)
    np.testing.assert_allclose(at(name="ramp", rho=lambda t: t**2), limit, rtol=4e-4)
    np.testing.assert_allclose(at(name="power", b=1.0), Q0, rtol=3e-4)


def test_a_function_with_a_kink_has_the_limit_of_its_name():
    named, ruled = (depth_limit(Q0, 0.5, phi, kinks=k) for phi, k in (("relu", ()), (jax.nn.relu, (0.0,))))
    for a, b in zip(named, ruled, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8)


def test_the_limit_has_its_edges():
    for phi in ("relu", "erf"):
        none = depth_limit(Q0, 0.0, phi)
        np.testing.assert_allclose(none.nngp, Q0, rtol=1e-14)
        np.testing.assert_allclose([none.ntk, none.grad], [0.8, 1.0], rtol=1e-14)
        for q0 in ([1.0, 1.0, 1.0], [1.0, 1.0, -1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]):
            for value in depth_limit(jnp.array(q0), 1.0, phi):
                assert jnp.isfinite(value).all()
    same = depth_limit(jnp.ones(3), 1.0, "relu")
    np.testing.assert_allclose(same.nngp, jnp.exp(0.5), rtol=1e-14)
    np.testing.assert_allclose(same.ntk, jnp.exp(0.5) * 2.5, rtol=1e-13)


def test_antipodal_inputs_follow_the_same_limit():
    q0 = jnp.array([1.0, 1.0, -1.0])
    found = richardson(lambda L: pair_kernels(q0, schedule("uniform", L), "relu"), (512, 1024, 2048))
    for a, b in zip(found, depth_limit(q0, 1.0, "relu"), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_one_curve_serves_every_homogeneous_activation():
    c0, tau = 0.2, 0.7
    for phi, slope in (("relu", 0.0), ("abs", -1.0), (0.3, 0.3), ("linear", 1.0)):
        limit = depth_limit(jnp.array([1.0, 1.0, c0]), tau, phi).nngp
        np.testing.assert_allclose(
            limit[2] / limit[0], correlation_flow(c0, (1 - slope) ** 2 * tau), rtol=1e-13
        )


def test_the_flow_solves_its_equation_and_is_a_flow():
    c, s = jnp.linspace(-0.99, 0.99, 9), 0.8
    theta = jnp.arccos(correlation_flow(c, s))
    rate = jax.vmap(jax.grad(correlation_flow, argnums=1), (0, None))(c, s)
    np.testing.assert_allclose(rate, (jnp.sin(theta) - theta * jnp.cos(theta)) / (2 * jnp.pi), rtol=1e-11)
    twice = correlation_flow(correlation_flow(c, 0.3), 0.5)
    np.testing.assert_allclose(twice, correlation_flow(c, s), rtol=0, atol=1e-14)


def test_opposite_inputs_start_to_turn_however_the_clock_is_rounded(monkeypatch):
    """At the angle pi the clock has slope 0, so that Newton's step is rounding over rounding."""
    coefficients = flow._remainder_coefficients()
    draw = np.random.default_rng(0)
    s = jnp.array([0.0, 1e-300, 1e-16, 1e-14, 1e-12, 1e-10])
    for _ in range(12):
        rounded = coefficients * (1 + draw.uniform(-3e-16, 3e-16, coefficients.shape))
        monkeypatch.setattr(flow, "_remainder_coefficients", lambda rounded=rounded: rounded)
        angle = flow.later_angle(jnp.full(s.shape, jnp.pi), s)
        np.testing.assert_allclose(jnp.cos(angle), s / 2 - 1, rtol=0, atol=3e-15)


def test_the_flow_ends_like_18_pi_squared_over_s_squared():
    ratio = (1 - correlation_flow(0.2, jnp.array([1e3, 1e5]))) * jnp.array([1e6, 1e10]) / (18 * jnp.pi**2)
    np.testing.assert_allclose(ratio, [0.970, 1.0], atol=2e-3)
    np.testing.assert_array_equal(correlation_flow(jnp.array([1.0, 0.3]), jnp.array([5.0, 0.0])), [1.0, 0.3])


def test_flow_time_inverts_the_flow_and_equals_quadrature():
    c = jnp.linspace(-1.0, 0.95, 8)[:, None]
    s = jnp.array([1e-3, 0.1, 1.0, 30.0, 1e3])[None]
    np.testing.assert_allclose(flow_time(c, correlation_flow(c, s)), jnp.broadcast_to(s, (8, 5)), rtol=1e-8)
    with mpmath.workdps(20):
        expected = (
            2
            * mpmath.pi
            * mpmath.quad(
                lambda t: mpmath.sin(t) / (mpmath.sin(t) - t * mpmath.cos(t)),
                [mpmath.acos(0.5), mpmath.acos(-0.3)],
            )
        )
    np.testing.assert_allclose(flow_time(-0.3, 0.5), float(mpmath.re(expected)), rtol=1e-14)
    np.testing.assert_array_equal(
        flow_time(jnp.array([1.0, 0.3, 0.0]), jnp.array([1.0, 0.3, 1.0])), [0, 0, jnp.inf]
    )


def test_flow_derivatives_are_finite_at_the_ends():
    for c0 in (-1.0, 1.0, 0.0):
        for gradient in jax.grad(correlation_flow, argnums=(0, 1))(c0, 1.0):
            assert jnp.isfinite(gradient)
    h = 1e-6
    one_sided = (correlation_flow(-1 + h, 1.0) - correlation_flow(-1.0, 1.0)) / h
    np.testing.assert_allclose(jax.grad(correlation_flow)(-1.0, 1.0), one_sided, rtol=1e-2)


def test_the_discretisation_error_is_first_order_with_its_constant():
    error = discretisation_error(schedule("uniform", 1024), "relu")
    np.testing.assert_allclose(1024 * error.exact * jnp.exp(0.5), -0.2060105, atol=1e-7)
    np.testing.assert_allclose(1024 * error.leading, -1 / 8, rtol=1e-14)
    q = covariance_recursion(jnp.ones(3), schedule("uniform", 16), "relu")[0]
    np.testing.assert_allclose(
        discretisation_error(schedule("uniform", 16), "relu").exact, q / jnp.exp(0.5) - 1, rtol=1e-12
    )
    with mpmath.workdps(30):
        exact = float(mpmath.expm1(10**4 * (mpmath.log1p(mpmath.mpf(1) / 20000) - mpmath.mpf(1) / 20000)))
    np.testing.assert_allclose(discretisation_error(jnp.full(10**4, 1e-4), "relu").exact, exact, rtol=1e-10)


def test_the_series_has_its_product_and_its_tail():
    limit = series_limit(0.2, 1.0, "relu")
    root = jnp.pi / jnp.sqrt(2)
    np.testing.assert_allclose(limit.growth, jnp.sinh(root) / root, rtol=1e-13)
    np.testing.assert_allclose(limit.growth, 2.0509565479832705, rtol=1e-13)

    def at(L):
        return covariance_recursion(jnp.array([1.0, 1.0, 0.2]), schedule("series", L, p=1.0), "relu")

    q = at(1000)
    np.testing.assert_allclose(2 * 1000 * (1 - q[0] / limit.growth), 0.9993, atol=4e-4)
    far, near = at(40_000), at(20_000)
    # The missing tail halves with twice the depth.
    c = 2 * far[2] / far[0] - near[2] / near[0]
    np.testing.assert_allclose(limit.correlation, c, rtol=3e-9)
    slow = series_limit(0.2, 0.75, "abs")
    # log prod (1 + l^-1.5) = sum_j (-1)^(j+1) zeta(1.5 j)/j from l = 2, and log 2.
    terms: Any = [(-1) ** (j + 1) * (mpmath.zeta(1.5 * j) - 1) / j for j in range(1, 60)]
    product: Any = 2 * mpmath.exp(mpmath.fsum(terms))
    np.testing.assert_allclose(slow.growth, float(product), rtol=1e-13)


def test_schedules_sum_to_their_clock():
    np.testing.assert_allclose(schedule("uniform", 7, tau=2.0).sum(), 2.0)
    np.testing.assert_allclose(schedule("ramp", 7, tau=2.0, rho=lambda t: 1 + t).sum(), 2.0)
    np.testing.assert_allclose(schedule("power", 16, b=0.25), 0.25)
    assert schedule("uniform", 0).shape == (0,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "cosine", "L": 3}, "name must be one of"),
        ({"name": "uniform", "L": -1}, "L must be an integer >= 0"),
        ({"name": "uniform", "L": 3, "tau": -1.0}, "tau must be in"),
        ({"name": "uniform", "L": 3, "p": 1.0}, "p must be None for name='uniform'"),
        ({"name": "series", "L": 3}, "p must be given for name='series'"),
        ({"name": "series", "L": 3, "p": 0.5}, r"p must be in \(0.5, inf\)"),
        ({"name": "ramp", "L": 3, "rho": lambda t: -t}, "rho must be in"),
        ({"name": "ramp", "L": 3, "rho": lambda t: 0 * t}, "rho must be in"),
        ({"name": "power", "L": 3, "b": float("nan")}, "b must be in"),
    ],
)
def test_bad_schedules_are_named(arguments, message):
    plain = getattr(schedule, "__wrapped__", schedule)
    with pytest.raises(ValueError, match=message):
        plain(**arguments)
