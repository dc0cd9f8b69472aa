"""Both ways of simulating the collapse of fully synthetic training give its exact law."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from theorysim.model_collapse import (
    CollapseTimes,
    Scenario,
    collapse_cdf,
    collapse_time_moments,
    collapse_times,
    simulate,
)

P = jnp.array([0.4, 0.0, 0.3, 0.2, 0.1])
N, RUNS = 12, 20_000
each_method = pytest.mark.parametrize("method", ["forward", "lineage"])


@functools.cache
def runs_of(method) -> CollapseTimes:
    return collapse_times(jax.random.key(5), P, N, RUNS, method=method)


@each_method
def test_collapse_time_has_the_exact_law(method):
    time = np.asarray(runs_of(method).T).astype(int)
    mass = np.diff(np.asarray(collapse_cdf(P, N, 400)))
    counts = np.bincount(time, minlength=401)[1:401]
    common = mass * RUNS > 10
    observed = np.append(counts[common], RUNS - counts[common].sum())
    expected = np.append(mass[common], 1 - mass[common].sum()) * RUNS
    assert common.sum() > 40
    assert stats.chisquare(observed, expected).pvalue > 1e-3


@each_method
@pytest.mark.parametrize(("p", "n"), [([0.5, 0.5], 2), ([0.9, 0.1], 3), ([0.05] * 20, 30)])
def test_mean_and_spread_of_the_collapse_time_are_exact(method, p, n):
    p = jnp.array(p)
    time = np.asarray(collapse_times(jax.random.key(n), p, n, 4000, method=method).T)
    mean, var = collapse_time_moments(p, n)
    assert abs(time.mean() - mean) < 4 * np.sqrt(var / 4000)
    fourth = ((time - time.mean()) ** 4).mean()
    assert abs(time.var() - var) < 4 * np.sqrt((fourth - var**2) / 4000)


@each_method
def test_two_tokens_follow_the_binomial_chain_with_their_survivor(method):
    n, q, num_runs = 5, 0.3, 40_000
    runs = collapse_times(jax.random.key(4), jnp.array([q, 1 - q]), n, num_runs, method=method)
    time, survivor = np.asarray(runs.T), np.asarray(runs.survivor)
    counts = np.arange(n + 1)
    chain = stats.binom.pmf(counts[None], n, counts[:, None] / n)
    law = stats.binom.pmf(counts, n, q)
    for m in range(1, 25):
        for token, exact in ((0, law[n]), (1, law[0])):
            seen = ((time <= m) & (survivor == token)).mean()
            assert abs(seen - exact) < 4 * np.sqrt(exact * (1 - exact) / num_runs), (m, token)
        law = law @ chain


@each_method
def test_a_token_survives_with_its_own_probability(method):
    counts = np.bincount(runs_of(method).survivor, minlength=5)
    assert counts[1] == 0
    assert stats.chisquare(counts[[0, 2, 3, 4]], RUNS * np.array([0.4, 0.3, 0.2, 0.1])).pvalue > 1e-3


def test_collapse_times_agree_with_those_of_simulate():
    slow = simulate(jax.random.key(11), P, Scenario("replace", n=N), num_gens=400, num_runs=3000)
    assert np.isfinite(slow.T).all()
    for method in ("forward", "lineage"):
        fast = runs_of(method).T
        error = np.sqrt(np.var(slow.T) / 3000 + np.var(fast) / RUNS)
        assert abs(np.mean(slow.T) - np.mean(fast)) < 4 * error


@each_method
@pytest.mark.parametrize("last", [8, 9])
def test_runs_beyond_the_last_generation_are_reported_as_not_collapsed(method, last):
    full = runs_of(method)
    short = collapse_times(jax.random.key(5), P, N, 300, max_gens=last, method=method)
    late = np.asarray(full.T[:300]) > last
    assert 0 < late.sum() < 300
    np.testing.assert_array_equal(short.T, np.where(late, np.inf, full.T[:300]))
    np.testing.assert_array_equal(short.survivor, np.where(late, -1, full.survivor[:300]))


@each_method
def test_trivial_sizes_collapse_at_once(method):
    for p, n in ((P, 1), (jnp.array([0.0, 1.0]), 9)):
        runs = collapse_times(jax.random.key(0), p, n, 50, method=method)
        assert (runs.T == 1).all()
        assert (p[runs.survivor] > 0).all()


@each_method
def test_runs_do_not_depend_on_their_number_nor_on_batching(method):
    kernel = functools.partial(collapse_times, n=N, num_runs=6, method=method)
    keys = jnp.stack([jax.random.key(5), jax.random.key(6)])
    loop = [kernel(key, P) for key in keys]
    batched = jax.vmap(jax.jit(kernel), in_axes=(0, None))(keys, P)
    for name in ("T", "survivor"):
        np.testing.assert_array_equal(getattr(runs_of(method), name)[:6], getattr(loop[0], name))
        np.testing.assert_array_equal(getattr(batched, name), [getattr(each, name) for each in loop])


@each_method
@pytest.mark.parametrize(("dtype", "expected"), [("float32", "float32"), ("float16", "float32")])
def test_times_have_the_dtype_of_p(method, dtype, expected):
    p = jnp.array([0.5, 0.25, 0.25], dtype)
    runs = collapse_times(jax.random.key(0), p, 20, 4000, method=method)
    assert runs.T.dtype == expected
    assert runs.survivor.dtype == jnp.int32
    mean, var = collapse_time_moments(p.astype(float), 20)
    assert abs(float(runs.T.mean()) - mean) < 4 * np.sqrt(var / 4000)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (dict(p=jnp.array([0.5, 0.6])), "p must sum to 1"),
        (dict(p=jnp.array([1.5, -0.5])), "p must have entries"),
        (dict(p=jnp.array([np.nan, 1.0])), "p must be a distribution"),
        (dict(p=jnp.full((2, 2), 0.5)), r"p must be one distribution of shape \(s,\)"),
        (dict(n=0), "n must be an integer >= 1, got 0"),
        (dict(num_runs=0), "num_runs must be an integer >= 1, got 0"),
        (dict(max_gens=0), r"max_gens must be an integer in \[1, .*got 0"),
        (dict(max_gens=2**31 - 1), "max_gens must be .*2147483647"),
    ],
)
def test_bad_input_is_named(bad, message):
    with pytest.raises(ValueError, match=message):
        collapse_times(jax.random.key(0), **dict(p=P, n=3, num_runs=2) | bad)
