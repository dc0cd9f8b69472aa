"""What it costs to train a grid of networks and to measure their features along the way.

Networks are multilayer perceptrons with two hidden layers of 128 ReLU units on digits, or 256 and 128 on
images of MNIST's size, trained by momentum in batches of 64, by the trainer that the sims use.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from benchmarks.harness import Comparison, benchmark, close
from theorysim import feature_map as fm
from theorysim.data import digits
from theorysim.networks.mlp import MLP, fan_in_stds
from theorysim.networks.train import functional, train, uniform_batches

RATES, SEEDS, EPOCHS, BATCH = (0.01, 0.03, 0.1, 0.2), 6, 5, 64
# Examples on which features are measured.
MEASURED = 1000


@functools.cache
def pixels():
    data = digits()
    return jnp.asarray((data.x - data.x.mean(0)) / data.x.std(), jnp.float32), jnp.asarray(data.y)


@functools.cache
def images():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8000, 784)).astype(np.float32)
    return jnp.asarray(x), jnp.asarray((x[:, :10] + x[:, 10:20]).argmax(1))


def start(key, widths):
    stds = (*fan_in_stds(widths, gain=2**0.5)[:-1], 0.0)
    model = MLP(
        widths, activation=jax.nn.relu, weight_std=stds, bias_std=(0.0,) * len(stds), rngs=nnx.Rngs(key)
    )
    return functional(model)


def loss_of(network, params, batch):
    logits = network.apply(params, batch[0])
    return optax.softmax_cross_entropy_with_integer_labels(logits, batch[1]).mean()


def losses(key, rate, data, hidden, *, epochs, measured=False):
    """Losses of one training; with `measured`, u(K*) and quality of the features after every epoch, too."""
    x, y = data
    network = start(key, (x.shape[1], *hidden, 10))

    def metrics(params):
        model = network.module(params)
        few = x[:MEASURED]
        numbers = fm.feature_metrics(model.features(few), y[:MEASURED], readout=model.readout(), classes=10)
        return numbers.cumulative_utility, numbers.cumulative_quality

    steps = len(y) // BATCH
    run = train(
        functools.partial(loss_of, network),
        network.params,
        optax.sgd(rate, momentum=0.9),
        num_steps=epochs * steps,
        batches=uniform_batches(data, BATCH),
        key=key,
        metrics=metrics if measured else None,
        record_every=steps,
    )
    return run.losses, run.metrics


def grid():
    keys = jnp.repeat(jax.random.split(jax.random.key(0), SEEDS), len(RATES))
    return keys, jnp.tile(jnp.asarray(RATES, jnp.float32), SEEDS)


def together():
    one = functools.partial(losses, data=pixels(), hidden=(128, 128), epochs=EPOCHS)
    vmapped = jax.jit(jax.vmap(lambda key, rate: one(key, rate)[0]))
    keys, rates = grid()
    return lambda: vmapped(keys, rates)


@benchmark("24 networks (4 rates, 6 seeds) vmapped against a Python loop over networks and steps", target=3.0)
def against_script():
    (x, y), (keys, rates), some = pixels(), grid(), 2

    @jax.jit
    def step(params, state, key, rate):
        network = start(jax.random.key(0), (64, 128, 128, 10))
        batch = uniform_batches((x, y), BATCH)(key)
        value, gradient = jax.value_and_grad(functools.partial(loss_of, network))(params, batch)
        updates, state = optax.sgd(rate, momentum=0.9).update(gradient, state, params)
        return optax.apply_updates(params, updates), state, value

    def script():
        steps, found = len(y) // BATCH, []
        for key, rate in zip(keys[:some], rates[:some], strict=True):
            params = start(key, (64, 128, 128, 10)).params
            state, run = optax.sgd(rate, momentum=0.9).init(params), []
            for batch_key in jax.random.split(key, (EPOCHS, steps)).reshape(-1):
                params, state, value = step(params, state, batch_key, rate)
                run.append(value)
            found.append(jnp.stack(run))
        return jnp.stack(found)

    return Comparison(
        ours=together(),
        baseline=script,
        agree=lambda ours, baseline: close(1e-2, 1e-3)(ours[:some, :20], baseline[:, :20]),
        baseline_share=some / len(keys),
    )


@benchmark("the same against a loop over wholly compiled trainings")
def against_compiled():
    keys, rates = grid()
    one = jax.jit(lambda key, rate: losses(key, rate, data=pixels(), hidden=(128, 128), epochs=EPOCHS)[0])
    return Comparison(
        ours=together(),
        baseline=lambda: jnp.stack([one(key, rate) for key, rate in zip(keys, rates, strict=True)]),
        agree=lambda ours, baseline: close(1e-2, 1e-3)(ours[:, :20], baseline[:, :20]),
    )


@benchmark(
    "training with spectrum, utility and quality after every epoch, 8,000 images of 784, 1,000 of them "
    "measured, against training alone",
    target=0.9,
)
def metrics_along_the_way():
    keys, data = jax.random.split(jax.random.key(0), 3), images()
    plain, measured = (
        jax.jit(
            jax.vmap(
                lambda key, measured=measured: losses(
                    key, 0.02, data, (256, 128), epochs=3, measured=measured
                )
            )
        )
        for measured in (False, True)
    )
    return Comparison(
        ours=lambda: measured(keys),
        baseline=lambda: plain(keys),
        agree=lambda ours, baseline: close(1e-3, 1e-4)(ours[0][:, :20], baseline[0][:, :20]),
    )


@benchmark(
    "training, 4 networks on 8,000 images, against as many operations in square matrix products", target=0.5
)
def against_the_peak():
    hidden, epochs, size = (256, 128), 2, 1024
    keys, data = jax.random.split(jax.random.key(0), 4), images()
    trained = jax.jit(jax.vmap(lambda key: losses(key, 0.02, data, hidden, epochs=epochs)[0]))
    widths = (784, *hidden, 10)
    weights = sum(a * b for a, b in itertools.pairwise(widths))
    examples = len(keys) * epochs * (len(data[1]) // BATCH) * BATCH
    # Forward, and backward in weights and in inputs, the first layer's aside.
    operations = 2 * examples * (3 * weights - widths[0] * widths[1])
    count = round(operations / (2 * size**3))
    a = jax.random.normal(jax.random.key(1), (size, size), jnp.float32) / size**0.5

    @jax.jit
    def products(a):
        return jax.lax.fori_loop(0, count, lambda _, b: a @ b, a)

    return Comparison(
        ours=lambda: trained(keys),
        baseline=lambda: products(a),
        note=f"{operations / 1e9:.0f} GFLOP",
    )
