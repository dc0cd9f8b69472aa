r"""How much diversity survives m generations: every scenario multiplies 1 - S_0 by a factor h_m.

With sigma_m = sum_i (p_i^(m))^2 and S_m = E sigma_m, each way of recursive training is linear in H = 1 - S:

    replace      h_m = (1-1/n)^m                                                (the paper)
    mixed        h_m = (1-1/N) (1 - V_m)                                        (the paper, sign corrected)
    accumulate   h_m = (1-1/N) prod_{k=1}^{m-1} [1 - n/(N+kn)^2]
    random_pool  h_m = prod_{k=1}^{m} [1 - 1/(n k^2)]
    fresh_real   1 - h_m = c + a^2 (1-1/n) (1 - h_{m-1}),   c = (1-a)^2/N + a^2/n
    window       a linear recursion on the K x K overlaps of the last K models

so S_m = 1 - h_m (1 - S_0). The same h_m is the ratio of expected variances when the model is any other refit
that reproduces the empirical mean and covariance, a Gaussian for instance. Derived, see
docs/model_collapse.md.

Example:
    >>> h = diversity_factor(Scenario("accumulate", n=10, N=10), num_gens=40)
    >>> print(f"{h[40]:.12f}")
    0.845520903228
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.scipy.special import gammaln, zeta
from jax.typing import ArrayLike
from jaxtyping import Float

from theorysim.model_collapse.mixed import mixed_variance_factor, powers
from theorysim.model_collapse.scenario import Scenario
from theorysim.numerics.products import matmul
from theorysim.numerics.validation import choice, positive_int, probabilities, real, scalar

__all__ = [
    "diversity_factor",
    "diversity_limit",
    "expected_sumsq",
    "fresh_real_error",
    "optimal_synthetic_weight",
    "window_decay_rate",
]


def diversity_factor(scenario: Scenario, num_gens: int) -> Float[Array, " num_gens_plus_1"]:
    """Surviving share h_m of the diversity 1 - S_0, for m = 0..num_gens.

    Args:
        scenario: how a generation is trained. Its n, N and a may be traced and need not be whole.
        num_gens: last generation, >= 1 (static).

    Returns:
        Shape (num_gens + 1,), h_0 = 1; the dtype of the scenario's numbers, or the default float. Cost
        O(num_gens), for `window` O(K^2 num_gens). In float32 rounding adds up: 1.2e-5 relative after 1,000
        generations. `window` is constant in n between the steps of floor(n/K), with derivative 0.

    Raises:
        ValueError: num_gens is not a positive integer, K > num_gens, or n, N or a is not a scalar (batch by
            `jax.vmap`).

    Example:
        >>> h = diversity_factor(Scenario("replace", n=4), num_gens=2)
        >>> print(", ".join(f"{x:.4f}" for x in h))
        1.0000, 0.7500, 0.5625
    """
    num_gens = positive_int(num_gens, "num_gens")
    positive_int(scenario.K, "K", maximum=num_gens)
    return _diversity_factor(scenario, num_gens)


@partial(jax.jit, static_argnames="num_gens")
def _diversity_factor(scenario: Scenario, num_gens: int) -> Array:
    n, N, a = _numbers(scenario)
    m = jnp.arange(num_gens + 1, dtype=n.dtype)
    match scenario.kind:
        case "replace":
            return powers(1 - 1 / n, num_gens + 1)
        case "mixed":
            later = (1 - 1 / N) * (1 - mixed_variance_factor(n, N, num_gens))
        case "accumulate":
            shrink = _product(1 - n / (N + m[1:-1] * n) ** 2)
            later = (1 - 1 / N) * shrink
        case "random_pool":
            later = jnp.cumprod(1 - 1 / (n * m[1:] ** 2))
        case "fresh_real":
            fixed, rate = _fresh_real_error(a, n, N), a**2 * (1 - 1 / n)
            later = 1 - fixed * (1 - powers(rate, num_gens + 1)[1:])
        case _:
            later = _window_factors(n, scenario.K, scenario.resample, num_gens)
    return jnp.concatenate([jnp.ones(1, n.dtype), later])


def expected_sumsq(p: ArrayLike, scenario: Scenario, num_gens: int) -> Float[Array, "*batch num_gens_plus_1"]:
    """Expected sum of squares S_m = E sum_i (p_i^(m))^2 of the model of generation m, any scenario.

    Args:
        p: next-token law(s), shape (*batch, s).
        scenario: how a generation is trained.
        num_gens: last generation, >= 1 (static).

    Returns:
        Shape (*batch, num_gens + 1), S_m = 1 - h_m (1 - S_0).

    Raises:
        ValueError: p is not a distribution, num_gens is not a positive integer, or K > num_gens.

    Example:
        >>> import jax.numpy as jnp
        >>> p = jnp.array([0.5, 0.5])
        >>> print(f"{expected_sumsq(p, Scenario('mixed', n=10, N=100), num_gens=12)[12]:.6f}")
        0.505412
    """
    p = probabilities(p, "p")
    h = diversity_factor(scenario, num_gens).astype(p.dtype)
    diversity = (p * (1 - p)).sum(-1, keepdims=True)
    return 1 - h.reshape((1,) * (p.ndim - 1) + (-1,)) * diversity


def diversity_limit(scenario: Scenario) -> Float[Array, ""]:
    """Share h_inf of the diversity 1 - S_0 that survives for ever.

    Zero for `replace` and `window`. `accumulate` keeps
    (1-1/N) Gamma(a+1)^2 / [Gamma(a+1-c) Gamma(a+1+c)], a = N/n, c = n^(-1/2); for N = n, and for
    `random_pool`, that is sin(pi/sqrt n)/(pi/sqrt n).

    Args:
        scenario: how a generation is trained. Its n, N and a may be traced and need not be whole.

    Returns:
        Scalar in [0, 1], accurate to 1e-14 in float64 for every N/n: the Gamma form below a = 8, above it the
        series log h_inf = log(1-1/N) - sum_r zeta(2r, a+1)/(r n^r), which does not cancel.

    Example:
        >>> print(f"{diversity_limit(Scenario('accumulate', n=10, N=10)):.12f}")
        0.843435857216
    """
    return _diversity_limit(scenario)


@jax.jit
def _diversity_limit(scenario: Scenario) -> Array:
    n, N, a = _numbers(scenario)
    match scenario.kind:
        case "mixed":
            weight = n / (N + n)
            return (1 - 1 / N) * (1 - (weight / N) / (1 + (1 + 1 / N) * weight))
        case "accumulate":
            return (1 - 1 / N) * jnp.exp(_log_accumulated(n, N / n))
        case "random_pool":
            return jnp.sinc(n**-0.5)
        case "fresh_real":
            return 1 - _fresh_real_error(a, n, N)
        case _:
            return jnp.zeros_like(n)


def fresh_real_error(a: ArrayLike, n: ArrayLike, N: ArrayLike) -> Float[Array, "*batch"]:
    """Stationary error E||p^(m) - p||_2^2 / (1 - S_0) when each generation also gets N new real draws.

    [(1-a)^2/N + a^2/n] / [1 - a^2 (1-1/n)], with weight a on the n synthetic draws.

    Args:
        a: weight of the synthetic data in [0, 1].
        n: synthetic draws per generation, >= 1.
        N: real draws per generation, >= 1. All three broadcast, and may be traced.

    Returns:
        Dimensionless error; 1/N is real data alone, 1 is total collapse.

    Raises:
        ValueError: a outside [0, 1], n < 1 or N < 1.

    Example:
        >>> print(f"{fresh_real_error(0.0, 100, 100):.3f} {fresh_real_error(0.38, 100, 100):.5f}")
        0.010 0.00617
    """
    real(a, "a", low=0, high=1)
    a, n, N = _broadcast(a, real(n, "n", low=1), real(N, "N", low=1))
    return _fresh_real_error(a, n, N)


def optimal_synthetic_weight(n: ArrayLike, N: ArrayLike) -> Float[Array, "*batch"]:
    """Weight a* on the synthetic data that minimises the stationary error of `fresh_real` training.

    a* = 2 / (b + sqrt(b^2 - 4k)), k = 1 - 1/n, b = 1 + N/n + k. For N = n -> infinity it is (3 - sqrt 5)/2:
    the golden ratio puts 0.618 on the real data.

    Args:
        n: synthetic draws per generation, >= 1.
        N: real draws per generation, >= 1; broadcasts against n, both may be traced.

    Returns:
        Weight in (0, 1).

    Raises:
        ValueError: n < 1 or N < 1.

    Example:
        >>> print(f"{optimal_synthetic_weight(100, 100):.12f}")
        0.383023350573
    """
    n, N = _broadcast(real(n, "n", low=1), real(N, "N", low=1))
    k = 1 - 1 / n
    ratio = N / n
    b = 1 + ratio + k
    # b^2 - 4k without its cancellation for n >> N.
    return 2 / (b + jnp.sqrt(1 / n**2 + ratio**2 + 2 * ratio * (1 + k)))


def window_decay_rate(scenario: Scenario) -> Float[Array, ""]:
    """Asymptotic factor lambda with which the diversity shrinks per generation of `window` training.

    The largest eigenvalue of the recursion on the K x K overlaps; for large n it is 1 - 4/(n (K+1)^2) with
    fresh samples and 1 - 4K/(n (K+1)^2) with pooled ones.

    Args:
        scenario: of kind "window"; n may be traced, and enters as floor(n/K).

    Returns:
        Scalar in [0, 1). Found by power iteration from models that all differ, with 40 K + 200 steps,
        relative error 1e-12. It is a property of the recursion: pooled batches of one draw (n < 2K) have no
        diversity left that could shrink, since all descend from one draw of the truth.

    Raises:
        ValueError: the scenario is of another kind, or n is not a scalar.

    Example:
        >>> print(f"{window_decay_rate(Scenario('window', n=10, K=2, resample='fresh')):.12f}")
        0.956599581921
    """
    choice(scenario.kind, "scenario.kind", ("window",))
    return _window_decay_rate(scenario)


@jax.jit
def _window_decay_rate(scenario: Scenario) -> Array:
    n, _, _ = _numbers(scenario)
    K = scenario.K
    step = _window_step(n, K, scenario.resample)

    def power_step(overlap: Array, m: Array) -> tuple[Array, Array]:
        overlap, h = step(overlap, m)
        # One sample a generation (n = K = 1) leaves nothing: the rate is 0, and there is nothing to rescale.
        return overlap / jnp.where(h > 0, h, 1), h

    # The ring that follows from the truth may have no diversity left; K models that all differ have it.
    distinct = jnp.ones((K, K), n.dtype)
    return lax.scan(power_step, distinct, K + jnp.arange(40 * K + 200))[1][-1]


def _numbers(scenario: Scenario) -> tuple[Array, Array, Array]:
    """n, N and the synthetic weight, as floating scalars of one dtype."""
    for name in ("n", "N", "a"):
        scalar(getattr(scenario, name), name)
    n, N, a = _broadcast(scenario.n, scenario.N, scenario.synthetic_weight)
    return n, N, a


def _broadcast(*values: ArrayLike) -> tuple[Array, ...]:
    """The values as floating arrays of their common dtype; whole numbers alone get the default float."""
    dtype = jnp.result_type(*values)
    dtype = dtype if jnp.issubdtype(dtype, jnp.floating) else jnp.result_type(float)
    return tuple(jnp.broadcast_arrays(*(jnp.asarray(v, dtype) for v in values)))


def _fresh_real_error(a: Array, n: Array, N: Array) -> Array:
    # The denominator is 1 - a^2 (1 - 1/n), without its cancellation near a = 1.
    return ((1 - a) ** 2 / N + a**2 / n) / ((1 - a) * (1 + a) + a**2 / n)


def _product(factors: Array) -> Array:
    """1, f_1, f_1 f_2, ... : the products of the first 0, 1, 2, ... factors."""
    return jnp.concatenate([jnp.ones(1, factors.dtype), jnp.cumprod(factors)])


def _log_accumulated(n: Array, a: Array) -> Array:
    """Logarithm of prod_{k>=1} [1 - 1/(n (a+k)^2)]."""
    c = n**-0.5
    small = jnp.minimum(a, 8)
    exact = 2 * gammaln(small + 1) - gammaln(small + 1 - c) - gammaln(small + 1 + c)
    large = jnp.maximum(a, 8)
    series = -sum(zeta(2.0 * r, large + 1) / (r * n**r) for r in range(1, 9))
    return jnp.where(a < 8, exact, series)


def _window_factors(n: Array, K: int, resample: str, num_gens: int) -> Array:
    """h_1..h_num_gens of the window scenario, from the truth."""
    start = jnp.zeros((K, K), n.dtype).at[0, 0].set(1 - 1 / jnp.floor(n / K) if resample == "pooled" else 1)
    return lax.scan(_window_step(n, K, resample), start, jnp.arange(1, num_gens + 1))[1]


def _window_step(n: Array, K: int, resample: str) -> Callable[[Array, Array], tuple[Array, Array]]:
    """One generation m of the window scenario: `step(H, m) -> (H, h_m)`.

    The state holds H[t, u] = 1 - E<x_t, x_u> for the last K generations in a ring buffer, where x_t is the
    model ("fresh") or the batch drawn from it ("pooled"). All of it is linear in 1 - S_0 = 1.
    """
    batch = jnp.floor(n / K)
    slots = jnp.arange(K)

    def step(overlap: Array, m: Array) -> tuple[Array, Array]:
        known = slots < m  # model 0 starts in slot 0; later slots fill up one a generation
        weight = known / jnp.minimum(m, K).astype(n.dtype)
        row = matmul(overlap, weight)
        h = matmul(row, weight)
        if resample == "pooled":
            own = h * (1 - 1 / batch)
        else:
            h = h - (weight**2 * jnp.diagonal(overlap)).sum() / batch
            own = h
        slot = m % K
        return overlap.at[slot, :].set(row).at[:, slot].set(row).at[slot, slot].set(own), h

    return step
