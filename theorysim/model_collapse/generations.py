"""One generation after another: how each scenario of recursive training turns model m-1 into model m.

A chain is two functions: `first(key)` draws the data of model 1, `advance(key, m, state)` those of model
m >= 2. Both return the state (buffers of token ids, of fixed size) and the law p^(m). Everything is written
for one run, to be vmapped over runs. What is kept, and what a draw from model m is:

| scenario        | buffer                               | a draw from model m                               |
|-----------------|--------------------------------------|---------------------------------------------------|
| `replace`       | n ids                                | a uniform id                                      |
| `mixed`         | N real ids, then n ids               | a uniform id; for m = 1 of the first N            |
| `accumulate`    | N real ids, then batch after batch   | a uniform id of the first N + n (m-1)             |
| `window` pooled | ring of the last K batches           | a uniform id of the last min(m, K) batches        |
| `window` fresh  | ring of the data of the last K models| a uniform id of the data of model m               |
| `random_pool`   | the data of all models               | a uniform id of the data of model m               |
| `fresh_real`    | N real ids and n synthetic ids       | a synthetic id with probability a, else a real id |

Model 0 is the truth itself, not a sample of it: a draw from it is a new draw from p.

Example:
    >>> import jax, jax.numpy as jnp
    >>> chain = build_chain(Scenario("replace", n=4), jnp.array([0.5, 0.5]), weight=None, num_gens=3)
    >>> ids, law = chain.first(jax.random.key(0))
    >>> law
    Array([0.5, 0.5], dtype=float64)
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from theorysim.model_collapse.draws import random_words, scale, token_sampler, uniform_indices, unit
from theorysim.model_collapse.scenario import Scenario

__all__ = ["Chain", "build_chain"]

# A buffer that grows with num_gens: its draws must not depend on how many generations follow.
_UNBOUNDED = 2**31 - 1


class Chain(NamedTuple):
    """The two functions that simulate one run.

    Attributes:
        first: `first(key) -> (state, law)`, model 1.
        advance: `advance(key, m, state) -> (state, law)`, model m >= 2 from the state after model m-1.
    """

    first: Callable[[Array], tuple[Any, Array]]
    advance: Callable[[Array, Array, Any], tuple[Any, Array]]


class _Truth(NamedTuple):
    """What a chain needs of p: draws from it, counts and laws over its vocabulary."""

    draw: Callable[[Array], Array]
    count: Callable[..., Array]
    law: Callable[[Array, Any], Array]
    dtype: Any


def build_chain(scenario: Scenario, p: Float[Array, " s"], *, weight: Any, num_gens: int) -> Chain:
    """Return the chain of a scenario whose sizes are whole numbers.

    Args:
        scenario: kind and sizes; its `a` is not used.
        p: the truth, shape (s,), in the dtype of the laws.
        weight: weight of the synthetic data of `fresh_real`, may be traced; ignored by the other kinds.
        num_gens: last generation that will be asked for; sizes the history of `accumulate` and `random_pool`.
    """

    def count(ids: Array, used: Any = 1) -> Array:
        """How often each token occurs among the ids whose `used` is 1: whole numbers, hence exact."""
        return jnp.zeros(p.shape, jnp.int32).at[ids].add(used, mode="promise_in_bounds")

    def law(counts: Array, total: Any) -> Array:
        return counts.astype(p.dtype) / total

    truth = _Truth(token_sampler(p), count, law, p.dtype)
    n, N, K = scenario.n, scenario.N, scenario.K
    if scenario.kind == "replace":
        return _replace(truth, n)
    if scenario.kind == "mixed":
        return _mixed(truth, n, N)
    if scenario.kind == "accumulate":
        return _accumulate(truth, n, N, num_gens)
    if scenario.kind == "random_pool":
        return _random_pool(truth, n, num_gens)
    if scenario.kind == "fresh_real":
        return _fresh_real(truth, n, N, weight)
    if scenario.resample == "pooled":
        return _pooled_window(truth, n // K, K)
    return _fresh_window(truth, n // K, K)


def _replace(truth: _Truth, n: int) -> Chain:
    def first(key: Array) -> tuple[Array, Array]:
        ids = truth.draw(random_words(key, n))
        return ids, truth.law(truth.count(ids), n)

    def advance(key: Array, m: Array, ids: Array) -> tuple[Array, Array]:
        ids = ids[uniform_indices(key, n, n, max_size=n)]
        return ids, truth.law(truth.count(ids), n)

    return Chain(first, advance)


def _mixed(truth: _Truth, n: int, N: int) -> Chain:
    def first(key: Array) -> tuple[tuple[Array, Array], Array]:
        real = truth.draw(random_words(key, N))
        counts = truth.count(real)
        return (jnp.concatenate([real, jnp.zeros(n, real.dtype)]), counts), truth.law(counts, N)

    def advance(key: Array, m: Array, state: tuple[Array, Array]) -> tuple[tuple[Array, Array], Array]:
        ids, real_counts = state
        size = jnp.where(m == 2, N, N + n)
        synthetic = ids[uniform_indices(key, n, size, max_size=N + n)]
        ids = lax.dynamic_update_slice(ids, synthetic, (N,))
        return (ids, real_counts), truth.law(real_counts + truth.count(synthetic), N + n)

    return Chain(first, advance)


def _accumulate(truth: _Truth, n: int, N: int, num_gens: int) -> Chain:

    def first(key: Array) -> tuple[tuple[Array, Array], Array]:
        real = truth.draw(random_words(key, N))
        counts = truth.count(real)
        return (jnp.concatenate([real, jnp.zeros(n * num_gens, real.dtype)]), counts), truth.law(counts, N)

    def advance(key: Array, m: Array, state: tuple[Array, Array]) -> tuple[tuple[Array, Array], Array]:
        ids, counts = state
        size = N + n * (m - 2)
        batch = ids[uniform_indices(key, n, size, max_size=_UNBOUNDED)]
        ids = lax.dynamic_update_slice(ids, batch, (size,))
        counts = counts + truth.count(batch)
        return (ids, counts), truth.law(counts, size + n)

    return Chain(first, advance)


def _pooled_window(truth: _Truth, batch: int, K: int) -> Chain:
    """Batch t, drawn once from model t, lies at slot t mod K of a ring; model m is the law of the ring."""

    def pool(ring: Array, m: Any) -> Array:
        size = jnp.minimum(m, K) * batch
        return truth.law(truth.count(ring, (jnp.arange(K * batch) < size).astype(jnp.int32)), size)

    def first(key: Array) -> tuple[Array, Array]:
        ids = truth.draw(random_words(key, batch))
        ring = jnp.concatenate([ids, jnp.zeros((K - 1) * batch, ids.dtype)])
        return ring, pool(ring, 1)

    def advance(key: Array, m: Array, ring: Array) -> tuple[Array, Array]:
        size = jnp.minimum(m - 1, K) * batch
        ids = ring[uniform_indices(key, batch, size, max_size=K * batch)]
        ring = lax.dynamic_update_slice(ring, ids, ((m - 1) % K * batch,))
        return ring, pool(ring, m)

    return Chain(first, advance)


def _fresh_window(truth: _Truth, batch: int, K: int) -> Chain:
    """The data of model t, min(t, K) batches, lie in row t mod K of a ring; model m draws from each row."""

    def first(key: Array) -> tuple[Array, Array]:
        ids = truth.draw(random_words(key, batch))
        ring = jnp.zeros((K, K * batch), ids.dtype)
        return lax.dynamic_update_slice(ring, ids[None], (1 % K, 0)), truth.law(truth.count(ids), batch)

    def advance(key: Array, m: Array, ring: Array) -> tuple[Array, Array]:
        words = random_words(key, (K + 1) * batch)
        # The last K models, newest first; negative ones do not exist.
        source = m - 1 - jnp.arange(K)[:, None]
        index = scale(words[batch:].reshape(K, batch), jnp.clip(source, 1, K) * batch)
        data = jnp.where(source == 0, truth.draw(words[:batch])[None], ring[source % K, index]).reshape(-1)
        ring = lax.dynamic_update_slice(ring, data[None], (m % K, 0))
        size = jnp.minimum(m, K) * batch
        return ring, truth.law(truth.count(data, (jnp.arange(K * batch) < size).astype(jnp.int32)), size)

    return Chain(first, advance)


def _random_pool(truth: _Truth, n: int, num_gens: int) -> Chain:
    """The n draws of model t lie at t n of one history; those at 0 stand for the truth and are never used."""

    def first(key: Array) -> tuple[Array, Array]:
        ids = truth.draw(random_words(key, n))
        history = jnp.zeros(n * (num_gens + 1), ids.dtype)
        return lax.dynamic_update_slice(history, ids, (n,)), truth.law(truth.count(ids), n)

    def advance(key: Array, m: Array, history: Array) -> tuple[Array, Array]:
        words = random_words(key, 2 * n)
        index = scale(words[:n], m * n)
        ids = jnp.where(index < n, truth.draw(words[n:]), history[index])
        return lax.dynamic_update_slice(history, ids, (m * n,)), truth.law(truth.count(ids), n)

    return Chain(first, advance)


def _fresh_real(truth: _Truth, n: int, N: int, weight: Any) -> Chain:
    def train(real: Array, synthetic: Array) -> tuple[tuple[Array, Array], Array]:
        real_law, synthetic_law = truth.law(truth.count(real), N), truth.law(truth.count(synthetic), n)
        return (real, synthetic), (1 - weight) * real_law + weight * synthetic_law

    def first(key: Array) -> tuple[tuple[Array, Array], Array]:
        ids = truth.draw(random_words(key, N + n))
        return train(ids[:N], ids[N:])

    def advance(key: Array, m: Array, state: tuple[Array, Array]) -> tuple[tuple[Array, Array], Array]:
        old = jnp.concatenate(state)
        for_truth, for_side, for_index = jnp.split(random_words(key, N + 2 * n), [N, N + n])
        of_synthetic = unit(for_side, truth.dtype) < weight
        index = jnp.where(of_synthetic, N, 0) + scale(for_index, jnp.where(of_synthetic, n, N))
        return train(truth.draw(for_truth), old[index])

    return Chain(first, advance)
