"""Isotropic closed forms: reference values, limits and identities, high precision, float32, the one suite."""

from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.check_kernel import check_kernel
from theorysim.rmt_synthetic.elementwise import elementwise
from theorysim.rmt_synthetic.exchange import averaging_accuracy
from theorysim.rmt_synthetic.group_statistics import Variant
from theorysim.rmt_synthetic.isotropic import isotropic_fixed_point, isotropic_moments
from theorysim.rmt_synthetic.moments import decision_moments
from theorysim.rmt_synthetic.problem import paper_means, real_plus_synthetic
from theorysim.rmt_synthetic.scalar_root import NEWTON_STEPS, lower_bound, newton_from_below
from theorysim.rmt_synthetic.score import test_accuracy as accuracy

NAMES = ("n", "m", "p", "mu", "beta", "perp", "sigma2", "eps", "rho", "phi", "gamma", "omega")
FIGURE: dict[str, Any] = dict(zip(NAMES, (1000, 2000, 500, 1.5, 0.7, 1, 0.49, 0.3, 0.1, 0.8), strict=False))
WEIGHTED: dict[str, Any] = dict(zip(NAMES, (200, 1000, 300, 1.2, 1, 0, 1, 0.25, 0.3, 0.9, 0.1), strict=False))
POINT = tuple(map(jnp.asarray, (200.0, 400.0, 150.0, 1.5, 0.8, 0.6, 0.5, 0.3, 0.2, 0.9, 0.05, 0.7)))
OTHER = tuple(map(jnp.asarray, (30.0, 0.0, 80.0, 0.7, 0.0, 0.0, 2.0, 0.6, 0.5, 0.4, 2.0, 1.0)))

BAD_SIZES = ({"n": -1.0}, {"m": -1.0}, {"p": 0.0}, {"p": -3.0}, {"n": jnp.nan}, {"p": jnp.inf})
BAD_RATES = ({"eps": 1.1}, {"eps": -0.1}, {"rho": 1.5}, {"phi": -0.5}, {"gamma": 0.0}, {"omega": -1.0})

probability = st.floats(0.02, 0.98)
settings_of = st.fixed_dictionaries(
    {
        "n": st.floats(1, 1000),
        "m": st.floats(1, 1000),
        "p": st.floats(1, 1000),
        "mu": st.floats(0.1, 3),
        "beta": st.floats(-1, 2),
        "perp": st.floats(0, 2),
        "sigma2": st.floats(0.05, 4),
        "eps": probability,
        "rho": probability,
        "phi": probability,
        "gamma": st.floats(-4, 2).map(lambda x: 10.0**x),
        "omega": st.floats(0.1, 5),
    }
)


def same(a, b, rtol=1e-11):
    np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-15)


def random_box(size, seed=0):
    u = np.random.default_rng(seed).uniform
    columns = [u(50, 2000, size), u(50, 2000, size), u(20, 2000, size), u(0.5, 2, size), u(0, 1, size)]
    columns += [u(0, 1, size), u(0.2, 2, size), u(0, 1, size), u(0, 1, size), u(0, 1, size)]
    return [jnp.asarray(x, jnp.float32) for x in (*columns, 10 ** u(-3, 1, size), u(0.2, 2, size))]


@pytest.mark.parametrize(
    ("setting", "changes", "mean", "var", "right"),
    [
        (FIGURE, {"gamma": 1e-6}, 0.6973700906, 0.3999606096, 0.8649197950),
        (FIGURE, {"gamma": 0.1}, 0.6536694500, 0.3078699349, 0.8806175157),
        (FIGURE, {"gamma": 10}, 0.1088668787, 0.006757939472, 0.9072994203),
        (WEIGHTED, {"omega": 0.5}, 0.4551344402, 0.2820163493, 0.8042894095),
        (WEIGHTED, {"omega": 1}, 0.4641017314, 0.3233888666, 0.7927824391),
    ],
)
def test_reference_values(setting, changes, mean, var, right):
    moments = isotropic_moments(**setting | changes)
    same([*moments, accuracy(*moments)], [mean, var, right], rtol=1e-9)


