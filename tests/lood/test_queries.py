"""What queries see: Q = S sees most by every divergence (and the mean distance is the exception)."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.check_kernel import check_kernel
from tests.lood.problem import CROSS, GRAM, KERNEL, NOISE, QUERY_GRAM, Q, X, Y, random_problem
from theorysim.lood import (
    attack_auc,
    attack_tpr,
    channel_renyi,
    edge_of_chaos_kernel,
    leave_one_out,
    lood,
    mlp,
    posterior,
    query_leverage,
    query_lood,
    rbf,
)
from theorysim.lood.kernels import as_kernel

# Minutes of compilation in all; the reference values and channels run always.
pytestmark = pytest.mark.slow

KERNELS = {
    "rbf": rbf(),
    "relu": mlp("relu", depth=2, sw2=2.0, sb2=0.1),
    "gelu": mlp("gelu", depth=3, sw2=2.0, sb2=0.1),
    "erf": edge_of_chaos_kernel("erf", depth=2, bias_variance=0.1),
}


@pytest.mark.parametrize("members", [[2], [1, 5]])
@pytest.mark.parametrize("name", KERNELS)
def test_one_update_equals_two_fits(name, members):
    kernel, keep = KERNELS[name], np.setdiff1d(np.arange(8), members)
    K, cross, own = kernel(X, X), kernel(Q, X), kernel(Q, Q)
    inside = posterior(K, cross, own, Y, noise=NOISE)
    outside = posterior(K[keep][:, keep], cross[:, keep], own, Y[keep], noise=NOISE)
    value = query_lood(kernel, X, Y, members, Q, noise=NOISE)
    np.testing.assert_allclose(value, lood(inside, outside), rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("name", KERNELS)
def test_no_query_sees_more_of_a_record_than_the_record(name):
    """Theorem: by Bayes the likelihood ratio depends on the function through f(S) only."""
    kernel = KERNELS[name]
    x, y = random_problem(0, n=10)
    q = jnp.asarray(np.random.default_rng(1).normal(size=(60, 2)))
    # Some of them close to the record.
    q = q.at[:20].set(x[3:4] + 0.05 * q[:20])
    one = leave_one_out(kernel(x, x), y, noise=NOISE)
    rho2 = query_leverage(kernel(x, x), kernel(q, x), jnp.diag(kernel(q, q)), noise=NOISE)[3]
    h, zeta = one.leverage[3], one.surprise[3]
    assert (rho2 <= h + 1e-12).all()
    assert (attack_auc(rho2, zeta) <= attack_auc(h, zeta) + 1e-12).all()
    assert (attack_tpr(rho2, zeta, 0.01) <= attack_tpr(h, zeta, 0.01) + 1e-12).all()
    for reverse in (False, True):
        best = channel_renyi(h, zeta, order=1.05, reverse=reverse)
        assert (channel_renyi(rho2, zeta, order=1.05, reverse=reverse) <= best + 1e-12).all()


@pytest.mark.parametrize("name", KERNELS)
def test_no_queries_together_see_more_of_a_group_than_the_group(name):
    kernel, S = KERNELS[name], jnp.array([2, 6])
    x, y = random_problem(2, n=10, k=2)
    best = query_lood(kernel, x, y, S, x[S], noise=NOISE)
    more = query_lood(kernel, x, y, S, jnp.concatenate([x[S], Q]), noise=NOISE)
    sets = jnp.asarray(np.random.default_rng(3).normal(size=(12, 3, 2)))
    seen = jax.vmap(lambda q: query_lood(kernel, x, y, S, q, noise=NOISE))(sets)
    for field in ("kl", "kl_reverse", "hellinger_squared"):
        top = getattr(best, field)
        assert (getattr(seen, field) < top).all()
        np.testing.assert_allclose(getattr(more, field), top, rtol=1e-7)


@pytest.mark.parametrize("name", ["rbf", "gelu", "erf"])
def test_the_gradient_at_the_record_vanishes_for_kl_but_not_for_the_mean_distance(name):
    kernel = KERNELS[name]
    x, y = random_problem(4, n=10)

    def seen(q):
        return query_lood(kernel, x, y, [3], q, noise=NOISE)

    slopes = jax.jit(jax.jacobian(seen))(x[3:4])
    size = seen(x[3:4])
    assert jnp.abs(slopes.kl).max() < 1e-9 * size.kl
    assert jnp.abs(slopes.kl_reverse).max() < 1e-9 * size.kl_reverse
    assert jnp.abs(slopes.hellinger_squared).max() < 1e-9
    assert jnp.abs(slopes.mean_distance).max() > 1e-3 * size.mean_distance


def test_the_mean_distance_moves_with_the_slope_of_the_variance():
    """d k_D(q, s)/dq at q = s is half the gradient of v_D(s), all without the record s."""
    x, _ = random_problem(5, n=9)
    s, rest = x[0], x[1:]
    K = KERNEL(rest, rest)

    def covariance(q, other):
        a, b = KERNEL(q[None], rest), KERNEL(other[None], rest)
        return (KERNEL(q[None], other[None]) - a @ jnp.linalg.solve(K + NOISE * jnp.eye(8), b.T))[0, 0]

    first = jax.grad(covariance)(s, s)
    np.testing.assert_allclose(first, jax.grad(lambda q: covariance(q, q))(s) / 2, rtol=1e-12)
    assert jnp.abs(first).max() > 0.01


def test_a_symmetric_design_may_have_a_saddle_of_the_mean_distance_at_the_record():
    others = jnp.array([[0.0, 0.5], [0.0, -0.5], [1.0, 1.0], [-1.0, -1.0]])
    s = jnp.zeros(2)
    weights = jnp.linalg.solve(KERNEL(others, others) + 1e-3 * jnp.eye(4), KERNEL(others, s[None]))[:, 0]

    def covariance(q):
        return KERNEL(q[None], s[None])[0, 0] - KERNEL(q[None], others)[0] @ weights

    np.testing.assert_allclose(jax.grad(covariance)(s), 0, atol=1e-14)
    assert abs(jnp.linalg.eigvalsh(jax.hessian(covariance)(s))[-1] - 0.0140598) < 1e-7


def test_far_from_the_data_small_numbers_keep_their_digits():
    """KL = rho^2 zeta/2 to first order, at 1e-12 and below, where two posteriors differ by rounding."""
    one = leave_one_out(GRAM, Y, noise=NOISE)
    q = X[2:3] + jnp.array([[5.5, 0.0]])
    rho2 = query_leverage(GRAM, KERNEL(q, X), jnp.ones(1), noise=NOISE)[2, 0]
    assert rho2 < 1e-9
    np.testing.assert_allclose(
        query_lood(KERNEL, X, Y, [2], q, noise=NOISE).kl, rho2 * one.surprise[2] / 2, rtol=1e-6
    )


def test_query_lood_is_differentiable_in_the_kernel_too():
    def value(length):
        return query_lood(rbf(length_scale=length), X, Y, [2], Q, noise=NOISE).kl

    h = 1e-5
    np.testing.assert_allclose(jax.grad(value)(1.0), (value(1 + h) - value(1 - h)) / (2 * h), rtol=1e-6)


def test_query_lood_is_a_kernel():
    x = jnp.array([[1.0, 0.3], [-1.2, 0.4], [0.2, 1.5], [0.9, -1.4]])
    y = jnp.array([[1.0], [-1.0], [0.5], [0.3]])

    def at(X, y, Q, noise, S=(1,)):
        return query_lood(KERNEL, X, y, S, Q, noise=noise)

    at.__doc__ = query_lood.__doc__
    at.__module__ = query_lood.__module__
    args = (x, y, jnp.array([[0.3, 0.4], [-1.0, 0.2]]), jnp.array(0.3))
    check_kernel(
        at,
        *args,
        points=[(x[::-1], 2 * y, args[2], jnp.array(0.5))],
        bad=[
            {"noise": 0.0},
            {"Q": jnp.ones((1, 3))},
            {"Q": jnp.ones(2)},
            {"Q": jnp.full((1, 2), jnp.nan)},
            {"X": x.at[0, 0].set(jnp.nan)},
            {"y": y[:2]},
            {"S": []},
            {"S": [1, 1]},
            {"S": [4]},
        ],
        rtol=1e-10,
    )


def test_query_leverage_is_a_kernel():
    args = (GRAM + jnp.eye(8), CROSS, 2 * jnp.diag(QUERY_GRAM), jnp.array(0.5))
    check_kernel(
        query_leverage,
        *args,
        points=[(2 * args[0], CROSS, 3 * args[2], jnp.array(0.2))],
        bad=[{"cross": CROSS[:, :3]}, {"query_variance": jnp.ones(3)}, {"noise": -1.0}],
        rtol=1e-10,
    )


def test_what_cannot_be_called_is_no_kernel():
    with pytest.raises(ValueError, match="kernel must be a function"):
        inspect.unwrap(as_kernel)("rbf")  # pyright: ignore[reportArgumentType]
