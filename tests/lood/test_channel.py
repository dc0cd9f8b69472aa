"""Two numbers per record: divergences against the general formulas, against quadrature, and their limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.check_kernel import check_kernel
from tests.lood.problem import CROSS, GRAM, KERNEL, NOISE, QUERY_GRAM, X, Y, labels, random_problem
from theorysim.lood import (
    Posterior,
    channel_hellinger_squared,
    channel_kl,
    channel_kl_reverse,
    channel_lood,
    channel_renyi,
    epsilon_bound,
    information_gain,
    leave_one_out,
    leave_one_out_at,
    lood,
    posterior,
    query_leverage,
    renyi,
)

H, ZETA = jnp.array([0.1, 0.5, 0.9]), jnp.array([2.0, 0.3, 7.0])
POINTS = [(jnp.array([0.3, 0.2, 0.99]), jnp.array([0.1, 4.0, 1.0]))]
BAD = [{"leverage": -0.1}, {"leverage": 1.0}, {"leverage": jnp.array([0.5, jnp.nan])}, {"surprise": -1.0}]
BAD_OUTPUTS = [{"outputs": 0}]


def laws(h, zeta, k):
    """One query and k outputs, in units of the out-deviation."""
    z = jnp.zeros((1, k)).at[0, 0].set(jnp.sqrt(h * zeta))
    return Posterior(z, jnp.full((1, 1), 1 - h)), Posterior(jnp.zeros((1, k)), jnp.ones((1, 1)))


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize(("h", "zeta"), [(0.1, 2.0), (0.5, 0.0), (0.999, 30.0), (1e-6, 1.0)])
def test_a_channel_is_a_pair_of_gaussians(h, zeta, k):
    pair = laws(h, zeta, k)
    for one, other in zip(channel_lood(h, zeta, outputs=k), lood(*pair), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-15)
    for order in (0.3, 1.0, 1.5, 4.0):
        np.testing.assert_allclose(
            channel_renyi(h, zeta, order=order, outputs=k), renyi(*pair, order=order), rtol=1e-9, atol=1e-15
        )
        np.testing.assert_allclose(
            channel_renyi(h, zeta, order=order, outputs=k, reverse=True),
            renyi(*pair[::-1], order=order),
            rtol=1e-9,
            atol=1e-15,
        )


@pytest.mark.parametrize(("h", "zeta"), [(0.3, 2.0), (0.8, 0.5)])
def test_divergences_are_the_integrals_that_they_stand_for(h, zeta):
    x = np.linspace(-60, 60, 60_001)

    def log_normal(m, v):
        return -((x - m) ** 2) / (2 * v) - np.log(2 * np.pi * v) / 2

    p, q, step = log_normal(np.sqrt(h * zeta), 1 - h), log_normal(0.0, 1.0), x[1] - x[0]
    value = channel_lood(h, zeta)
    np.testing.assert_allclose(value.kl, (np.exp(p) * (p - q)).sum() * step, rtol=1e-9)
    np.testing.assert_allclose(value.kl_reverse, (np.exp(q) * (q - p)).sum() * step, rtol=1e-9)
    np.testing.assert_allclose(value.hellinger_squared, 1 - np.exp((p + q) / 2).sum() * step, rtol=1e-9)
    a = 1.2
    np.testing.assert_allclose(
        channel_renyi(h, zeta, order=a), np.log(np.exp(a * p + (1 - a) * q).sum() * step) / (a - 1), rtol=1e-8
    )
    np.testing.assert_allclose(
        channel_renyi(h, zeta, order=a, reverse=True),
        np.log(np.exp(a * q + (1 - a) * p).sum() * step) / (a - 1),
        rtol=1e-8,
    )


def test_every_record_at_itself_is_its_channel():
    y = labels(1.0, 8, 3)
    one, inside = leave_one_out(GRAM, y, noise=NOISE), posterior(GRAM, GRAM, GRAM, y, noise=NOISE)
    outside = leave_one_out_at(GRAM, GRAM, GRAM, y, noise=NOISE)
    value = channel_lood(one.leverage, one.surprise, outputs=3, variance=one.variance)
    for i in range(len(X)):
        at = slice(i, i + 1)
        pair = (
            Posterior(inside.mean[at], inside.cov[at, at]),
            Posterior(outside.mean[i, at], outside.cov[i, at, at]),
        )
        for whole, single in zip(value, lood(*pair), strict=True):
            np.testing.assert_allclose(whole[i], single, rtol=1e-10)


def test_every_record_at_every_query_is_a_weaker_channel():
    one = leave_one_out(GRAM, Y, noise=NOISE)
    rho2 = query_leverage(GRAM, CROSS, jnp.diag(QUERY_GRAM), noise=NOISE)
    inside = posterior(GRAM, CROSS, QUERY_GRAM, Y, noise=NOISE)
    outside = leave_one_out_at(GRAM, CROSS, QUERY_GRAM, Y, noise=NOISE)
    assert (rho2 <= one.leverage[:, None]).all()
    for q in range(2):
        at = slice(q, q + 1)
        pair = lood(
            Posterior(inside.mean[at], inside.cov[at, at]),
            Posterior(outside.mean[:, at], outside.cov[:, at, at]),
        )
        value = channel_lood(rho2[:, q], one.surprise, variance=outside.cov[:, q, q])
        for a, b in zip(value, pair, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9)
    own = query_leverage(GRAM, GRAM, jnp.diag(GRAM), noise=NOISE)
    np.testing.assert_allclose(jnp.diag(own), one.leverage, rtol=1e-10)


def test_independent_models_are_one_channel_with_more_outputs():
    pair = laws(0.4, 2.0, 1)
    many = [Posterior(jnp.tile(law.mean, (1, 5)), law.cov) for law in pair]
    for one, other in zip(channel_lood(0.4, 10.0, outputs=5), lood(*many), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_the_information_gain_is_the_mean_over_labels_of_the_model():
    """E zeta = k under the model; and by concavity the sum is at least that of equal leverages."""
    np.testing.assert_allclose(information_gain(H, outputs=3), channel_kl(H, 3.0, outputs=3), rtol=1e-12)
    x, y = random_problem(3, n=30)
    h = leave_one_out(KERNEL(x, x), y, noise=NOISE).leverage
    assert information_gain(h).sum() >= -15 * np.log1p(-h.sum() / 30)


def test_the_log_likelihood_ratio_never_exceeds_epsilon():
    rng = np.random.default_rng(0)
    x, h, zeta = 3 * rng.normal(size=100_000), 0.6, 1.7
    rho_z = np.sqrt(h * zeta)
    ratio = -((x - rho_z) ** 2) / (2 * (1 - h)) - np.log1p(-h) / 2 + x**2 / 2
    epsilon = epsilon_bound(h, zeta)
    assert ratio.max() <= epsilon
    assert epsilon - ratio.max() < 1e-6


def test_renyi_grows_with_its_order_and_is_infinite_where_it_must():
    orders = jnp.linspace(0.1, 1.99, 30)
    for reverse in (False, True):
        values = channel_renyi(0.5, 1.5, order=orders, reverse=reverse)
        assert (jnp.diff(values) > 0).all()
    assert channel_renyi(0.5, 1.5, order=2.0, reverse=True) == jnp.inf
    assert renyi(*laws(0.5, 1.5, 1)[::-1], order=2.5) == jnp.inf


def test_no_leverage_no_leakage_and_full_leverage_all_of_it():
    assert all(float(x) == 0 for x in channel_lood(0.0, 3.0))
    near = channel_lood(1 - 1e-12, 3.0)
    assert near.kl > 13
    assert near.hellinger_squared > 0.99


@pytest.mark.parametrize("fn", [channel_kl, channel_kl_reverse, channel_hellinger_squared, epsilon_bound])
def test_functions_of_a_channel_are_kernels(fn):
    check_kernel(fn, H, ZETA, static={"outputs": 2}, points=POINTS, bad=BAD + BAD_OUTPUTS, float32_rtol=1e-3)


def test_channel_lood_is_a_kernel():
    args = (H, ZETA, jnp.array([1.0, 2.0, 0.5]))
    points = [(*POINTS[0], jnp.array([0.1, 1.0, 3.0]))]

    def at(leverage, surprise, variance):
        """Only to put the three arrays first."""
        return channel_lood(leverage, surprise, variance=variance, outputs=2)

    at.__doc__ = channel_lood.__doc__
    at.__module__ = channel_lood.__module__
    check_kernel(at, *args, points=points, bad=[*BAD, {"variance": -1.0}], float32_rtol=1e-3)


@pytest.mark.parametrize("reverse", [False, True])
def test_channel_renyi_is_a_kernel(reverse):
    args = (H, ZETA, jnp.array([0.5, 1.0, 1.05]))
    points = [(*POINTS[0], jnp.array([2.0, 1.1, 0.9]))]
    check_kernel(
        channel_renyi,
        *args,
        static={"reverse": reverse},
        points=points,
        bad=[*BAD, {"order": 0.0}],
        wrt=(0, 1),
        float32_rtol=1e-3,
    )


def test_information_gain_is_a_kernel():
    check_kernel(information_gain, H, points=[(POINTS[0][0],)], bad=[{"leverage": 1.0}, {"outputs": 0}])


def test_joint_divergences_have_derivatives_where_eigenvalues_coincide():
    """Three queries of one record: two eigenvalues of the whitened difference are 0."""
    q = jnp.asarray(np.random.default_rng(1).normal(size=(3, 2)))

    def value(q):
        law = posterior(GRAM, KERNEL(q, X), KERNEL(q, q), Y, noise=NOISE)
        keep = jnp.arange(7)
        out = posterior(GRAM[:7, :7], KERNEL(q, X[keep]), KERNEL(q, q), Y[:7], noise=NOISE)
        return jnp.stack(lood(law, out))

    slopes = jax.jit(jax.jacobian(value))(q)
    step = jnp.zeros_like(q).at[1, 0].set(1e-5)
    np.testing.assert_allclose(slopes[:, 1, 0], (value(q + step) - value(q - step)) / 2e-5, rtol=1e-5)


def test_lood_refuses_laws_that_do_not_match():
    law = Posterior(jnp.zeros((2, 1)), jnp.eye(2))
    with pytest.raises(ValueError, match=r"posterior_in must have mean \(..., q, k\)"):
        lood(Posterior(jnp.zeros((2, 1)), jnp.eye(3)), law)
    with pytest.raises(ValueError, match="posterior_out must be at the queries"):
        lood(law, Posterior(jnp.zeros((2, 2)), jnp.eye(2)))
    with pytest.raises(ValueError, match=r"posterior_in\.mean must be finite"):
        lood(law._replace(mean=jnp.full((2, 1), jnp.nan)), law)
    with pytest.raises(ValueError, match=r"positive definite covariances.*distinct queries"):
        lood(law, law._replace(cov=jnp.ones((2, 2))))
    with pytest.raises(ValueError, match="order must be in"):
        renyi(law, law, order=0.0)


def test_lood_of_equal_laws_is_zero():
    law = posterior(GRAM, CROSS, QUERY_GRAM, Y, noise=NOISE)
    np.testing.assert_allclose(lood(law, law), 0, atol=1e-15)
