"""Monte Carlo of recursive training: every scenario simulated from its definition, run by run.

A model is the empirical law of a buffer of token ids, and a generation draws uniform indices into that
buffer: no multinomial sampler, and no approximation. The exact theory of this package says what the averages
must be: E sigma_m = 1 - h_m (1 - S_0), and so on (Seddik et al. 2024; docs/model_collapse.md).

Run r uses the key fold_in(key, r) and generation m of it fold_in(run's key, m), so that a run does not depend
on how many others there are, nor a generation on how many follow.

A generation of a run costs O(s + n): on a CPU about 4 ns a draw and 3 ns a token, half of it for the entropy;
40 ns more for each draw from p itself, which `fresh_real` and `random_pool` never cease to make.

Example:
    >>> import jax, jax.numpy as jnp
    >>> scenario = Scenario("mixed", n=10, N=100)
    >>> runs = simulate(jax.random.key(0), jnp.full(8, 1 / 8), scenario, num_gens=20, num_runs=50)
    >>> runs.sigma.shape, bool(jnp.isinf(runs.T).all())
    ((50, 21), True)
"""

import dataclasses
import functools
import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float, Int

from theorysim.model_collapse.generations import build_chain
from theorysim.model_collapse.scenario import Scenario
from theorysim.numerics.validation import positive_int, probabilities

__all__ = ["Simulation", "simulate", "simulate_laws"]


class Simulation(NamedTuple):
    """What R runs of M generations look like; index m = 0 is the truth p, the same in every run.

    Attributes:
        sigma: sum_i (p_i^(m))^2, in [1/s, 1]; its mean over runs estimates S_m.
        l1: ||p^(m) - p^(1)||_1, the drift from generation 1: twice the total variation; 0 at m = 1.
        support: number of tokens with p_i^(m) > 0.
        T: first m >= 1 at which one token has all the probability; inf for a run in which no m <= M does, so
            that T <= m is right for every m up to M, and the mean over runs is inf rather than wrong. Under
            `window`, `random_pool` and `fresh_real` diversity may come back after T.
        entropy: -sum_i p_i^(m) log p_i^(m), nats.
        l2: ||p^(m) - p^(1)||_2^2, the squared drift; 0 at m = 1.
        survivor: the token that has all the probability at T, or -1 where T is inf.
    """

    sigma: Float[Array, "runs num_gens_plus_1"]
    l1: Float[Array, "runs num_gens_plus_1"]
    support: Int[Array, "runs num_gens_plus_1"]
    T: Float[Array, " runs"]
    entropy: Float[Array, "runs num_gens_plus_1"]
    l2: Float[Array, "runs num_gens_plus_1"]
    survivor: Int[Array, " runs"]


def simulate(key: Array, p: ArrayLike, scenario: Scenario, num_gens: int, num_runs: int) -> Simulation:
    """Simulate independent runs of recursive training and record what each generation has kept of the truth.

    Args:
        key: random key, of any implementation.
        p: the truth p^(0), shape (s,). May be traced, and is then not checked.
        scenario: what a generation is trained on; its sizes are whole numbers, `a` may be traced.
        num_gens: number of generations M, >= 1 (static).
        num_runs: number of runs R, >= 1 (static).

    Returns:
        Simulation with fields of shape (R, M+1), or (R,); floats in the dtype of p, counts int32.
        `window` drops the remainder of n / K. Memory O(R (M + s + n)), and 4 R n M bytes more for
        `accumulate` and `random_pool`, whose history grows.

    Raises:
        ValueError: p is not a distribution over one axis, a size is not a whole number >= 1, K > num_gens, or
            N + n num_gens >= 2^31.
        TypeError: a size is traced.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> p = jnp.array([0.5, 0.3, 0.2])
        >>> runs = simulate(jax.random.key(0), p, Scenario("replace", n=5), num_gens=100, num_runs=20_000)
        >>> print(f"{runs.sigma[:, 3].mean():.2f} {1 - (1 - 1 / 5) ** 3 * (1 - 0.38):.2f}")
        0.68 0.68
        >>> print(f"{runs.T.mean():.1f}")
        6.6
    """
    p, plan, weight = _checked(p, scenario, num_gens)
    num_runs = positive_int(num_runs, "num_runs")
    return _simulate(key, p, weight, plan, int(num_gens), num_runs)


def simulate_laws(
    key: Array, p: ArrayLike, scenario: Scenario, record: tuple[int, ...], num_runs: int
) -> Float[Array, "runs record s"]:
    """The whole laws p^(m) at chosen generations, of the same runs as `simulate` with the same key.

    Args:
        key: random key, of any implementation.
        p: the truth p^(0), shape (s,). May be traced, and is then not checked.
        scenario: what a generation is trained on.
        record: generations m to return, ascending, 0 (the truth) allowed, not all 0 (static).
        num_runs: number of runs R, >= 1 (static).

    Returns:
        Shape (R, len(record), s), in the dtype of p.

    Raises:
        ValueError: as `simulate`, with num_gens = record[-1]; or record is not ascending.
        TypeError: a size is traced.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> p = jnp.array([0.5, 0.3, 0.2])
        >>> simulate_laws(jax.random.key(0), p, Scenario("replace", n=10), (0, 1, 100), num_runs=1)
        Array([[[0.5, 0.3, 0.2],
                [0.6, 0.2, 0.2],
                [0. , 0. , 1. ]]], dtype=float64)
    """
    record = tuple(positive_int(m, "record", minimum=0) for m in record)
    if not record or record[-1] == 0 or any(a >= b for a, b in itertools.pairwise(record)):
        raise ValueError(f"record must be ascending generations that end at one >= 1, got {record}")
    p, plan, weight = _checked(p, scenario, record[-1])
    return _simulate_laws(key, p, weight, plan, record, positive_int(num_runs, "num_runs"))


