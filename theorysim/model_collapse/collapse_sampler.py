r"""Collapse times of fully synthetic training, run to the end, forwards or backwards.

`method="forward"` is the definition: n draws from p, then each generation copies n uniform samples of the one
before, until all agree: about 2 n^2 draws a run, whatever the vocabulary.

`method="lineage"` samples the same joint law of T and the surviving token from the ancestors. Let L_j be the
number of ancestors, j generations back, of n samples: a Markov chain from L_0 = n with the matrix A of
`lineage_matrix`. Let X_1, X_2, ... be draws from p, the tokens of these ancestors, and D the length of the
first run of equal ones. The n samples of generation m agree when their L_{m-1} ancestors in generation 1 do:

    P(T <= m, survivor = i) = E p_i^{L_{m-1}} = P(L_{m-1} <= D, X_1 = i),

and min {m : L_{m-1} <= D} with X_1 has the law of T with the survivor. The chain stays at each level for a
geometric time and visits about 2.4 sqrt(n) of them, so a run costs O(n) after the table A of (n+1)^2 numbers.
Only the forward method tests the exact theory, which is made of ancestors itself.

Example:
    >>> import jax, jax.numpy as jnp
    >>> runs = collapse_times(jax.random.key(0), jnp.array([0.5, 0.5]), 10, 20_000)
    >>> print(f"{runs.T.mean():.1f} generations, token 0 in {runs.survivor.mean():.2f} of the runs")
    12.6 generations, token 0 in 0.50 of the runs
"""

import functools
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float, Int

from theorysim.model_collapse.draws import random_words, token_sampler, uniform_indices, unit
from theorysim.model_collapse.lineage import lineage_matrix
from theorysim.numerics.validation import choice, positive_int, probabilities

__all__ = ["CollapseTimes", "collapse_times"]

# Generations per turn of the forward loop: on a CPU a turn costs as much as a hundred draws.
_BLOCK = 8


class CollapseTimes(NamedTuple):
    """When each run has collapsed, and to which token.

    Attributes:
        T: first generation m >= 1 whose model is one token, inf where that is later than max_gens.
        survivor: that token, -1 where T is inf.
    """

    T: Float[Array, " runs"]
    survivor: Int[Array, " runs"]


def collapse_times(
    key: Array,
    p: ArrayLike,
    n: int,
    num_runs: int,
    *,
    max_gens: int | None = None,
    method: Literal["forward", "lineage"] = "forward",
) -> CollapseTimes:
    """Simulate fully synthetic training (`replace`) until every run has collapsed to one token.

    Run r depends on fold_in(key, r) alone, not on the number of runs.

    Args:
        key: random key, of any implementation.
        p: the truth p^(0), shape (s,). May be traced, and is then not checked.
        n: samples per generation, >= 1 (static).
        num_runs: number of runs R, >= 1 (static).
        max_gens: give up after this many generations (static); 100 n by default, which a run exceeds with a
            probability below n e^-100.
        method: "forward" simulates the samples; "lineage" their ancestors, which has the same law of
            (T, survivor) and is faster, but holds n^2 numbers (8 MB at n = 1000 in float64).

    Returns:
        CollapseTimes of shape (R,): T in the dtype of p (float32 for narrower ones), survivor int32.

    Raises:
        ValueError: p is not a distribution over one axis; n, num_runs or max_gens is not a whole number >= 1;
            unknown method.
        TypeError: a size is traced.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> p = jnp.array([0.5, 0.3, 0.2])
        >>> runs = collapse_times(jax.random.key(0), p, 20, 50_000, method="lineage")
        >>> print(f"{runs.T.mean():.1f}")  # E[T] = 29.43
        29.5
    """
    p = probabilities(p, "p")
    if p.ndim != 1:
        raise ValueError(f"p must be one distribution of shape (s,), got shape {p.shape}")
    n, num_runs = positive_int(n, "n"), positive_int(num_runs, "num_runs")
    choice(method, "method", ("forward", "lineage"))
    latest = 2**31 - 1 - _BLOCK
    max_gens = (
        min(100 * n, latest) if max_gens is None else positive_int(max_gens, "max_gens", maximum=latest)
    )
    return _collapse_times(key, p, n, num_runs, max_gens, method)


