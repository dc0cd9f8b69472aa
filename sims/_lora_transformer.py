"""A small transformer that has learnt Shakespeare, and learns prose by adapters on query and value.

Characters; two layers, contexts of 32. The adapters start from A or from B, at two rates, on another text: a
tenth of it, at its end, tests.
"""

from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from flax import nnx

from theorysim.data import english_topics, tiny_shakespeare
from theorysim.networks.lora import adapt
from theorysim.networks.train import functional, train
from theorysim.networks.transformer import Transformer, TransformerConfig, next_token_loss, windows
from theorysim.optim import lora_plus

LAYERS, HEADS, CONTEXT, BATCH, RANK = 2, 4, 32, 32, 4
TESTED = 128


class Texts(NamedTuple):
    """Two texts in one alphabet."""

    first: np.ndarray
    """Tokens of the text learnt first."""
    second: np.ndarray
    """Tokens of the text learnt by the adapters."""
    test: np.ndarray
    """More of it, that tests."""
    symbols: int
    """Size of the alphabet."""


@lru_cache(1)
def texts() -> Texts:
    """Shakespeare, and the prose of Python's help."""
    first, second = tiny_shakespeare(), english_topics()
    number = {symbol: i for i, symbol in enumerate(first.symbols)}
    tokens = np.array([number[symbol] for symbol in second.symbols])[second.tokens]
    cut = len(tokens) * 9 // 10
    return Texts(np.asarray(first.tokens), tokens[:cut], tokens[cut:], len(first.symbols))


def pretrained(key, *, width: int, steps: int) -> tuple[Any, Any]:
    """A transformer trained on the first text, as its structure and its parameters."""
    config = TransformerConfig(texts().symbols, width, LAYERS, HEADS, CONTEXT)
    network = functional(Transformer(config, embedding_std=0.1, rngs=nnx.Rngs(key)))
    rate = optax.cosine_decay_schedule(3e-3, steps)
    text = jnp.asarray(texts().first)

    @jax.jit
    def trained(params):
        loss = lambda params, ids: next_token_loss(network.apply(params, ids), ids)  # noqa: E731
        batches = partial(windows, text, BATCH, CONTEXT)
        options: Any = {"num_steps": steps, "batches": batches, "key": jax.random.fold_in(key, 1)}
        return train(loss, params, optax.adam(rate), **options).params

    graphdef, state = nnx.split(network.module(trained(network.params)))
    return graphdef, nnx.to_pure_dict(state)


def one_adaptation(
    geometric_rate: Any, ratio: Any, seed: Any, *, width: int, weights: Any, init: str, steps: int
) -> dict[str, Any]:
    """Train adapters at lr_a = rate/sqrt(ratio), lr_b = rate sqrt(ratio)."""
    start, order = jax.random.split(jax.random.key(seed))
    config = TransformerConfig(texts().symbols, width, LAYERS, HEADS, CONTEXT)
    graphdef, state = nnx.split(nnx.eval_shape(lambda: Transformer(config, rngs=nnx.Rngs(0))))
    nnx.replace_by_pure_dict(state, weights)
    where = ["layers.*.attention.query", "layers.*.attention.value"]
    options: Any = {"rank": RANK, "init": init, "rngs": nnx.Rngs(start)}
    network = functional(adapt(nnx.merge(graphdef, state), where, **options))
    lr_a = (geometric_rate / jnp.sqrt(ratio)).astype(jnp.float32)
    optimizer = lora_plus(optax.adam, lr_a, ratio=ratio.astype(jnp.float32))
    test = windows(jnp.asarray(texts().test), TESTED, CONTEXT, jax.random.key(0))
    loss = lambda params, ids: next_token_loss(network.apply(params, ids), ids)  # noqa: E731
    run = train(
        loss,
        network.params,
        optimizer,
        num_steps=steps,
        batches=partial(windows, jnp.asarray(texts().second), BATCH, CONTEXT),
        key=order,
        metrics=lambda params: loss(params, test),
        record_every=steps,
    )
    return {"loss": run.losses, "test_loss": run.metrics}


def adaptations(sweep, key, *, width, inits, ratios, rates, seeds, pretraining, steps) -> xr.Dataset:
    """Trainings over starts, ratios, rates and seeds, on one pretrained network."""
    weights, found = pretrained(key, width=width, steps=pretraining)[1], []
    for init in inits:
        one = partial(one_adaptation, width=width, weights=weights, init=init, steps=steps)
        vary = {"geometric_rate": list(rates), "ratio": list(ratios), "seed": list(range(seeds))}
        found.append(sweep(one, vary=vary, dims={"loss": ("step",), "test_loss": ("record",)}))
    return xr.concat(found, "init").assign_coords(init=list(inits))
