"""Groups of records by rank-|S| updates, against refits; removal; influence; errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.check_kernel import check_kernel
from tests.lood.problem import CROSS, GRAM, NOISE, QUERY_GRAM, Y, labels
from theorysim.lood import (
    attack_auc,
    channel_renyi,
    group_lood,
    influence,
    leave_one_out,
    leave_one_out_after_removal,
    leave_one_out_at,
    lood,
    posterior,
    renyi,
)

# Minutes of compilation in all; the reference values and channels run always.
pytestmark = pytest.mark.slow

# Well conditioned, for finite differences.
EASY, S2 = GRAM + jnp.eye(8), jnp.array(0.5)
BAD = [
    {"members": jnp.array([], int)},
    {"members": jnp.array([1, 1])},
    {"members": jnp.array([8])},
    {"members": jnp.array([-1])},
    {"members": jnp.array([0.5])},
    {"members": jnp.arange(8)},
    {"members": jnp.array(3)},
    {"noise": 0.0},
    {"y": Y[:3]},
    {"gram": GRAM[:3]},
]


def without(members):
    keep = np.setdiff1d(np.arange(8), members)
    return keep, GRAM[keep][:, keep]


@pytest.mark.parametrize("members", [[3], [1, 5], [6, 0, 2]])
@pytest.mark.parametrize("k", [1, 3])
def test_a_group_is_the_divergence_of_two_fits_at_its_records(members, k):
    y = labels(1.0, 8, k)
    keep, gram = without(members)
    at = jnp.asarray(members)
    own = GRAM[at][:, at]
    inside = posterior(GRAM, GRAM[at], own, y, noise=NOISE)
    outside = posterior(gram, GRAM[at][:, keep], own, y[keep], noise=NOISE)
    group, whole = group_lood(GRAM, y, noise=NOISE, members=at), lood(inside, outside)
    np.testing.assert_allclose(group.kl, whole.kl, rtol=1e-9)
    np.testing.assert_allclose(group.kl_reverse, whole.kl_reverse, rtol=1e-9)
    sum_of_channels = channel_renyi(group.leverage, group.surprise, order=1.7, outputs=k).sum()
    np.testing.assert_allclose(sum_of_channels, renyi(inside, outside, order=1.7), rtol=1e-9)
    assert (jnp.diff(group.leverage) >= 0).all()


def test_a_group_of_one_is_the_record():
    one = leave_one_out(GRAM, Y, noise=NOISE)
    for i in range(8):
        group = group_lood(GRAM, Y, noise=NOISE, members=jnp.array([i]))
        np.testing.assert_allclose(group.leverage[0], one.leverage[i], rtol=1e-12)
        np.testing.assert_allclose(group.surprise[0], one.surprise[i], rtol=1e-12)


def test_the_attack_on_a_group_agrees_with_simulation():
    group = group_lood(GRAM, Y, noise=NOISE, members=jnp.array([1, 5, 6]))
    draws, rng = 100_000, np.random.default_rng(0)
    h, z = np.asarray(group.leverage), np.sqrt(np.asarray(group.surprise))
    out = rng.normal(size=(draws, 3))
    inside = np.sqrt(h) * z + np.sqrt(1 - h) * rng.normal(size=(draws, 3))
    llr_out, llr_in = ((x**2 - (x - np.sqrt(h) * z) ** 2 / (1 - h)).sum(1) for x in (out, inside))
    auc = attack_auc(group.leverage, group.surprise, group=True)
    ranks = np.argsort(np.argsort(np.concatenate([llr_out, llr_in])))[draws:]
    estimate = (ranks.sum() - draws * (draws - 1) / 2) / draws**2
    assert abs(estimate - auc) < 4 * np.sqrt(auc * (1 - auc) / draws)


@pytest.mark.parametrize("members", [[2], [7, 0, 4]])
def test_what_remains_after_a_removal_is_as_if_it_had_never_been_there(members):
    keep, gram = without(members)
    after = leave_one_out_after_removal(GRAM, Y, noise=NOISE, members=jnp.asarray(members))
    for one, other in zip(after, leave_one_out(gram, Y[keep], noise=NOISE), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


def test_group_lood_is_a_kernel():
    check_kernel(
        group_lood,
        EASY,
        Y,
        S2,
        static={"members": jnp.array([1, 5])},
        points=[(2 * EASY, 3 * Y, jnp.array(0.2))],
        bad=BAD,
        rtol=1e-10,
    )


def test_leave_one_out_after_removal_is_a_kernel():
    check_kernel(
        leave_one_out_after_removal,
        EASY,
        Y,
        S2,
        static={"members": jnp.array([1, 5])},
        points=[(2 * EASY, 3 * Y, jnp.array(0.2))],
        bad=BAD,
        rtol=1e-10,
    )


def test_members_may_be_mapped_over():
    pairs = jnp.array([[0, 1], [2, 3], [6, 4]])
    mapped = jax.vmap(lambda s: group_lood(GRAM, Y, noise=NOISE, members=s).kl)(pairs)
    loop = [group_lood(GRAM, Y, noise=NOISE, members=s).kl for s in pairs]
    np.testing.assert_allclose(mapped, jnp.stack(loop), rtol=1e-10)


def test_influence_is_a_difference_of_means_and_its_derivative():
    change = influence(GRAM, CROSS, Y, noise=NOISE)
    whole = posterior(GRAM, CROSS, QUERY_GRAM, Y, noise=NOISE)
    out = leave_one_out_at(GRAM, CROSS, QUERY_GRAM, Y, noise=NOISE)
    np.testing.assert_allclose(change.exact, whole.mean[None] - out.mean, atol=1e-13)

    def weighted(weight, i):
        """The mean when record i counts as so many."""
        spread = jnp.ones(8).at[i].set(weight) ** -0.5
        gram = GRAM + NOISE * jnp.diag(spread**2)
        return CROSS @ jnp.linalg.solve(gram, Y)

    slopes = jax.vmap(jax.jacfwd(weighted), in_axes=(None, 0))(1.0, jnp.arange(8))
    np.testing.assert_allclose(change.first_order, slopes, rtol=1e-9, atol=1e-13)


def test_influence_misses_one_minus_the_leverage():
    change, one = influence(GRAM, GRAM, Y, noise=NOISE), leave_one_out(GRAM, Y, noise=NOISE)
    np.testing.assert_allclose(
        change.first_order, change.exact * (1 - one.leverage)[:, None, None], rtol=1e-11
    )
    own = change.exact[jnp.arange(8), jnp.arange(8)]
    np.testing.assert_allclose(own, one.leverage[:, None] * one.residual, rtol=1e-10)


def test_influence_is_a_kernel():
    check_kernel(
        influence,
        EASY,
        CROSS,
        Y,
        S2,
        points=[(2 * EASY, CROSS, 3 * Y, jnp.array(0.2))],
        bad=[{"noise": 0.0}, {"y": Y[:3]}, {"cross": CROSS[:, :3]}, {"cross": CROSS[0]}],
        rtol=1e-10,
    )