def test_released_variant_is_off_by_what_monte_carlo_rejects():
    # Direct draws of ridge at this p = 100 give 0.6353 +- 0.0006.
    expected: dict[Variant, float] = {"exact": 0.63621, "released": 0.63081}
    for variant, right in expected.items():
        moments = isotropic_moments(0, 100, 100, 1, 1, 0, 1, 0.4, 0.3, 0.8, 1, variant=variant)
        same(accuracy(*moments), right, rtol=1e-5)


def test_released_variance_can_be_negative():
    moments = isotropic_moments(0, 200, 100, 1, 1, 0, 1, 0.3, 0.2, 0.4, 0.01, variant="released")
    assert moments.var < 0
    assert jnp.isnan(accuracy(*moments))


@pytest.mark.parametrize("variant", ["exact", "released"])
@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_the_general_theorem(variant, seed):
    u = np.random.default_rng(seed).uniform
    p = 24
    n, m, mu, perp = u(5, 60), u(5, 60), u(0.5, 2), u(0, 1)
    beta, sigma2, omega, gamma = u(-0.5, 1), u(0.2, 2), u(0.2, 2), 10 ** u(-2, 1)
    labels = dict(zip(("eps", "rho", "phi"), u(0.1, 0.9, 3), strict=True))
    means = paper_means(p, mu, beta=beta, perp=perp)
    problem = real_plus_synthetic(n, m, *means, omega=omega, cov_s=sigma2, **labels)
    general = decision_moments(problem, gamma, variant=variant)
    closed = isotropic_moments(
        n, m, p, mu, beta, perp, sigma2, gamma=gamma, omega=omega, variant=variant, **labels
    )
    same(jnp.stack(closed), jnp.stack(general), rtol=1e-11)


@pytest.mark.parametrize(
    "setting",
    [
        FIGURE | {"gamma": 1e-6, "omega": 1},
        WEIGHTED | {"omega": 0.5},
        FIGURE | {"gamma": 1e-3, "omega": 3, "n": 1},
    ],
)
def test_fixed_point_and_moments_have_all_digits_of_a_40_digit_computation(setting):
    mean, var = _moments_in_mpmath(**setting)
    moments = isotropic_moments(**setting)
    same(moments.mean, float(mean), rtol=2e-14)
    same(moments.var, float(var), rtol=2e-13)


def _moments_in_mpmath(n, m, p, mu, beta, perp, sigma2, eps, rho, phi, gamma, omega):
    """The general theorem, word for word, with 2 x 2 matrices and the root of G by bisection."""
    with mpmath.workdps(40):
        n, m, p, mu, beta, perp, sigma2, eps, rho, phi, gamma, omega = map(
            mpmath.mpf, (n, m, p, mu, beta, perp, sigma2, eps, rho, phi, gamma, omega)
        )
        N = n + m
        pi, c, eta = [n / N, m / N], [mpmath.mpf(1), sigma2], p / N
        alpha, lam = phi * (1 - eps) + rho * eps, phi * (1 - eps) - rho * eps

        def D(d):
            return gamma + pi[0] / (1 + d) + pi[1] * alpha * omega * sigma2 / (1 + omega * sigma2 * d)

        delta = mpmath.findroot(lambda d: d * D(d) - eta, (0, eta / gamma), solver="anderson", tol=1e-70)
        shrink = [1 / (1 + delta), omega / (1 + omega * sigma2 * delta)]
        kappa, tau = [shrink[0], alpha * shrink[1]], [shrink[0], lam * shrink[1]]
        chi, xi = [shrink[0] ** 2, alpha * shrink[1] ** 2], [shrink[0] ** 2, lam * shrink[1] ** 2]
        q = 1 / D(delta)
        means = [mpmath.matrix([mu, 0]), mpmath.matrix([beta * mu, perp])]
        M = mpmath.eye(2) / q
        for k in (0, 1):
            M += pi[k] * kappa[k] * means[k] * means[k].T
        wbar = mpmath.lu_solve(M, pi[0] * tau[0] * means[0] + pi[1] * tau[1] * means[1])
        B = mpmath.matrix(2, 2)
        for k in (0, 1):
            for j in (0, 1):
                B[k, j] = (k == j) - eta * q**2 * c[k] * c[j] * pi[j] * chi[j]
        d = mpmath.lu_solve(B, eta * q**2 * mpmath.matrix(c))
        size = (wbar.T * wbar)[0]
        var = size
        for k in (0, 1):
            score = (means[k].T * wbar)[0]
            var += pi[k] * d[k] * (chi[k] * (c[k] * size + score**2) - 2 * xi[k] * score + chi[k])
        return mu * wbar[0], var


