"""What training adapters in their order parameters gains over training their weights.

Gradient descent on both factors of f = s W_out B A X in float64; features (n, N) and readout (k, n) are
Gaussian. The weights' side is lean: a compiled scan of A and B, or compiled steps of a layer that holds its
frozen n x n weight, as a training loop with new batches would, without any record but the loss.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from benchmarks.harness import Comparison, benchmark, close
from theorysim.lora_plus import adapter_dynamics, loss_map

STEPS, SCALE = 200, 2.0


class Layer(NamedTuple):
    """A frozen layer with adapters at their start, B = 0, and rates."""

    X: jax.Array
    W_out: jax.Array
    Y: jax.Array
    A: jax.Array
    lr_a: float
    lr_b: float


class Problem(NamedTuple):
    """What the order parameters see of a layer."""

    input_gram: jax.Array
    output_gram: jax.Array
    target: jax.Array
    P0: jax.Array
    Q0: jax.Array


def layer(width, *, examples, outputs, rank):
    keys = jax.random.split(jax.random.key(0), 4)
    X = jax.random.normal(keys[0], (width, examples))
    W_out = jax.random.normal(keys[1], (outputs, width)) / width**0.5
    Y = jax.random.normal(keys[2], (outputs, examples)) / 4
    A = jax.random.normal(keys[3], (rank, width)) / width**0.5
    return Layer(X, W_out, Y, A, 0.3 / width, 0.3)


@jax.jit
def problem(layer):
    X, W_out, Y, A = layer[:4]
    P0 = A @ X
    return Problem(X.T @ X, W_out @ W_out.T, Y, P0, jnp.zeros((len(Y), len(P0))))


@functools.partial(jax.jit, static_argnames="steps")
def order_parameters(problem, lr_a, lr_b, *, steps=STEPS):
    """Losses at every step."""
    return adapter_dynamics(*problem, lr_a=lr_a, lr_b=lr_b, scale=SCALE, steps=steps).loss


def descend(X, W_out, Y, A, B, lr_a, lr_b, frozen=0.0):
    """Factors after a step, and the loss before it."""
    P, Q = A @ X, W_out @ B
    U = SCALE * Q @ P + frozen - Y
    g_A, g_B = (Q.T @ U) @ X.T, W_out.T @ (U @ P.T)
    share = SCALE / Y.shape[1]
    return A - lr_a * share * g_A, B - lr_b * share * g_B, (U**2).sum() / (2 * Y.shape[1])


@functools.partial(jax.jit, static_argnames="steps")
def weights(X, W_out, Y, A, lr_a, lr_b, *, steps=STEPS):
    """Losses at every step of a scan over A and B."""

    def step(state, _):
        A, B = state
        A, B, loss = descend(X, W_out, Y, A, B, lr_a, lr_b)
        return (A, B), loss

    return lax.scan(step, (A, jnp.zeros((W_out.shape[1], len(A)))), None, length=steps + 1)[1]


def reference_layer():
    return layer(4096, examples=64, outputs=8, rank=16)


@benchmark("adapters at n = 4,096, 64 examples, rank 16, 200 steps, against a scan of A and B", target=30.0)
def against_weights():
    dense = reference_layer()
    small = problem(dense)
    return Comparison(
        ours=lambda: order_parameters(small, dense.lr_a, dense.lr_b),
        baseline=lambda: weights(*dense),
        agree=close(1e-9),
    )


@benchmark("the same, against steps of the layer with its frozen n x n weight", target=1000.0)
def against_layer():
    dense, steps = reference_layer(), 3
    width = len(dense.X)
    W_0 = jax.random.normal(jax.random.key(1), (width, width)) / width**0.5
    small = problem(dense)
    # What the layer puts out by itself is part of the targets.
    Y = dense.Y + dense.W_out @ (W_0 @ dense.X)

    @jax.jit
    def step(W_0, X, W_out, Y, A, B, lr_a, lr_b):
        return descend(X, W_out, Y, A, B, lr_a, lr_b, W_out @ (W_0 @ X))

    def loop():
        A, B, losses = dense.A, jnp.zeros((width, len(dense.A))), []
        for _ in range(steps):
            A, B, loss = step(W_0, dense.X, dense.W_out, Y, A, B, dense.lr_a, dense.lr_b)
            losses.append(loss)
        return jnp.stack(losses)

    return Comparison(
        ours=lambda: order_parameters(small, dense.lr_a, dense.lr_b),
        baseline=loop,
        agree=lambda ours, baseline: close(1e-9)(ours[:steps], baseline),
        baseline_share=steps / (STEPS + 1),
        note=f"{steps} steps of the layer measured, its time scaled to {STEPS}",
    )


@benchmark("the same at n = 10^9, against n = 4,096", target=0.9)
def at_any_width():
    dense = reference_layer()
    small = problem(dense)
    growth = 10**9 / len(dense.X)
    wide = small._replace(input_gram=growth * small.input_gram)
    return Comparison(
        ours=lambda: order_parameters(wide, dense.lr_a / growth, dense.lr_b),
        baseline=lambda: order_parameters(small, dense.lr_a, dense.lr_b),
        agree=close(1e-9),
    )


@benchmark(
    "64 x 64 pairs of rates, 16 examples, rank 4, 100 steps, against a loop of scans at n = 4,096",
    target=50.0,
)
def rate_map():
    dense, side, steps, some = layer(4096, examples=16, outputs=1, rank=4), 64, 100, 16
    small = problem(dense)
    rates = [jnp.geomspace(0.01, 1.0, side) * rate for rate in (dense.lr_a, dense.lr_b)]
    cells = [(i * 37 % side, i * 11 % side) for i in range(some)]

    def loop():
        pairs = [(rates[0][i], rates[1][j]) for i, j in cells]
        return jnp.stack([weights(*dense[:4], a, b, steps=steps)[-1] for a, b in pairs])

    return Comparison(
        ours=lambda: loss_map(*rates, *small, steps=steps, scale=SCALE),
        baseline=loop,
        agree=lambda ours, baseline: close(1e-9)(ours[tuple(zip(*cells, strict=True))], baseline),
        baseline_share=some / side**2,
        note=f"{some} of {side**2:,} scans measured, their time scaled",
    )
