"""The multilayer perceptron: its formula, its scales at the start, and its use as a pure function."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from theorysim.networks.mlp import MLP, fan_in_stds
from theorysim.networks.train import functional, train
from theorysim.numerics import stats

WIDTHS = (3, 5, 4, 2)
X = jnp.asarray(np.random.default_rng(0).normal(size=(7, 3)))


def build(key=0, **changes):
    options = {"activation": jnp.tanh, "weight_std": (1.0, 0.5, 2.0), "dtype": jnp.float64}
    return MLP(WIDTHS, rngs=nnx.Rngs(key), **(options | changes))


def test_the_output_is_the_formula():
    model = build(bias_std=(0.3, 0.2, 0.1), multipliers=(0.5, 2, 3.0))
    W, b = ([np.asarray(x[...]) for x in group] for group in (model.weights, model.biases))
    z1 = 0.5 * np.asarray(X) @ W[0] + b[0]
    z2 = 2 * np.tanh(z1) @ W[1] + b[1]
    z3 = 3 * np.tanh(z2) @ W[2] + b[2]
    for got, expected in zip(model.preactivations(X), (z1, z2, z3), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-13)
    np.testing.assert_allclose(model(X), z3, rtol=1e-13)
    np.testing.assert_allclose(model(X[0]), z3[0], rtol=1e-13)


def test_without_biases_there_is_none():
    assert len(jax.tree.leaves(nnx.split(build(), nnx.Param)[1])) == 3
    assert len(jax.tree.leaves(nnx.split(build(bias_std=(0.0, 0.0, 0.0)), nnx.Param)[1])) == 6


def test_entries_start_with_the_standard_deviations_asked_for():
    std, bias_std = (0.1, 3.0, 1.0), (0.7, 0.2, 0.0)

    def parameters(key):
        model = build(key, weight_std=std, bias_std=bias_std)
        return [x[...] for x in (*model.weights, *model.biases)]

    drawn = jax.vmap(parameters)(jax.random.split(jax.random.key(0), 2000))
    for x, s in zip(drawn, std + bias_std, strict=True):
        x = np.asarray(x).ravel()
        if s == 0:
            assert not x.any()
            continue
        mean, var = stats.mean_and_error(x), stats.variance_and_error(x)
        assert abs(mean.mean) < 4.5 * mean.standard_error
        assert abs(var.mean - s**2) < 4.5 * var.standard_error
    # Independent between layers, not one stream used twice.
    assert abs(np.corrcoef(drawn[0][:, 0, 0], drawn[1][:, 0, 0])[0, 1]) < 0.1


def test_both_parametrizations_are_one_function_at_the_start():
    std = fan_in_stds(WIDTHS)
    standard = build(weight_std=std)
    tangent = build(weight_std=(1.0, 1.0, 1.0), multipliers=std)
    np.testing.assert_allclose(standard(X), tangent(X), rtol=1e-12)


def test_fan_in_keeps_the_size_of_a_relu_signal():
    widths = (50, 400, 400, 1)
    model = MLP(
        widths,
        activation=jax.nn.relu,
        weight_std=fan_in_stds(widths, gain=np.sqrt(2)),
        rngs=nnx.Rngs(0),
    )
    x = jax.random.normal(jax.random.key(1), (200, 50))
    sizes = [float((z**2).mean()) for z in model.preactivations(x)[:2]]
    np.testing.assert_allclose(sizes, 2.0, rtol=0.2)


def test_scales_are_traced_and_seeds_are_batched():
    def output(key, std):
        network = functional(build(key, weight_std=(std, std, std), multipliers=(1.0, 1 / std, 2.0)))
        assert len(jax.tree.leaves(network.params)) == 3
        return network.apply(network.params, X)

    keys, stds = jax.random.split(jax.random.key(0), 2), jnp.array([0.5, 2.0])
    together = jax.jit(jax.vmap(output))(keys, stds)
    alone = jnp.stack([output(*point) for point in zip(keys, stds, strict=True)])
    np.testing.assert_allclose(together, alone, rtol=1e-12)


def test_training_it_lowers_the_loss_for_every_seed():
    widths = (3, 16, 1)

    def losses(key):
        model = MLP(
            widths, activation=jax.nn.relu, weight_std=fan_in_stds(widths, 2**0.5), rngs=nnx.Rngs(key)
        )
        network = functional(model)
        target = jnp.asarray(X[:, :1] ** 2, jnp.float32)

        def loss(params, batch):
            return jnp.mean((network.apply(params, X) - target) ** 2)

        return train(loss, network.params, optax.adam(0.02), num_steps=300).losses

    run = jax.jit(jax.vmap(losses))(jax.random.split(jax.random.key(0), 3))
    assert run.dtype == jnp.float32
    assert (run[:, -1] < 0.05 * run[:, 0]).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weight_std": (1.0, 1.0)}, "weight_std must have one entry for each of 3 layers, got 2"),
        ({"weight_std": (1.0, -1.0, 1.0)}, r"weight_std must be in \[0, inf\), got -1"),
        ({"bias_std": (1.0,)}, "bias_std must have one entry for each of 3 layers, got 1"),
        ({"multipliers": (1.0, 2.0)}, "multipliers must have one entry for each of 3 layers, got 2"),
    ],
)
def test_bad_scales_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        build(**changes)


def test_bad_widths_are_named():
    with pytest.raises(ValueError, match="widths must hold at least input and output"):
        fan_in_stds((3,))
    with pytest.raises(ValueError, match="widths must be an integer >= 1, got 0"):
        fan_in_stds((3, 0, 1))
    with pytest.raises(ValueError, match=r"gain must be in \[0, inf\), got -1"):
        fan_in_stds((3, 2), gain=-1.0)


@pytest.mark.parametrize("widths", [WIDTHS, (3, 2)])
def test_features_and_readout_are_the_last_layer(widths):
    model = MLP(
        widths,
        activation=jnp.tanh,
        weight_std=fan_in_stds(widths),
        multipliers=(2.0,) * (len(widths) - 1),
        dtype=jnp.float64,
        rngs=nnx.Rngs(0),
    )
    assert model.features(X).shape == (7, widths[-2])
    np.testing.assert_allclose(model.features(X) @ model.readout().T, model(X), rtol=1e-12)
