"""Indices are the exact high products of their words; tokens follow p, where p is positive."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from theorysim.model_collapse.draws import random_words, token_sampler, uniform_indices, unit


@pytest.mark.parametrize("size", [1, 2, 10, 999, 1024, 1025, 65_535, 65_536, 65_537, 10**6, 2**31 - 1])
def test_an_index_is_the_high_half_of_word_times_size(size):
    key, count = jax.random.key(size), 1001
    got = uniform_indices(key, count, size, max_size=size)
    assert got.dtype == jnp.int32
    if size > 1024:
        words = np.asarray(jax.random.bits(key, (count,), jnp.uint32)).tolist()
        expected = [word * size >> 32 for word in words]
    else:
        words = np.asarray(jax.random.bits(key, (501,), jnp.uint32)).tolist()
        expected = [word * size >> 32 for word in words] + [
            (word * size % 2**32) * size >> 32 for word in words
        ]
    assert got.tolist() == expected[:count]


@pytest.mark.parametrize("size", [7, 1000, 1500])
def test_indices_and_pairs_of_indices_are_uniform(size):
    got = np.asarray(uniform_indices(jax.random.key(1), 2 * 10**6, size, max_size=size))
    assert stats.chisquare(np.bincount(got, minlength=size)).pvalue > 1e-3
    half = len(got) // 2
    pairs = np.histogram2d(got[:half], got[half:], bins=7, range=[[0, size], [0, size]])[0]
    cells = np.histogram(np.arange(size), bins=7, range=(0, size))[0] / size
    assert stats.chisquare(pairs.ravel(), half * np.outer(cells, cells).ravel()).pvalue > 1e-3


def test_a_traced_size_gives_the_same_indices():
    def draw(size):
        return uniform_indices(jax.random.key(0), 50, size, max_size=40)

    np.testing.assert_array_equal(jax.vmap(draw)(jnp.array([5, 40])), [draw(5), draw(40)])


def test_tokens_follow_p():
    p = np.array([0.0, 0.5, 0.0, 0.2, 0.3, 0.0])
    tokens = np.asarray(token_sampler(jnp.asarray(p))(random_words(jax.random.key(0), 10**6)))
    counts = np.bincount(tokens, minlength=6)
    assert (counts[p == 0] == 0).all()
    assert stats.chisquare(counts[p > 0], 10**6 * p[p > 0]).pvalue > 1e-3


@pytest.mark.parametrize("seed", range(3))
def test_rounding_of_the_cumulative_sum_draws_no_token_without_probability(seed):
    rng = np.random.default_rng(seed)
    p = rng.random(5000).astype(np.float32) ** 8 * (rng.random(5000) < 0.5)
    p = jnp.asarray(p / p.sum(), jnp.float32)
    tokens = token_sampler(p)(random_words(jax.random.key(seed), 10**6))
    assert (p[tokens] > 0).all()


def test_an_end_without_probability_is_never_reached():
    p = jnp.concatenate([jnp.full(3, 1 / 3, jnp.float32) * (1 - 2e-5), jnp.zeros(2, jnp.float32)])
    assert token_sampler(p)(random_words(jax.random.key(0), 10**6)).max() == 2


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_unit_numbers_never_reach_one(dtype):
    got = unit(jnp.array([0, 1, 2**31, 2**32 - 1], jnp.uint32), dtype)
    assert got.dtype == dtype
    assert (got[0], got[2]) == (0, 0.5)
    assert 1 - 2e-7 < got[3] < 1
