"""What the sweep engine costs and gains, at 100,000 points of a cheap kernel.

The kernel iterates the logistic map 300 times and returns its Lyapunov exponent: no memory, a microsecond or
two a point. The bare call is `jit(vmap(kernel))` on arrays that lie on the device already; the sweep starts
from its two axes, builds the grid, moves it and labels the result.
"""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.harness import Comparison, benchmark
from theorysim.sweep import sweep

GROWTH = np.linspace(3.5, 4.0, 1000)
START = np.linspace(0.1, 0.9, 100)
STEPS = 300
SUBSET = 2000


def lyapunov(growth, start):
    """Mean of log |growth · (1 - 2x)| along an orbit of x → growth · x · (1 - x)."""

    def step(_, state):
        x, total = state
        x = growth * x * (1 - x)
        return x, total + jnp.log(jnp.abs(growth * (1 - 2 * x)) + 1e-12)

    return jax.lax.fori_loop(0, STEPS, step, (start, 0.0 * start))[1] / STEPS


def _swept():
    return sweep(lyapunov, vary={"growth": GROWTH, "start": START}, progress=False).value.values


def _flat():
    growth, start = np.meshgrid(GROWTH, START, indexing="ij")
    return jnp.asarray(growth.ravel()), jnp.asarray(start.ravel())


@benchmark("sweep of 10⁵ points against the bare jit(vmap(fn)) call", target=0.95)
def overhead():
    call = jax.jit(jax.vmap(lyapunov))
    growth, start = _flat()
    return Comparison(ours=_swept, baseline=lambda: call(growth, start), agree=_same)


@benchmark("sweep of 10⁵ points against a Python loop of jitted calls", target=10.0)
def loop():
    call = jax.jit(lyapunov)
    growth, start = (np.asarray(column)[:SUBSET] for column in _flat())

    def calls():
        return np.asarray([call(g, s) for g, s in zip(growth, start, strict=True)])

    return Comparison(
        ours=_swept, baseline=calls, agree=_same, baseline_share=SUBSET / (GROWTH.size * START.size)
    )


def _same(ours, baseline):
    """Equal up to the rounding of another batch, which a chaotic orbit amplifies: few points may differ."""
    first = np.asarray(baseline)
    different = ~np.isclose(ours.ravel()[: first.size], first, rtol=1e-6, atol=1e-2)
    assert different.mean() < 0.01, f"{different.mean():.3%} of the points differ"
