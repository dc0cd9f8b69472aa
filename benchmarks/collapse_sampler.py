"""What the id-array sampler of collapse times gains over multinomial samplers.

100 runs of fully synthetic training, n = 200 samples a generation over a vocabulary of 600. The numpy loop
draws all runs by one `Generator.multinomial` a generation, and stops when all have collapsed; the other one
also drops the runs that have. `jax.random.multinomial` needs a minute to collapse, so there both sides do
the first 16 generations.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks.harness import Comparison, benchmark
from theorysim.data import zipf_law
from theorysim.model_collapse import collapse_times

RUNS, N, VOCABULARY = 100, 200, 600
SHORT = 16
UNIFORM = np.full(VOCABULARY, 1 / VOCABULARY)
# 52 tokens with the sum of squares 0.1 of the paper's experiments, the rest of the vocabulary unused.
ZIPF = zipf_law(1.1007934473676655, 52, VOCABULARY)


def numpy_collapse_times(p, *, drop):
    rng = np.random.default_rng(0)
    times = np.zeros(RUNS, dtype=int)
    running = np.arange(RUNS)
    counts, m = rng.multinomial(N, np.broadcast_to(p, (RUNS, p.size))), 1
    while True:
        collapsed = counts.max(axis=1) == N
        times[running[collapsed & (times[running] == 0)]] = m
        if times.all():
            return times
        if drop and collapsed.any():
            counts, running = counts[~collapsed], running[~collapsed]
        counts, m = rng.multinomial(N, counts / N), m + 1


@jax.jit
def jax_multinomial_collapse_times(keys, p):
    """T of each run, or `SHORT` + 1: vmapped, all runs in one loop."""

    def run(key):
        def alive(carry):
            m, counts = carry
            return (counts.max() < N) & (m <= SHORT)

        def generation(carry):
            m, counts = carry
            return m + 1, jax.random.multinomial(jax.random.fold_in(key, m), N, counts / N)

        return lax.while_loop(alive, generation, (1, jax.random.multinomial(key, N, p)))[0]

    return jax.vmap(run)(keys)


def same_mean(ours, baseline):
    """Two samples of collapse times with means within five standard errors of each other."""
    ours, baseline = np.asarray(ours, float), np.asarray(baseline, float)
    error = np.sqrt(ours.var() / ours.size + baseline.var() / baseline.size)
    assert abs(ours.mean() - baseline.mean()) < 5 * error + 1e-12, (ours.mean(), baseline.mean(), error)


def _times(p, **options):
    p = jnp.asarray(p)
    return functools.partial(
        lambda **more: collapse_times(jax.random.key(0), p, N, RUNS, **more).T, **options
    )


def _against_numpy(p, *, drop):
    return Comparison(ours=_times(p), baseline=lambda: numpy_collapse_times(p, drop=drop), agree=same_mean)


@benchmark("collapse of 100 runs, uniform over 600, against a numpy multinomial loop", target=2.0)
def against_numpy():
    return _against_numpy(UNIFORM, drop=False)


@benchmark("the same, against a numpy loop that drops collapsed runs", target=2.0)
def against_dropping_numpy():
    return _against_numpy(UNIFORM, drop=True)


@benchmark("collapse of 100 runs, Zipf over 52 of 600, against a numpy multinomial loop", target=2.0)
def zipf_against_numpy():
    return _against_numpy(ZIPF, drop=False)


@benchmark("16 generations of 100 runs over 600, against jax.random.multinomial", target=5.0)
def against_jax_multinomial():
    keys, p = jax.random.split(jax.random.key(0), RUNS), jnp.asarray(UNIFORM)

    def agree(ours, baseline):
        assert np.isinf(ours).all(), "no run collapses that early"
        assert (np.asarray(baseline) == SHORT + 1).all()

    return Comparison(
        ours=_times(UNIFORM, max_gens=SHORT),
        baseline=lambda: jax_multinomial_collapse_times(keys, p),
        agree=agree,
    )


@benchmark("collapse of 100 runs through their ancestors, against the id arrays")
def lineage_against_forward():
    return Comparison(ours=_times(UNIFORM, method="lineage"), baseline=_times(UNIFORM), agree=same_mean)