@functools.partial(jax.jit, static_argnames=("n", "num_runs", "max_gens", "method"))
def _collapse_times(key: Array, p: Array, n: int, num_runs: int, max_gens: int, method: str) -> CollapseTimes:
    p = p.astype(jnp.promote_types(p.dtype, jnp.float32))
    run = {"forward": _forward, "lineage": _lineage}[method](p, n, max_gens)
    keys = jax.vmap(functools.partial(jax.random.fold_in, key))(jnp.arange(num_runs))
    # Vmapped loops go on until the last run ends, three times as long as the mean. One run after the other
    # avoids that, where a device does not need many at once to be busy.
    one_by_one = method == "forward" and jax.default_backend() == "cpu"
    time, survivor = lax.map(run, keys, batch_size=None if one_by_one else num_runs)
    late = time > max_gens
    return CollapseTimes(
        jnp.where(late, jnp.inf, time.astype(p.dtype)), jnp.where(late, -1, survivor).astype(jnp.int32)
    )


def _forward(p: Array, n: int, max_gens: int) -> Callable[[Array], tuple[Array, Array]]:
    """Return `run(key) -> (T, survivor)`, T > max_gens where the run was given up."""
    draw = token_sampler(p)

    def run(key: Array) -> tuple[Array, Array]:
        ids = draw(random_words(jax.random.fold_in(key, 0), n))

        def alive(carry: tuple[Array, Array, Array]) -> Array:
            m, diverse, _ = carry
            return (diverse == m) & (m <= max_gens)

        def block(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            m, diverse, ids = carry
            parents = uniform_indices(jax.random.fold_in(key, m), _BLOCK * n, n, max_size=n).reshape(
                _BLOCK, n
            )
            for generation in parents:
                ids = ids[generation]
                diverse += (ids != ids[0]).any()
            return m + _BLOCK, diverse, ids

        # `diverse` counts the generations with two tokens or more, all of which precede T.
        start = (jnp.int32(1), (ids != ids[0]).any().astype(jnp.int32), ids)
        _, diverse, ids = lax.while_loop(alive, block, start)
        return diverse + 1, ids[0]

    return run


def _lineage(p: Array, n: int, max_gens: int) -> Callable[[Array], tuple[Array, Array]]:
    """Return `run(key) -> (T, survivor)`, T > max_gens where the run was given up."""
    draw = token_sampler(p)
    at_most = jnp.cumsum(lineage_matrix(n, dtype=p.dtype), axis=1)
    # log P(l samples keep l distinct ancestors) = sum_{j<l} log(1 - j/n), accurate where it is small.
    log_stay = jnp.cumsum(jnp.log1p(-jnp.arange(n, dtype=p.dtype) / n))
    log_stay = jnp.concatenate([jnp.zeros(1, p.dtype), log_stay])

    def run(key: Array) -> tuple[Array, Array]:
        tokens = draw(random_words(jax.random.fold_in(key, 0), n))
        equals = jnp.argmin(jnp.append(tokens == tokens[0], False))

        def too_many(carry: tuple[Array, Array, Array]) -> Array:
            m, ancestors, _ = carry
            return (ancestors > equals) & (m <= max_gens)

        def leave_level(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            m, level, step = carry
            wait, jump = unit(random_words(jax.random.fold_in(key, step), 2), p.dtype)
            stay = 1 + jnp.floor(jnp.log1p(-wait) / log_stay[level])
            below = at_most[level, level - 1]
            fewer = jnp.searchsorted(at_most[level], jump * below, side="right")
            return m + stay, jnp.minimum(fewer, level - 1).astype(jnp.int32), step + 1

        start = (jnp.ones((), p.dtype), jnp.int32(n), jnp.int32(1))
        time, _, _ = lax.while_loop(too_many, leave_level, start)
        return time, tokens[0]

    return run
