"""The trainer against hand-written loops, and its contracts."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from theorysim.networks.train import functional, train, uniform_batches

X = jnp.asarray(np.random.default_rng(0).normal(size=(12, 3)))
Y = jnp.asarray(np.random.default_rng(1).normal(size=12))


def squares(w, batch=None):
    x, y = (X, Y) if batch is None else batch
    return jnp.mean((x @ w - y) ** 2)


def by_hand(optimizer, num_steps, batches=lambda t: None):
    ws, losses = [jnp.zeros(3)], []
    state = optimizer.init(ws[0])
    for t in range(num_steps):
        value, gradient = jax.value_and_grad(squares)(ws[-1], batches(t))
        updates, state = optimizer.update(gradient, state, ws[-1])
        losses.append(value)
        ws.append(ws[-1] + updates)
    return jnp.stack(ws), jnp.stack(losses)


@pytest.mark.parametrize("optimizer", [optax.sgd(0.1), optax.sgd(0.05, momentum=0.9), optax.adam(0.1)])
def test_full_batch_training_is_the_loop(optimizer):
    run = train(squares, jnp.zeros(3), optimizer, num_steps=10, metrics=lambda w: w)
    ws, losses = by_hand(optimizer, 10)
    np.testing.assert_allclose(run.metrics, ws, rtol=1e-12)
    np.testing.assert_allclose(run.losses, losses, rtol=1e-12)
    np.testing.assert_array_equal(run.params, run.metrics[-1])


def test_minibatch_training_is_the_loop_over_fresh_keys():
    key, draw = jax.random.key(3), uniform_batches((X, Y), 4)
    run = train(squares, jnp.zeros(3), optax.sgd(0.1), num_steps=6, batches=draw, key=key, record_every=3)
    keys = jax.random.split(key, (2, 3)).reshape(6)
    ws, losses = by_hand(optax.sgd(0.1), 6, lambda t: draw(keys[t]))
    np.testing.assert_allclose(run.params, ws[-1], rtol=1e-12)
    np.testing.assert_allclose(run.losses, losses, rtol=1e-12)
    assert run.metrics is None


def test_records_thin_out_without_changing_the_run():
    every = train(squares, jnp.zeros(3), optax.sgd(0.1), num_steps=12, metrics=squares)
    some = train(squares, jnp.zeros(3), optax.sgd(0.1), num_steps=12, metrics=squares, record_every=4)
    np.testing.assert_allclose(some.metrics, every.metrics[::4], rtol=1e-14)
    np.testing.assert_allclose(every.metrics[:-1], every.losses, rtol=1e-14)
    np.testing.assert_allclose(some.losses, every.losses, rtol=1e-14)


def test_uniform_batches_visit_every_example_equally():
    draw = uniform_batches({"i": jnp.arange(5)}, 3)
    seen = jax.vmap(draw)(jax.random.split(jax.random.key(0), 4000))["i"]
    counts = np.bincount(np.asarray(seen).ravel(), minlength=5)
    assert np.abs(counts - 2400).max() < 4.5 * np.sqrt(12_000 * 0.2 * 0.8)
    # With replacement: some batches hold an example twice.
    assert (seen[:, 0] == seen[:, 1]).any()


def test_seeds_and_rates_are_batched_by_vmap():
    def final(key, rate):
        w = jax.random.normal(key, (3,))
        return train(squares, w, optax.sgd(rate), num_steps=5).losses

    keys, rates = jax.random.split(jax.random.key(0), 3), jnp.array([0.01, 0.1, 0.2])
    together = jax.jit(jax.vmap(final))(keys, rates)
    alone = jnp.stack([final(*point) for point in zip(keys, rates, strict=True)])
    np.testing.assert_allclose(together, alone, rtol=1e-12)


def test_a_diverged_run_is_data_and_leaves_its_neighbours_alone():
    def losses(rate):
        return train(lambda w, _: w**4, jnp.array(1.0), optax.sgd(rate), num_steps=30).losses

    diverged, converged = jax.vmap(losses)(jnp.array([5.0, 0.1]))
    assert jnp.isnan(diverged[-1])
    assert jnp.isfinite(converged).all()
    np.testing.assert_allclose(converged, losses(0.1), rtol=1e-12)


def test_a_module_keeps_what_is_no_parameter():
    class Shifted(nnx.Module):
        def __init__(self):
            self.scale = nnx.Param(jnp.ones(()))
            self.shift = nnx.Variable(jnp.array(2.0))

        def __call__(self, x):
            return self.scale[...] * x + self.shift[...]

    network = functional(Shifted())
    assert len(jax.tree.leaves(network.params)) == 1
    doubled = network.module(jax.tree.map(lambda x: 2 * x, network.params))
    assert float(doubled.scale[...]) == float(doubled.shift[...]) == 2.0
    run = train(
        lambda params, _: network.apply(params, jnp.array(1.0)) ** 2,
        network.params,
        optax.sgd(0.5),
        num_steps=1,
    )
    # (1 + 2)^2 has the slope 6 in the scale, which goes from 1 to -2.
    assert float(network.apply(run.params, jnp.array(1.0))) == 0.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_steps": 0}, "num_steps must be an integer >= 1, got 0"),
        ({"record_every": 3}, "record_every must divide num_steps = 10, got 3"),
        ({"key": jax.random.key(0)}, "key must be given with batches"),
        ({"batches": uniform_batches(X, 2)}, "key must be given with batches"),
    ],
)
def test_bad_settings_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        train(squares, jnp.zeros(3), optax.sgd(0.1), **({"num_steps": 10} | options))


@pytest.mark.parametrize("data", [(jnp.ones(3), jnp.ones(4)), jnp.ones(()), jnp.ones((0, 2)), ()])
def test_data_without_a_common_leading_axis_is_refused(data):
    with pytest.raises(ValueError, match="data must have one leading axis in common"):
        uniform_batches(data, 2)


@pytest.mark.parametrize("metrics", [None, lambda w: w])
def test_every_step_may_be_recorded_with_its_update(metrics):
    optimizer = optax.adam(0.1)
    run = train(
        squares,
        jnp.zeros(3),
        optimizer,
        num_steps=6,
        metrics=metrics,
        record_every=3,
        step_metrics=lambda w, change: {"before": w, "after": w + change},
    )
    ws, losses = by_hand(optimizer, 6)
    np.testing.assert_allclose(run.step_metrics["before"], ws[:-1], rtol=1e-12)
    np.testing.assert_allclose(run.step_metrics["after"], ws[1:], rtol=1e-12)
    np.testing.assert_allclose(run.losses, losses, rtol=1e-12)