def _checked(p: ArrayLike, scenario: Scenario, num_gens: int) -> tuple[Array, Scenario, Array]:
    """The arguments of one simulation: truth, static plan with plain ints, weight of synthetic data."""
    p = probabilities(p, "p")
    if p.ndim != 1:
        raise ValueError(f"p must be one distribution of shape (s,), got shape {p.shape}")
    num_gens = positive_int(num_gens, "num_gens")
    n = positive_int(scenario.n, "n")
    N = positive_int(scenario.N, "N", minimum=0)
    if scenario.K > num_gens:
        raise ValueError(f"K must be an integer in [1, num_gens = {num_gens}], got {scenario.K}")
    if N + n * num_gens >= 2**31:
        raise ValueError(
            f"N + n * num_gens must be below 2**31 (counts are int32), got N={N}, n={n}, num_gens={num_gens}"
        )
    weight = jnp.asarray(scenario.synthetic_weight, _work_dtype(p))
    return p, dataclasses.replace(scenario, n=n, N=N, a=None), weight


def _work_dtype(p: Array) -> np.dtype:
    """Half precision cannot count to a thousand: chains run in float32 at least."""
    return jnp.promote_types(p.dtype, jnp.float32)


def _keys(key: Array, numbers: Array) -> Array:
    """fold_in(key, number) for each number."""
    return jax.vmap(functools.partial(jax.random.fold_in, key))(numbers)


def _generations(key: Array, num_gens: int) -> tuple[Array, Array]:
    """The numbers 1..num_gens of the generations of one run, and their keys."""
    gens = jnp.arange(1, num_gens + 1)
    return gens, _keys(key, gens)


@functools.partial(jax.jit, static_argnames=("plan", "num_gens", "num_runs"))
def _simulate(
    key: Array, p: Array, weight: Array, plan: Scenario, num_gens: int, num_runs: int
) -> Simulation:
    truth = p.astype(_work_dtype(p))
    chain = build_chain(plan, truth, weight=weight, num_gens=num_gens)

    def one_run(key: Array) -> Simulation:
        gens, keys = _generations(key, num_gens)
        state, first = chain.first(keys[0])

        def generation(state: Any, x: tuple[Array, Array]) -> tuple[Any, _Traits]:
            m, key = x
            state, law = chain.advance(key, m, state)
            return state, _traits(law, first)

        later = lax.scan(generation, state, (gens[1:], keys[1:]))[1]
        start = jax.vmap(_traits, (0, None))(jnp.stack([truth, first]), first)
        path = jax.tree.map(lambda *x: jnp.concatenate(x), start, later)
        return _summary(path, p.dtype)

    return jax.vmap(one_run)(_keys(key, jnp.arange(num_runs)))


@functools.partial(jax.jit, static_argnames=("plan", "record", "num_runs"))
def _simulate_laws(
    key: Array, p: Array, weight: Array, plan: Scenario, record: tuple[int, ...], num_runs: int
) -> Array:
    truth = p.astype(_work_dtype(p))
    chain = build_chain(plan, truth, weight=weight, num_gens=record[-1])
    # Row of each generation; those not recorded share a row past the end, which is thrown away.
    row = np.full(record[-1] + 1, len(record))
    row[list(record)] = np.arange(len(record))
    row = jnp.asarray(row)

    def one_run(key: Array) -> Array:
        gens, keys = _generations(key, record[-1])
        state, first = chain.first(keys[0])
        laws = jnp.zeros((len(record) + 1, *p.shape), truth.dtype).at[row[0]].set(truth).at[row[1]].set(first)

        def generation(carry: tuple[Any, Array], x: tuple[Array, Array]) -> tuple[tuple[Any, Array], None]:
            m, key = x
            state, law = chain.advance(key, m, carry[0])
            return (state, carry[1].at[row[m]].set(law)), None

        (_, laws), _ = lax.scan(generation, (state, laws), (gens[1:], keys[1:]))
        return laws[:-1].astype(p.dtype)

    return jax.vmap(one_run)(_keys(key, jnp.arange(num_runs)))


class _Traits(NamedTuple):
    """What is recorded of one model; `last` is its last token, the only one after collapse."""

    sigma: Array
    l1: Array
    support: Array
    entropy: Array
    l2: Array
    last: Array


def _traits(law: Array, first: Array) -> _Traits:
    present, drift = law > 0, law - first
    return _Traits(
        sigma=(law**2).sum(),
        l1=jnp.abs(drift).sum(),
        support=present.sum(dtype=jnp.int32),
        entropy=-(law * jnp.log(jnp.where(present, law, 1))).sum(),
        l2=(drift**2).sum(),
        last=jnp.where(present, jnp.arange(law.size, dtype=jnp.int32), -1).max(),
    )


def _summary(path: _Traits, dtype: np.dtype) -> Simulation:
    """One run from the traits of its models 0..M."""
    collapsed = path.support[1:] == 1
    ever, when = collapsed.any(), jnp.argmax(collapsed) + 1
    time = jnp.where(ever, when.astype(path.sigma.dtype), jnp.inf)
    sigma, l1, entropy, l2 = (x.astype(dtype) for x in (path.sigma, path.l1, path.entropy, path.l2))
    survivor = jnp.where(ever, path.last[when], -1)
    return Simulation(sigma, l1, path.support, time, entropy, l2, survivor)
