"""Attack curves: against simulation, quadrature and scipy; bounds, limits, monotonicity, derivatives."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal, ncx2

from tests.check_kernel import check_kernel
from theorysim.lood import (
    attack_auc,
    attack_roc,
    attack_tpr,
    channel_kl,
    channel_renyi,
    epsilon_bound,
    gaussian_pair_auc,
    noncentral_chi2_cdf,
    privacy_profile,
    total_variation,
)
from theorysim.lood.ball import ball, ball_offset

# Minutes of compilation in all; the reference values and channels run always.
pytestmark = pytest.mark.slow

H, ZETA = jnp.array([0.1, 0.5, 0.9]), jnp.array([2.0, 0.3, 7.0])
OTHER = (jnp.array([0.3, 0.2, 0.99]), jnp.array([0.1, 4.0, 1.0]))
BAD = [
    {"leverage": -0.1},
    {"leverage": 1.0},
    {"leverage": jnp.array([0.5, jnp.nan])},
    {"surprise": -1.0},
    {"outputs": 0},
]
CHANNELS = [(0.05, 4.0), (0.4, 0.2), (0.5, 1.5), (0.95, 3.0)]


@pytest.mark.parametrize("k", [1, 2, 3, 10, 61, 62, 200])
def test_the_noncentral_chi_square_agrees_with_scipy(k):
    lam = np.array([1e-3, 0.5, 3.0, 40.0, 1e3])[:, None]
    t = (k + lam) + np.array([-2.0, 0.0, 1.0, 4.0]) * np.sqrt(2 * (k + 2 * lam))
    t = np.maximum(t, 0.1)
    np.testing.assert_allclose(
        noncentral_chi2_cdf(jnp.asarray(t), jnp.asarray(lam), outputs=k), ncx2.cdf(t, k, lam), atol=1e-11
    )


@pytest.mark.parametrize("k", [1, 2, 7, 80])
def test_inside_and_outside_of_a_ball_add_up_and_the_offset_inverts(k):
    c = jnp.array([0.0, 0.3, 5.0, 1e4])
    for level in (1e-6, 1e-3, 0.5, 0.999):
        a = ball_offset(jnp.full(4, level), c, k)
        value = ball(a, c, outputs=k)
        np.testing.assert_allclose(value.inside, level, rtol=1e-9)
        np.testing.assert_allclose(value.inside + value.outside, 1, rtol=0, atol=1e-13)


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize(("h", "zeta"), CHANNELS)
def test_curves_agree_with_simulated_attacks(h, zeta, k):
    """200,000 draws a side; every estimate within four of its standard errors."""
    draws = 200_000
    rng = np.random.default_rng([k, round(1000 * h)])
    z = np.zeros(k)
    z[0] = np.sqrt(zeta)
    out = rng.normal(size=(draws, k))
    inside = np.sqrt(h) * z + np.sqrt(1 - h) * rng.normal(size=(draws, k))
    # The log-likelihood ratio itself, not what it is monotone in.
    llr_out, llr_in = (
        ((x**2).sum(1) - ((x - np.sqrt(h) * z) ** 2).sum(1) / (1 - h) - k * np.log1p(-h)) / 2
        for x in (out, inside)
    )
    for fpr in (0.01, 0.3):
        threshold = np.quantile(llr_out, 1 - fpr)
        tpr = attack_tpr(h, zeta, fpr, outputs=k)
        slope = jax.grad(lambda f: attack_tpr(h, zeta, f, outputs=k))(fpr)
        error = np.sqrt(tpr * (1 - tpr) / draws + slope**2 * fpr * (1 - fpr) / draws)
        assert abs((llr_in > threshold).mean() - tpr) < 4 * error
    auc = attack_auc(h, zeta, outputs=k)
    ranks = np.argsort(np.argsort(np.concatenate([llr_out, llr_in])))[draws:]
    estimate = (ranks.sum() - draws * (draws - 1) / 2) / draws**2
    assert abs(estimate - auc) < 4 * np.sqrt(auc * (1 - auc) / draws)
    tv = (llr_in > 0).mean() - (llr_out > 0).mean()
    assert abs(tv - total_variation(h, zeta, outputs=k)) < 4 * np.sqrt(0.5 / draws)
    for eps in (0.2, 1.0):
        profile = privacy_profile(h, zeta, eps, outputs=k)
        forward = (llr_in > eps).mean() - np.exp(eps) * (llr_out > eps).mean()
        backward = (llr_out < -eps).mean() - np.exp(eps) * (llr_in < -eps).mean()
        error = 4 * np.exp(eps) * np.sqrt(0.5 / draws)
        assert abs(forward - profile.delta) < error
        assert abs(backward - profile.delta_reverse) < error


@pytest.mark.parametrize("k", [1, 3, 10])
@pytest.mark.parametrize(("h", "zeta"), CHANNELS)
def test_the_auc_is_the_area_under_the_curve(h, zeta, k):
    x, w = np.polynomial.legendre.leggauss(200)
    # In fpr = s^4, whose steep start is what needs nodes.
    s = (x + 1) / 2
    tpr = attack_roc(h, zeta, jnp.asarray(s**4), outputs=k)
    np.testing.assert_allclose((w / 2 * 4 * s**3 * tpr).sum(), attack_auc(h, zeta, outputs=k), atol=2e-7)


@pytest.mark.parametrize("k", [1, 3])
def test_every_curve_grows_with_the_leverage(k):
    h = jnp.linspace(0.0, 0.99, 40)
    for zeta in (0.0, 0.1, 1.0, 5.0, 20.0):
        for fpr in (1e-3, 0.1, 0.7):
            assert (jnp.diff(attack_tpr(h, zeta, fpr, outputs=k)) > -1e-13).all()
        assert (jnp.diff(attack_auc(h, zeta, outputs=k)) > -1e-12).all()


def test_classical_bounds_hold():
    rng = np.random.default_rng(0)
    h, zeta = jnp.asarray(rng.uniform(size=300)), jnp.asarray(rng.exponential(3, size=300))
    for k in (1, 4):
        tv, auc = total_variation(h, zeta, outputs=k), attack_auc(h, zeta, outputs=k)
        assert (tv <= jnp.sqrt(channel_kl(h, zeta, outputs=k) / 2) + 1e-12).all()
        assert (auc >= 0.5 + tv / 2 - 1e-11).all()
        assert (auc <= 0.5 + tv - tv**2 / 2 + 1e-11).all()


@pytest.mark.parametrize("k", [1, 3])
def test_the_curve_is_a_curve_of_a_test(k):
    """Concave from (0, 0) to (1, 1), above the diagonal, its slope at 0 bounded by e^epsilon."""
    fpr = jnp.linspace(0, 1, 101)
    tpr = attack_roc(jnp.array([0.0, 0.3, 0.9]), 2.0, fpr, outputs=k)
    np.testing.assert_array_equal(tpr[:, 0], 0)
    np.testing.assert_array_equal(tpr[:, -1], 1)
    np.testing.assert_allclose(tpr[0], fpr, atol=1e-13)
    assert (tpr >= fpr[None] - 1e-13).all()
    assert (jnp.diff(tpr, 2) <= 1e-12).all()
    bound = jnp.exp(epsilon_bound(0.3, 2.0, outputs=k))
    ratio = attack_tpr(0.3, 2.0, 1e-7, outputs=k) / 1e-7
    assert 0.9 < ratio / bound < 1 + 1e-8


def test_the_profile_ends_at_epsilon_one_way_and_never_the_other():
    epsilon = epsilon_bound(0.5, 1.5)
    profile = privacy_profile(0.5, 1.5, jnp.array([0.0, 0.5, 1.0, 5.0]) * epsilon)
    assert profile.delta[2] < 1e-15
    assert (profile.delta[:2] > 0).all()
    assert (profile.delta_reverse > 0).all()
    assert (jnp.diff(profile.delta_reverse) < 0).all()
    np.testing.assert_allclose(profile.delta[0], profile.delta_reverse[0], rtol=1e-12)
    order = 1.5
    bound = jnp.exp((order - 1) * (channel_renyi(0.5, 1.5, order=order) - 0.5 * epsilon))
    assert profile.delta[1] <= bound


def test_a_record_without_leverage_is_hidden():
    assert attack_auc(0.0, 5.0) == 0.5
    assert attack_auc(0.0, 5.0, outputs=3) == 0.5
    assert abs(attack_tpr(0.0, 5.0, 0.2) - 0.2) < 1e-15
    assert total_variation(0.0, 5.0) == 0
    tiny = attack_tpr(jnp.array([1e-13, 1e-9, 1e-6]), 4.0, 0.1, outputs=3)
    # To first order a shift by rho z = sqrt(h zeta).
    np.testing.assert_allclose(
        tiny - 0.1, 0.17549833 * jnp.sqrt(4e-13) * jnp.array([1, 1e2, 10**3.5]), rtol=1e-2
    )


def test_a_group_of_one_and_a_group_of_channels():
    """One output by the bivariate normal and by Imhof's integral; k outputs as k channels."""
    h, zeta = jnp.linspace(1e-4, 0.999, 30), jnp.linspace(0.01, 40, 30)
    np.testing.assert_allclose(
        attack_auc(h[:, None], zeta[:, None], group=True), attack_auc(h, zeta), rtol=0, atol=1e-12
    )
    split = jnp.stack([jnp.full(30, 0.3), zeta, jnp.full(30, 1.0)], axis=1)
    np.testing.assert_allclose(
        attack_auc(jnp.broadcast_to(h[:, None], split.shape), split, group=True),
        attack_auc(h, split.sum(1), outputs=3),
        atol=1e-12,
    )
    silent = attack_auc(jnp.array([0.4, 0.0]), jnp.array([2.0, 9.0]), group=True)
    np.testing.assert_allclose(silent, attack_auc(0.4, 2.0), atol=1e-12)