@settings(deadline=None, max_examples=40)
@given(settings_of)
def test_exact_identities(setting):
    def moments(**changes):
        return jnp.stack(isotropic_moments(**setting | changes))

    n, m, phi, gamma, rho, eps = (setting[key] for key in ("n", "m", "phi", "gamma", "rho", "eps"))
    # A verifier that tosses a coin prunes as if fewer samples had been drawn.
    fewer = moments(m=phi * m, rho=1, phi=1, gamma=gamma * (n + m) / (n + phi * m))
    same(moments(rho=phi), fewer, rtol=1e-9)
    # Without synthetic samples neither their labels nor their verifier matter.
    same(moments(m=0), moments(m=0, eps=0, rho=0, phi=0, omega=7))
    # Weight 0 removes them, but for their part in N.
    same(moments(omega=0), moments(m=0, gamma=gamma * (n + m) / n), rtol=1e-9)
    # Clean samples of the true law are real samples.
    real_law = {"beta": 1, "perp": 0, "sigma2": 1, "omega": 1}
    same(moments(eps=0, phi=1, **real_law), moments(n=n + m, m=0), rtol=1e-9)
    # Trading right for wrong labels flips the classifier if there is no real sample to hold it.
    if phi * (1 - eps) <= 1 and rho * eps <= 1:
        flipped = moments(n=0, phi=rho, rho=phi, eps=1 - eps)
        same(moments(n=0) * jnp.array([-1, 1]), flipped, rtol=1e-9)


@settings(deadline=None, max_examples=40)
@given(settings_of)
def test_large_ridge_is_averaging(setting):
    limit = averaging_accuracy(**{k: v for k, v in setting.items() if k != "gamma"})
    same(accuracy(*isotropic_moments(**setting | {"gamma": 1e9})), limit, rtol=1e-6)


def test_large_ridge_approaches_averaging_as_one_over_gamma():
    limit = averaging_accuracy(**{k: v for k, v in FIGURE.items() if k != "gamma"})
    assert abs(accuracy(*isotropic_moments(**FIGURE, gamma=1e7)) - limit) < 1e-9
    gaps = [float(accuracy(*isotropic_moments(**FIGURE, gamma=g)) - limit) for g in (1e4, 1e5)]
    same(gaps[0] / gaps[1], 10, rtol=1e-3)


def test_small_ridge_has_a_pole_where_dimensions_meet_kept_samples():
    # gamma -> 0: delta = eta / (alpha - eta) below the interpolation threshold eta = alpha.
    shares, kept, one = jnp.array([0.25, 0.75]), jnp.array([1.0, 0.6]), jnp.ones(2)
    alpha = 0.25 + 0.75 * 0.6
    for eta in (0.1, 0.5, 0.65):
        same(isotropic_fixed_point(shares, kept, one, one, 1e-12, eta), eta / (alpha - eta), rtol=1e-8)
    peak = isotropic_moments(100, 300, jnp.array([200.0, 280.0, 360.0]), 1, 1, 0, 1, 0.4, 0.6, 0.6, 1e-6)
    assert peak.var[1] > 50 * max(peak.var[0], peak.var[2])


def test_newton_never_overshoots_and_converges_within_its_steps():
    rng, size = np.random.default_rng(0), 20_000
    share, log = rng.uniform(0, 1, size), lambda low, high: jnp.asarray(10 ** rng.uniform(low, high, size))
    loads = [jnp.asarray(share), jnp.asarray(1 - share) * log(-3, 1)]
    rates, gamma, eta = [jnp.ones(size), log(-3, 2)], log(-8, 2), log(-3, 3)

    def residual(delta):
        D = gamma + sum(load / (1 + rate * delta) for load, rate in zip(loads, rates, strict=True))
        return delta * D - eta

    start = lower_bound(loads, rates, gamma, eta)
    delta = newton_from_below(residual, start)
    assert (start <= delta * (1 + 1e-12)).all()
    assert jnp.max(jnp.abs(residual(delta)) / eta) < 1e-13
    value, slope = jax.jvp(residual, (delta,), (jnp.ones(size),))
    # One step more moves by no more than rounding, also where the root is ill-conditioned.
    assert jnp.max(jnp.abs(value / slope / delta)) < 1e-11
    assert NEWTON_STEPS == 20


