"""What sampling finite residual networks exactly in law gains over drawing their weight matrices.

Depth 64 with uniform scales, ReLU, float32, two inputs of correlation 1/2. The dense side draws every n x n
matrix by JAX, compiled, a layer at a time (half the time that NumPy's generator takes for it); the backward
pass needs them all once more, and so keeps them.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks.harness import Comparison, benchmark
from theorysim.width_depth import sample_forward, sample_ntk, schedule

DEPTH = 64
K0 = np.array([[1.0, 0.5], [0.5, 1.0]], np.float32)
INPUTS = math.sqrt(2) * np.linalg.cholesky(K0)  # two rows a, b with <a, b>/2 as K0 has it


def sampled(sample, width, networks):
    alpha2 = schedule("uniform", DEPTH).astype(jnp.float32)
    return functools.partial(sample, jax.random.key(0), jnp.asarray(K0), width, alpha2, "relu", networks)


def first_layer(key, n):
    return jax.random.normal(key, (n, 2), jnp.float32) @ jnp.asarray(INPUTS.T / math.sqrt(2), jnp.float32)


@functools.partial(jax.jit, static_argnums=1)
def dense_forward(key, n):
    """q_0, ..., q_L of one network."""
    first, later = jax.random.split(key)
    scale = jnp.float32(math.sqrt(1 / (DEPTH * n)))

    def layer(Y, index):
        W = jax.random.normal(jax.random.fold_in(later, index), (n, n), jnp.float32)
        Y = Y + scale * (W @ jax.nn.relu(Y))
        return Y, Y.T @ Y / n

    Y = first_layer(first, n)
    return jnp.concatenate([(Y.T @ Y / n)[None], lax.scan(layer, Y, jnp.arange(DEPTH))[1]])


@functools.partial(jax.jit, static_argnums=1)
def dense_ntk(key, n):
    """Tangent kernel of one network: back through the same matrices, without a gradient for each weight."""
    first, later, last = jax.random.split(key, 3)
    scale = jnp.float32(math.sqrt(1 / (DEPTH * n)))

    def forward(Y, index):
        W = jax.random.normal(jax.random.fold_in(later, index), (n, n), jnp.float32)
        return Y + scale * (W @ jax.nn.relu(Y)), (W, Y)

    def backward(state, layer):
        D, tangent = state
        W, Y = layer
        phi = jax.nn.relu(Y)
        tangent = tangent + (D.T @ D / n) * (phi.T @ phi / n) / DEPTH
        return (D + scale * (Y > 0) * (W.T @ D), tangent), None

    Y, seen = lax.scan(forward, first_layer(first, n), jnp.arange(DEPTH))
    D = jnp.broadcast_to(jax.random.normal(last, (n, 1), jnp.float32), (n, 2))
    (D, tangent), _ = lax.scan(backward, (D, Y.T @ Y / n), seen, reverse=True)
    return tangent + D.T @ D / n * K0


def among(ours, dense):
    """An `agree`: every entry of the dense network is within five standard deviations of those sampled."""
    ours, dense = np.asarray(ours, float), np.asarray(dense, float)
    away = np.abs(dense - ours.mean(0)) / ours.std(0, ddof=1)
    assert away.max() < 5, away


def against_dense(sample, dense, width, networks, find=lambda draws: draws):
    """Many networks of ours, as they are used, against one dense network."""
    draw = sampled(sample, width, networks)
    return Comparison(
        ours=lambda: find(draw()),
        baseline=functools.partial(dense, jax.random.key(1), width),
        agree=among,
        baseline_share=1 / networks,
    )


@benchmark("q_0, ..., q_64 of 16 networks, n = 2048, against dense ones", target=300.0)
def forward():
    return against_dense(sample_forward, dense_forward, 2048, 16)


@benchmark("tangent kernels of 16 networks, n = 2000, against dense ones", target=100.0)
def tangent():
    return against_dense(sample_ntk, dense_ntk, 2000, 16, lambda draws: draws.ntk)
