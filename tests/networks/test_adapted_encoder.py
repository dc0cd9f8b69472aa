"""Adapters on an encoder's top, trained from cached hidden states, against the encoder as a whole."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from theorysim.networks.adapted_encoder import (
    Sentences,
    adapted_encoder_training,
    encoder_top,
    hidden_below,
)
from theorysim.networks.lora import adapt
from theorysim.networks.sentence_encoder import EncoderConfig, SentenceEncoder, embed, pool

CONFIG = EncoderConfig(50, hidden=8, layers=3, heads=2, feed_forward=16, positions=10)
ENCODER = SentenceEncoder(CONFIG, init_std=0.3, rngs=nnx.Rngs(0))
IDS = jax.random.randint(jax.random.key(1), (70, 6), 1, 50)
MASK = jnp.arange(6)[None] < jax.random.randint(jax.random.key(2), (70, 1), 2, 7)
Y = jnp.where(IDS[:, 0] > 25, 1, -1)
DATA = Sentences(hidden_below(ENCODER, IDS, MASK, first=1), MASK, Y)
TOP = encoder_top(ENCODER, DATA, first=1, ridge=0.01)
TEST = Sentences(*(part[:20] for part in DATA))


def train(**settings):
    options = {"lr_a": 0.02, "lr_b": 0.05, "rank": 2, "init": "a", "steps": 4, "batch_size": 8}
    return adapted_encoder_training(jax.random.key(3), TOP, DATA, TEST, **(options | settings))


def test_the_cached_states_are_those_of_the_encoder():
    np.testing.assert_allclose(DATA.hidden, ENCODER.hidden_states(IDS, MASK)[1], atol=1e-6)
    half = hidden_below(ENCODER, IDS, MASK, first=1, dtype=jnp.float16)
    assert half.dtype == jnp.float16
    np.testing.assert_allclose(half, DATA.hidden, atol=2e-3)


def test_the_logit_is_a_logistic_regression_on_the_embeddings():
    vectors = np.asarray(embed(ENCODER, IDS, MASK), np.float64)
    w, c = (np.asarray(TOP.weights["head"][name], np.float64) for name in ("kernel", "bias"))
    wrong = -np.asarray(Y) / (1 + np.exp(np.asarray(Y) * (vectors @ w[:, 0] + c)))
    np.testing.assert_allclose(wrong @ vectors / len(Y) + 0.01 * w[:, 0], 0, atol=1e-4)
    np.testing.assert_allclose(wrong.mean(), 0, atol=1e-4)


def test_training_is_the_loop_over_the_whole_encoder():
    found = train(record_every=2)
    # The same adapters on the whole encoder, the same batches, and the gradient through all of it.
    key_start, key_batches = jax.random.split(jax.random.key(3))
    where = [f"layers.{i}.attention.{part}" for i in (1, 2) for part in ("query", "value")]
    model = adapt(ENCODER, where, rank=2, init="a", rngs=nnx.Rngs(key_start))
    w, c = TOP.weights["head"]["kernel"], TOP.weights["head"]["bias"]

    def loss(model, ids, mask, y):
        logits = pool(model(ids, mask), mask) @ w[:, 0] + c[0]
        return jnp.mean(jnp.log1p(jnp.exp(-y * logits)))

    graphdef, params, rest = nnx.split(model, nnx.Param, ...)
    label = lambda path, _: "a" if "lora_a" in jax.tree_util.keystr(path) else "b"  # noqa: E731
    optimizer = optax.partition(
        {"a": optax.adam(0.02), "b": optax.adam(0.05)}, jax.tree_util.tree_map_with_path(label, params)
    )
    state, losses, tested = optimizer.init(params), [], []
    for t, key in enumerate(jax.random.split(key_batches, (2, 2)).ravel()):
        rows = jax.random.randint(key, (8,), 0, len(Y))
        whole = lambda p, *batch: loss(nnx.merge(graphdef, p, rest), *batch)  # noqa: E731
        if t % 2 == 0:
            tested.append(whole(params, IDS[:20], MASK[:20], Y[:20]))
        value, gradient = jax.value_and_grad(whole)(params, IDS[rows], MASK[rows], Y[rows])
        updates, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        losses.append(value)
    tested.append(whole(params, IDS[:20], MASK[:20], Y[:20]))
    np.testing.assert_allclose(found.loss, losses, rtol=2e-4)
    np.testing.assert_allclose(found.test_loss, tested, rtol=2e-4)


def test_a_grid_of_rates_is_the_loop():
    grid = jax.jit(jax.vmap(lambda b: train(lr_b=b, init="b")))(jnp.array([0.0, 0.1]))
    for i, b in enumerate((0.0, 0.1)):
        one = train(lr_b=b, init="b")
        np.testing.assert_allclose(grid.loss[i], one.loss, rtol=1e-4)
        np.testing.assert_allclose(grid.test_accuracy[i], one.test_accuracy, atol=0.051)


def test_what_diverges_has_no_accuracy():
    run = train(optimizer="sgd", lr_a=1e30, lr_b=1e30, init="b")
    assert np.isnan(run.test_accuracy[-1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"lr_a": -1.0}, "lr_a must be"), ({"rank": 9}, "rank must be"), ({"steps": 0}, "num_steps|steps")],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        train(**settings)


def test_bad_data_are_named():
    with pytest.raises(ValueError, match=r"first must be in \[0, 2\], a layer of the encoder, got 3"):
        hidden_below(ENCODER, IDS, MASK, first=3)
    with pytest.raises(ValueError, match=r"data.y must hold -1 and 1 and nothing else"):
        encoder_top(ENCODER, DATA._replace(y=jnp.ones(70)), first=1)
    with pytest.raises(ValueError, match="ridge must be"):
        encoder_top(ENCODER, DATA, first=1, ridge=0.0)
