"""What training 32 networks in one program gains over training them one after the other.

Each network is the linear softmax of the model-collapse sim, trained on its own counts of a real text. The
ordinary training script loops over networks and steps in Python around a compiled step; the better one
compiles the whole training of a network, and loops over networks only.
"""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.harness import Comparison, benchmark, close
from theorysim.data import next_token_laws, tiny_shakespeare
from theorysim.networks.softmax import train

NETWORKS, STEPS, SAMPLES = 32, 500, 5000


def counts_of_networks():
    text = next_token_laws(tiny_shakespeare(), context_length=1, min_count=10_000)
    joint = (text.context_law[:, None] * text.laws).ravel()
    draws = np.random.default_rng(0).multinomial(SAMPLES, joint, size=NETWORKS)
    return jnp.asarray(draws.reshape(NETWORKS, *text.laws.shape), jnp.float32)


@jax.jit
def step(weights, target, rate):
    gradient = jax.grad(lambda w: -(target * jax.nn.log_softmax(w)).sum())(weights)
    return weights - rate * gradient


def train_step_by_step(counts):
    """The ordinary script: one compiled step, called from Python."""
    target = counts / counts.sum()
    rate = 1 / target.sum(axis=1).max()
    weights = jnp.zeros_like(target)
    for _ in range(STEPS):
        weights = step(weights, target, rate)
    return jax.nn.softmax(weights)


def together(counts):
    vmapped = jax.jit(jax.vmap(lambda one: train(one, num_steps=STEPS)))
    return lambda: vmapped(counts)


@benchmark("32 networks vmapped against a Python loop over networks and steps", target=5.0)
def against_script():
    counts, some = counts_of_networks(), 4
    return Comparison(
        ours=together(counts),
        baseline=lambda: jnp.stack([train_step_by_step(one) for one in counts[:some]]),
        agree=lambda ours, baseline: close(1e-4)(ours[:some], baseline),
        baseline_share=some / NETWORKS,
    )


@benchmark("32 networks vmapped against a loop over wholly compiled trainings")
def against_compiled():
    counts = counts_of_networks()
    return Comparison(
        ours=together(counts),
        baseline=lambda: jnp.stack([train(one, num_steps=STEPS) for one in counts]),
        agree=close(1e-4),
    )
