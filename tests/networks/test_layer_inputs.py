"""What a submodule reads is what the model hands to it, and the model stays as it is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from theorysim.networks.cnn import CNN, cnn_fan_in_stds
from theorysim.networks.layer_inputs import layer_inputs
from theorysim.networks.mlp import MLP

X = jnp.asarray(np.random.default_rng(0).normal(size=(6, 4)), jnp.float32)


class Net(nnx.Module):
    """Lists, a Sequential, statistics, a random mask, a second name, and a layer that nothing calls."""

    def __init__(self, rngs):
        self.layers = nnx.List([nnx.Linear(4, 5, rngs=rngs), nnx.Linear(5, 6, rngs=rngs)])
        self.block = nnx.Sequential(
            nnx.Linear(6, 7, rngs=rngs), nnx.relu, nnx.BatchNorm(7, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)
        )
        self.readout = nnx.Linear(7, 3, rngs=rngs)
        self.spare = nnx.Linear(7, 3, rngs=rngs)
        self.zwilling = self.readout

    def hidden(self, x):
        for layer in self.layers:
            x = nnx.relu(layer(x))
        return self.block(x)

    def __call__(self, x, scale=1.0):
        return self.readout(self.hidden(scale * x))


class Twice(nnx.Module):
    """A layer called twice, once by a keyword, both inside of a jit of NNX."""

    def __init__(self, rngs):
        self.layer = nnx.Linear(4, 4, rngs=rngs)

    def __call__(self, x):
        call = nnx.jit(lambda layer, x: layer(layer(inputs=x)))
        return call(self.layer, x)


class Mapped(nnx.Module):
    def __init__(self, rngs):
        self.layer = nnx.Linear(4, 4, rngs=rngs)

    def __call__(self, x):
        return jax.vmap(self.layer)(x)


@pytest.fixture(scope="module")
def model():
    net = Net(nnx.Rngs(0))
    net.eval()
    return net


def test_the_readout_reads_what_the_model_hands_to_it(model):
    read = layer_inputs(model, "readout", X)
    assert jnp.array_equal(read.features, model.hidden(X))
    assert read.readout is not None and jnp.array_equal(read.readout, model.readout.kernel[...].T)
    outputs = read.features @ read.readout.T + model.readout.bias[...][None]
    assert jnp.abs(outputs - model(X)).max() < 1e-6
    assert jnp.array_equal(layer_inputs(model, "readout", X, scale=2.0).features, model.hidden(2 * X))


def test_every_submodule_is_found_by_path_by_another_name_and_by_itself(model):
    first = nnx.relu(model.layers[0](X))
    for layer in ("layers.1", model.layers[1]):
        assert jnp.array_equal(layer_inputs(model, layer, X).features, first)
    deep = layer_inputs(model, "block.layers.2", X)
    assert deep.features.shape == (6, 7) and deep.readout is None
    assert jnp.array_equal(
        layer_inputs(model, "zwilling", X).features, layer_inputs(model, "readout", X).features
    )


def test_the_model_is_not_touched():
    net = Net(nnx.Rngs(1))
    before = jax.tree.map(np.array, nnx.to_pure_dict(nnx.state(net, (nnx.Param, nnx.BatchStat))))
    mask = layer_inputs(net, "readout", X).features
    after = jax.tree.map(np.array, nnx.to_pure_dict(nnx.state(net, (nnx.Param, nnx.BatchStat))))
    assert jax.tree.all(jax.tree.map(np.array_equal, before, after))
    assert type(net.readout) is nnx.Linear
    # Nor are its random keys: a second call drops the same units.
    assert jnp.array_equal(mask, layer_inputs(net, "readout", X).features) and (mask == 0).any()


def test_it_is_a_pure_function_under_jit_and_grad(model):
    graph, state = nnx.split(model)

    def features(state, x):
        return layer_inputs(nnx.merge(graph, state), "readout", x).features

    inside = jax.jit(features)(state, X)
    assert jnp.abs(inside - features(state, X)).max() < 1e-6
    slope = jax.grad(lambda x: features(state, x).sum())(X)
    expected = jax.grad(lambda x: model.hidden(x).sum())(X)
    assert jnp.abs(slope - expected).max() < 1e-5


def test_a_layer_called_twice_needs_to_be_told_which_call():
    net = Twice(nnx.Rngs(0))
    assert jnp.array_equal(layer_inputs(net, "layer", X, call=0).features, X)
    assert jnp.abs(layer_inputs(net, "layer", X, call=1).features - net.layer(X)).max() < 1e-6
    with pytest.raises(ValueError, match=r"call must be an integer in \[0, 1\], since 'layer' is called 2"):
        layer_inputs(net, "layer", X)
    with pytest.raises(ValueError, match=r"call must be an integer in \[0, 1\], got 2"):
        layer_inputs(net, "layer", X, call=2)


@pytest.mark.parametrize("multipliers", [None, (1.0, 0.5, 0.25)])
def test_the_layers_of_an_mlp_are_found_though_they_are_no_submodules(multipliers):
    net = MLP(
        (4, 5, 6, 3),
        activation=jnp.tanh,
        weight_std=(0.5, 0.5, 0.5),
        bias_std=(0.1, 0.1, 0.1),
        multipliers=multipliers,
        rngs=nnx.Rngs(0),
    )
    zs = net.preactivations(X)
    for index, inputs in enumerate([X, jnp.tanh(zs[0]), jnp.tanh(zs[1])]):
        read = layer_inputs(net, f"weights.{index}", X)
        assert jnp.array_equal(read.features, inputs) and read.readout is not None
        z = read.features @ read.readout.T + net.biases[index][...][None]
        assert jnp.abs(z - zs[index]).max() < 1e-6
    assert jnp.array_equal(layer_inputs(net, None, X).features, jnp.tanh(zs[1]))


def test_a_model_may_name_its_features_and_its_readout_by_methods():
    class Own(nnx.Module):
        def __init__(self, rngs):
            self.first = nnx.Linear(4, 5, rngs=rngs)

        def features(self, x):
            return nnx.relu(self.first(x))

        def readout(self):
            return jnp.ones((2, 5))

    net = Own(nnx.Rngs(0))
    read = layer_inputs(net, None, X)
    assert jnp.array_equal(read.features, net.features(X))
    assert read.readout is not None and jnp.array_equal(read.readout, net.readout())


KNOWN = r"'block', 'block.layers.0', 'block.layers.2', 'block.layers.3', 'layers.0', 'layers.1', 'readout'"


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("readut", rf"layer must be a submodule of Net, one of {KNOWN}, 'spare', got 'readut'"),
        ("layers.7", r"got 'layers.7'"),
        ("block.layers.1", r"got 'block.layers.1'"),
        ("layers.0.kernel", r"got 'layers.0.kernel'"),
        ("", r"got ''"),
        ("spare", rf"got 'spare', which this call of Net does not reach; its submodules are {KNOWN}"),
        ("layers", r"got 'layers', which this call of Net does not reach"),
        (None, r"layer must be given for Net, which has no methods features\(x\) and readout\(\)"),
        (nnx.Linear(2, 2, rngs=nnx.Rngs(0)), r"got a Linear that is none of them"),
    ],
)
def test_a_layer_that_cannot_be_is_told_with_those_that_can(model, layer, message):
    with pytest.raises(ValueError, match=message):
        layer_inputs(model, layer, X)


def test_a_layer_inside_of_a_map_is_refused():
    with pytest.raises(ValueError, match="got 'layer', which it maps by a transformation of JAX"):
        layer_inputs(Mapped(nnx.Rngs(0)), "layer", X)


def test_our_networks_say_it_by_their_methods():
    std = cnn_fan_in_stds((4, 4, 1), (5,), 3)
    net = CNN((4, 4, 1), (5,), 3, activation=jax.nn.relu, weight_std=std, rngs=nnx.Rngs(0))
    images = X[:, :, None, None] * jnp.ones((1, 1, 4, 1), X.dtype)
    read = layer_inputs(net, None, images)
    assert jnp.array_equal(read.features, net.features(images)) and read.features.shape == (6, 20)
    assert read.readout is not None and jnp.abs(read.features @ read.readout.T - net(images)).max() < 1e-6
    flat = MLP(
        (4, 5, 3), activation=jnp.tanh, weight_std=(0.5, 0.5), multipliers=(1.0, 2.0), rngs=nnx.Rngs(0)
    )
    read = layer_inputs(flat, None, X)
    assert read.readout is not None and jnp.array_equal(read.readout, flat.readout())
    assert jnp.array_equal(read.features, flat.features(X))
