"""What it costs to train networks with adapters: grids of rates, and a pretrained encoder's top layers.

The grid is that of the sims: a network of three layers of width 128, the middle one adapted, 28 rates and 3
seeds, 20 steps of Adam. The peer of a fine-tuning step is PyTorch with transformers and peft, on the same
cores: query and value of two layers of MiniLM's size, 16 sentences of 32 word pieces, weights at random.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from benchmarks._peers import PEFT, Missing, Peer
from benchmarks.harness import Comparison, benchmark, close
from theorysim.networks.adapted_encoder import EncoderTop
from theorysim.networks.adapted_relu import toy_data
from theorysim.networks.lora import adapt
from theorysim.networks.sentence_encoder import EncoderConfig
from theorysim.networks.train import functional, train
from theorysim.optim import lora_plus

WIDTH, RATES, SEEDS, STEPS = 128, 28, 3, 20
HEADS, SENTENCES, PIECES, STEPS_OF_PEER = 12, 16, 32, 10
LR_A, LR_B, RANK, ALPHA = 1e-3, 4e-3, 8, 16.0


class Toy(nnx.Module):
    """Three layers, the middle one adapted."""

    def __init__(self, rngs):
        """Draw it."""
        linear = functools.partial(nnx.Linear, use_bias=False, rngs=rngs)
        self.layers = nnx.List([linear(5, WIDTH), linear(WIDTH, WIDTH), linear(WIDTH, 1)])

    def __call__(self, x):
        """The outputs, (N,)."""
        first, middle, last = self.layers
        return last(nnx.relu(middle(nnx.relu(first(x)))))[:, 0]


def problem(seed, rate):
    """Network, loss and optimizer of one training."""
    keys = jax.random.split(jax.random.key(seed))
    network = functional(adapt(Toy(nnx.Rngs(keys[0])), "layers.1", rank=4, rngs=nnx.Rngs(keys[1])))
    x, y = toy_data(jax.random.key(9), 128)
    return network, lambda params, _: jnp.mean((network.apply(params, x) - y) ** 2), optax.adam(rate)


def trained(seed, rate):
    network, loss, optimizer = problem(seed, rate)
    return train(loss, network.params, optimizer, num_steps=STEPS).losses[-1]


def against(loop, every):
    """All trainings in one call against a loop over some of them."""
    rates = np.geomspace(1e-4, 1e-1, RATES).astype(np.float32)
    seeds, rates = (jnp.asarray(grid.ravel()) for grid in np.meshgrid(np.arange(SEEDS), rates))
    together, some = jax.jit(jax.vmap(trained)), slice(None, None, every)
    few = list(zip(seeds[some], rates[some], strict=True))
    return Comparison(
        lambda: together(seeds, rates),
        lambda: jnp.stack([loop(*point) for point in few]),
        lambda ours, theirs: close(5e-3)(ours[some], theirs),
        baseline_share=len(few) / len(seeds),
    )


@benchmark("84 networks with an adapted layer trained in one call, against a loop over steps", target=3.0)
def grid_against_steps():
    """A step is one compiled call for all networks, as one trains a single network."""

    @jax.jit
    def start(seed):
        network, _, optimizer = problem(seed, 0.0)
        return network.params, optimizer.init(network.params)

    @jax.jit
    def step(seed, rate, params, state):
        _, loss, optimizer = problem(seed, rate)
        value, gradient = jax.value_and_grad(loss)(params, None)
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, value

    def loop(seed, rate):
        (params, state), value = start(seed), None
        for _ in range(STEPS):
            params, state, value = step(seed, rate, params, state)
        return value

    return against(loop, 7)


@benchmark("the same, against a loop over networks, each training compiled")
def grid_against_trainings():
    return against(jax.jit(trained), 7)


@functools.cache
def encoder_problem():
    """A top of two layers with adapters, and a minibatch for each step."""
    config = EncoderConfig(8, hidden=384, layers=2, heads=HEADS, feed_forward=1536, positions=PIECES)
    where = ["layers.*.attention.query", "layers.*.attention.value"]
    top = EncoderTop(config, rngs=nnx.Rngs(0))
    model = adapt(top, where, rank=RANK, alpha=ALPHA, init="a", rngs=nnx.Rngs(1))
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(STEPS_OF_PEER, SENTENCES, PIECES, 384)).astype(np.float32)
    mask = np.arange(PIECES) < rng.integers(10, PIECES, (STEPS_OF_PEER, SENTENCES, 1))
    y = rng.choice(np.array([-1.0, 1.0], np.float32), (STEPS_OF_PEER, SENTENCES))
    return model, hidden, mask, y


@benchmark("10 fine-tuning steps of a sentence encoder, against PyTorch with peft", target=1.0)
def encoder_steps():
    model, hidden, mask, y = encoder_problem()
    network = functional(model)
    batches = tuple(jnp.asarray(part) for part in (hidden, mask, y))
    optimizer = lora_plus(optax.adam, LR_A, ratio=LR_B / LR_A)

    def loss(params, batch):
        hidden, mask, y = batch
        return jnp.mean(jax.nn.softplus(-y * network.apply(params, hidden, mask)))

    @jax.jit
    def steps(params, batches):
        def step(carry, batch):
            params, state = carry
            value, gradient = jax.value_and_grad(loss)(params, batch)
            updates, state = optimizer.update(gradient, state, params)
            return (optax.apply_updates(params, updates), state), value

        return jax.lax.scan(step, (params, optimizer.init(params)), batches)[1]

    names = {
        ".".join(map(str, path)).replace(".base.", "."): np.asarray(variable.get_value())
        for path, variable in nnx.to_flat_state(nnx.state(model))
        if path[-1] != "scale" or "norm" in str(path[-2])
    }
    numbers = {"heads": HEADS, "lr_a": LR_A, "lr_b": LR_B, "alpha": ALPHA}
    ours = functools.partial(steps, network.params, batches)
    try:
        peer = Peer(PEFT, "fine_tune", hidden=hidden, mask=mask, y=y, **numbers, **names)
    except Missing as error:
        return Comparison(ours, note=str(error))
    return Comparison(
        ours,
        baseline=peer.call,
        agree=lambda ours, _: close(1e-4)(ours, peer.results()["losses"]),
        processes=(peer.pid,),
    )
