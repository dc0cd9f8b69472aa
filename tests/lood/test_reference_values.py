"""Values computed once, by other code, to sixteen digits."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import ncx2

from tests.lood import problem
from tests.lood.problem import CROSS, GRAM, NOISE, QUERY_GRAM, Q, X, Y
from theorysim.lood import (
    attack_auc,
    attack_tpr,
    correlation_depth_constant,
    edge_of_chaos,
    epsilon_bound,
    equicorrelated,
    gaussian_pair_auc,
    group_lood,
    leave_one_out,
    leave_one_out_at,
    lood,
    memorization,
    mlp,
    ntk_leave_one_out,
    optimal_query,
    posterior,
    privacy_profile,
    query_lood,
    rbf,
    renyi,
    total_variation,
)


def test_the_record_left_out():
    out = leave_one_out(GRAM, Y, noise=NOISE)
    values = (out.mean[2, 0], out.variance[2], out.leverage[2], out.surprise[2])
    expected = (0.09716517409423042, 0.04611723251692906, 0.31561802617351065, 0.23803581994024986)
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-13)


JOINT = (
    0.02750317169621311,
    0.03242927330214765,
    0.004523920404520538,
    0.007411057751806949,
    0.005385381220888158,
)


def test_the_joint_query_by_two_posteriors():
    inside = posterior(GRAM, CROSS, QUERY_GRAM, Y, noise=NOISE)
    outside = leave_one_out_at(GRAM, CROSS, QUERY_GRAM, Y, noise=NOISE)
    np.testing.assert_allclose([x[2] for x in lood(inside, outside)], JOINT, rtol=0, atol=1e-12)
    np.testing.assert_allclose(renyi(inside, outside, order=2.0)[2], 0.047836532855326325, rtol=0, atol=1e-12)


def test_the_joint_query_by_one_update():
    value = query_lood(problem.KERNEL, X, Y, [2], Q, noise=NOISE)
    np.testing.assert_allclose(value, JOINT, rtol=0, atol=1e-12)


def test_the_group():
    group = group_lood(GRAM, Y, noise=NOISE, members=jnp.array([1, 5]))
    np.testing.assert_allclose(
        (group.kl, group.kl_reverse), (3.6012016416554733, 8.347604138832907), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize(
    ("h", "zeta", "k", "expected"),
    [
        (
            0.5,
            1.5,
            1,
            (
                0.7619489253741156,
                0.02992318556908241,
                0.4070871599650209,
                0.014769816299329691,
                0.24745907329688352,
            ),
        ),
        (
            0.2,
            9.0,
            3,
            (
                0.8443320389638406,
                0.13996547935437062,
                0.527913291623753,
                0.2634344466900804,
                0.32480222415181514,
            ),
        ),
    ],
)
def test_the_attack_on_a_channel(h, zeta, k, expected):
    values = (
        attack_auc(h, zeta, outputs=k),
        attack_tpr(h, zeta, 0.01, outputs=k),
        total_variation(h, zeta, outputs=k),
        *privacy_profile(h, zeta, 1.0, outputs=k),
    )
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-12)


def test_the_pair_and_the_group_under_attack():
    assert abs(gaussian_pair_auc(0.0, 1.0, 0.5, 0.3) - 0.7249762466894015) < 1e-14
    h, z = jnp.array([0.9, 0.4, 0.1]), jnp.array([0.5, -1.5, 2.0])
    assert abs(attack_auc(h, z**2, group=True) - 0.916236229026) < 1e-11


def test_the_bound_of_the_log_likelihood_ratio():
    epsilon = epsilon_bound(0.5, 1.5)
    np.testing.assert_allclose(
        (epsilon, jnp.exp(epsilon)), (1.0965735902799727, 2.993890135037712), rtol=1e-15
    )
    np.testing.assert_allclose(attack_tpr(0.5, 1.5, 1e-6) / 1e-6, 2.993890, rtol=0, atol=5e-7)


def test_memorization_of_one_record():
    v, s2 = 0.5, 0.1
    h = v / (v + s2)
    value = memorization(-0.2, v, -0.2 + h * 1.2, v * (1 - h), 1)
    assert abs(value - 0.6085594862020498) < 1e-14


@pytest.mark.parametrize(
    ("phi", "nngp", "ntk"),
    [
        ("gelu", 0.6412836212497786, 0.8243129753713014),
        ("relu", 1.1294647414958476, 1.5562393987005614),
    ],
)
def test_deep_kernels(phi, nngp, ntk):
    for value, expected in (
        (mlp(phi, depth=3, sw2=2.0, sb2=0.1, get="nngp"), nngp),
        (mlp(phi, depth=3, sw2=2.0, sb2=0.1, get="ntk"), ntk),
    ):
        assert abs(value(X, X)[0, 1] - expected) < 1e-14


# q of GELU to 30 digits by quadrature: 1.63242610881497637.
@pytest.mark.parametrize(
    ("phi", "bias", "q", "sw2"),
    [("gelu", 0.1, 1.632426108815, 2.07667619372), ("erf", 0.05, 0.51717683798, 1.37583900735)],
)
def test_the_edge_of_chaos(phi, bias, q, sw2):
    np.testing.assert_allclose(edge_of_chaos(phi, bias_variance=bias), (q, sw2), rtol=0, atol=1e-11)


@pytest.mark.parametrize(
    ("phi", "bias", "expected"),
    [
        ("gelu", 0.1, 2.632053912507),
        ("erf", 0.05, 5.736504584927),
        ("erf", 0.2, 2.369216449514),
        ("relu", 0.0, 44.41321980490),
    ],
)
def test_how_fast_correlations_approach_one(phi, bias, expected):
    assert abs(correlation_depth_constant(phi, bias_variance=bias) - expected) < 1e-10


def test_equal_correlations():
    value = equicorrelated(50, 0.9, noise=0.01)
    np.testing.assert_allclose(
        (value.variance, value.information_gain), (0.10223931237276629, 1.2090241081902615), rtol=1e-14
    )


@pytest.mark.parametrize(
    ("noise", "query", "ratio"),
    [(1e-6, 1.0530898265046, 11.330227627629), (0.01, 1.0298572511186, 7.9790186755357)],
)
def test_where_the_means_differ_most(noise, query, ratio):
    x, y = jnp.array([[0.0], [0.2]]), jnp.array([0.3, 1.0])
    found = optimal_query(jax.random.key(1), rbf(), x, y, [1], noise=noise, objective="mean")
    assert abs(jnp.abs(found.query[0, 0]) - query) < 1e-8
    assert abs(found.value / found.value_at_record - ratio) < 1e-8


# To 40 digits by mpmath. A rounding error of the angle on the diagonal, 1e-8, would show in the ninth digit.
def test_ensembles_trained_by_gradients():
    K, T = (mlp("relu", depth=2, sw2=2.0, sb2=0.1, get=get)(X, X) for get in ("nngp", "ntk"))
    law = ntk_leave_one_out(K, T, Y, noise=NOISE)
    values = (law.mean_out[2, 0], law.var_out[2], law.mean_in[2, 0], law.var_in[2])
    expected = (-0.03954597388948553, 0.002348623143524, 0.1958825889209656, 0.0001732350895883565)
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize(("h", "zeta", "k"), [(0.5, 3000.0, 2), (0.01, 3000.0, 2), (0.03, 4039.0, 50)])
def test_auc_of_far_surprises_on_several_outputs(h, zeta, k):
    # The chance that a loss without the record exceeds one with it, by Gauss and Legendre in that one.
    inside: Any = ncx2(k, zeta * (1 - h) / h)
    low, high = inside.ppf(1e-15), inside.isf(1e-15)
    at, weight = np.polynomial.legendre.leggauss(400)
    loss = (high - low) / 2 * at + (high + low) / 2
    exact = (high - low) / 2 * (weight * inside.pdf(loss) * ncx2.sf(loss * (1 - h), k, zeta / h)).sum()
    assert attack_auc(h, zeta, outputs=k) == pytest.approx(min(exact, 1), abs=2e-9)