def test_pairs_of_normals_by_scipy_and_by_symmetry():
    rng = np.random.default_rng(1)
    for _ in range(10):
        m0, m1 = rng.normal(size=2)
        v0, v1 = rng.exponential(size=2) + 0.05
        auc = gaussian_pair_auc(m0, v0, m1, v1)
        c, s = (m0 * v1 - m1 * v0) / (v1 - v0), np.sqrt(v0 + v1)
        a, b, r = (m0 - m1) / s, (2 * c - m0 - m1) / s, (v1 - v0) / (v0 + v1)
        one, other = (multivariate_normal(np.zeros(1)).cdf([x]) for x in (a, b))
        cov: Any = [[1, r], [r, 1]]
        both = multivariate_normal(np.zeros(2), cov).cdf([a, b])
        p = one + other - 2 * both
        np.testing.assert_allclose(auc, p if v1 < v0 else 1 - p, atol=1e-6)
        np.testing.assert_allclose(gaussian_pair_auc(m1, v1, m0, v0), auc, atol=1e-13)
        np.testing.assert_allclose(gaussian_pair_auc(3 * m0, 9 * v0, 3 * m1, 9 * v1), auc, atol=1e-13)


def test_pairs_of_equal_variance_are_the_limit_of_others():
    equal = gaussian_pair_auc(0.0, 1.0, 0.7, 1.0)
    np.testing.assert_allclose(gaussian_pair_auc(0.0, 1.0, 0.7, 1 + 1e-6), equal, atol=1e-6)
    assert gaussian_pair_auc(0.3, 2.0, 0.3, 2.0) == 0.5
    scale = gaussian_pair_auc(0.0, 1.0, 0.0, 0.25)
    # |in| < |out| for two independent centred normals of deviations 1/2 and 1.
    np.testing.assert_allclose(scale, 2 / np.pi * np.arctan(2.0), atol=1e-14)