def test_float32_keeps_the_accuracy_to_the_last_digits():
    points = random_box(20_000)
    wide = [x.astype(jnp.float64) for x in points]
    narrow, exact = isotropic_moments(*points), isotropic_moments(*wide)
    assert narrow.var.dtype == jnp.float32
    # Rounding the moments alone, to be turned into an accuracy, costs 1.3e-7.
    assert jnp.max(jnp.abs(accuracy(*narrow) - accuracy(*exact))) < 2.5e-7


def test_a_million_points_are_one_call_over_arrays_that_broadcast():
    n, m = jnp.linspace(1, 100, 7)[:, None], jnp.linspace(0, 100, 5)
    moments = isotropic_moments(n, m, **{k: v for k, v in FIGURE.items() if k not in "nm"}, gamma=0.1)
    assert moments.mean.shape == (7, 5)
    one = isotropic_moments(n[3, 0], m[2], **{k: v for k, v in FIGURE.items() if k not in "nm"}, gamma=0.1)
    same(moments.var[3, 2], one.var)


def test_nothing_left_gives_a_coin_with_finite_derivatives():
    def right(*args):
        return accuracy(*isotropic_moments(*args))

    nothing = (0.0, 100.0, 50.0, 1.5, 0.7, 1.0, 0.5, 0.3, 0.0, 0.0, 0.1, 1.0)
    assert right(*nothing) == 0.5
    assert isotropic_moments(*nothing) == (0, 0)
    for gradient in jax.grad(right, argnums=tuple(range(12)))(*nothing):
        assert jnp.isfinite(gradient)


def test_second_derivatives_are_implicit_too():
    def var(gamma):
        return isotropic_moments(**FIGURE, gamma=gamma).var

    h = 1e-4
    slope = jax.grad(var)
    same(jax.grad(slope)(0.1), (slope(0.1 + h) - slope(0.1 - h)) / (2 * h), rtol=1e-5)


def test_sizes_and_weights_must_leave_a_sample():
    with pytest.raises(ValueError, match=r"n \+ m must be in \(0, inf\), got 0"):
        isotropic_moments(0, 0, **{k: v for k, v in FIGURE.items() if k not in "nm"}, gamma=1)
    with pytest.raises(ValueError, match=r"alpha must have a first axis of one entry per group"):
        isotropic_fixed_point(jnp.ones(2), jnp.ones(3), jnp.ones(2), jnp.ones(2), 1.0, 1.0)


def test_python_numbers_do_not_widen_float32():
    assert isotropic_moments(**FIGURE, gamma=jnp.float32(0.1)).mean.dtype == jnp.float32
    assert elementwise(mu=1, eps=0)[0].dtype == jnp.float64


def test_moments_are_a_kernel():
    bad = (*BAD_SIZES, *BAD_RATES, {"mu": -1.0}, {"perp": -1.0}, {"sigma2": -0.5}, {"beta": jnp.inf})
    check_kernel(isotropic_moments, *POINT, points=[OTHER], bad=(*bad, {"variant": "printed"}))
    check_kernel(isotropic_moments, *POINT, static={"variant": "released"}, points=[OTHER])


def test_fixed_point_is_a_kernel():
    point = (jnp.array([0.3, 0.7]), jnp.array([1.0, 0.6]), jnp.array([1.0, 0.5]), jnp.array([1.0, 2.0]))
    bad = (
        {"gamma": 0.0},
        {"aspect": 0.0},
        {"pi": [-1.0, 2.0]},
        {"alpha": [2.0, 0.0]},
        {"omega": [1.0, -1.0]},
    )
    check_kernel(
        isotropic_fixed_point,
        *point,
        jnp.array(0.1),
        jnp.array(0.4),
        bad=(*bad, {"sigma2": [-1.0, 1.0]}, {"pi": 1.0}, {"variant": "printed"}),
    )