@pytest.mark.parametrize("k", [1, 3])
def test_attack_tpr_is_a_kernel(k):
    fpr = jnp.array([0.01, 0.2, 0.6])
    points = [(*OTHER, jnp.array([0.5, 0.001, 0.3]))]
    bad = [*BAD, {"fpr": -0.1}, {"fpr": 1.1}]
    check_kernel(attack_tpr, H, ZETA, fpr, static={"outputs": k}, points=points, bad=bad, float32_rtol=1e-3)


def test_attack_roc_is_a_kernel():
    fpr = jnp.array([0.01, 0.5])
    bad = [*BAD, {"fpr": 0.1}, {"fpr": jnp.array([0.1, 2.0])}]
    check_kernel(attack_roc, H, ZETA, fpr, points=[(*OTHER, fpr)], bad=bad, float32_rtol=1e-3)


@pytest.mark.parametrize("k", [1, 3])
def test_total_variation_is_a_kernel(k):
    check_kernel(total_variation, H, ZETA, static={"outputs": k}, points=[OTHER], bad=BAD, float32_rtol=1e-3)


@pytest.mark.parametrize("k", [1, 4])
def test_privacy_profile_is_a_kernel(k):
    eps = jnp.array([0.1, 0.5, 1.0])
    bad = [*BAD, {"eps": -1.0}]
    check_kernel(
        privacy_profile,
        H,
        ZETA,
        eps,
        static={"outputs": k},
        points=[(*OTHER, eps)],
        bad=bad,
        float32_rtol=1e-2,
    )


@pytest.mark.parametrize(("k", "group"), [(1, False), (3, False), (1, True)])
def test_attack_auc_is_a_kernel(k, group):
    static = {"outputs": k, "group": group}
    check_kernel(attack_auc, H, ZETA, static=static, points=[OTHER], bad=BAD)
    with pytest.raises(ValueError, match="leverage must have a last axis"):
        attack_auc(0.5, 1.0, group=True)


def test_gaussian_pair_auc_is_a_kernel():
    args = tuple(jnp.array(x) for x in (0.1, 1.0, 0.7, 0.4))
    points = [tuple(jnp.array(x) for x in (0.5, 0.3, 0.1, 2.0))]
    bad = [{"var_out": 0.0}, {"var_in": -1.0}, {"mean_out": float("nan")}, {"mean_in": float("inf")}]
    check_kernel(gaussian_pair_auc, *args, points=points, bad=bad)


def test_noncentral_chi2_cdf_is_a_kernel():
    for k in (1, 2, 5, 70):
        args = jnp.array([k + 1.0, 2.0 * k]), jnp.array([1.0, 8.0])
        check_kernel(
            noncentral_chi2_cdf,
            *args,
            static={"outputs": k},
            bad=[{"t": -1.0}, {"noncentrality": -1.0}, {"outputs": 0}],
        )
